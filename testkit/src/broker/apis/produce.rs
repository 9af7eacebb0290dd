//! Produce, v3-13 (KIP-98, KIP-467 record errors, KIP-951 leader hints, KIP-516 topic ids from v13).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_wire::{ErrorCode, TopicId};

use crate::broker::api::Api;
use crate::broker::cluster::is_internal;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::log::{AppendError, AppendInfo};
use crate::broker::wire::{Shape, blob, fixed, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 3..=13;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 9,
    fields: &[
        text(),
        fixed(2),
        fixed(4),
        structs::<TopicProduceData>(&[
            text().until(12),
            fixed(16).since(13),
            structs::<PartitionProduceData>(&[fixed(4), blob()]),
        ]),
    ],
};

const LEADER_HINTS_SINCE: i16 = 10;
const TOPIC_IDS_SINCE: i16 = 13;
/// The client id that may write to internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT: &str = "__admin_client";
const ACKS_ALL: i16 = -1;

pub(super) fn serve(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    request: ProduceRequest,
) -> Served<ProduceResponse> {
    let acks = request.acks;
    let mut leaders = BTreeSet::new();
    let mut failed = false;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = name_of(state, call, &topic);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for partition in &topic.partition_data {
            let result = match &name {
                Some(name) => append(state, faults, call, acks, name, partition),
                None => Err(AppendError::new(ErrorCode::UNKNOWN_TOPIC_ID, "unknown topic id")),
            };
            let answer = report(state, call, name.as_deref(), partition.index, result, &mut leaders);
            failed |= answer.error_code != 0;
            partitions.push(answer);
        }
        let answer = TopicProduceResponse::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id);
        responses.push(answer.with_partition_responses(partitions));
    }
    match (acks, failed) {
        (0, true) => Served::Hangup,
        (0, false) => Served::Silent,
        _ => {
            let response = ProduceResponse::default().with_responses(responses);
            Served::Answer(response.with_node_endpoints(endpoints(state, &leaders)))
        }
    }
}

fn name_of(state: &State, call: &Call, topic: &TopicProduceData) -> Option<String> {
    if !call.since(TOPIC_IDS_SINCE) {
        return Some(topic.name.to_string());
    }
    state
        .cluster
        .topic_name(TopicId(*topic.topic_id.as_bytes()))
        .map(|name| name.to_string())
}

fn append(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    acks: i16,
    topic: &str,
    data: &PartitionProduceData,
) -> Result<AppendInfo, AppendError> {
    let refuse = |code: ErrorCode, why: &str| Err(AppendError::new(code, why));
    if let Some(code) = call
        .injected
        .or_else(|| faults.take_error(call.node, Api::Produce, topic, data.index))
    {
        return refuse(code, "injected");
    }
    if !(-1..=1).contains(&acks) {
        return refuse(ErrorCode::INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1");
    }
    let live: Vec<i32> = state.cluster.live_nodes().map(|node| node.id).collect();
    let Some((config, partition)) = state.cluster.partition_mut(topic, data.index) else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "no such topic partition");
    };
    if is_internal(topic) && call.client_id != ADMIN_CLIENT {
        return refuse(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "clients may not write to internal topics",
        );
    }
    if partition.leader != call.node {
        return refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER, "not the leader");
    }
    let in_sync = partition
        .replicas
        .iter()
        .filter(|replica| live.contains(replica))
        .count();
    if acks == ACKS_ALL && i32::try_from(in_sync).unwrap_or(i32::MAX) < config.min_insync_replicas {
        return refuse(
            ErrorCode::NOT_ENOUGH_REPLICAS,
            "fewer replicas are in sync than min.insync.replicas",
        );
    }
    let records = data.records.clone().unwrap_or_default();
    let epoch = partition.leader_epoch;
    let info = partition
        .log
        .append(&records, config, epoch, call.now.unix_ms, call.version)?;
    state.parked.note_change(topic, data.index);
    match call.injected_after {
        Some(code) => refuse(code, "injected after the append"),
        None => Ok(info),
    }
}

fn report(
    state: &State,
    call: &Call,
    topic: Option<&str>,
    index: i32,
    result: Result<AppendInfo, AppendError>,
    leaders: &mut BTreeSet<i32>,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    let partition = topic.and_then(|topic| state.cluster.partition(topic, index));
    let log_start = partition.map_or(-1, |partition| partition.log.start_offset());
    let error = match result {
        Ok(info) => {
            let placed = answer
                .with_base_offset(info.base_offset)
                .with_log_append_time_ms(info.log_append_time);
            return placed.with_log_start_offset(log_start);
        }
        Err(error) => error,
    };
    let mut answer = answer
        .with_error_code(error.code.0)
        .with_base_offset(-1)
        .with_log_start_offset(-1);
    if !error.records.is_empty() {
        let blamed = error.records.iter().map(|record| {
            let message = Some(super::text(&record.message));
            BatchIndexAndErrorMessage::default()
                .with_batch_index(record.index)
                .with_batch_index_error_message(message)
        });
        answer = answer
            .with_log_start_offset(log_start)
            .with_record_errors(blamed.collect());
        answer = answer.with_error_message(Some(super::text(&error.message)));
    }
    if error.code == ErrorCode::NOT_LEADER_OR_FOLLOWER
        && call.since(LEADER_HINTS_SINCE)
        && let Some(partition) = partition
    {
        let (leader, epoch) = (partition.leader, partition.leader_epoch);
        leaders.insert(leader);
        let hint = LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch);
        answer = answer.with_current_leader(hint);
    }
    answer
}

fn endpoints(state: &State, leaders: &BTreeSet<i32>) -> Vec<NodeEndpoint> {
    let endpoint = |leader: &i32| {
        let address = state.address(*leader)?;
        let node = NodeEndpoint::default().with_node_id(BrokerId(*leader));
        Some(node.with_host(address.host).with_port(address.port))
    };
    leaders.iter().filter_map(endpoint).collect()
}
