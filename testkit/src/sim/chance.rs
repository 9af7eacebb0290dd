//! Chance from a seed.

use std::time::Duration;

/// A generator that gives the same numbers for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// One of many independent streams of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Chance {
        let mut mixed = Chance(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        mixed.bits();
        Chance(mixed.bits())
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in `0..bound`; 0 if that is empty.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            // The bias is far below what could be seen.
            _ => (self.bits() % bound as u64) as usize,
        }
    }

    /// Uniform in `least..=most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.bits() % (most - least + 1)
    }

    /// Uniform between two numbers of milliseconds.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.between(least * 1000, most * 1000))
    }

    /// True in `per_mille` of 1000 cases.
    pub(super) fn per_mille(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.between(0, 999) < u64::from(per_mille)
    }

    /// One of them.
    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).cloned()
    }
}
