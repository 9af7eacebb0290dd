//! Repeatable chance: the same seed gives the same history and the same images.

use testkit::split_mix::SplitMix;

/// Draws from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Chance(SplitMix);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(SplitMix::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in `of` out of `all` cases.
    pub(crate) fn odds(&mut self, of: u64, all: u64) -> bool {
        self.below(all) < of
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}
