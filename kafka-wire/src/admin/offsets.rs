//! ListOffsets: one request per leader, and what its answer means. Pure functions.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{AdminError, IsolationLevel, ListedOffset, OffsetSpec};
use crate::cluster::ClusterImage;
use crate::connection::{CallError, CallErrorKind};
use crate::protocol::{ErrorCode, Recovery, TopicPartition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;

/// What is asked of one leader: partition, timestamp, leader epoch known.
pub(super) type Question = (TopicPartition, i64, i32);

/// Sorts what is wanted by leader; what has none comes second.
pub(super) fn by_leader(
    image: &ClusterImage,
    wanted: &[(TopicPartition, OffsetSpec)],
) -> (BTreeMap<i32, Vec<Question>>, Vec<TopicPartition>) {
    let (mut leaders, mut leaderless) = (BTreeMap::<i32, Vec<Question>>::new(), Vec::new());
    for (partition, spec) in wanted {
        let timestamp = match *spec {
            OffsetSpec::Earliest => EARLIEST,
            OffsetSpec::Latest => LATEST,
            OffsetSpec::Timestamp(at) => at.max(0),
        };
        match image.leader(partition) {
            Some((node, epoch)) => leaders
                .entry(node)
                .or_default()
                .push((partition.clone(), timestamp, epoch)),
            None => leaderless.push(partition.clone()),
        }
    }
    (leaders, leaderless)
}

/// The request for one leader. Isolation exists from v2 on, leader epochs from v4 on (KIP-320).
pub(super) fn request(version: i16, questions: &[Question], isolation: IsolationLevel) -> ListOffsetsRequest {
    let mut topics = BTreeMap::<&str, Vec<ListOffsetsPartition>>::new();
    for (partition, timestamp, epoch) in questions {
        let question = ListOffsetsPartition::default()
            .with_partition_index(partition.partition)
            .with_timestamp(*timestamp)
            .with_current_leader_epoch(if version >= 4 { *epoch } else { -1 });
        topics.entry(&partition.topic).or_default().push(question);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    });
    let level = i8::from(version >= 2 && isolation == IsolationLevel::ReadCommitted);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(level)
        .with_topics(topics.collect())
}

/// Sorts an answer: offsets into `found`, questions to repeat after a metadata refresh into the result.
///
/// # Errors
/// Names the partition the leader refused for good.
pub(super) fn answered(
    questions: &[Question],
    response: &ListOffsetsResponse,
    found: &mut HashMap<TopicPartition, ListedOffset>,
) -> Result<Vec<(TopicPartition, CallError)>, AdminError> {
    let mut again = Vec::new();
    for (partition, ..) in questions {
        let topic = response
            .topics
            .iter()
            .find(|topic| topic.name.as_str() == &*partition.topic);
        let told = topic.and_then(|topic| {
            topic
                .partitions
                .iter()
                .find(|p| p.partition_index == partition.partition)
        });
        let Some(told) = told else {
            let source = CallError::new(CallErrorKind::Protocol, "the answer does not mention it");
            return Err(AdminError::new(partition, source.with_api(LIST_OFFSETS)));
        };
        let code = ErrorCode(told.error_code);
        if code.is_ok() {
            let listed = ListedOffset {
                offset: told.offset,
                leader_epoch: told.leader_epoch,
                timestamp: told.timestamp,
            };
            found.insert(partition.clone(), listed);
            continue;
        }
        let refused = CallError::refused(LIST_OFFSETS, code, None);
        match code.recovery() {
            Recovery::Retry | Recovery::RefreshMetadata => again.push((partition.clone(), refused)),
            _ => return Err(AdminError::new(partition, refused)),
        }
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    use kafka_protocol::protocol::Encodable;

    fn questions() -> Vec<Question> {
        (0..2)
            .map(|partition| (TopicPartition::new("clicks", partition), LATEST, 3))
            .collect()
    }

    fn response(codes: &[ErrorCode]) -> ListOffsetsResponse {
        let partitions = codes.iter().enumerate().map(|(index, code)| {
            let partition = ListOffsetsPartitionResponse::default().with_partition_index(index as i32);
            partition
                .with_error_code(code.0)
                .with_offset(100 + index as i64)
                .with_leader_epoch(3)
        });
        let name = TopicName(StrBytes::from_static_str("clicks"));
        let topic = ListOffsetsTopicResponse::default()
            .with_name(name)
            .with_partitions(partitions.collect());
        ListOffsetsResponse::default().with_topics(vec![topic])
    }

    #[test]
    fn a_moved_partition_is_asked_again_and_the_others_count() {
        let mut found = HashMap::new();
        let response = response(&[ErrorCode::NONE, ErrorCode::NOT_LEADER_OR_FOLLOWER]);
        let again = answered(&questions(), &response, &mut found).unwrap();
        assert_eq!(found[&TopicPartition::new("clicks", 0)].offset, 100);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].0, TopicPartition::new("clicks", 1));
    }

    #[test]
    fn a_final_refusal_and_silence_name_the_partition() {
        let refused = response(&[ErrorCode::NONE, ErrorCode::TOPIC_AUTHORIZATION_FAILED]);
        for response in [refused, response(&[ErrorCode::NONE])] {
            let error = answered(&questions(), &response, &mut HashMap::new()).unwrap_err();
            assert!(error.to_string().starts_with("clicks-1: ListOffsets"), "{error}");
        }
    }

    #[test]
    fn requests_can_be_encoded_in_every_version() {
        let mut bytes = bytes::BytesMut::new();
        for version in 1..=10 {
            request(version, &questions(), IsolationLevel::ReadCommitted)
                .encode(&mut bytes, version)
                .unwrap();
        }
    }
}
