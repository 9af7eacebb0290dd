//! Who owned which partition when, and which writes of former owners the network held back for too long.
//!
//! Without transactions nobody can refuse what a former owner wrote while it was the owner and what then lay in the network until
//! its successor was at work: at-least-once has no fence there. Such a write is no violation, and what follows from it in its
//! partition is none either. What a former owner *sends* after its successor began is one, and stays one. The same holds of a process that regains a partition: its successor is itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::trace::Trace;

/// A situation.
pub(super) const HELD_BACK: &str = "write of a former owner held back by the network";

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Owners {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By partition: when which process opened its store.
    begun: BTreeMap<i32, Vec<(Duration, u64)>>,
    late: BTreeSet<i32>,
}

impl Owners {
    /// A process opened the store of a partition: it is the owner.
    pub(super) fn begun(&self, process: u64, partition: i32, now: Duration) {
        self.lock().begun.entry(partition).or_default().push((now, process));
    }

    /// Records of a process for these partition numbers, sent at `sent_at`, reach a broker now.
    pub(super) fn delivered(&self, process: u64, sent_at: Duration, partitions: &[i32], trace: &Trace) {
        let mut state = self.lock();
        let State { begun, late } = &mut *state;
        for (partition, owners) in begun.iter().filter(|(number, _)| partitions.contains(number)) {
            let owned = owners.iter().any(|(_, owner)| *owner == process);
            let held_back = owners.iter().any(|(at, _)| *at > sent_at);
            if owned && held_back && late.insert(*partition) {
                trace.met(HELD_BACK);
                trace.event(format_args!(
                    "partition {partition}: a write of process {process} comes too late to be refused"
                ));
            }
        }
    }

    /// Whether the network held back a write of a former owner of the partition.
    pub(super) fn had_late_writes(&self, partition: i32) -> bool {
        self.lock().late.contains(&partition)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
