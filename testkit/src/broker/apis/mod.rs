//! One file per API: its versions, the layout of its request, and the handler.
//!
//! A handler gets the cluster's [`State`], the faults in force and the decoded request, and says how it is answered. The
//! error an injected fault wants comes first; after that the order of checks is Kafka's (`KafkaApis`, `ControllerApis`).

mod api_versions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
pub(crate) mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_groups;
mod list_offsets;
pub(crate) mod membership;
mod metadata;
mod offset_for_leader_epoch;
mod offsets;
mod produce;

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::api::Api;
use super::config::BrokerConfig;
use super::core::{BrokerCore, Call, State};
use super::wire::{Malformed, Shape};

/// The versions of an API that the broker serves.
pub(crate) fn served_versions(api: Api) -> RangeInclusive<i16> {
    match api {
        Api::Produce => produce::VERSIONS,
        Api::Fetch => fetch::VERSIONS,
        Api::ListOffsets => list_offsets::VERSIONS,
        Api::Metadata => metadata::VERSIONS,
        Api::OffsetCommit => offsets::COMMIT_VERSIONS,
        Api::OffsetFetch => offsets::FETCH_VERSIONS,
        Api::FindCoordinator => find_coordinator::VERSIONS,
        Api::JoinGroup => membership::JOIN_VERSIONS,
        Api::Heartbeat => membership::HEARTBEAT_VERSIONS,
        Api::LeaveGroup => membership::LEAVE_VERSIONS,
        Api::SyncGroup => membership::SYNC_VERSIONS,
        Api::DescribeGroups => describe_groups::VERSIONS,
        Api::ListGroups => list_groups::VERSIONS,
        Api::ApiVersions => api_versions::VERSIONS,
        Api::CreateTopics => create_topics::VERSIONS,
        Api::DeleteTopics => delete_topics::VERSIONS,
        Api::DeleteRecords => delete_records::VERSIONS,
        Api::InitProducerId => init_producer_id::VERSIONS,
        Api::OffsetForLeaderEpoch => offset_for_leader_epoch::VERSIONS,
        Api::DescribeConfigs => describe_configs::VERSIONS,
        Api::DeleteGroups => delete_groups::VERSIONS,
        Api::DescribeCluster => describe_cluster::VERSIONS,
    }
}

/// The layout of an API's request.
pub(crate) fn shape(api: Api) -> &'static Shape {
    match api {
        Api::Produce => &produce::SHAPE,
        Api::Fetch => &fetch::SHAPE,
        Api::ListOffsets => &list_offsets::SHAPE,
        Api::Metadata => &metadata::SHAPE,
        Api::OffsetCommit => &offsets::COMMIT_SHAPE,
        Api::OffsetFetch => &offsets::FETCH_SHAPE,
        Api::FindCoordinator => &find_coordinator::SHAPE,
        Api::JoinGroup => &membership::JOIN_SHAPE,
        Api::Heartbeat => &membership::HEARTBEAT_SHAPE,
        Api::LeaveGroup => &membership::LEAVE_SHAPE,
        Api::SyncGroup => &membership::SYNC_SHAPE,
        Api::DescribeGroups => &describe_groups::SHAPE,
        Api::ListGroups => &list_groups::SHAPE,
        Api::ApiVersions => &api_versions::SHAPE,
        Api::CreateTopics => &create_topics::SHAPE,
        Api::DeleteTopics => &delete_topics::SHAPE,
        Api::DeleteRecords => &delete_records::SHAPE,
        Api::InitProducerId => &init_producer_id::SHAPE,
        Api::OffsetForLeaderEpoch => &offset_for_leader_epoch::SHAPE,
        Api::DescribeConfigs => &describe_configs::SHAPE,
        Api::DeleteGroups => &delete_groups::SHAPE,
        Api::DescribeCluster => &describe_cluster::SHAPE,
    }
}

/// The versions this cluster admits to: what it serves, unless it poses as an older broker.
pub(crate) fn advertised_versions(config: &BrokerConfig, api: Api) -> RangeInclusive<i16> {
    let served = served_versions(api);
    let Some(posed) = config.api_versions.get(&api) else {
        return served;
    };
    *served.start().max(posed.start())..=*served.end().min(posed.end())
}

/// Serves one request.
pub(crate) fn serve(core: &mut BrokerCore, call: &Call, body: Bytes) -> Result<(), Malformed> {
    if !advertised_versions(&core.state.config, call.api).contains(&call.version) {
        if call.api == Api::ApiVersions {
            return api_versions::refuse_version(core, call);
        }
        return Err(Malformed::UnsupportedVersion(call.api, call.version));
    }
    match call.api {
        Api::Produce => core.run(call, body, produce::serve),
        Api::Fetch => core.run(call, body, fetch::serve),
        Api::ListOffsets => core.run(call, body, list_offsets::serve),
        Api::Metadata => core.run(call, body, metadata::serve),
        Api::OffsetCommit => core.run(call, body, offsets::serve_commit),
        Api::OffsetFetch => core.run(call, body, offsets::serve_fetch),
        Api::FindCoordinator => core.run(call, body, find_coordinator::serve),
        Api::JoinGroup => core.run(call, body, membership::serve_join),
        Api::Heartbeat => core.run(call, body, membership::serve_heartbeat),
        Api::LeaveGroup => core.run(call, body, membership::serve_leave),
        Api::SyncGroup => core.run(call, body, membership::serve_sync),
        Api::DescribeGroups => core.run(call, body, describe_groups::serve),
        Api::ListGroups => core.run(call, body, list_groups::serve),
        Api::ApiVersions => core.run(call, body, api_versions::serve),
        Api::CreateTopics => core.run(call, body, create_topics::serve),
        Api::DeleteTopics => core.run(call, body, delete_topics::serve),
        Api::DeleteRecords => core.run(call, body, delete_records::serve),
        Api::InitProducerId => core.run(call, body, init_producer_id::serve),
        Api::OffsetForLeaderEpoch => core.run(call, body, offset_for_leader_epoch::serve),
        Api::DescribeConfigs => core.run(call, body, describe_configs::serve),
        Api::DeleteGroups => core.run(call, body, delete_groups::serve),
        Api::DescribeCluster => core.run(call, body, describe_cluster::serve),
    }
}

/// Where a node is reached, for answers that name brokers.
struct Address {
    host: StrBytes,
    port: i32,
}

impl State {
    fn address(&self, node: i32) -> Option<Address> {
        let node = self.cluster.node(node).filter(|node| node.alive)?;
        Some(Address {
            host: text(&node.host),
            port: i32::from(node.port),
        })
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
