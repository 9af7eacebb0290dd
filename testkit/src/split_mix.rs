//! Numbers from a seed: whatever draws from one can be repeated.

/// SplitMix64 (Steele, Lea, Flood 2014): a sequence that looks random and is the same for the same seed.
///
/// Kept seeds of the simulation and of the crash images rely on the sequence.
#[derive(Debug, Clone)]
pub struct SplitMix {
    state: u64,
}

impl SplitMix {
    /// Begins the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A random UUID (version 4; RFC 9562, 5.4), as Kafka gives to topics and members.
    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut chance = SplitMix::new(7);
        let expected = [
            0x63cb_e1e4_5932_0dd7,
            0x044c_3cd7_f43c_661c,
            0xe698_4080_bab1_2a02,
            0x953a_eb70_673e_29cb,
        ];
        assert_eq!(expected, [(); 4].map(|()| chance.bits()));
    }

    #[test]
    fn a_uuid_takes_two_draws_and_tells_its_version_and_variant() {
        let mut ids = SplitMix::new(7);
        assert_eq!(ids.uuid(), 0x63cb_e1e4_5932_4dd7_844c_3cd7_f43c_661c_u128.to_be_bytes());
        assert_eq!(ids.uuid(), 0xe698_4080_bab1_4a02_953a_eb70_673e_29cb_u128.to_be_bytes());
    }
}
