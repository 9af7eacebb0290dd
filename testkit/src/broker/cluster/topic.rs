//! A topic and its partitions.

use std::sync::Arc;

use kafka_wire::{ErrorCode, TopicId};

use super::TopicConfig;
use crate::broker::log::PartitionLog;

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: TopicId,
    pub(crate) config: TopicConfig,
    partitions: Vec<Partition>,
}

/// One partition: who leads it, and its log.
#[derive(Debug)]
pub(crate) struct Partition {
    /// -1 if no replica is alive.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    /// The assigned brokers, the preferred leader first.
    pub(crate) replicas: Vec<i32>,
    pub(crate) log: PartitionLog,
}

impl Topic {
    pub(super) fn new(
        name: Arc<str>,
        id: TopicId,
        assignments: &[Vec<i32>],
        live: &[i32],
        config: TopicConfig,
    ) -> Self {
        let partition = |replicas: &Vec<i32>| {
            let leader = replicas
                .iter()
                .copied()
                .find(|replica| live.contains(replica))
                .unwrap_or(-1);
            Partition {
                leader,
                leader_epoch: 0,
                replicas: replicas.clone(),
                log: PartitionLog::new(),
            }
        };
        Self {
            name,
            id,
            config,
            partitions: assignments.iter().map(partition).collect(),
        }
    }

    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(super) fn partition_mut(&mut self, index: i32) -> Option<(&TopicConfig, &mut Partition)> {
        let partition = self.partitions.get_mut(usize::try_from(index).ok()?)?;
        Some((&self.config, partition))
    }

    pub(super) fn partitions_mut(&mut self) -> &mut [Partition] {
        &mut self.partitions
    }
}

impl Partition {
    /// A new leader, in a new leader epoch.
    pub(super) fn elect(&mut self, node: i32) {
        if !self.replicas.contains(&node) {
            let leader = self.leader;
            self.replicas.retain(|replica| *replica != leader);
            self.replicas.insert(0, node);
        }
        self.leader = node;
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
    }

    /// The last live replica is gone; the next leader starts another epoch.
    pub(super) fn lose_leader(&mut self) {
        self.leader = -1;
        self.leader_epoch += 1;
    }

    /// Whether this node answers for the partition, as `Partition.localLogWithEpochOrThrow` decides it. A follower
    /// serves consumers too when `leader_only` is false (KIP-392).
    ///
    /// # Errors
    ///
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    pub(crate) fn check_access(&self, node: i32, epoch: i32, leader_only: bool) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&node) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        // -1: the client does not know the epoch and wants no check.
        if epoch >= 0 && epoch < self.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if epoch > self.leader_epoch {
            return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
        }
        if leader_only && self.leader != node {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(())
    }

    /// The first offset consumers may not read yet. Every record is replicated at once, so it is the end of the log.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.log.end_offset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(replicas: &[i32]) -> Partition {
        Partition {
            leader: replicas[0],
            leader_epoch: 3,
            replicas: replicas.to_vec(),
            log: PartitionLog::new(),
        }
    }

    #[test]
    fn epochs_are_checked_before_leadership_as_kafka_does() {
        let partition = partition(&[1, 2]);
        assert_eq!(partition.check_access(1, 3, true), Ok(()));
        assert_eq!(partition.check_access(1, -1, true), Ok(()));
        assert_eq!(partition.check_access(1, 2, true), Err(ErrorCode::FENCED_LEADER_EPOCH));
        assert_eq!(partition.check_access(1, 4, true), Err(ErrorCode::UNKNOWN_LEADER_EPOCH));
        assert_eq!(partition.check_access(2, 2, true), Err(ErrorCode::FENCED_LEADER_EPOCH));
        assert_eq!(
            partition.check_access(2, 3, true),
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        );
        assert_eq!(partition.check_access(2, 3, false), Ok(()));
        assert_eq!(
            partition.check_access(3, 2, false),
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        );
    }

    #[test]
    fn a_leader_without_a_replica_takes_the_place_of_the_old_one() {
        let mut partition = partition(&[1, 2]);
        partition.elect(3);
        assert_eq!((partition.leader, partition.leader_epoch), (3, 4));
        assert_eq!(partition.replicas, [3, 2]);
        partition.elect(2);
        assert_eq!((partition.leader, partition.leader_epoch), (2, 5));
        assert_eq!(partition.replicas, [3, 2]);
    }
}
