//! Who owned which partition when, and which writes of former owners the network held back for too long.
//!
//! Without transactions nobody can refuse what a former owner wrote while it was the owner and what then lay in the network until
//! its successor was at work: at-least-once has no fence there. Such a record is no violation, and the successor need not know of
//! it; the checker is told which records they are and excuses nothing else. What a former owner *sends* after its successor began
//! is a violation. The same holds of a process that regains a partition: its successor is itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A situation.
pub(super) const HELD_BACK: &str = "write of a former owner held back by the network";

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Owners {
    state: Mutex<State>,
}

/// A process' time as the owner of a partition. It begins when the process opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ownership {
    /// Counts the ownerships of the partition.
    pub(super) number: u64,
    pub(super) process: u64,
    /// Counts those of this process, from 1.
    pub(super) nth: i32,
    pub(super) began: Duration,
}

#[derive(Debug, Default)]
struct State {
    by_partition: BTreeMap<i32, Vec<Ownership>>,
}

impl Owners {
    /// A process opened the store of a partition: it is the owner.
    pub(super) fn begun(&self, process: u64, partition: i32, now: Duration) {
        let mut state = self.lock();
        let ownerships = state.by_partition.entry(partition).or_default();
        let earlier = ownerships.iter().filter(|ownership| ownership.process == process);
        let nth = earlier.count() as i32 + 1;
        ownerships.push(Ownership {
            number: ownerships.len() as u64,
            process,
            nth,
            began: now,
        });
    }

    /// The ownership with a number.
    pub(super) fn at(&self, partition: i32, number: u64) -> Option<Ownership> {
        let state = self.lock();
        state.by_partition.get(&partition)?.get(number as usize).copied()
    }

    /// The ownership in which a process did something at `at`: its last that had begun by then.
    pub(super) fn sender(&self, process: u64, partition: i32, at: Duration) -> Option<Ownership> {
        let state = self.lock();
        let ownerships = state.by_partition.get(&partition)?;
        let own = ownerships.iter().rev().filter(|ownership| ownership.process == process);
        own.copied().find(|ownership| ownership.began <= at)
    }

    /// Whose the partition is by now, if that began after `sent_at`.
    pub(super) fn begun_since(&self, partition: i32, sent_at: Duration) -> Option<Ownership> {
        let state = self.lock();
        let latest = state.by_partition.get(&partition)?.last()?;
        (latest.began > sent_at).then_some(*latest)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
