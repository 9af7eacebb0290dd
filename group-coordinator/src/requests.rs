//! Requests and answers as the machines see them: tickets, and the shapes that differ between versions.

use std::time::Duration;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    GroupId, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::{ErrorCode, TopicPartition};

use crate::config::GroupConfig;
use crate::error::Failure;

/// From version 10 on topics are ids, which a group of goka's does not need.
pub(crate) const OFFSET_COMMIT_MAX_VERSION: i16 = 9;
/// As for commits.
pub(crate) const OFFSET_FETCH_MAX_VERSION: i16 = 9;
/// Groups are asked for in batches from here on.
const OFFSET_FETCH_BATCHED_VERSION: i16 = 8;
/// `require_stable` exists from here on (KIP-447); older brokers know no open offsets.
const OFFSET_FETCH_STABLE_VERSION: i16 = 7;
/// Members leave in batches from here on.
const LEAVE_GROUP_BATCHED_VERSION: i16 = 3;
/// Kafka keeps no more of a reason (KIP-800).
const MAX_REASON_LEN: usize = 255;

/// Pairs an answer with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Issues tickets, each once.
#[derive(Debug, Default)]
pub(crate) struct Tickets(u64);

impl Tickets {
    pub(crate) fn next(&mut self) -> Ticket {
        self.0 += 1;
        Ticket(self.0)
    }
}

/// What came back, and from whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer<T> {
    /// The node asked, if it got that far.
    pub(crate) node: Option<i32>,
    pub(crate) result: Result<T, Failure>,
}

impl<T> Answer<T> {
    /// Reads the response.
    pub(crate) fn map<U>(self, read: impl FnOnce(T) -> Result<U, Failure>) -> Answer<U> {
        Answer {
            node: self.node,
            result: self.result.and_then(read),
        }
    }
}

/// What an OffsetFetch of any version says about one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FetchedOffsets {
    /// Of the group.
    pub(crate) code: ErrorCode,
    pub(crate) partitions: Vec<(TopicPartition, i64, ErrorCode)>,
}

pub(crate) fn group_id(config: &GroupConfig) -> GroupId {
    GroupId(StrBytes::from_string(config.group_id.clone()))
}

pub(crate) fn instance_id(config: &GroupConfig) -> Option<StrBytes> {
    config.instance_id.clone().map(StrBytes::from_string)
}

/// Durations were checked to fit by `GroupConfig::validate`.
pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

pub(crate) fn reason(text: &str) -> StrBytes {
    let end = text.floor_char_boundary(MAX_REASON_LEN);
    StrBytes::from_string(text[..end].to_owned())
}

pub(crate) fn leave_group(config: &GroupConfig, member_id: StrBytes, reason: &str, version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group_id(config));
    if version < LEAVE_GROUP_BATCHED_VERSION {
        return request.with_member_id(member_id);
    }
    let member = MemberIdentity::default()
        .with_member_id(member_id)
        .with_reason(Some(self::reason(reason)));
    request.with_members(vec![member])
}

/// The first code other than none.
pub(crate) fn leave_group_code(response: &LeaveGroupResponse) -> ErrorCode {
    let members = response.members.iter().map(|member| member.error_code);
    let code = std::iter::once(response.error_code)
        .chain(members)
        .find(|code| *code != ErrorCode::NONE.0);
    ErrorCode(code.unwrap_or(ErrorCode::NONE.0))
}

/// `offsets` in the order of their topics.
pub(crate) fn offset_commit<'a>(
    config: &GroupConfig,
    generation: i32,
    member_id: StrBytes,
    offsets: impl Iterator<Item = (&'a TopicPartition, &'a i64)>,
) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for (tp, offset) in offsets {
        if topics.last().is_none_or(|last| **last.name != *tp.topic) {
            topics.push(OffsetCommitRequestTopic::default().with_name(topic_name(&tp.topic)));
        }
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(tp.partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(StrBytes::default()));
        topics
            .last_mut()
            .expect("one was pushed if there was none")
            .partitions
            .push(partition);
    }
    OffsetCommitRequest::default()
        .with_group_id(group_id(config))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member_id)
        .with_group_instance_id(instance_id(config))
        .with_topics(topics)
}

