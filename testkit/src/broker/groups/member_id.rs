//! Member ids as Kafka writes them: `<client id>-<UUID>`.

use uuid::Uuid;

use crate::split_mix::SplitMix;

/// Generates member ids from a seed, so that a run can be repeated.
#[derive(Debug)]
pub(super) struct MemberIds {
    chance: SplitMix,
}

impl MemberIds {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: SplitMix::new(seed),
        }
    }

    pub(super) fn next(&mut self, client_id: &str) -> String {
        format!("{client_id}-{}", Uuid::from_bytes(self.chance.uuid()))
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

    #[test]
    fn a_seed_keeps_its_ids() {
        let mut ids = MemberIds::new(7);
        assert_eq!(ids.next("orders"), "orders-63cbe1e4-5932-4dd7-844c-3cd7f43c661c");
        assert_eq!(ids.next("orders"), "orders-e6984080-bab1-4a02-953a-eb70673e29cb");
    }
}
