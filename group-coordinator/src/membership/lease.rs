//! The local lease (I3): an owner that cannot hear that it lost its partitions stops all the same.
//!
//! The broker gives a member's partitions away once it has heard nothing for the session timeout. Whoever is cut off from it
//! must therefore stop by its own clock, and count from the *sending* of the last heartbeat that was answered: the broker
//! cannot have started its own count earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whether the membership can still be trusted: readable from any thread, two atomic loads.
///
/// A lease that is not held means *write nothing now*; ownership ends only with a `Lost` event. What was handed to a socket
/// while it was held may still arrive at a broker afterwards; producer epochs or the changelog's offsets guard against that.
#[derive(Debug, Clone)]
pub struct Lease {
    cell: Arc<LeaseCell>,
}

impl Lease {
    pub(crate) fn new(cell: Arc<LeaseCell>) -> Self {
        Self { cell }
    }

    /// Whether this member owns its partitions at `now`.
    pub fn is_held(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now < deadline)
    }

    /// Whether this member owns at `now` what it was assigned in `generation`: false for whoever missed a `Lost` and a new
    /// `Assigned` meanwhile.
    pub fn is_held_in(&self, generation: i32, now: Instant) -> bool {
        // The deadline first: a deadline of a later generation is only ever seen together with that generation.
        self.is_held(now) && self.cell.generation.load(Ordering::Acquire) == generation
    }

    /// When the lease runs out unless a heartbeat succeeds; none while nothing is owned.
    pub fn deadline(&self) -> Option<Instant> {
        match self.cell.until.load(Ordering::Acquire) {
            NOT_HELD => None,
            micros => Some(self.cell.origin + Duration::from_micros(micros)),
        }
    }
}

const NOT_HELD: u64 = 0;

/// What the driver writes and every [`Lease`] reads.
#[derive(Debug)]
pub(crate) struct LeaseCell {
    origin: Instant,
    /// Microseconds after `origin`, or `NOT_HELD`.
    until: AtomicU64,
    generation: AtomicI32,
}

impl LeaseCell {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            until: AtomicU64::new(NOT_HELD),
            generation: AtomicI32::new(-1),
        }
    }

    /// Publishes what the machine says; called before any event of the same step is delivered.
    pub(crate) fn publish(&self, deadline: Option<Instant>, generation: i32) {
        let until = deadline.map_or(NOT_HELD, |deadline| {
            let micros = deadline.saturating_duration_since(self.origin).as_micros();
            u64::try_from(micros).unwrap_or(u64::MAX).max(1)
        });
        if self.generation.load(Ordering::Relaxed) != generation {
            self.until.store(NOT_HELD, Ordering::Release);
            self.generation.store(generation, Ordering::Release);
        }
        self.until.store(until, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_exactly_at_its_deadline() {
        let now = Instant::now();
        let cell = Arc::new(LeaseCell::new(now));
        let lease = Lease::new(cell.clone());
        assert!(!lease.is_held(now));
        cell.publish(Some(now + Duration::from_secs(45)), 3);
        assert!(lease.is_held(now + Duration::from_secs(44)));
        assert!(!lease.is_held(now + Duration::from_secs(45)));
        cell.publish(None, 3);
        assert_eq!(lease.deadline(), None);
    }

    #[test]
    fn a_task_of_an_earlier_generation_does_not_hold_the_next_ones_lease() {
        let now = Instant::now();
        let cell = Arc::new(LeaseCell::new(now));
        let lease = Lease::new(cell.clone());
        cell.publish(Some(now + Duration::from_secs(45)), 3);
        assert!(lease.is_held_in(3, now));
        cell.publish(None, -1);
        cell.publish(Some(now + Duration::from_secs(45)), 4);
        assert!(!lease.is_held_in(3, now));
        assert!(lease.is_held_in(4, now));
    }
}
