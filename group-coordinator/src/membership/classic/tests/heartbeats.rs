//! Heartbeats and the lease.

use super::*;

#[test]
fn heartbeats_go_out_every_interval_and_name_member_and_generation() {
    let mut rig = Rig::stable();
    for _ in 0..50 {
        assert_eq!(rig.request(), None);
        rig.pass(3 * SECOND);
        let (ticket, request) = rig.heartbeat();
        assert_eq!(
            (request.generation_id, request.member_id.to_string()),
            (GENERATION, "m-1".into())
        );
        rig.member.handle_heartbeat(rig.now, ticket, answer(ErrorCode::NONE));
    }
    assert_eq!(rig.event(), None);
}

#[test]
fn heartbeats_go_out_while_the_leader_plans() {
    let mut rig = Rig::new();
    rig.become_syncing();
    rig.sync();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(rig.member.state(), State::Syncing);
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::UNKNOWN_MEMBER_ID);
    let (_, request) = rig.join();
    assert!(request.member_id.is_empty());
}

#[test]
fn one_heartbeat_is_open_at_most() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    rig.heartbeat();
    rig.pass(10 * SECOND);
    assert_eq!(rig.request(), None);
}

#[test]
fn the_lease_counts_from_the_sending_of_the_last_answered_heartbeat() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    let sent = rig.now;
    let (ticket, _) = rig.heartbeat();
    rig.pass(2 * SECOND);
    rig.member.handle_heartbeat(rig.now, ticket, answer(ErrorCode::NONE));
    assert_eq!(rig.member.lease_deadline(), Some(sent + 45 * SECOND));
}

#[test]
fn a_rebalance_that_nobody_told_of_ends_the_lease_before_the_session_does() {
    let mut config = GroupConfig::new("group", ["input"]);
    config.rebalance_timeout = 10 * SECOND;
    let mut rig = Rig::with(config);
    rig.become_stable();
    rig.pass(3 * SECOND);
    let sent = rig.now;
    rig.heartbeat_answered(ErrorCode::NONE);
    assert_eq!(rig.member.lease_deadline(), Some(sent + 10 * SECOND));
    rig.pass(3 * SECOND);
    rig.heartbeat();
    rig.pass(7 * SECOND - MS);
    assert_eq!(rig.event(), None);
    rig.pass(MS);
    rig.assert_lost("rebalance timeout");
    assert_eq!(rig.member.lease_deadline(), None);
}

#[test]
fn a_lease_that_runs_out_loses_everything_and_joins_again_as_the_same_member() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    let (late, _) = rig.heartbeat();
    rig.pass(42 * SECOND - MS);
    assert_eq!(rig.event(), None);
    rig.pass(MS);
    rig.assert_lost("session timeout");
    assert_eq!(rig.member.generation(), NO_GENERATION);
    let (_, request) = rig.join();
    assert_eq!(request.member_id, *"m-1");
    rig.member.handle_heartbeat(rig.now, late, answer(ErrorCode::NONE));
    assert_eq!(rig.member.lease_deadline(), None);
    assert_eq!(rig.event(), None);
}

#[test]
fn an_answer_that_arrives_after_the_lease_cannot_bring_it_back() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    let (ticket, _) = rig.heartbeat();
    rig.now += 43 * SECOND;
    rig.member.handle_heartbeat(rig.now, ticket, answer(ErrorCode::NONE));
    rig.assert_lost("session timeout");
}

#[test]
fn an_assignment_that_arrives_after_the_lease_is_not_taken() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.pass(3 * SECOND);
    let (heartbeat, _) = rig.heartbeat();
    rig.pass(45 * SECOND);
    rig.member.handle_sync(rig.now, ticket, answer(sync_response(&[0])));
    assert_eq!(rig.request(), None, "one heartbeat is open at most");
    rig.member.handle_heartbeat(rig.now, heartbeat, answer(ErrorCode::NONE));
    assert_eq!(rig.event(), None);
    rig.join_later();
}

/// A stable group's coordinator answers a SyncGroup without restarting the session, since Kafka 4.
#[test]
fn an_assignment_counts_from_the_first_answered_heartbeat() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.member.handle_sync(rig.now, ticket, answer(sync_response(&[0])));
    assert_eq!((rig.event(), rig.member.lease_deadline()), (None, None));
    let (ticket, _) = rig.heartbeat();
    rig.member.handle_heartbeat(rig.now, ticket, no_answer());
    assert!(rig.forgotten());
    assert_eq!((rig.event(), rig.member.lease_deadline()), (None, None));
    rig.pass_to_next_timeout();
    let sent = rig.now;
    let (ticket, _) = rig.heartbeat();
    rig.pass(2 * SECOND);
    rig.member.handle_heartbeat(rig.now, ticket, answer(ErrorCode::NONE));
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0])));
    assert_eq!(rig.member.lease_deadline(), Some(sent + 45 * SECOND));
}

