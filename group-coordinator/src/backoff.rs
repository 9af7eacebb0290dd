//! Waiting longer after each failure, never in step with others (KIP-580).

use std::time::Duration;

/// `base * 2^failures`, capped, times 0.8 to 1.2.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    pub(crate) fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self {
            base,
            max,
            failures: 0,
            jitter: Jitter(seed),
        }
    }

    /// Counts a failure and says how long to wait after it.
    pub(crate) fn next(&mut self) -> Duration {
        let exponential = self.base.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        exponential
            .min(self.max)
            .mul_f64(0.8 + 0.4 * self.jitter.next_fraction())
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to keep members out of step, and repeatable from its seed.
#[derive(Debug, Clone)]
struct Jitter(u64);

impl Jitter {
    fn next_fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_stay_within_a_fifth_of_it() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let waited = backoff.next().as_secs_f64() * 1000.0 / f64::from(expected);
            assert!((0.8..1.2).contains(&waited), "{waited} of {expected} ms");
        }
        backoff.reset();
        assert!(backoff.next() < Duration::from_millis(120));
    }

    #[test]
    fn two_members_do_not_wait_in_step() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1), seed);
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
