//! OffsetForLeaderEpoch (KIP-320): where a leader epoch ended. Pure functions.

use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    ApiKey, BrokerId, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::connection::{CallError, CallErrorKind};
use crate::protocol::{ErrorCode, Recovery, TopicPartition};

const OFFSET_FOR_LEADER_EPOCH: i16 = ApiKey::OffsetForLeaderEpoch as i16;

/// Asks where `epoch` ended; `current` is the leader epoch that we know.
pub(super) fn request(partition: &TopicPartition, epoch: i32, current: i32) -> OffsetForLeaderEpochRequest {
    let question = OffsetForLeaderPartition::default()
        .with_partition(partition.partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(TopicName(StrBytes::from_string(partition.topic.to_string())))
        .with_partitions(vec![question]);
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
}

/// What an answer says.
pub(super) enum Answer {
    /// Where it ended; `None` if the leader does not know the epoch, which says nothing about the records.
    End(Option<i64>),
    /// Look who leads now, and ask again.
    Again(CallError),
}

/// Reads the answer about `partition`.
///
/// # Errors
/// Refused for good, or not mentioned.
pub(super) fn answered(
    partition: &TopicPartition,
    response: &OffsetForLeaderEpochResponse,
) -> Result<Answer, CallError> {
    let topic = response
        .topics
        .iter()
        .find(|topic| topic.topic.as_str() == &*partition.topic);
    let told = topic.and_then(|topic| {
        topic
            .partitions
            .iter()
            .find(|told| told.partition == partition.partition)
    });
    let Some(told) = told else {
        let error = CallError::new(CallErrorKind::Protocol, "the answer does not mention it");
        return Err(error.with_api(OFFSET_FOR_LEADER_EPOCH));
    };
    let code = ErrorCode(told.error_code);
    if code.is_ok() {
        return Ok(Answer::End((told.end_offset >= 0).then_some(told.end_offset)));
    }
    let refused = CallError::refused(OFFSET_FOR_LEADER_EPOCH, code, None);
    match code.recovery() {
        Recovery::Retry | Recovery::RefreshMetadata => Ok(Answer::Again(refused)),
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};

    use super::*;

    fn response(code: ErrorCode, end: i64) -> OffsetForLeaderEpochResponse {
        let told = EpochEndOffset::default()
            .with_partition(2)
            .with_error_code(code.0)
            .with_end_offset(end);
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![told]);
        OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
    }

    #[test]
    fn an_undefined_end_is_not_an_end() {
        let tp = TopicPartition::new("t", 2);
        assert!(matches!(
            answered(&tp, &response(ErrorCode::NONE, 17)),
            Ok(Answer::End(Some(17)))
        ));
        assert!(matches!(
            answered(&tp, &response(ErrorCode::NONE, -1)),
            Ok(Answer::End(None))
        ));
    }

    #[test]
    fn a_moved_leader_is_asked_again_and_a_refusal_is_final() {
        let tp = TopicPartition::new("t", 2);
        let moved = response(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        assert!(matches!(answered(&tp, &moved), Ok(Answer::Again(_))));
        assert!(answered(&tp, &response(ErrorCode::TOPIC_AUTHORIZATION_FAILED, -1)).is_err());
        assert!(answered(&TopicPartition::new("t", 3), &response(ErrorCode::NONE, 1)).is_err());
    }
}
