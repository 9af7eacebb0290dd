//! The name of a run.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// What a run is made from. Written as `EDITION:NUMBER`, the number in hexadecimal; a number alone is of the newest edition.
///
/// An edition is what there is to draw from: a kept seed goes on to mean what it meant when faults and actors join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// 1: processors and producers, faults of network and brokers, kills. 2: also pauses, disk errors, compaction, and a view.
    /// 3: also brokers that forget producers or do not know an offset, and instances that come and go in calm.
    pub edition: u8,
    /// Everything is drawn from it.
    pub number: u64,
}

impl Seed {
    /// The newest edition.
    const NEWEST: u8 = 3;

    /// A seed of the newest edition.
    pub fn new(number: u64) -> Seed {
        Seed {
            edition: Seed::NEWEST,
            number,
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.edition, self.number)
    }
}

impl FromStr for Seed {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Seed, ParseIntError> {
        let (edition, number) = match text.split_once(':') {
            Some((edition, number)) => (edition.parse()?, number),
            None => (Seed::NEWEST, text),
        };
        Ok(Seed {
            edition,
            number: u64::from_str_radix(number, 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_as_it_is_written() {
        for seed in [
            Seed::new(0xc0ffee),
            Seed {
                edition: 1,
                number: u64::MAX,
            },
        ] {
            assert_eq!(seed.to_string().parse(), Ok(seed));
        }
        assert_eq!("1:f".parse(), Ok(Seed { edition: 1, number: 15 }));
        assert!("1:".parse::<Seed>().is_err() && "x".parse::<Seed>().is_err());
    }
}
