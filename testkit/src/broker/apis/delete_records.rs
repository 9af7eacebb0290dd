//! DeleteRecords, v0-2: moves a partition's log start forward (KIP-107).

use std::ops::RangeInclusive;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use kafka_wire::ErrorCode;

use crate::broker::api::Api;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=2;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 2,
    fields: &[
        structs::<DeleteRecordsTopic>(&[text(), structs::<DeleteRecordsPartition>(&[fixed(4), fixed(8)])]),
        fixed(4),
    ],
};

/// Asks for everything up to the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn serve(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    request: DeleteRecordsRequest,
) -> Served<DeleteRecordsResponse> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            match delete(state, faults, call, &topic.name, asked) {
                Ok(low_watermark) => answer.with_low_watermark(low_watermark),
                Err(code) => answer.with_error_code(code.0).with_low_watermark(-1),
            }
        });
        let partitions = partitions.collect();
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    Served::Answer(DeleteRecordsResponse::default().with_topics(topics))
}

fn delete(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let index = asked.partition_index;
    if let Some(code) = call
        .injected
        .or_else(|| faults.take_error(call.node, Api::DeleteRecords, topic, index))
    {
        return Err(code);
    }
    let found = state.cluster.partition_mut(topic, index);
    let (config, partition) = found.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if partition.leader != call.node {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    if !config.delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let end = partition.high_watermark();
    let offset = if asked.offset == HIGH_WATERMARK {
        end
    } else {
        asked.offset
    };
    if !(0..=end).contains(&offset) {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    partition.log.delete_before(offset);
    let low_watermark = partition.log.start_offset();
    state.parked.note_change(topic, index);
    Ok(low_watermark)
}
