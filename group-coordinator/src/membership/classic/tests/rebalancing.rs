//! Giving partitions up, and what commits and the cluster tell.

use super::*;

#[test]
fn everything_is_revoked_before_the_member_joins_again() {
    let (mut rig, revocation) = Rig::preparing();
    assert_eq!(rig.member.state(), State::PreparingRebalance);
    assert_eq!(rig.request(), None);
    assert_eq!(rig.member.owned(), input(&[0, 1]));
    rig.member.revocation_complete(rig.now, revocation);
    assert_eq!(rig.member.lease_deadline(), None);
    let (_, request) = rig.join();
    assert_eq!(request.member_id, *"m-1");
    assert_eq!(rig.event(), None);
}

#[test]
fn heartbeats_go_on_and_renew_the_lease_while_the_application_gives_up_its_partitions() {
    let (mut rig, _) = Rig::preparing();
    for _ in 0..10 {
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(rig.member.lease_deadline(), Some(rig.now + 45 * SECOND));
    }
    assert_eq!(rig.event(), None);
}

#[test]
fn whoever_gives_up_too_slowly_loses_before_the_broker_gives_up_on_him() {
    // The last answer without a rebalance was that to SyncGroup, three seconds before.
    let (mut rig, revocation) = Rig::preparing();
    for _ in 0..18 {
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
    }
    rig.pass(3 * SECOND - MS);
    assert_eq!(rig.event(), None);
    rig.pass(MS);
    rig.assert_lost("rebalance timeout");
    rig.join();
    rig.member.revocation_complete(rig.now, revocation);
    assert_eq!(rig.member.state(), State::Joining);
}

#[test]
fn an_expelled_member_in_the_middle_of_a_revocation_loses_instead() {
    let (mut rig, revocation) = Rig::preparing();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::UNKNOWN_MEMBER_ID);
    rig.assert_lost("UNKNOWN_MEMBER_ID");
    rig.join();
    rig.member.revocation_complete(rig.now, revocation);
    assert_eq!(rig.member.state(), State::Joining);
}

#[test]
fn the_lease_runs_out_in_the_middle_of_a_revocation_too() {
    let (mut rig, _) = Rig::preparing();
    rig.pass(3 * SECOND);
    rig.heartbeat();
    rig.pass(42 * SECOND);
    rig.assert_lost("session timeout");
    rig.join();
}

#[test]
fn a_late_answer_to_one_revocation_is_not_taken_for_that_of_the_next() {
    let (mut rig, first) = Rig::preparing();
    rig.member.revocation_complete(rig.now, first);
    rig.become_stable();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
    let second = rig.revoke();
    rig.member.revocation_complete(rig.now, first);
    assert_eq!(rig.member.state(), State::PreparingRebalance);
    rig.member.revocation_complete(rig.now, second);
    rig.join();
}

#[test]
fn a_member_that_owns_nothing_joins_at_once() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.assign(ticket, SyncGroupResponse::default());
    rig.event();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
    rig.join();
    assert_eq!(rig.event(), None);
}

#[test]
fn the_reason_of_a_rejoin_is_told_to_the_broker() {
    let (mut rig, revocation) = Rig::preparing();
    rig.member.revocation_complete(rig.now, revocation);
    let (_, request) = rig.join();
    assert_eq!(request.reason, Some(StrBytes::from_static_str("the group rebalances")));
}

#[test]
fn a_leader_joins_again_when_the_partitions_of_a_topic_change() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member.handle_join(rig.now, ticket, answer(leader()));
    let Some(MemberRequest::Partitions { ticket, .. }) = rig.request() else {
        panic!("no plan")
    };
    rig.member
        .handle_partitions(rig.now, ticket, Ok(cluster(&[("input", 2)])));
    let (ticket, _) = rig.sync();
    rig.assign(ticket, sync_response(&[0, 1]));
    rig.event();
    rig.member.handle_cluster(rig.now, |_| None);
    rig.member.handle_cluster(rig.now, |_| Some(2));
    assert_eq!(rig.event(), None);
    rig.member.handle_cluster(rig.now, |_| Some(4));
    rig.revoke();
}

#[test]
fn a_follower_leaves_changed_partitions_to_the_leader() {
    let mut rig = Rig::stable();
    rig.member.handle_cluster(rig.now, |_| Some(4));
    assert_eq!((rig.event(), rig.member.state()), (None, State::Stable));
}

#[test]
fn commits_tell_what_heartbeats_would() {
    let cases = [
        (ErrorCode::UNKNOWN_MEMBER_ID, State::Unjoined),
        (ErrorCode::ILLEGAL_GENERATION, State::Unjoined),
        (ErrorCode::REBALANCE_IN_PROGRESS, State::PreparingRebalance),
        (ErrorCode::FENCED_INSTANCE_ID, State::Fatal),
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, State::Fatal),
    ];
    for (code, state) in cases {
        let mut rig = Rig::stable();
        rig.member.handle_commit_refused(rig.now, GENERATION - 1, code);
        assert_eq!(rig.member.state(), State::Stable, "{code} of an older generation");
        rig.member.handle_commit_refused(rig.now, GENERATION, code);
        assert_eq!(rig.member.state(), state, "{code}");
        assert!(rig.event().is_some());
    }
}
