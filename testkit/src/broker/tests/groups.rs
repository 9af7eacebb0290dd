//! Consumer groups by their frames, in every version that is served.

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_wire::ErrorCode;

use super::*;
use crate::broker::Api;
use crate::broker::LostTail;
use crate::broker::apis::served_versions;

const TOPIC: &str = "in";

fn group() -> GroupId {
    GroupId(text("clicks"))
}

fn join_request(version: i16, member_id: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 {
        request.with_rebalance_timeout_ms(60_000)
    } else {
        request
    }
}

fn sync_request(version: i16, member_id: &StrBytes, generation: i32) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_generation_id(generation)
        .with_assignments(vec![assignment]);
    if version >= 5 {
        return request
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")));
    }
    request
}

fn heartbeat_request(member_id: &StrBytes, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_generation_id(generation)
}

fn leave_request(version: i16, member_id: &StrBytes) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    if version < 3 {
        return request.with_member_id(member_id.clone());
    }
    request.with_members(vec![MemberIdentity::default().with_member_id(member_id.clone())])
}

fn commit_request(member_id: &StrBytes, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name(TOPIC))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic])
}

fn fetch_offsets_request(version: i16) -> OffsetFetchRequest {
    if version >= 8 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(name(TOPIC))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]));
        return OffsetFetchRequest::default().with_groups(vec![group]);
    }
    let topic = OffsetFetchRequestTopic::default()
        .with_name(name(TOPIC))
        .with_partition_indexes(vec![0]);
    OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]))
}

impl Fixture {
    /// Joins as a new member with this version; the answer to the last request.
    fn join(&mut self, version: i16) -> kafka_protocol::messages::JoinGroupResponse {
        self.send(1, version, &join_request(version, &StrBytes::new()));
        self.pass(Duration::ZERO);
        let answer = self.answer::<JoinGroupRequest>(version).unwrap();
        if ErrorCode(answer.error_code) != ErrorCode::MEMBER_ID_REQUIRED {
            return answer;
        }
        self.send(1, version, &join_request(version, &answer.member_id));
        self.pass(Duration::ZERO);
        self.answer::<JoinGroupRequest>(version).unwrap()
    }

    /// The only member of a stable group.
    fn member(&mut self) -> (StrBytes, i32) {
        let joined = self.join(9);
        let synced = self.call(5, &sync_request(5, &joined.member_id, joined.generation_id));
        assert_eq!(synced.error_code, 0);
        (joined.member_id, joined.generation_id)
    }
}

#[test]
fn a_member_joins_syncs_stays_and_leaves_in_every_version() {
    for join in served_versions(Api::JoinGroup) {
        let mut fixture = Fixture::new();
        let joined = fixture.join(join);
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "JoinGroup v{join}");
        for version in served_versions(Api::SyncGroup) {
            let synced = fixture.call(version, &sync_request(version, &joined.member_id, 1));
            assert_eq!(
                (synced.error_code, &synced.assignment[..]),
                (0, &b"all"[..]),
                "SyncGroup v{version}"
            );
        }
        for version in served_versions(Api::Heartbeat) {
            let answer = fixture.call(version, &heartbeat_request(&joined.member_id, 1));
            assert_eq!(answer.error_code, 0, "Heartbeat v{version}");
        }
        let version = join.min(*served_versions(Api::LeaveGroup).end());
        let left = fixture.call(version, &leave_request(version, &joined.member_id));
        assert_eq!(left.error_code, 0, "LeaveGroup v{version}");
        let gone = fixture.call(0, &heartbeat_request(&joined.member_id, 1));
        assert_eq!(ErrorCode(gone.error_code), ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

#[test]
fn a_refused_join_can_be_read_in_every_version() {
    let mut fixture = Fixture::new();
    for version in served_versions(Api::JoinGroup) {
        let request = join_request(version, &text("nobody"));
        let answer = fixture.call(version, &request);
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::UNKNOWN_MEMBER_ID, "v{version}");
        assert_eq!(answer.generation_id, -1);
    }
}

#[test]
fn a_commit_is_found_in_every_version() {
    let mut fixture = Fixture::new();
    fixture.topic(TOPIC);
    let (member, generation) = fixture.member();
    for (offset, version) in (10..).zip(served_versions(Api::OffsetCommit)) {
        let answer = fixture.call(version, &commit_request(&member, generation, offset));
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "OffsetCommit v{version}");
        for version in served_versions(Api::OffsetFetch) {
            let answer = fixture.call(version, &fetch_offsets_request(version));
            let found = match version >= 8 {
                true => answer.groups[0].topics[0].partitions[0].committed_offset,
                false => answer.topics[0].partitions[0].committed_offset,
            };
            assert_eq!(found, offset, "OffsetFetch v{version}");
        }
    }
}

