//! Timers as a table: one per key, re-armed by being scheduled again.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What a timer is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// A member has been silent for its session timeout.
    Heartbeat { group: String, member: String },
    /// The join phase of a group ends.
    Join { group: String },
    /// Members of a generation should have sent SyncGroup by now.
    Sync { group: String },
}

/// What a due timer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    ExpireHeartbeat,
    CompleteJoin,
    /// Ends the initial delay, or extends it by what remains if somebody joined meanwhile.
    EndInitialDelay {
        delay: Duration,
        remaining: Duration,
    },
    ExpireSync {
        generation: i32,
    },
}

/// All armed timers. Equal deadlines fire in the order they were armed, so that a run can be repeated.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: HashMap<TimerKey, (Instant, u64)>,
    queue: BTreeMap<(Instant, u64), (TimerKey, Due)>,
    count: u64,
}

impl Timers {
    pub(super) fn schedule(&mut self, key: TimerKey, at: Instant, due: Due) {
        self.cancel(&key);
        self.count += 1;
        self.armed.insert(key.clone(), (at, self.count));
        self.queue.insert((at, self.count), (key, due));
    }

    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some(position) = self.armed.remove(key) {
            self.queue.remove(&position);
        }
    }

    /// Forgets every timer of a group.
    pub(super) fn cancel_group(&mut self, of: &str) {
        let (armed, queue) = (&mut self.armed, &mut self.queue);
        armed.retain(|key, position| {
            let (TimerKey::Heartbeat { group, .. } | TimerKey::Join { group } | TimerKey::Sync { group }) = key;
            let keep = group != of;
            if !keep {
                queue.remove(position);
            }
            keep
        });
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest timer that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(TimerKey, Due)> {
        let (&(at, _), _) = self.queue.first_key_value()?;
        if at > now {
            return None;
        }
        let (_, (key, due)) = self.queue.pop_first()?;
        self.armed.remove(&key);
        Some((key, due))
    }
}
