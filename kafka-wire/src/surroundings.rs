//! What a client takes from its machine besides sockets and the monotonic clock: chance and the wall clock.
//!
//! Both come from the machine as a rule. A simulation fixes them, so that a run can be repeated to the byte: chance starts from a
//! seed, and the wall clock follows tokio's, which a simulation pauses.

#![allow(clippy::disallowed_methods, reason = "driver: reads the clocks and draws seeds")]

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where chance and the wall clock come from; the machine by default.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    simulated: Option<Arc<Simulated>>,
}

#[derive(Debug)]
struct Simulated {
    /// What the wall clock showed at `since`, in milliseconds since 1970.
    unix_ms: i64,
    since: Instant,
    seed: AtomicU64,
}

impl Surroundings {
    /// Chance from `seed`, and a wall clock that shows `unix_ms` (milliseconds since 1970) now and goes with tokio's clock.
    pub fn simulated(seed: u64, unix_ms: i64) -> Self {
        let simulated = Simulated {
            unix_ms,
            since: Instant::now(),
            seed: AtomicU64::new(seed),
        };
        Self {
            simulated: Some(Arc::new(simulated)),
        }
    }

    /// A number to start a generator from; another one at each call.
    pub fn seed(&self) -> u64 {
        match &self.simulated {
            Some(simulated) => simulated.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
            // The standard library's own source of randomness, which needs no crate.
            None => RandomState::new().hash_one(0),
        }
    }

    /// The wall clock in milliseconds since 1970, as Kafka counts.
    pub fn wall_ms(&self) -> i64 {
        match &self.simulated {
            Some(simulated) => simulated.unix_ms + simulated.since.elapsed().as_millis() as i64,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_wall_clock_goes_with_the_paused_clock_and_seeds_repeat() {
        let (one, two) = (Surroundings::simulated(7, 1000), Surroundings::simulated(7, 1000));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(one.wall_ms(), 1250);
        let seeds: Vec<_> = std::iter::repeat_with(|| one.seed()).take(3).collect();
        assert_eq!(seeds, std::iter::repeat_with(|| two.seed()).take(3).collect::<Vec<_>>());
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    }
}
