//! Heartbeats and session timeouts.

use std::time::Duration;

use kafka_protocol::messages::HeartbeatRequest;
use kafka_wire::ErrorCode;

use super::fixture::{Coordinator, SESSION};

#[test]
fn a_heartbeat_answers_what_the_group_is_doing() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    assert_eq!(c.heartbeat(&ids[1], generation), ErrorCode::NONE);
    assert_eq!(c.heartbeat(&ids[1], generation - 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(c.heartbeat("stranger", generation), ErrorCode::UNKNOWN_MEMBER_ID);
    let rejoined = c.join(&ids[0]);
    assert!(c.is_held(rejoined));
    assert_eq!(c.heartbeat(&ids[1], generation), ErrorCode::REBALANCE_IN_PROGRESS);
    let no_group = HeartbeatRequest::default();
    assert_eq!(
        ErrorCode(c.shard.heartbeat(c.now, &no_group).error_code),
        ErrorCode::INVALID_GROUP_ID
    );
}

#[test]
fn a_silent_member_is_out_after_its_session_timeout_and_the_others_rebalance() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    c.advance(SESSION - Duration::from_millis(1));
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::NONE);
    c.advance(Duration::from_millis(1));
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(c.heartbeat(&ids[1], generation), ErrorCode::UNKNOWN_MEMBER_ID);
    let (next, _) = c.rebalance(&ids[..1]);
    assert_eq!(next, generation + 1);
}

#[test]
fn heartbeats_keep_a_member_in_for_ever() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    for _ in 0..20 {
        c.advance(SESSION - Duration::from_millis(1));
        assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::NONE);
    }
}

#[test]
fn a_group_whose_last_member_fell_silent_is_empty() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    c.advance(SESSION);
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(
        c.commit("", -1, 5),
        ErrorCode::NONE,
        "an empty group takes anybody's commits"
    );
    assert_eq!(c.shard.next_timeout(), None);
}

#[test]
fn a_held_join_keeps_an_old_member_alive_but_a_new_one_only_for_five_minutes() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    let newcomer = c.new_member_id();
    let request = super::fixture::join_request(&newcomer, &["range"]).with_rebalance_timeout_ms(3_600_000);
    let held = c.send_join(9, request);
    for _ in 0..299 {
        c.advance(Duration::from_secs(1));
        assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
        assert!(c.is_held(held));
    }
    c.advance(Duration::from_secs(1));
    assert_eq!(c.join_error(held), ErrorCode::UNKNOWN_MEMBER_ID);
    let rejoined = c.join(&ids[0]);
    assert_eq!(c.joined(rejoined).generation_id, generation + 1);
}
