//! Fetches that wait for more bytes (`DelayedFetch` and its purgatory).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::Fetch;
use crate::broker::core::CallId;

/// A fetch that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) fetch: Fetch,
    deadline: Instant,
    watched: Vec<(String, i32)>,
}

/// All fetches that wait, by call.
#[derive(Debug, Default)]
pub(crate) struct ParkedFetches {
    parked: BTreeMap<CallId, Parked>,
    by_deadline: BTreeSet<(Instant, CallId)>,
    by_partition: BTreeMap<(String, i32), BTreeSet<CallId>>,
    /// Fetches that watch something that has changed.
    woken: BTreeSet<CallId>,
}

impl ParkedFetches {
    pub(super) fn park(&mut self, deadline: Instant, watched: Vec<(String, i32)>, fetch: Fetch) {
        self.put_back(Parked {
            fetch,
            deadline,
            watched,
        });
    }

    pub(super) fn put_back(&mut self, parked: Parked) {
        let call = parked.fetch.call;
        self.by_deadline.insert((parked.deadline, call));
        for watched in &parked.watched {
            self.by_partition.entry(watched.clone()).or_default().insert(call);
        }
        self.parked.insert(call, parked);
    }

    /// A partition has changed: records, log start, leader.
    pub(crate) fn note_change(&mut self, topic: &str, partition: i32) {
        if self.parked.is_empty() {
            return;
        }
        if let Some(calls) = self.by_partition.get(&(topic.to_owned(), partition)) {
            self.woken.extend(calls);
        }
    }

    /// Much has changed: a topic is gone, a broker is down.
    pub(crate) fn note_everything(&mut self) {
        self.woken.extend(self.parked.keys());
    }

    pub(super) fn take_woken(&mut self) -> Vec<Parked> {
        let woken = std::mem::take(&mut self.woken);
        woken.into_iter().filter_map(|call| self.remove(call)).collect()
    }

    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Fetch> {
        let (_, call) = self
            .by_deadline
            .first()
            .copied()
            .filter(|(deadline, _)| *deadline <= now)?;
        self.remove(call).map(|parked| parked.fetch)
    }

    /// Forgets a fetch nobody waits for.
    pub(crate) fn abandon(&mut self, call: CallId) {
        self.remove(call);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    fn remove(&mut self, call: CallId) -> Option<Parked> {
        let parked = self.parked.remove(&call)?;
        self.by_deadline.remove(&(parked.deadline, call));
        self.woken.remove(&call);
        for watched in &parked.watched {
            if let Some(calls) = self.by_partition.get_mut(watched) {
                calls.remove(&call);
                if calls.is_empty() {
                    self.by_partition.remove(watched);
                }
            }
        }
        Some(parked)
    }
}
