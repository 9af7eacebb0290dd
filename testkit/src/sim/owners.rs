//! Who owned which partition when, and which writes of former owners the network held back for too long.
//!
//! Without transactions nobody can refuse what a former owner wrote while it was the owner and what then lay in the network until
//! its successor was at work: at-least-once has no fence there. Such a write is no violation, and what follows from it in its
//! partition is none either. What a former owner *sends* after its successor began is one, and stays one. The same holds of a process that regains a partition: its successor is itself.
//!
//! Known and not yet mended: a coordinator of Kafka 4 does not restart the session of a member that syncs in a stable group, as one
//! that joins again after its lease ended does. Such a member believes in a lease that counts from its SyncGroup until its next
//! heartbeat tells it better. What it sends meanwhile is counted apart ([`UNPROVEN`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::trace::Trace;

/// Situations.
pub(super) const HELD_BACK: &str = "write of a former owner held back by the network";
pub(super) const UNPROVEN: &str = "write of a former owner under a lease that no heartbeat proved";

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
    /// How often each process was answered a SyncGroup.
    syncs: BTreeMap<u64, u32>,
    /// Processes that joined again and whose lease rests on an answer to SyncGroup.
    unproven: BTreeSet<u64>,
}

impl Owners {
    /// A process opened the store of a partition: it is the owner.
    pub(super) fn begun(&self, process: u64, partition: i32, now: Duration) {
        self.lock().begun.entry(partition).or_default().push((now, process));
    }

    /// A process got an answer to its SyncGroup.
    pub(super) fn synced(&self, process: u64) {
        let mut state = self.lock();
        let syncs = state.syncs.entry(process).or_default();
        *syncs += 1;
        // The first is for an assignment that is new, and restarts the session.
        if *syncs > 1 {
            state.unproven.insert(process);
        }
    }

    /// A process got an answer to its heartbeat.
    pub(super) fn proved(&self, process: u64) {
        self.lock().unproven.remove(&process);
    }

    /// Records of a process for these partition numbers, sent at `sent_at`, reach a broker now.
    pub(super) fn delivered(&self, process: u64, sent_at: Duration, partitions: &[i32], trace: &Trace) {
        let mut state = self.lock();
        let State {
            begun, late, unproven, ..
        } = &mut *state;
        let unproven = unproven.contains(&process);
        for (partition, owners) in begun.iter().filter(|(number, _)| partitions.contains(number)) {
            let Some(since) = owners.iter().rposition(|(_, owner)| *owner == process) else {
                continue;
            };
            let held_back = owners.iter().any(|(at, _)| *at > sent_at);
            // There is a successor already: the last of its openings is not the last of all.
            let unproven = unproven && since + 1 < owners.len();
            if (held_back || unproven) && late.insert(*partition) {
                trace.met(if held_back { HELD_BACK } else { UNPROVEN });
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
