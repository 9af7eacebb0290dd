//! Member ids as Kafka writes them: `<client id>-<UUID>`.

/// Generates member ids from a seed, so that a run can be repeated.
#[derive(Debug)]
pub(super) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn next(&mut self, client_id: &str) -> String {
        let (high, low) = (self.draw(), self.draw());
        // The version and variant bits of a random UUID (RFC 9562, 5.4).
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{client_id}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// SplitMix64: enough for ids that only have to differ.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_is_the_client_id_a_dash_and_a_random_uuid() {
        let id = MemberIds::new(7).next("orders");
        let uuid = id.strip_prefix("orders-").unwrap();
        let groups: Vec<&str> = uuid.split('-').collect();
        assert_eq!(groups.iter().map(|g| g.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
        assert!(groups[2].starts_with('4'));
        assert!(matches!(groups[3].as_bytes()[0], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn equal_seeds_give_equal_ids_and_no_id_twice() {
        let (mut a, mut b) = (MemberIds::new(1), MemberIds::new(1));
        let first = a.next("c");
        assert_eq!(first, b.next("c"));
        assert_ne!(first, a.next("c"));
    }
}