#[test]
fn a_commit_for_a_topic_that_does_not_exist_is_refused() {
    let mut fixture = Fixture::new();
    let (member, generation) = fixture.member();
    let answer = fixture.call(9, &commit_request(&member, generation, 1));
    let refused = &answer.topics[0].partitions[0];
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn a_node_that_is_not_the_coordinator_says_so_in_every_version() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture.topic(TOPIC);
    fixture.core.move_coordinator(fixture.now, "clicks", 2);
    let nobody = StrBytes::new();
    let expect = |code: i16, what: &str, version: i16| {
        assert_eq!(ErrorCode(code), ErrorCode::NOT_COORDINATOR, "{what} v{version}");
    };
    for version in served_versions(Api::JoinGroup) {
        let answer = fixture.call(version, &join_request(version, &nobody));
        expect(answer.error_code, "JoinGroup", version);
    }
    for version in served_versions(Api::SyncGroup) {
        let answer = fixture.call(version, &sync_request(version, &nobody, 1));
        expect(answer.error_code, "SyncGroup", version);
    }
    for version in served_versions(Api::Heartbeat) {
        let answer = fixture.call(version, &heartbeat_request(&nobody, 1));
        expect(answer.error_code, "Heartbeat", version);
    }
    for version in served_versions(Api::LeaveGroup) {
        let answer = fixture.call(version, &leave_request(version, &nobody));
        expect(answer.error_code, "LeaveGroup", version);
    }
    for version in served_versions(Api::OffsetCommit) {
        let answer = fixture.call(version, &commit_request(&nobody, -1, 1));
        expect(answer.topics[0].partitions[0].error_code, "OffsetCommit", version);
    }
    for version in served_versions(Api::OffsetFetch) {
        let answer = fixture.call(version, &fetch_offsets_request(version));
        let code = match version {
            1 => answer.topics[0].partitions[0].error_code,
            2..=7 => answer.error_code,
            _ => answer.groups[0].error_code,
        };
        expect(code, "OffsetFetch", version);
    }
    for version in served_versions(Api::DescribeGroups) {
        let answer = fixture.call(version, &DescribeGroupsRequest::default().with_groups(vec![group()]));
        expect(answer.groups[0].error_code, "DescribeGroups", version);
    }
    for version in served_versions(Api::DeleteGroups) {
        let answer = fixture.call(
            version,
            &DeleteGroupsRequest::default().with_groups_names(vec![group()]),
        );
        expect(answer.results[0].error_code, "DeleteGroups", version);
    }
}

#[test]
fn every_version_of_find_coordinator_leads_to_the_same_node() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(3));
    fixture.core.move_coordinator(fixture.now, "clicks", 3);
    for version in served_versions(Api::FindCoordinator) {
        let request = FindCoordinatorRequest::default();
        let node = if version >= 4 {
            let answer = fixture.call(version, &request.with_coordinator_keys(vec![text("clicks")]));
            answer.coordinators[0].node_id
        } else {
            fixture.call(version, &request.with_key(text("clicks"))).node_id
        };
        assert_eq!(node.0, 3, "v{version}");
    }
}

#[test]
fn a_group_is_described_listed_and_deleted_in_every_version() {
    let mut fixture = Fixture::new();
    let (member, _) = fixture.member();
    for version in served_versions(Api::DescribeGroups) {
        let answer = fixture.call(version, &DescribeGroupsRequest::default().with_groups(vec![group()]));
        let described = &answer.groups[0];
        assert_eq!(described.group_state.as_str(), "Stable", "DescribeGroups v{version}");
        assert_eq!(
            described.members[0].member_assignment, "all",
            "DescribeGroups v{version}"
        );
        assert_eq!(described.members[0].client_id.as_str(), "test");
    }
    for version in served_versions(Api::ListGroups) {
        let answer = fixture.call(version, &ListGroupsRequest::default());
        assert_eq!(answer.groups[0].group_id, group(), "ListGroups v{version}");
    }
    for version in served_versions(Api::DeleteGroups) {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
        let answer = fixture.call(version, &request);
        assert_eq!(
            ErrorCode(answer.results[0].error_code),
            ErrorCode::NON_EMPTY_GROUP,
            "v{version}"
        );
    }
    fixture.call(5, &leave_request(5, &member));
    let answer = fixture.call(2, &DeleteGroupsRequest::default().with_groups_names(vec![group()]));
    assert_eq!(answer.results[0].error_code, 0);
    assert!(fixture.call(5, &ListGroupsRequest::default()).groups.is_empty());
}

#[test]
fn a_coordinator_that_dies_takes_no_membership_with_it() {
    let mut fixture = Fixture::new();
    fixture.topic(TOPIC);
    let (member, generation) = fixture.member();
    assert_eq!(
        fixture.call(9, &commit_request(&member, generation, 7)).topics[0].partitions[0].error_code,
        0
    );
    fixture.core.crash(fixture.now, 1, LostTail::Nothing);
    while fixture.output().is_some() {}
    // Longer than the session timeout: nobody watches sessions while there is no coordinator.
    fixture.pass(Duration::from_secs(60));
    fixture.core.restart(fixture.now, 1);
    fixture.connections[0] = fixture.core.handle_connected(1).unwrap();
    assert_eq!(fixture.call(4, &heartbeat_request(&member, generation)).error_code, 0);
    let offsets = fixture.call(8, &fetch_offsets_request(8));
    assert_eq!(offsets.groups[0].topics[0].partitions[0].committed_offset, 7);
}
