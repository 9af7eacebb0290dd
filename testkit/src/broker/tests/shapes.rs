//! The layouts that guard the decoder fit what the protocol crate encodes, in every version of every API.

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;

use super::*;
use crate::broker::Api;
use crate::broker::apis::{served_versions, shape};

/// Encodes a request in every served version, fields permitting, and checks that the walk ends where the body does and
/// that every shorter body is refused.
fn check<R: Request>(api: Api, request: impl Fn(i16) -> R) {
    assert_eq!(R::KEY, api.key());
    for version in served_versions(api) {
        let mut body = Vec::new();
        request(version)
            .encode(&mut body, version)
            .unwrap_or_else(|error| panic!("{api:?} v{version}: {error}"));
        assert_eq!(shape(api).check(&body, version), Ok(()), "{api:?} v{version}");
        for end in 0..body.len() {
            assert!(
                shape(api).check(&body[..end], version).is_err(),
                "{api:?} v{version} cut to {end}"
            );
        }
    }
}

fn some_text() -> Option<StrBytes> {
    Some(text("some"))
}

#[test]
fn produce_and_fetch() {
    let batch = batch(&[("a", "1")]);
    check(Api::Produce, |_| {
        produce_request("topic", batch.clone()).with_transactional_id(Some(text("id").into()))
    });
    check(Api::Fetch, |version| {
        let forgotten = ForgottenTopic::default()
            .with_topic(name("other"))
            .with_partitions(vec![1, 2]);
        let request = fetch_request("topic", 5).with_rack_id(text("rack"));
        if version >= 7 {
            request.with_forgotten_topics_data(vec![forgotten])
        } else {
            request
        }
    });
}

#[test]
fn offsets_and_epochs() {
    check(Api::ListOffsets, |_| {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(name("topic"))
            .with_partitions(vec![partition.clone(), partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    });
    check(Api::OffsetForLeaderEpoch, |_| {
        let topic = OffsetForLeaderTopic::default().with_topic(name("topic"));
        let topic = topic.with_partitions(vec![OffsetForLeaderPartition::default()]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    });
    check(Api::DeleteRecords, |_| {
        let topic = DeleteRecordsTopic::default().with_name(name("topic"));
        DeleteRecordsRequest::default()
            .with_topics(vec![topic.with_partitions(vec![DeleteRecordsPartition::default()])])
    });
}

#[test]
fn cluster_and_topics() {
    check(Api::ApiVersions, |_| {
        ApiVersionsRequest::default().with_client_software_name(text("name"))
    });
    check(Api::Metadata, |_| {
        let topic = MetadataRequestTopic::default().with_name(Some(name("topic")));
        MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic]))
    });
    check(Api::Metadata, |version| {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        MetadataRequest::default().with_topics(topics)
    });
    check(Api::DescribeCluster, |_| DescribeClusterRequest::default());
    check(Api::CreateTopics, |_| {
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![1.into(), 2.into()]);
        let config = CreatableTopicConfig::default()
            .with_name(text("name"))
            .with_value(some_text());
        let topic = CreatableTopic::default().with_name(name("topic"));
        let topic = topic.with_assignments(vec![assignment]).with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic])
    });
    check(Api::DeleteTopics, |version| match version {
        6 => {
            let topic = DeleteTopicState::default().with_name(Some(name("topic")));
            DeleteTopicsRequest::default().with_topics(vec![topic])
        }
        _ => DeleteTopicsRequest::default().with_topic_names(vec![name("topic"), name("other")]),
    });
    check(Api::DescribeConfigs, |_| {
        let resource = DescribeConfigsResource::default().with_resource_name(text("topic"));
        let resource = resource.with_configuration_keys(Some(vec![text("a"), text("b")]));
        DescribeConfigsRequest::default().with_resources(vec![resource])
    });
    check(Api::InitProducerId, |_| {
        InitProducerIdRequest::default().with_transactional_id(Some(text("id").into()))
    });
}

#[test]
fn groups() {
    check(Api::FindCoordinator, |version| match version {
        0..=3 => FindCoordinatorRequest::default().with_key(text("group")),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("group"), text("other")]),
    });
    check(Api::JoinGroup, |version| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"m"));
        let request = JoinGroupRequest::default()
            .with_protocols(vec![protocol])
            .with_member_id(text("member"));
        if version >= 5 {
            request.with_group_instance_id(some_text())
        } else {
            request
        }
    });
    check(Api::SyncGroup, |_| {
        let assignment = SyncGroupRequestAssignment::default().with_assignment(Bytes::from_static(b"a"));
        SyncGroupRequest::default().with_assignments(vec![assignment.clone(), assignment])
    });
    check(Api::Heartbeat, |_| {
        HeartbeatRequest::default().with_member_id(text("member"))
    });
    check(Api::LeaveGroup, |version| match version {
        0..=2 => LeaveGroupRequest::default().with_member_id(text("member")),
        _ => LeaveGroupRequest::default().with_members(vec![MemberIdentity::default().with_member_id(text("member"))]),
    });
    check(Api::DescribeGroups, |_| {
        DescribeGroupsRequest::default().with_groups(vec![text("group").into()])
    });
    check(Api::DeleteGroups, |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![text("group").into()])
    });
    check(Api::ListGroups, |version| {
        let request = ListGroupsRequest::default();
        if version >= 4 {
            request.with_states_filter(vec![text("Stable")])
        } else {
            request
        }
    });
}

#[test]
fn committed_offsets() {
    check(Api::OffsetCommit, |_| {
        let partition = OffsetCommitRequestPartition::default().with_committed_metadata(some_text());
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("topic"))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(text("group").into())
            .with_topics(vec![topic])
    });
    check(Api::OffsetFetch, |version| match version {
        0..=7 => {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(name("topic"))
                .with_partition_indexes(vec![0, 1]);
            OffsetFetchRequest::default()
                .with_group_id(text("group").into())
                .with_topics(Some(vec![topic]))
        }
        _ => {
            let topic = OffsetFetchRequestTopics::default()
                .with_name(name("topic"))
                .with_partition_indexes(vec![0, 1]);
            let group = OffsetFetchRequestGroup::default().with_group_id(text("group").into());
            OffsetFetchRequest::default().with_groups(vec![group.with_topics(Some(vec![topic]))])
        }
    });
}
