//! LeaveGroup.

use kafka_protocol::messages::LeaveGroupRequest;
use kafka_wire::ErrorCode;

use super::super::{Caller, Ticket};
use super::fixture::Coordinator;

#[test]
fn the_others_rebalance_at_once_when_a_member_leaves() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let answer = c.leave(5, &[&ids[0]]);
    assert_eq!((answer.error_code, answer.members[0].error_code), (0, 0));
    assert_eq!(c.heartbeat(&ids[1], generation), ErrorCode::REBALANCE_IN_PROGRESS);
    let rejoined = c.join(&ids[1]);
    let answer = c.joined(rejoined);
    assert_eq!(
        (answer.generation_id, answer.leader.as_str()),
        (generation + 1, ids[1].as_str())
    );
}

#[test]
fn a_rebalance_goes_on_when_the_last_awaited_member_leaves_instead_of_rejoining() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let held = c.join(&ids[0]);
    assert!(c.is_held(held));
    c.leave(5, &[&ids[1]]);
    assert_eq!(c.joined(held).generation_id, generation + 1);
}

#[test]
fn a_batch_answers_each_member_for_itself() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    let pending = c.new_member_id();
    let answer = c.leave(3, &[&ids[0], "stranger", &pending]);
    let errors: Vec<ErrorCode> = answer.members.iter().map(|m| ErrorCode(m.error_code)).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::NONE]);
    assert_eq!(answer.members[1].member_id.as_str(), "stranger");
}

#[test]
fn before_version_3_the_answer_is_the_one_members() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(1);
    let answer = c.leave(2, &["stranger"]);
    assert_eq!(
        (ErrorCode(answer.error_code), answer.members.len()),
        (ErrorCode::UNKNOWN_MEMBER_ID, 0)
    );
    assert_eq!(c.leave(2, &[&ids[0]]).error_code, 0);
}

#[test]
fn leaving_a_group_that_does_not_exist_is_an_unknown_member() {
    let mut c = Coordinator::new();
    let answer = c.leave(5, &["app-1"]);
    assert_eq!(ErrorCode(answer.members[0].error_code), ErrorCode::UNKNOWN_MEMBER_ID);
    let caller = Caller {
        ticket: Ticket(0),
        api_version: 5,
        client_id: "",
        client_host: "",
    };
    let (outcome, answer) = c.shard.leave(c.now, &caller, LeaveGroupRequest::default());
    c.take(outcome);
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::INVALID_GROUP_ID);
}

#[test]
fn a_member_that_leaves_with_a_request_held_gets_it_refused() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(3);
    let joining = c.join(&ids[0]);
    c.leave(5, &[&ids[0]]);
    assert_eq!(c.join_error(joining), ErrorCode::UNKNOWN_MEMBER_ID);

    let rejoined = [c.join(&ids[1]), c.join(&ids[2])];
    let generation = rejoined.map(|ticket| c.joined(ticket).generation_id)[0];
    let syncing = c.sync(&ids[2], generation, &[]);
    c.leave(5, &[&ids[2]]);
    assert_eq!(c.sync_error(syncing), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn no_timer_outlives_the_last_member() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    c.leave(5, &[&ids[0], &ids[1]]);
    assert_eq!(c.shard.next_timeout(), None);
}
