//! SyncGroup.

use std::time::Duration;

use kafka_wire::ErrorCode;

use super::fixture::{Coordinator, REBALANCE, join_request, sync_request};

/// Two members of generation 1, waiting for the leader's assignment.
fn completing() -> (Coordinator, String, String) {
    let mut c = Coordinator::new();
    let (a, b) = (c.new_member_id(), c.new_member_id());
    let tickets = [c.join(&a), c.join(&b)];
    c.advance(Duration::ZERO);
    for ticket in tickets {
        assert_eq!(c.joined(ticket).generation_id, 1);
    }
    (c, a, b)
}

#[test]
fn followers_are_held_until_the_leader_brings_the_assignment() {
    let (mut c, leader, follower) = completing();
    let held = c.sync(&follower, 1, &[]);
    assert!(c.is_held(held));
    let own = c.sync(&leader, 1, &[(&leader, "left"), (&follower, "right")]);
    assert_eq!(c.synced(own).assignment, "left");
    let answer = c.synced(held);
    assert_eq!(answer.assignment, "right");
    assert_eq!(answer.protocol_name.as_deref(), Some("range"));
}

#[test]
fn a_follower_that_comes_after_the_leader_gets_its_assignment_at_once_and_again() {
    let (mut c, leader, follower) = completing();
    c.sync(&leader, 1, &[(&follower, "right")]);
    for _ in 0..2 {
        let ticket = c.sync(&follower, 1, &[]);
        assert_eq!(c.synced(ticket).assignment, "right");
    }
}

#[test]
fn a_member_the_leader_forgot_gets_an_empty_assignment() {
    let (mut c, leader, follower) = completing();
    c.sync(&leader, 1, &[(&leader, "all"), ("a stranger", "none of its business")]);
    let ticket = c.sync(&follower, 1, &[]);
    let answer = c.synced(ticket);
    assert_eq!((answer.error_code, answer.assignment.len()), (0, 0));
}

#[test]
fn a_sync_of_another_generation_an_unknown_member_or_another_protocol_is_refused() {
    let (mut c, leader, _) = completing();
    for (request, error) in [
        (sync_request(&leader, 0, &[]), ErrorCode::ILLEGAL_GENERATION),
        (sync_request(&leader, 2, &[]), ErrorCode::ILLEGAL_GENERATION),
        (sync_request("stranger", 1, &[]), ErrorCode::UNKNOWN_MEMBER_ID),
        (
            sync_request(&leader, 1, &[]).with_protocol_name(Some("sticky".into())),
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            sync_request(&leader, 1, &[]).with_protocol_type(None),
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            sync_request(&leader, 1, &[]).with_group_id(Default::default()),
            ErrorCode::INVALID_GROUP_ID,
        ),
    ] {
        let ticket = c.send_sync(request);
        assert_eq!(c.sync_error(ticket), error);
    }
    let mut empty = Coordinator::new();
    let ticket = empty.sync(&leader, 1, &[]);
    assert_eq!(empty.sync_error(ticket), ErrorCode::UNKNOWN_MEMBER_ID, "no such group");
}

#[test]
fn a_member_joining_while_the_assignment_is_awaited_sends_the_waiting_back_to_join() {
    let (mut c, leader, follower) = completing();
    let held = c.sync(&follower, 1, &[]);
    let newcomer = c.new_member_id();
    let joining = c.join(&newcomer);
    assert_eq!(c.sync_error(held), ErrorCode::REBALANCE_IN_PROGRESS);
    let late = c.sync(&leader, 1, &[(&leader, "all")]);
    assert_eq!(c.sync_error(late), ErrorCode::REBALANCE_IN_PROGRESS);
    let rejoining = [c.join(&leader), c.join(&follower)];
    for ticket in rejoining.into_iter().chain([joining]) {
        assert_eq!(c.joined(ticket).generation_id, 2);
    }
}

#[test]
fn members_that_never_send_sync_group_are_out_after_the_rebalance_timeout() {
    let (mut c, leader, follower) = completing();
    let own = c.sync(&leader, 1, &[(&leader, "left"), (&follower, "right")]);
    assert_eq!(c.sync_error(own), ErrorCode::NONE);
    for _ in 0..60 {
        assert_eq!(c.heartbeat(&leader, 1), ErrorCode::NONE);
        assert_eq!(
            c.heartbeat(&follower, 1),
            ErrorCode::NONE,
            "heartbeats do not replace SyncGroup"
        );
        c.advance(REBALANCE / 60);
    }
    assert_eq!(c.heartbeat(&leader, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(c.heartbeat(&follower, 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_held_sync_keeps_a_member_alive() {
    let (mut c, leader, follower) = completing();
    let held = c.sync(&follower, 1, &[]);
    for _ in 0..30 {
        assert_eq!(c.heartbeat(&leader, 1), ErrorCode::NONE);
        c.advance(Duration::from_secs(1));
    }
    c.sync(&leader, 1, &[(&follower, "right")]);
    assert_eq!(c.synced(held).assignment, "right");
    c.advance(Duration::from_secs(9));
    assert_eq!(
        c.heartbeat(&follower, 1),
        ErrorCode::NONE,
        "its session began anew with the answer"
    );
}

#[test]
fn a_member_with_changed_metadata_sends_the_group_back_to_join_while_the_assignment_is_awaited() {
    let (mut c, leader, follower) = completing();
    let held = c.sync(&follower, 1, &[]);
    let joining = c.send_join(9, join_request(&leader, &["range", "sticky"]));
    assert_eq!(c.sync_error(held), ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(c.is_held(joining));
}
