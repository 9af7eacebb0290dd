//! Metadata, v0-13: brokers, topics and leaders (KIP-516: by topic id from v12).

use std::ops::RangeInclusive;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use kafka_wire::{ErrorCode, TopicId};
use uuid::Uuid;

use crate::broker::cluster::{Partition, Topic, invalid_reason, is_internal};
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=13;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 9,
    fields: &[
        structs::<MetadataRequestTopic>(&[fixed(16).since(10), text()]),
        fixed(1).since(4),
        fixed(1).since(8).until(10),
        fixed(1).since(8),
    ],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: MetadataRequest,
) -> Served<MetadataResponse> {
    let topics = match requested(call, &request) {
        Requested::Nonsense => return Served::Hangup,
        Requested::All => state
            .cluster
            .topics()
            .map(|topic| describe(state, call, topic))
            .collect(),
        Requested::Named(names) => {
            let may_create = state.config.auto_create_topics && request.allow_auto_topic_creation;
            names
                .into_iter()
                .map(|name| by_name(state, call, &name, may_create))
                .collect()
        }
        Requested::Ids(ids) => ids.into_iter().map(|id| by_id(state, call, id)).collect(),
    };
    let brokers = state.cluster.live_nodes().map(|node| {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(node.id));
        broker
            .with_host(super::text(&node.host))
            .with_port(i32::from(node.port))
    });
    let response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(super::text(&state.cluster.cluster_id)))
        .with_controller_id(BrokerId(state.cluster.controller()))
        .with_topics(topics);
    Served::Answer(response)
}

enum Requested {
    All,
    Named(Vec<String>),
    Ids(Vec<Uuid>),
    /// A request that Kafka answers by closing the connection.
    Nonsense,
}

fn requested(call: &Call, request: &MetadataRequest) -> Requested {
    let Some(topics) = &request.topics else {
        return Requested::All;
    };
    if topics.is_empty() && call.version == 0 {
        return Requested::All;
    }
    let ids: Vec<Uuid> = topics
        .iter()
        .map(|topic| topic.topic_id)
        .filter(|id| !id.is_nil())
        .collect();
    let names: Option<Vec<String>> = topics
        .iter()
        .map(|topic| topic.name.as_ref().map(|name| name.to_string()))
        .collect();
    match (ids.is_empty(), names) {
        (true, Some(names)) => Requested::Named(names),
        (false, _) if call.since(12) => Requested::Ids(ids),
        _ => Requested::Nonsense,
    }
}

fn by_name(state: &mut State, call: &Call, name: &str, may_create: bool) -> MetadataResponseTopic {
    if let Some(topic) = state.cluster.topic(name) {
        return describe(state, call, topic);
    }
    if invalid_reason(name).is_some() {
        return failed(name, ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    if may_create && call.injected.is_none() {
        let (partitions, replicas) = (state.config.default_partitions, state.config.default_replication_factor);
        let config = state.cluster.topic_defaults();
        // The broker has handed the creation to the controller and does not know the leaders yet.
        return match state.cluster.create_topic(name, partitions, replicas, config) {
            Ok(_) => failed(name, ErrorCode::LEADER_NOT_AVAILABLE),
            Err(code) => failed(name, code),
        };
    }
    failed(name, call.injected.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
}

fn by_id(state: &State, call: &Call, id: Uuid) -> MetadataResponseTopic {
    let name = state.cluster.topic_name(TopicId(*id.as_bytes()));
    match name.and_then(|name| state.cluster.topic(name)) {
        Some(topic) => describe(state, call, topic),
        None => MetadataResponseTopic::default()
            .with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.0)
            .with_name(None)
            .with_topic_id(id),
    }
}

fn failed(name: &str, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(code.0)
        .with_name(Some(super::topic_name(name)))
        .with_is_internal(is_internal(name))
}

fn describe(state: &State, call: &Call, topic: &Topic) -> MetadataResponseTopic {
    if let Some(code) = call.injected {
        return failed(&topic.name, code);
    }
    let partitions = (0..)
        .zip(topic.partitions())
        .map(|(index, partition)| describe_partition(state, index, partition));
    MetadataResponseTopic::default()
        .with_name(Some(super::topic_name(&topic.name)))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
}

fn describe_partition(state: &State, index: i32, partition: &Partition) -> MetadataResponsePartition {
    let (live, offline): (Vec<i32>, Vec<i32>) = partition
        .replicas
        .iter()
        .copied()
        .partition(|replica| state.cluster.is_alive(*replica));
    let error = if partition.leader < 0 {
        ErrorCode::LEADER_NOT_AVAILABLE.0
    } else {
        0
    };
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(partition.leader))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(partition.replicas.iter().copied().map(BrokerId).collect())
        .with_isr_nodes(live.into_iter().map(BrokerId).collect())
        .with_offline_replicas(offline.into_iter().map(BrokerId).collect())
}