#[test]
fn what_an_old_broker_says_while_the_leader_plans_is_no_rebalance_once_the_plan_is_there() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (sync, _) = rig.sync();
    rig.pass(3 * SECOND);
    let (heartbeat, _) = rig.heartbeat();
    rig.pass(SECOND);
    rig.member.handle_sync(rig.now, sync, answer(sync_response(&[0])));
    rig.member
        .handle_heartbeat(rig.now, heartbeat, answer(ErrorCode::REBALANCE_IN_PROGRESS));
    assert_eq!((rig.event(), rig.member.state()), (None, State::Syncing));
    rig.heartbeat_answered(ErrorCode::NONE);
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0])));
}

#[test]
fn a_member_that_turns_out_to_be_none_never_owns_what_it_was_assigned() {
    for code in [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS] {
        let mut rig = Rig::new();
        rig.become_syncing();
        let (ticket, _) = rig.sync();
        rig.member.handle_sync(rig.now, ticket, answer(sync_response(&[0])));
        rig.heartbeat_answered(code);
        assert_eq!((rig.event(), rig.member.state()), (None, State::Unjoined));
        rig.join();
    }
}

#[test]
fn a_slow_plan_keeps_its_lease_by_heartbeats() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    for _ in 0..19 {
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(ErrorCode::NONE);
    }
    rig.member.handle_sync(rig.now, ticket, answer(sync_response(&[0])));
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0])));
    assert_eq!(rig.member.lease_deadline(), Some(rig.now + 45 * SECOND));
}

#[test]
fn a_heartbeat_without_an_answer_is_repeated_soon_at_a_coordinator_found_anew() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    let (ticket, _) = rig.heartbeat();
    rig.member.handle_heartbeat(rig.now, ticket, no_answer());
    assert!(rig.forgotten());
    assert_eq!(rig.request(), None);
    rig.pass(120 * MS);
    rig.heartbeat_answered(ErrorCode::NONE);
    assert_eq!((rig.event(), rig.member.state()), (None, State::Stable));
}

#[test]
fn coordinator_trouble_forgets_the_coordinator_and_keeps_the_partitions() {
    for code in [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR] {
        let mut rig = Rig::stable();
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(code);
        assert!(rig.forgotten());
        rig.pass(120 * MS);
        rig.heartbeat_answered(ErrorCode::NONE);
        assert_eq!(rig.event(), None);
    }
}

#[test]
fn a_loading_coordinator_does_not_renew_the_lease() {
    let mut rig = Rig::stable();
    let deadline = rig.member.lease_deadline();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert_eq!(rig.member.lease_deadline(), deadline);
    assert_eq!(rig.member.state(), State::Stable);
}

#[test]
fn an_unknown_member_loses_everything_and_joins_without_its_id() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::UNKNOWN_MEMBER_ID);
    rig.assert_lost("UNKNOWN_MEMBER_ID");
    let (_, request) = rig.join();
    assert!(request.member_id.is_empty());
}

#[test]
fn an_illegal_generation_loses_everything_and_joins_with_the_same_id() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::ILLEGAL_GENERATION);
    rig.assert_lost("ILLEGAL_GENERATION");
    let (_, request) = rig.join();
    assert_eq!(request.member_id, *"m-1");
}

#[test]
fn a_fenced_member_loses_everything_before_it_fails() {
    let mut rig = Rig::stable();
    rig.pass(3 * SECOND);
    rig.heartbeat_answered(ErrorCode::FENCED_INSTANCE_ID);
    rig.assert_lost("fenced");
    assert!(matches!(rig.assert_failed(), MembershipErrorKind::Fenced { .. }));
    assert_eq!(rig.request(), None);
}

#[test]
fn a_heartbeat_refused_for_good_loses_everything_and_fails() {
    for code in [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::UNSUPPORTED_VERSION] {
        let mut rig = Rig::stable();
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(code);
        rig.assert_lost("Heartbeat");
        assert!(matches!(
            rig.assert_failed(),
            MembershipErrorKind::Refused { api: "Heartbeat", .. }
        ));
    }
}

#[test]
fn a_late_heartbeat_answer_of_an_older_generation_does_not_touch_the_new_one() {
    let (mut rig, revocation) = Rig::preparing();
    rig.pass(3 * SECOND);
    let (old, _) = rig.heartbeat();
    rig.member.revocation_complete(rig.now, revocation);
    rig.become_stable();
    for code in [
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::FENCED_INSTANCE_ID,
    ] {
        rig.member.handle_heartbeat(rig.now, old, answer(code));
    }
    assert_eq!((rig.event(), rig.member.state()), (None, State::Stable));
}
