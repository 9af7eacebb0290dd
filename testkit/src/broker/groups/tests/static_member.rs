//! Static members (KIP-345).

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest};
use kafka_wire::ErrorCode;

use super::super::{Caller, Ticket};
use super::fixture::{Coordinator, SESSION, commit_request, group_id, join_request, sync_request};

fn request(member_id: &str, instance: &str) -> JoinGroupRequest {
    join_request(member_id, &["range"]).with_group_instance_id(Some(instance.to_owned().into()))
}

/// Two static members; the first leads. Their member ids.
fn stable(c: &mut Coordinator) -> (i32, String, String) {
    let first = c.send_join(9, request("", "left"));
    let second = c.send_join(9, request("", "right"));
    c.advance(std::time::Duration::ZERO);
    let (first, second) = (c.joined(first), c.joined(second));
    let (left, right) = (first.member_id.to_string(), second.member_id.to_string());
    c.sync(&left, first.generation_id, &[(&left, "l"), (&right, "r")]);
    c.sync(&right, first.generation_id, &[]);
    (first.generation_id, left, right)
}

fn restart(c: &mut Coordinator, version: i16, instance: &str) -> JoinGroupResponse {
    let ticket = c.send_join(version, request("", instance));
    c.joined(ticket)
}

#[test]
fn a_static_member_joins_at_once_under_an_id_made_of_its_instance_id() {
    let mut c = Coordinator::new();
    let (_, left, _) = stable(&mut c);
    assert!(left.starts_with("left-"), "{left}");
}

#[test]
fn the_leader_is_told_the_instance_ids() {
    let mut c = Coordinator::new();
    let ticket = c.send_join(9, request("", "left"));
    c.advance(std::time::Duration::ZERO);
    assert_eq!(c.joined(ticket).members[0].group_instance_id.as_deref(), Some("left"));
}

#[test]
fn a_restarted_follower_keeps_generation_and_assignment_under_a_new_member_id() {
    let mut c = Coordinator::new();
    let (generation, left, old) = stable(&mut c);
    let answer = restart(&mut c, 9, "right");
    assert_eq!((answer.error_code, answer.generation_id), (0, generation));
    assert_ne!(answer.member_id.as_str(), old);
    assert!(!answer.skip_assignment && answer.members.is_empty());
    let ticket = c.sync(&answer.member_id, generation, &[]);
    assert_eq!(c.synced(ticket).assignment, "r");
    assert_eq!(c.heartbeat(&left, generation), ErrorCode::NONE, "nobody else noticed");
}

#[test]
fn a_restarted_leader_is_told_not_to_assign_again() {
    let mut c = Coordinator::new();
    let (generation, old, _) = stable(&mut c);
    let answer = restart(&mut c, 9, "left");
    assert!(answer.skip_assignment);
    assert_eq!(
        (answer.leader.as_str(), answer.members.len()),
        (answer.member_id.as_str(), 2)
    );
    let answer = restart(&mut c, 8, "left");
    assert_ne!(
        answer.leader, answer.member_id,
        "a client that cannot skip must not believe it leads"
    );
    assert_ne!(answer.leader.as_str(), old);
    assert_eq!((answer.generation_id, answer.members.len()), (generation, 0));
}

#[test]
fn the_process_that_was_replaced_is_fenced() {
    let mut c = Coordinator::new();
    let (generation, _, old) = stable(&mut c);
    restart(&mut c, 9, "right");
    let instance = || Some("right".into());
    let rejoin = c.send_join(9, request(&old, "right"));
    assert_eq!(c.join_error(rejoin), ErrorCode::FENCED_INSTANCE_ID);
    let sync = c.send_sync(sync_request(&old, generation, &[]).with_group_instance_id(instance()));
    assert_eq!(c.sync_error(sync), ErrorCode::FENCED_INSTANCE_ID);
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group_id())
        .with_member_id(old.clone().into())
        .with_group_instance_id(instance())
        .with_generation_id(generation);
    assert_eq!(
        ErrorCode(c.shard.heartbeat(c.now, &heartbeat).error_code),
        ErrorCode::FENCED_INSTANCE_ID
    );
    let commit = commit_request(&old, generation, 1).with_group_instance_id(instance());
    let answer = c.send_commit(9, commit);
    assert_eq!(
        ErrorCode(answer.topics[0].partitions[0].error_code),
        ErrorCode::FENCED_INSTANCE_ID
    );
}

