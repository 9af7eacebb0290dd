//! Coordinators as clients meet them: who coordinates, what they hold back, what outlives them.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_wire::ErrorCode;

use super::*;
use crate::broker::LostTail;

fn coordinator(fixture: &mut Fixture, node: i32, version: i16) -> Coordinator {
    if version >= 4 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
        return fixture.call_node(node, version, &request).coordinators.remove(0);
    }
    let found = fixture.call_node(node, version, &FindCoordinatorRequest::default().with_key(text("g")));
    Coordinator::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_port(found.port)
}

fn join_request(member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"m"));
    JoinGroupRequest::default()
        .with_group_id(text("g").into())
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
}

/// Joins as the only member: first for a member id, then with it (KIP-394).
fn join(fixture: &mut Fixture, node: i32) -> JoinGroupResponse {
    let asked = fixture.call_node(node, 9, &join_request(""));
    assert_eq!(asked.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
    fixture.send(node, 9, &join_request(&asked.member_id));
    fixture.pass(Duration::from_millis(1));
    fixture
        .answer::<JoinGroupRequest>(9)
        .expect("the only member completes the rebalance")
}

#[test]
fn every_node_names_the_same_coordinator_in_every_version() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(3));
    let expected = coordinator(&mut fixture, 1, 6);
    for (node, version) in (1..=3).flat_map(|node| (0..=6).map(move |version| (node, version))) {
        let found = coordinator(&mut fixture, node, version);
        assert_eq!(
            (found.error_code, found.node_id, found.port),
            (0, expected.node_id, expected.port)
        );
    }
    let transactional = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text("x")]);
    assert_eq!(
        fixture.call(4, &transactional).coordinators[0].error_code,
        ErrorCode::INVALID_REQUEST.0
    );
}

#[test]
fn a_member_joins_syncs_and_is_held_alive_by_heartbeats() {
    let mut fixture = Fixture::new();
    let joined = join(&mut fixture, 1);
    assert_eq!(
        (joined.error_code, joined.generation_id, &joined.leader),
        (0, 1, &joined.member_id)
    );
    let sync = SyncGroupRequest::default()
        .with_group_id(text("g").into())
        .with_generation_id(1)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")));
    assert_eq!(fixture.call(5, &sync).error_code, 0);
    let beat = HeartbeatRequest::default()
        .with_group_id(text("g").into())
        .with_generation_id(1);
    let beat = beat.with_member_id(joined.member_id);
    for _ in 0..3 {
        fixture.pass(Duration::from_secs(9));
        assert_eq!(fixture.call(4, &beat).error_code, 0);
    }
    fixture.pass(Duration::from_secs(11));
    assert_eq!(
        fixture.call(4, &beat).error_code,
        ErrorCode::UNKNOWN_MEMBER_ID.0,
        "the session has expired"
    );
}

fn commit(partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(text("g").into())
        .with_topics(vec![topic]);
    request.with_generation_id_or_member_epoch(-1)
}

fn committed(fixture: &mut Fixture, node: i32) -> (ErrorCode, i64) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(name("t"))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(text("g").into())
        .with_topics(Some(vec![topic]));
    let response = fixture.call_node(node, 8, &OffsetFetchRequest::default().with_groups(vec![group]));
    let group = &response.groups[0];
    let offset = group
        .topics
        .first()
        .map_or(-2, |topic| topic.partitions[0].committed_offset);
    (ErrorCode(group.error_code), offset)
}

#[test]
fn offsets_are_committed_for_partitions_that_exist() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    assert_eq!(fixture.call(8, &commit(0, 42)).topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut fixture, 1), (ErrorCode::NONE, 42));
    let response = fixture.call(8, &commit(1, 42));
    assert_eq!(
        response.topics[0].partitions[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0
    );
}

#[test]
fn a_group_survives_the_crash_of_its_coordinator() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture.topic("t");
    let old = coordinator(&mut fixture, 1, 4).node_id.0;
    assert_eq!(
        fixture.call_node(old, 8, &commit(0, 42)).topics[0].partitions[0].error_code,
        0
    );
    fixture.core.crash(fixture.now, old, LostTail::Nothing);
    drop(fixture.output());
    let new = coordinator(&mut fixture, 3 - old, 4).node_id.0;
    assert_eq!(new, 3 - old);
    assert_eq!(committed(&mut fixture, new), (ErrorCode::NONE, 42));
}

#[test]
fn a_held_join_is_answered_not_coordinator_when_the_group_moves() {
    let mut config = BrokerConfig::with_brokers(2);
    config.groups.initial_rebalance_delay = Duration::from_secs(3);
    let mut fixture = Fixture::with(config);
    let old = coordinator(&mut fixture, 1, 4).node_id.0;
    let asked = fixture.call_node(old, 9, &join_request(""));
    fixture.send(old, 9, &join_request(&asked.member_id));
    assert_eq!(fixture.output(), None, "the initial delay holds it");
    fixture.core.move_coordinator(fixture.now, "g", 3 - old);
    let answer = fixture.answer::<JoinGroupRequest>(9).unwrap();
    assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR.0);
    assert_eq!(coordinator(&mut fixture, old, 4).node_id.0, 3 - old);
}
