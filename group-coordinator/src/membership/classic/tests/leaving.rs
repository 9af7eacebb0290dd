//! Out of the group.

use super::*;

#[test]
fn a_member_gives_up_everything_then_leaves() {
    let mut rig = Rig::stable();
    rig.member.handle_leave(rig.now);
    let revocation = rig.revoke();
    assert_eq!(rig.request(), None);
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::NONE);
    rig.member.revocation_complete(rig.now, revocation);
    let ticket = rig.leave();
    assert_eq!(rig.member.lease_deadline(), None);
    rig.member.handle_left(rig.now, ticket, answer(ErrorCode::NONE));
    assert_eq!(rig.member.outcome(), Some(&Ok(())));
    assert_eq!((rig.request(), rig.member.next_timeout()), (None, None));
}

#[test]
fn a_rebalance_while_leaving_does_not_revoke_twice() {
    let mut rig = Rig::stable();
    rig.member.handle_leave(rig.now);
    rig.revoke();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!((rig.event(), rig.member.state()), (None, State::Leaving));
}

#[test]
fn a_revocation_under_way_is_what_leaving_waits_for() {
    let (mut rig, revocation) = Rig::preparing();
    rig.member.handle_leave(rig.now);
    assert_eq!((rig.event(), rig.request()), (None, None));
    rig.member.revocation_complete(rig.now, revocation);
    rig.leave();
}

#[test]
fn a_member_that_does_not_give_up_in_time_loses_and_leaves() {
    let mut rig = Rig::stable();
    rig.member.handle_leave(rig.now);
    rig.revoke();
    for _ in 0..20 {
        rig.pass(3 * SECOND);
        if rig.member.owned().is_empty() {
            break;
        }
        rig.heartbeat_answered(ErrorCode::NONE);
    }
    rig.assert_lost("rebalance timeout");
    rig.leave();
}

#[test]
fn a_member_without_an_id_has_nothing_to_leave() {
    let mut rig = Rig::new();
    rig.member.handle_leave(rig.now);
    assert_eq!(rig.member.outcome(), Some(&Ok(())));
    assert_eq!(rig.request(), None);
}

#[test]
fn a_member_that_leaves_during_its_first_join_leaves_by_the_name_it_is_given() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member.handle_leave(rig.now);
    assert_eq!(rig.request(), None);
    let required = JoinGroupResponse::default()
        .with_error_code(ErrorCode::MEMBER_ID_REQUIRED.0)
        .with_member_id(StrBytes::from_static_str("m-1"));
    rig.member.handle_join(rig.now, ticket, answer(required));
    rig.leave();
}

#[test]
fn a_member_that_leaves_during_a_later_join_does_not_wait_for_it() {
    let (mut rig, revocation) = Rig::preparing();
    rig.member.revocation_complete(rig.now, revocation);
    let (join, _) = rig.join();
    rig.member.handle_leave(rig.now);
    let left = rig.leave();
    rig.member.handle_join(rig.now, join, answer(follower()));
    assert_eq!(rig.member.state(), State::Leaving);
    rig.member.handle_left(rig.now, left, answer(ErrorCode::NONE));
    assert_eq!(rig.member.outcome(), Some(&Ok(())));
}

#[test]
fn a_leader_that_leaves_while_it_waits_to_look_at_the_cluster_again_makes_no_plan_any_more() {
    let mut rig = Rig::new();
    let (join, _) = rig.join();
    rig.member.handle_join(rig.now, join, answer(leader()));
    let Some(MemberRequest::Partitions { ticket, .. }) = rig.request() else {
        panic!("a leader looks at the cluster");
    };
    let unseen = Err(Failure::Transport("no broker".into()));
    rig.member.handle_partitions(rig.now, ticket, unseen);
    let look_again = rig.member.next_timeout().unwrap();
    rig.member.handle_leave(rig.now);
    let left = rig.leave();
    assert_eq!(rig.member.next_timeout(), None, "it waits for nothing but the answer");
    rig.pass(look_again - rig.now);
    assert_eq!(rig.request(), None);
    rig.member.handle_left(rig.now, left, answer(ErrorCode::NONE));
    assert_eq!(rig.member.outcome(), Some(&Ok(())));
}

#[test]
fn a_static_member_keeps_its_place() {
    let mut rig = Rig::with(GroupConfig::new("group", ["input"]).with_instance_id("i-1"));
    rig.become_stable();
    rig.member.handle_leave(rig.now);
    let revocation = rig.revoke();
    rig.member.revocation_complete(rig.now, revocation);
    assert_eq!(rig.request(), None);
    assert_eq!(rig.member.outcome(), Some(&Ok(())));
}

#[test]
fn whoever_is_unknown_to_the_group_has_left_it() {
    for code in [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::FENCED_INSTANCE_ID] {
        let mut rig = Rig::new();
        rig.become_syncing();
        rig.sync();
        rig.member.handle_leave(rig.now);
        let ticket = rig.leave();
        rig.member.handle_left(rig.now, ticket, answer(code));
        assert_eq!(rig.member.outcome(), Some(&Ok(())));
    }
}

#[test]
fn leaving_is_tried_three_times_and_then_said_to_have_failed() {
    let mut rig = Rig::new();
    rig.become_syncing();
    rig.sync();
    rig.member.handle_leave(rig.now);
    for attempt in 1..=3 {
        let ticket = rig.leave();
        rig.member
            .handle_left(rig.now, ticket, answer(ErrorCode::NOT_COORDINATOR));
        assert!(rig.forgotten());
        if attempt < 3 {
            rig.pass_to_next_timeout();
        }
    }
    assert!(matches!(rig.member.outcome(), Some(Err(_))));
}