#[test]
fn a_held_join_of_the_replaced_process_is_fenced_and_the_new_one_waits_in_its_place() {
    let mut c = Coordinator::new();
    let (generation, left, right) = stable(&mut c);
    let old = c.send_join(9, request(&left, "left"));
    let new = c.send_join(9, request("", "left"));
    assert_eq!(c.join_error(old), ErrorCode::FENCED_INSTANCE_ID);
    assert!(c.is_held(new));
    let other = c.send_join(9, request(&right, "right"));
    assert_eq!(c.joined(new).generation_id, generation + 1);
    assert_eq!(c.joined(other).generation_id, generation + 1);
}

#[test]
fn a_restart_while_the_assignment_is_awaited_is_a_rebalance() {
    let mut c = Coordinator::new();
    let first = c.send_join(9, request("", "left"));
    let second = c.send_join(9, request("", "right"));
    c.advance(std::time::Duration::ZERO);
    let left = c.joined(first);
    let right = c.joined(second);
    let held = c.sync(&right.member_id, 1, &[]);
    let new = c.send_join(9, request("", "right"));
    assert_eq!(c.sync_error(held), ErrorCode::FENCED_INSTANCE_ID);
    let rejoined = c.send_join(9, request(&left.member_id, "left"));
    assert_eq!((c.joined(new).generation_id, c.joined(rejoined).generation_id), (2, 2));
}

#[test]
fn a_restart_with_protocols_that_change_the_choice_is_a_rebalance() {
    let mut c = Coordinator::new();
    let both =
        |instance| join_request("", &["range", "sticky"]).with_group_instance_id(Some(String::from(instance).into()));
    let first = c.send_join(9, both("left"));
    c.advance(std::time::Duration::ZERO);
    let first = c.joined(first);
    c.sync(&first.member_id, 1, &[]);
    let changed = join_request("", &["sticky"]).with_group_instance_id(Some("left".into()));
    let ticket = c.send_join(9, changed);
    let answer = c.joined(ticket);
    assert_eq!(
        (answer.generation_id, answer.protocol_name.as_deref()),
        (2, Some("sticky"))
    );
}

#[test]
fn a_static_member_that_does_not_rejoin_stays_until_its_session_expires() {
    let mut c = Coordinator::new();
    let (generation, left, right) = stable(&mut c);
    let held = c.send_join(9, request(&left, "left").with_rebalance_timeout_ms(1_000));
    let waiting = c.send_join(9, request(&right, "right").with_rebalance_timeout_ms(1_000));
    assert_eq!(
        (c.joined(held).generation_id, c.joined(waiting).generation_id),
        (generation + 1, generation + 1)
    );
    let next = generation + 1;
    c.sync(&left, next, &[]);
    c.sync(&right, next, &[]);

    let held = c.send_join(9, request(&left, "left").with_rebalance_timeout_ms(1_000));
    c.advance(std::time::Duration::from_secs(1));
    assert_eq!(c.joined(held).members.len(), 2, "the absent one keeps its place");
    c.advance(SESSION);
    assert_eq!(c.heartbeat(&right, next + 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut c = Coordinator::new();
    let (generation, left, right) = stable(&mut c);
    let by_instance = |id: &str| MemberIdentity::default().with_group_instance_id(Some(id.to_owned().into()));
    let request = LeaveGroupRequest::default()
        .with_group_id(group_id())
        .with_members(vec![by_instance("right"), by_instance("nobody")]);
    let caller = Caller {
        ticket: Ticket(0),
        api_version: 5,
        client_id: "admin",
        client_host: "",
    };
    let (outcome, answer) = c.shard.leave(c.now, &caller, request);
    c.take(outcome);
    let errors: Vec<ErrorCode> = answer.members.iter().map(|m| ErrorCode(m.error_code)).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(c.heartbeat(&left, generation), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(c.heartbeat(&right, generation), ErrorCode::UNKNOWN_MEMBER_ID);
}
