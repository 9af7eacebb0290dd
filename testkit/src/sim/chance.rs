//! Chance from a seed.

use std::time::Duration;

use crate::split_mix::SplitMix;

/// A generator that gives the same numbers for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Chance(SplitMix);

impl Chance {
    /// One of many independent streams of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Chance {
        let mut mixed = SplitMix::new(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        mixed.bits();
        Chance(SplitMix::new(mixed.bits()))
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.bits()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_seeds_keep_their_numbers() {
        let mut chance = Chance::new(7, 3);
        let expected = [0x9b13_3aec_1ff2_eab9, 0x7651_e0cc_eb70_fc6c, 0xf03c_f8e2_bafa_fecb];
        assert_eq!(expected, [chance.bits(), chance.bits(), chance.bits()]);
    }
}
