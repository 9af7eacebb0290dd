//! OffsetFetch: one group per request up to version 7, many from version 8 on (KIP-709).

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_wire::ErrorCode;

use super::shard::GroupShard;

/// From this version on groups are batched.
const BATCHES_GROUPS: i16 = 8;

/// One partition's answer, before it takes the shape of a version.
struct Fetched {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    error: ErrorCode,
}

impl GroupShard {
    /// Handles OffsetFetch. A group that does not exist has committed nothing.
    pub fn fetch_offsets(&self, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let stable = request.require_stable;
        if version >= BATCHES_GROUPS {
            let groups = request.groups.into_iter().map(|group| self.fetch_group(group, stable));
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        let wanted = request
            .topics
            .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = self
            .fetch_topics(&request.group_id, wanted, stable)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|f| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(f.partition)
                        .with_committed_offset(f.offset)
                        .with_committed_leader_epoch(f.leader_epoch)
                        .with_metadata(Some(f.metadata.into()))
                        .with_error_code(f.error.0)
                });
                OffsetFetchResponseTopic::default()
                    .with_name(name)
                    .with_partitions(partitions.collect())
            });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }

    /// One group of a batched request.
    pub fn fetch_group(&self, group: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
        let wanted = group
            .topics
            .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = self
            .fetch_topics(&group.group_id, wanted, stable)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|f| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(f.partition)
                        .with_committed_offset(f.offset)
                        .with_committed_leader_epoch(f.leader_epoch)
                        .with_metadata(Some(f.metadata.into()))
                        .with_error_code(f.error.0)
                });
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions.collect())
            });
        let topics = topics.collect();
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_topics(topics)
    }

    /// `wanted`: topics and partitions; `None` asks for all the group has committed.
    fn fetch_topics(
        &self,
        group: &str,
        wanted: Option<Vec<(TopicName, Vec<i32>)>>,
        stable: bool,
    ) -> Vec<(TopicName, Vec<Fetched>)> {
        let all = || {
            let committed = self.offsets.partitions(group).into_iter();
            committed
                .map(|(topic, partitions)| (TopicName(topic.into()), partitions))
                .collect()
        };
        let wanted: Vec<(TopicName, Vec<i32>)> = wanted.unwrap_or_else(all);
        let topics = wanted.into_iter().map(|(topic, partitions)| {
            let fetched = partitions
                .into_iter()
                .map(|p| self.fetch_one(group, &topic, p, stable))
                .collect();
            (topic, fetched)
        });
        topics.collect()
    }

    fn fetch_one(&self, group: &str, topic: &str, partition: i32, stable: bool) -> Fetched {
        let nothing = |error| Fetched {
            partition,
            offset: -1,
            leader_epoch: -1,
            metadata: String::new(),
            error,
        };
        if stable && self.offsets.is_unstable(group, topic, partition) {
            return nothing(ErrorCode::UNSTABLE_OFFSET_COMMIT);
        }
        match self.offsets.get(group, topic, partition) {
            None => nothing(ErrorCode::NONE),
            Some(committed) => Fetched {
                partition,
                offset: committed.offset,
                leader_epoch: committed.leader_epoch,
                metadata: committed.metadata.clone(),
                error: ErrorCode::NONE,
            },
        }
    }
}