/// `partitions` in the order of their topics.
pub(crate) fn offset_fetch(config: &GroupConfig, partitions: &[TopicPartition], version: i16) -> OffsetFetchRequest {
    let by_topic = partitions.chunk_by(|a, b| a.topic == b.topic).map(|chunk| {
        let numbers: Vec<i32> = chunk.iter().map(|tp| tp.partition).collect();
        (topic_name(&chunk[0].topic), numbers)
    });
    let request = OffsetFetchRequest::default().with_require_stable(version >= OFFSET_FETCH_STABLE_VERSION);
    if version < OFFSET_FETCH_BATCHED_VERSION {
        let topics = by_topic.map(|(name, numbers)| {
            OffsetFetchRequestTopic::default()
                .with_name(name)
                .with_partition_indexes(numbers)
        });
        return request
            .with_group_id(group_id(config))
            .with_topics(Some(topics.collect()));
    }
    let topics = by_topic.map(|(name, numbers)| {
        OffsetFetchRequestTopics::default()
            .with_name(name)
            .with_partition_indexes(numbers)
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(config))
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    request.with_groups(vec![group])
}

/// None if the answer is about another group. Groups are answered in batches where they were asked for in batches.
pub(crate) fn fetched_offsets(config: &GroupConfig, response: &OffsetFetchResponse) -> Option<FetchedOffsets> {
    let mut partitions = Vec::new();
    if response.groups.is_empty() {
        for topic in &response.topics {
            for found in &topic.partitions {
                let tp = TopicPartition::new(&**topic.name, found.partition_index);
                partitions.push((tp, found.committed_offset, ErrorCode(found.error_code)));
            }
        }
        return Some(FetchedOffsets {
            code: ErrorCode(response.error_code),
            partitions,
        });
    }
    let group = response
        .groups
        .iter()
        .find(|group| **group.group_id == *config.group_id)?;
    for topic in &group.topics {
        for found in &topic.partitions {
            let tp = TopicPartition::new(&**topic.name, found.partition_index);
            partitions.push((tp, found.committed_offset, ErrorCode(found.error_code)));
        }
    }
    Some(FetchedOffsets {
        code: ErrorCode(group.error_code),
        partitions,
    })
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::protocol::Encodable;

    fn config() -> GroupConfig {
        GroupConfig::new("group", ["a", "b"])
    }

    fn partitions() -> Vec<TopicPartition> {
        vec![
            TopicPartition::new("a", 0),
            TopicPartition::new("a", 1),
            TopicPartition::new("b", 0),
        ]
    }

    #[test]
    fn every_request_of_several_shapes_encodes_in_every_version() {
        for version in 0..=5 {
            let request = leave_group(&config(), StrBytes::from_static_str("m"), "done", version);
            request.encode(&mut BytesMut::new(), version).unwrap();
        }
        for version in 1..=OFFSET_FETCH_MAX_VERSION {
            offset_fetch(&config(), &partitions(), version)
                .encode(&mut BytesMut::new(), version)
                .unwrap();
        }
        let offsets: Vec<_> = partitions().into_iter().map(|tp| (tp, 7)).collect();
        for version in 2..=OFFSET_COMMIT_MAX_VERSION {
            let offsets = offsets.iter().map(|(tp, offset)| (tp, offset));
            let request = offset_commit(&config(), 3, StrBytes::from_static_str("m"), offsets);
            assert_eq!(request.topics.len(), 2);
            request.encode(&mut BytesMut::new(), version).unwrap();
        }
    }

    #[test]
    fn stable_offsets_are_required_wherever_the_broker_can_say_so() {
        assert!(!offset_fetch(&config(), &partitions(), 6).require_stable);
        assert!(offset_fetch(&config(), &partitions(), 7).require_stable);
        assert!(offset_fetch(&config(), &partitions(), 9).require_stable);
    }

    #[test]
    fn a_members_own_error_in_a_batched_leave_is_seen() {
        use kafka_protocol::messages::leave_group_response::MemberResponse;
        let member = MemberResponse::default().with_error_code(ErrorCode::UNKNOWN_MEMBER_ID.0);
        let response = LeaveGroupResponse::default().with_members(vec![member]);
        assert_eq!(leave_group_code(&response), ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(leave_group_code(&LeaveGroupResponse::default()), ErrorCode::NONE);
    }

    #[test]
    fn an_answer_about_another_group_is_no_answer() {
        use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
        let other = GroupId(StrBytes::from_static_str("other"));
        let response =
            OffsetFetchResponse::default().with_groups(vec![OffsetFetchResponseGroup::default().with_group_id(other)]);
        assert_eq!(fetched_offsets(&config(), &response), None);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(reason(&"é".repeat(200)).len(), 254);
    }
}
