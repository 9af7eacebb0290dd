//! OffsetCommit v2-9, OffsetFetch v1-9: handed to the group coordinator if this node is it (KIP-709: many groups).

use std::ops::RangeInclusive;

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse};
use kafka_wire::ErrorCode;

use super::membership::refusal;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, ints, structs, text};

pub(super) const COMMIT_VERSIONS: RangeInclusive<i16> = 2..=9;
pub(super) const COMMIT_SHAPE: Shape = Shape {
    flexible_since: 8,
    fields: &[
        text(),
        fixed(4),
        text(),
        text().since(7),
        fixed(8).until(4),
        structs::<OffsetCommitRequestTopic>(&[
            text(),
            structs::<OffsetCommitRequestPartition>(&[fixed(4), fixed(8), fixed(4).since(6), text()]),
        ]),
    ],
};
pub(super) const FETCH_VERSIONS: RangeInclusive<i16> = 1..=9;
pub(super) const FETCH_SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        text().until(7),
        structs::<OffsetFetchRequestTopic>(&[text(), ints()]).until(7),
        structs::<OffsetFetchRequestGroup>(&[
            text(),
            text().since(9),
            fixed(4).since(9),
            structs::<OffsetFetchRequestTopics>(&[text(), ints()]),
        ])
        .since(8),
        fixed(1).since(7),
    ],
};

const GROUP_ERROR_SINCE: i16 = 2;
const MANY_GROUPS_SINCE: i16 = 8;

pub(super) fn serve_commit(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    mut request: OffsetCommitRequest,
) -> Served<OffsetCommitResponse> {
    if let Some(code) = refusal(state, call, &request.group_id) {
        let topics = request
            .topics
            .iter()
            .map(|topic| refuse(topic, |_| true, code))
            .collect();
        return Served::Answer(OffsetCommitResponse::default().with_topics(topics));
    }
    let mut refused = Vec::new();
    for topic in &mut request.topics {
        let name = topic.name.to_string();
        let unknown = |partition: i32| state.cluster.partition(&name, partition).is_none();
        refused.push(refuse(topic, unknown, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        topic.partitions.retain(|partition| !unknown(partition.partition_index));
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    refused.retain(|topic| !topic.partitions.is_empty());
    let (outcome, mut answer) = state.groups.commit_offsets(call.now.instant, call.version, request);
    state.apply_groups(outcome);
    answer.topics.extend(refused);
    Served::Answer(answer)
}

fn refuse(topic: &OffsetCommitRequestTopic, which: impl Fn(i32) -> bool, code: ErrorCode) -> OffsetCommitResponseTopic {
    let indexes = topic
        .partitions
        .iter()
        .map(|partition| partition.partition_index)
        .filter(|index| which(*index));
    let refused = indexes.map(|index| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(code.0)
    });
    OffsetCommitResponseTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(refused.collect())
}

pub(super) fn serve_fetch(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    mut request: OffsetFetchRequest,
) -> Served<OffsetFetchResponse> {
    if !call.since(MANY_GROUPS_SINCE) {
        return Served::Answer(match refusal(state, call, &request.group_id) {
            Some(code) if call.since(GROUP_ERROR_SINCE) => OffsetFetchResponse::default().with_error_code(code.0),
            Some(code) => refuse_each(&request, code),
            None => state.groups.fetch_offsets(call.version, request),
        });
    }
    let mut refused = Vec::new();
    request
        .groups
        .retain(|group| match refusal(state, call, &group.group_id) {
            Some(code) => {
                let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
                refused.push(answer.with_error_code(code.0));
                false
            }
            None => true,
        });
    let mut answer = state.groups.fetch_offsets(call.version, request);
    answer.groups.extend(refused);
    Served::Answer(answer)
}

/// Version 1 has no error for the whole group: each partition carries it.
fn refuse_each(request: &OffsetFetchRequest, code: ErrorCode) -> OffsetFetchResponse {
    let partition = |index: &i32| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(*index)
            .with_committed_offset(-1)
            .with_error_code(code.0)
    };
    let topics = request.topics.iter().flatten().map(|topic| {
        OffsetFetchResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partition_indexes.iter().map(partition).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}
