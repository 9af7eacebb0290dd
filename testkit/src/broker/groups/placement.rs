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
    /// The node that coordinates `group`: the group's offsets partition, spread over the nodes in ascending order.
    /// `None` when there is no broker.
    pub fn coordinator(&self, group: &str, nodes: &[i32]) -> Option<i32> {
        if let Some(node) = self.moved.get(group).filter(|node| nodes.contains(node)) {
            return Some(*node);
        }
        let partition = usize::try_from(offsets_partition(group)).ok()?;
        let mut ordered = nodes.to_vec();
        ordered.sort_unstable();
        ordered.get(partition.checked_rem(ordered.len())?).copied()
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
    fn every_group_has_a_coordinator_as_long_as_there_is_a_broker() {
        let placement = Placement::default();
        assert_eq!(placement.coordinator("g", &[]), None);
        assert_eq!(placement.coordinator("g", &[4]), Some(4));
        assert_eq!(
            placement.coordinator("foo", &[3, 1, 2]),
            Some([1, 2, 3][(101_574 % 50) % 3])
        );
    }

    #[test]
    fn a_moved_group_falls_back_to_its_hash_when_its_node_is_gone() {
        let mut placement = Placement::default();
        let home = placement.coordinator("foo", &[1, 2]).unwrap();
        placement.move_to("foo", 3 - home);
        assert_eq!(placement.coordinator("foo", &[1, 2]), Some(3 - home));
        assert_eq!(placement.coordinator("foo", &[home]), Some(home));
    }
}
