//! The offsets a processor commits: which are due, one commit under way at a time, and what the group has of us by now.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::HashMap;

use group_coordinator::{CommitError, Offsets};
use kafka_wire::TopicPartition;
use tokio::task::JoinHandle;

type Due = Vec<(TopicPartition, i64)>;
type Committed = (Due, Result<(), CommitError>);

/// See the module's text.
pub(super) struct Commits {
    offsets: Offsets,
    /// The generation in which the partitions are ours.
    generation: i32,
    /// What this instance committed, or found committed, for the partitions it has.
    committed: HashMap<TopicPartition, i64>,
    under_way: Option<JoinHandle<Committed>>,
}

impl Commits {
    pub(super) fn new(offsets: Offsets) -> Commits {
        Commits {
            offsets,
            generation: -1,
            committed: HashMap::new(),
            under_way: None,
        }
    }

    /// The partitions of a generation begin with what the group had committed for them.
    pub(super) fn begin(&mut self, generation: i32, committed: &HashMap<TopicPartition, Option<i64>>) {
        self.generation = generation;
        let known = committed
            .iter()
            .filter_map(|(tp, offset)| Some((tp.clone(), (*offset)?)));
        self.committed = known.collect();
    }

    /// Partitions are gone: what was committed for them is somebody else's matter.
    pub(super) fn forget(&mut self) {
        self.committed.clear();
    }

    /// Starts a commit of those `offsets` that are not committed yet, unless one is under way.
    pub(super) fn start(&mut self, offsets: impl Iterator<Item = (TopicPartition, i64)>) {
        if self.under_way.is_some() {
            return;
        }
        let due = self.due(offsets);
        if !due.is_empty() {
            let (offsets, generation) = (self.offsets.clone(), self.generation);
            self.under_way = Some(tokio::spawn(async move {
                let result = offsets.commit_of(generation, due.clone()).await;
                (due, result)
            }));
        }
    }

    /// Commits those `offsets` that are not committed yet, and waits for the answer.
    pub(super) async fn finish(&mut self, offsets: impl Iterator<Item = (TopicPartition, i64)>) {
        if self.under_way.is_some() {
            let done = self.done().await;
            self.handle(done);
        }
        let due = self.due(offsets);
        if !due.is_empty() {
            let result = self.offsets.commit_of(self.generation, due.clone()).await;
            self.handle((due, result));
        }
    }

    fn due(&self, offsets: impl Iterator<Item = (TopicPartition, i64)>) -> Due {
        let is_new = |tp: &TopicPartition, offset: i64| self.committed.get(tp).is_none_or(|known| *known < offset);
        offsets.filter(|(tp, offset)| is_new(tp, *offset)).collect()
    }

    /// The end of the commit under way; waits for ever if there is none. Cancel-safe.
    pub(super) async fn done(&mut self) -> Committed {
        let Some(handle) = self.under_way.as_mut() else {
            return std::future::pending().await;
        };
        let joined = handle.await;
        self.under_way = None;
        joined.unwrap_or_else(|error| {
            tracing::warn!(%error, "a commit ended without an answer");
            (Vec::new(), Ok(()))
        })
    }

    /// Feeds the end of a commit.
    pub(super) fn handle(&mut self, (offsets, result): Committed) {
        match result {
            Ok(()) => self.committed.extend(offsets),
            // Tried again with the next tick, or by the next owner from the last commit.
            Err(error) => tracing::warn!(%error, partitions = offsets.len(), "offsets not committed"),
        }
    }
}
