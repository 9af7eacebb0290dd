//! Until when each process may write, as its coordinator sees it (I3).
//!
//! The coordinator may give away what a member owns once it has not heard of it for the session timeout. What a member knows of
//! that is when it sent the last heartbeat that was answered. After that time it must send nothing to the changelog, be there a
//! successor yet or not: it was suspended, or cut off. This knows nothing of the member's own lease.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_wire::ErrorCode;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Leases {
    session_timeout: Duration,
    /// When each process sent its last heartbeat that was answered as a member's.
    proofs: Mutex<HashMap<u64, Duration>>,
}

impl Leases {
    pub(super) fn new(session_timeout: Duration) -> Leases {
        Leases {
            session_timeout,
            proofs: Mutex::default(),
        }
    }

    /// A process hears of the heartbeat that it sent at `sent_at`.
    pub(super) fn heard(&self, process: u64, sent_at: Duration, code: i16) {
        if matches!(ErrorCode(code), ErrorCode::NONE | ErrorCode::REBALANCE_IN_PROGRESS) {
            let mut proofs = self.lock();
            let proof = proofs.entry(process).or_insert(sent_at);
            *proof = sent_at.max(*proof);
        }
    }

    /// How long the lease of a process has been over at `now`; none while it holds.
    pub(super) fn over_since(&self, process: u64, now: Duration) -> Option<Duration> {
        let proof = self.lock().get(&process).copied();
        let end = proof.map_or(Duration::ZERO, |proof| proof + self.session_timeout);
        now.checked_sub(end)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Duration>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
