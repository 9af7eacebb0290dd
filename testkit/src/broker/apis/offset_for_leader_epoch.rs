//! OffsetForLeaderEpoch, v2-4: where a leader epoch ended (KIP-101, KIP-320).

use std::ops::RangeInclusive;

use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use kafka_wire::ErrorCode;

use crate::broker::api::Api;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 2..=4;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        fixed(4).since(3),
        structs::<OffsetForLeaderTopic>(&[
            text(),
            structs::<OffsetForLeaderPartition>(&[fixed(4), fixed(4), fixed(4)]),
        ]),
    ],
};

const UNDEFINED: i32 = -1;

pub(super) fn serve(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> Served<OffsetForLeaderEpochResponse> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            match look_up(state, faults, call, &topic.topic, asked) {
                Ok((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                Err(code) => answer
                    .with_error_code(code.0)
                    .with_leader_epoch(UNDEFINED)
                    .with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions),
        );
    }
    Served::Answer(OffsetForLeaderEpochResponse::default().with_topics(topics))
}

fn look_up(
    state: &State,
    faults: &mut Faults,
    call: &Call,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    let index = asked.partition;
    if let Some(code) = call
        .injected
        .or_else(|| faults.take_error(call.node, Api::OffsetForLeaderEpoch, topic, index))
    {
        return Err(code);
    }
    let partition = state
        .cluster
        .partition(topic, index)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    partition.check_access(call.node, asked.current_leader_epoch, true)?;
    let log = &partition.log;
    Ok(log
        .epochs
        .end_of(asked.leader_epoch, log.end_offset())
        .unwrap_or((UNDEFINED, -1)))
}
