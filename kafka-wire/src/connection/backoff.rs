//! How long to pause after a failure: exponential, capped, jittered, and reset by success.
//!
//! Chance is injected as a [`Jitter`], so that a simulation repeats exactly. The exponential part follows KIP-580, the jitter
//! spreads the clients of a restarted broker.

use std::time::{Duration, Instant};

/// A small deterministic generator (splitmix64). Good enough to spread retries, and repeatable from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Starts from `seed`; drivers take it from the operating system, tests from a constant.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The bias of the remainder is below 2^-40 for every bound used here.
        if bound == 0 {
            0
        } else {
            (self.bits() % bound as u64) as usize
        }
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Counts failures and says when the next attempt is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Pauses from `first`, doubling up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
            not_before: None,
        }
    }

    /// An attempt failed at `now`.
    pub(crate) fn handle_failure(&mut self, now: Instant, jitter: &mut Jitter) {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        // Full jitter above half of the first pause: spread widely, but never zero.
        let floor = (self.first / 2).min(ceiling);
        self.not_before = Some(now + floor + (ceiling - floor).mul_f64(jitter.unit()));
    }

    /// An attempt succeeded: the next failure starts from the first pause again.
    pub(crate) fn handle_success(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// How long to wait from `now` until the next attempt.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.not_before
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_never_vanish() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let (mut jitter, mut now, mut longest) = (Jitter::seeded(7), Instant::now(), Duration::ZERO);
        assert_eq!(backoff.pause(now), Duration::ZERO);
        for failures in 0..200u32 {
            backoff.handle_failure(now, &mut jitter);
            let pause = backoff.pause(now);
            let ceiling = Duration::from_millis(50)
                .saturating_mul(1 << failures.min(10))
                .min(Duration::from_secs(2));
            assert!(
                pause >= Duration::from_millis(25) && pause <= ceiling,
                "{pause:?} after {failures} failures"
            );
            longest = longest.max(pause);
            now += pause;
            assert_eq!(backoff.pause(now), Duration::ZERO);
        }
        assert!(
            longest > Duration::from_millis(1900),
            "the cap is approached, {longest:?}"
        );
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let (mut jitter, now) = (Jitter::seeded(1), Instant::now());
        for _ in 0..10 {
            backoff.handle_failure(now, &mut jitter);
        }
        backoff.handle_success();
        assert_eq!(backoff.pause(now), Duration::ZERO);
        backoff.handle_failure(now, &mut jitter);
        assert!(backoff.pause(now) <= Duration::from_millis(50));
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let draw = |seed| {
            let mut jitter = Jitter::seeded(seed);
            [jitter.bits(), jitter.bits(), jitter.bits()]
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
