//! What Kafka's group coordinator answers.

use bytes::Buf;
use kafka_protocol::messages::{
    ApiKey, ConsumerProtocolAssignment, ConsumerProtocolSubscription, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::Decodable;
use kafka_wire::protocol::ErrorCode;

use super::{codec, exchanges};

#[test]
fn a_group_has_a_coordinator_with_an_address() {
    let (version, exchange) = &exchanges(ApiKey::FindCoordinator, "a member joins")[0];
    let (_, response) = codec::response::<FindCoordinatorRequest>(&exchange.response, *version).unwrap();
    let found = response.coordinators.iter().find(|c| c.error_code == 0).unwrap();
    assert_eq!((found.key.as_str(), found.host.as_str()), ("golden-group", "127.0.0.1"));
    assert!(found.port > 0 && found.node_id.0 >= 0);
}

#[test]
fn a_new_member_is_given_an_id_and_then_leads_the_first_generation() {
    let joins = exchanges(ApiKey::JoinGroup, "a member joins");
    let [(version, refused), (_, joined)] = joins.as_slice() else {
        panic!("{} joins", joins.len())
    };
    let (_, refused) = codec::response::<JoinGroupRequest>(&refused.response, *version).unwrap();
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::MEMBER_ID_REQUIRED);
    assert!(refused.member_id.starts_with("golden-"), "{}", refused.member_id);

    let (_, request) = codec::request::<JoinGroupRequest>(&joined.request, *version).unwrap();
    assert_eq!(request.member_id, refused.member_id);
    let (_, joined) = codec::response::<JoinGroupRequest>(&joined.response, *version).unwrap();
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.members[0].metadata, request.protocols[0].metadata);

    let mut metadata = joined.members[0].metadata.clone();
    let subscription_version = metadata.get_i16();
    let subscription = ConsumerProtocolSubscription::decode(&mut metadata, subscription_version).unwrap();
    assert_eq!(
        subscription.topics.iter().map(|t| t.as_str()).collect::<Vec<_>>(),
        ["golden"]
    );
}

#[test]
fn the_leader_gets_back_the_assignment_it_made() {
    let (version, exchange) = &exchanges(ApiKey::SyncGroup, "a member joins")[0];
    let (_, request) = codec::request::<SyncGroupRequest>(&exchange.request, *version).unwrap();
    let (_, response) = codec::response::<SyncGroupRequest>(&exchange.response, *version).unwrap();
    assert_eq!(response.error_code, 0);
    assert_eq!(response.assignment, request.assignments[0].assignment);

    let mut assignment = response.assignment.clone();
    let assignment_version = assignment.get_i16();
    let assignment = ConsumerProtocolAssignment::decode(&mut assignment, assignment_version).unwrap();
    assert_eq!(assignment.assigned_partitions[0].topic.as_str(), "golden");
    assert_eq!(assignment.assigned_partitions[0].partitions, [0, 1]);
}

#[test]
fn a_static_member_joins_under_its_instance_id() {
    let (version, exchange) = &exchanges(ApiKey::JoinGroup, "a static member joins")[0];
    let (_, request) = codec::request::<JoinGroupRequest>(&exchange.request, *version).unwrap();
    assert_eq!(request.group_instance_id.as_deref(), Some("instance-1"));
    let (_, response) = codec::response::<JoinGroupRequest>(&exchange.response, *version).unwrap();
    assert_eq!(response.error_code, 0, "no MEMBER_ID_REQUIRED");
    assert!(response.member_id.starts_with("instance-1-"), "{}", response.member_id);
    assert_eq!(response.members[0].group_instance_id.as_deref(), Some("instance-1"));
}

#[test]
fn a_heartbeat_a_leave_and_a_commit_are_accepted() {
    let (version, exchange) = &exchanges(ApiKey::Heartbeat, "a member joins")[0];
    let (_, heartbeat) = codec::response::<HeartbeatRequest>(&exchange.response, *version).unwrap();
    assert_eq!(heartbeat.error_code, 0);
    let (version, exchange) = &exchanges(ApiKey::LeaveGroup, "a member leaves")[0];
    let (_, left) = codec::response::<LeaveGroupRequest>(&exchange.response, *version).unwrap();
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    let (version, exchange) = &exchanges(ApiKey::OffsetCommit, "offsets are committed and read")[0];
    let (_, committed) = codec::response::<OffsetCommitRequest>(&exchange.response, *version).unwrap();
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
}

#[test]
fn a_committed_offset_is_found_and_an_uncommitted_one_is_minus_1() {
    let (version, exchange) = &exchanges(ApiKey::OffsetFetch, "offsets are committed and read")[0];
    let (_, request) = codec::request::<OffsetFetchRequest>(&exchange.request, *version).unwrap();
    assert!(
        request.require_stable,
        "offsets of open transactions must not be skipped over (KIP-447)"
    );
    let (_, response) = codec::response::<OffsetFetchRequest>(&exchange.response, *version).unwrap();
    let partitions = &response.groups[0].topics[0].partitions;
    let mut offsets: Vec<(i32, i64)> = partitions
        .iter()
        .map(|p| (p.partition_index, p.committed_offset))
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [(0, 2), (1, -1)]);
}
