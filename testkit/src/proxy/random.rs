//! Chance from a seed.

use std::ops::Range;
use std::time::Duration;

use crate::split_mix::SplitMix;

/// Draws times.
#[derive(Debug, Clone)]
pub(super) struct Random(SplitMix);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(SplitMix::new(seed))
    }

    /// A time within `range`, to the microsecond; its start if it is empty.
    pub(super) fn between(&mut self, range: Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_micros() as u64;
        range.start + Duration::from_micros(self.0.bits() % width.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_keeps_its_times() {
        let mut random = Random::new(7);
        let mut draw = || {
            random
                .between(Duration::from_millis(3)..Duration::from_secs(1))
                .as_micros()
        };
        assert_eq!([112_487, 867_804, 480_346], [draw(), draw(), draw()]);
    }
}
