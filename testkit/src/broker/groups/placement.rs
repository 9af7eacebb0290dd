//! Which broker coordinates which group.

use std::collections::BTreeMap;

/// Partitions of `__consumer_offsets` (`offsets.topic.num.partitions`).
const OFFSETS_PARTITIONS: i32 = 50;

/// Places groups on brokers by hash of the group id; a fault may move one.
#[derive(Debug, Default)]
pub struct Placement {
    moved: BTreeMap<String, i32>,
}

impl Placement {
    /// The node that coordinates `group`. Groups are spread over `nodes`, living or not, through the offsets partition
    /// of the group; while its node is down the next living one takes over. `None` when none lives.
    pub fn coordinator(&self, group: &str, nodes: &[i32], is_live: impl Fn(i32) -> bool) -> Option<i32> {
        if let Some(node) = self.moved.get(group).filter(|node| is_live(**node)) {
            return Some(*node);
        }
        let mut ring = nodes.to_vec();
        ring.sort_unstable();
        let home = usize::try_from(offsets_partition(group))
            .ok()?
            .checked_rem(ring.len())?;
        ring.rotate_left(home);
        ring.into_iter().find(|node| is_live(*node))
    }

    /// Moves a group to a node, as when the leader of its offsets partition changes. It counts while the node lives.
    pub fn move_to(&mut self, group: &str, node: i32) {
        self.moved.insert(group.to_owned(), node);
    }
}

/// Kafka's `abs(groupId.hashCode()) % 50`.
fn offsets_partition(group: &str) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % OFFSETS_PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_on_the_offsets_partition_that_java_computes() {
        // "foo".hashCode() = 101574, "group-0".hashCode() = 293428083
        assert_eq!(offsets_partition("foo"), 101_574 % 50);
        assert_eq!(offsets_partition(""), 0);
    }

    #[test]
    fn groups_are_spread_over_the_nodes_by_hash() {
        let placement = Placement::default();
        assert_eq!(placement.coordinator("g", &[], |_| true), None);
        assert_eq!(placement.coordinator("g", &[4], |_| true), Some(4));
        assert_eq!(
            placement.coordinator("foo", &[3, 1, 2], |_| true),
            Some([1, 2, 3][(101_574 % 50) % 3])
        );
    }

    #[test]
    fn only_the_groups_of_a_dead_node_move() {
        let placement = Placement::default();
        let groups: Vec<String> = (0..30).map(|n| format!("group-{n}")).collect();
        let before = groups
            .iter()
            .map(|group| placement.coordinator(group, &[1, 2, 3], |_| true).unwrap());
        for (group, home) in groups.iter().zip(before) {
            let now = placement.coordinator(group, &[1, 2, 3], |node| node != 2).unwrap();
            assert_eq!(now, if home == 2 { 3 } else { home });
        }
        assert_eq!(placement.coordinator("foo", &[1, 2, 3], |_| false), None);
    }

    #[test]
    fn a_moved_group_falls_back_to_its_hash_when_its_node_is_down() {
        let mut placement = Placement::default();
        let home = placement.coordinator("foo", &[1, 2], |_| true).unwrap();
        placement.move_to("foo", 3 - home);
        assert_eq!(placement.coordinator("foo", &[1, 2], |_| true), Some(3 - home));
        assert_eq!(placement.coordinator("foo", &[1, 2], |node| node == home), Some(home));
    }
}
