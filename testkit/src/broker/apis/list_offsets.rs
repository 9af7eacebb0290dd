//! ListOffsets, v1-10: offsets by time, and the ends of the log (KIP-79, KIP-734 max timestamp, KIP-405 local log start).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_wire::ErrorCode;

use crate::broker::api::Api;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::log::{Found, PartitionLog};
use crate::broker::wire::{Shape, fixed, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=10;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        fixed(4),
        fixed(1).since(2),
        structs::<ListOffsetsTopic>(&[
            text(),
            structs::<ListOffsetsPartition>(&[fixed(4), fixed(4).since(4), fixed(8)]),
        ]),
        fixed(4).since(10),
    ],
};

const LEADER_EPOCHS_SINCE: i16 = 4;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const UNKNOWN: i64 = -1;

pub(super) fn serve(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    request: ListOffsetsRequest,
) -> Served<ListOffsetsResponse> {
    let mut seen = BTreeSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let first_time = seen.insert((topic.name.clone(), asked.partition_index));
            let result = match first_time {
                true => look_up(state, faults, call, &topic.name, asked),
                false => Err(ErrorCode::INVALID_REQUEST),
            };
            partitions.push(report(call, asked.partition_index, result));
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    Served::Answer(ListOffsetsResponse::default().with_topics(topics))
}

fn look_up(
    state: &State,
    faults: &mut Faults,
    call: &Call,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Found, ErrorCode> {
    let index = asked.partition_index;
    if let Some(code) = call
        .injected
        .or_else(|| faults.take_error(call.node, Api::ListOffsets, topic, index))
    {
        return Err(code);
    }
    if asked.timestamp < 0 && !is_served(asked.timestamp, call.version) {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    let partition = state
        .cluster
        .partition(topic, index)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let epoch = if call.since(LEADER_EPOCHS_SINCE) {
        asked.current_leader_epoch
    } else {
        -1
    };
    partition.check_access(call.node, epoch, true)?;
    let nothing = Found {
        offset: UNKNOWN,
        timestamp: UNKNOWN,
        leader_epoch: -1,
    };
    let log = &partition.log;
    Ok(match asked.timestamp {
        LATEST => Found {
            offset: log.end_offset(),
            timestamp: UNKNOWN,
            leader_epoch: partition.leader_epoch,
        },
        EARLIEST | EARLIEST_LOCAL => earliest(log),
        MAX_TIMESTAMP => log.find_max_timestamp().unwrap_or(nothing),
        LATEST_TIERED => nothing,
        timestamp => log.find_by_timestamp(timestamp).unwrap_or(nothing),
    })
}

fn is_served(timestamp: i64, version: i16) -> bool {
    match timestamp {
        LATEST | EARLIEST => true,
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        _ => false,
    }
}

fn earliest(log: &PartitionLog) -> Found {
    let offset = log.start_offset();
    Found {
        offset,
        timestamp: UNKNOWN,
        leader_epoch: log.epochs.epoch_of(offset).unwrap_or(-1),
    }
}

fn report(call: &Call, index: i32, result: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match result {
        Ok(found) => {
            let epoch = if call.since(LEADER_EPOCHS_SINCE) {
                found.leader_epoch
            } else {
                -1
            };
            answer
                .with_offset(found.offset)
                .with_timestamp(found.timestamp)
                .with_leader_epoch(epoch)
        }
        Err(code) => answer
            .with_error_code(code.0)
            .with_offset(UNKNOWN)
            .with_timestamp(UNKNOWN),
    }
}
