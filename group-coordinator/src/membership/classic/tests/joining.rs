//! Into the group: JoinGroup, the plan, SyncGroup.

use super::*;

#[test]
fn a_member_joins_without_an_id_and_again_with_the_one_it_is_given() {
    let mut rig = Rig::new();
    let (ticket, request) = rig.join();
    assert!(request.member_id.is_empty());
    let required = JoinGroupResponse::default()
        .with_error_code(ErrorCode::MEMBER_ID_REQUIRED.0)
        .with_member_id(StrBytes::from_static_str("m-1"));
    rig.member.handle_join(rig.now, ticket, answer(required));
    let (_, request) = rig.join();
    assert_eq!(request.member_id, *"m-1");
}

#[test]
fn the_request_offers_exactly_gokas_protocol() {
    let config = GroupConfig::new("group", ["b-input", "a-input", "group-loop"]);
    let (_, request) = Rig::with(config).join();
    assert_eq!(request.protocol_type, *"consumer");
    assert_eq!(request.protocols.len(), 1);
    assert_eq!(request.protocols[0].name, *"copartition");
    let subscription = wire::decode_subscription(&request.protocols[0].metadata).unwrap();
    assert_eq!(subscription.topics, ["b-input", "a-input", "group-loop"]);
    assert_eq!(subscription.user_data, None);
    assert_eq!(
        (request.session_timeout_ms, request.rebalance_timeout_ms),
        (45_000, 60_000)
    );
}

#[test]
fn the_broker_has_the_rebalance_timeout_and_five_seconds_to_answer_a_join() {
    let mut rig = Rig::new();
    match rig.request() {
        Some(MemberRequest::Join { wait, .. }) => assert_eq!(wait, 65 * SECOND),
        other => panic!("{other:?}"),
    }
}

#[test]
fn at_most_one_join_is_open_however_long_it_takes() {
    let mut rig = Rig::new();
    rig.join();
    for _ in 0..100 {
        rig.pass(SECOND);
        assert_eq!(rig.request(), None);
    }
    assert_eq!(rig.member.next_timeout(), None);
}

#[test]
fn a_follower_syncs_without_a_plan_and_gets_its_share() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, request) = rig.sync();
    assert_eq!((request.generation_id, request.assignments.len()), (GENERATION, 0));
    assert_eq!(request.member_id, *"m-1");
    rig.assign(ticket, sync_response(&[1, 0]));
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0, 1])));
    assert_eq!(rig.member.state(), State::Stable);
    assert_eq!(rig.member.lease_deadline(), Some(rig.now + 45 * SECOND));
}

#[test]
fn the_leader_plans_for_all_members() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member.handle_join(rig.now, ticket, answer(leader()));
    let Some(MemberRequest::Partitions { ticket, topics }) = rig.request() else {
        panic!("no plan")
    };
    assert_eq!(topics, ["input"]);
    rig.member
        .handle_partitions(rig.now, ticket, Ok(cluster(&[("input", 3)])));
    let (_, request) = rig.sync();
    let plan: Vec<_> = request
        .assignments
        .iter()
        .map(|given| {
            (
                given.member_id.to_string(),
                wire::decode_assignment(&given.assignment).unwrap(),
            )
        })
        .collect();
    let share = |numbers: &[i32]| vec![("input".to_owned(), numbers.to_vec())];
    assert_eq!(
        plan,
        [("m-1".to_owned(), share(&[0, 1])), ("m-2".to_owned(), share(&[2]))]
    );
}

#[test]
fn a_returning_static_leader_is_told_not_to_plan() {
    let mut rig = Rig::with(GroupConfig::new("group", ["input"]).with_instance_id("i-1"));
    let (ticket, request) = rig.join();
    assert_eq!(request.group_instance_id, Some(StrBytes::from_static_str("i-1")));
    rig.member
        .handle_join(rig.now, ticket, answer(leader().with_skip_assignment(true)));
    let (_, request) = rig.sync();
    assert!(request.assignments.is_empty());
}

#[test]
fn a_leader_that_cannot_see_the_partitions_asks_again_later() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member.handle_join(rig.now, ticket, answer(leader()));
    let Some(MemberRequest::Partitions { ticket, .. }) = rig.request() else {
        panic!("no plan")
    };
    rig.member
        .handle_partitions(rig.now, ticket, Err(Failure::Transport("no broker".into())));
    assert_eq!(rig.request(), None);
    rig.pass(120 * MS);
    assert!(matches!(rig.request(), Some(MemberRequest::Partitions { .. })));
}

#[test]
fn a_leader_without_a_plan_leaves_and_fails() {
    let mut rig = Rig::with(GroupConfig::new("group", ["input", "other"]));
    let (ticket, _) = rig.join();
    rig.member.handle_join(rig.now, ticket, answer(leader()));
    let Some(MemberRequest::Partitions { ticket, .. }) = rig.request() else {
        panic!("no plan")
    };
    rig.member
        .handle_partitions(rig.now, ticket, Ok(cluster(&[("input", 3), ("other", 2)])));
    assert!(matches!(rig.assert_failed(), MembershipErrorKind::Assignment(_)));
    rig.leave();
}

#[test]
fn a_member_with_unreadable_metadata_gets_nothing_and_harms_nobody() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    let mut response = leader();
    response.members[1].metadata = Bytes::from_static(b"\x00\x00\x7f\xff\xff\xff");
    rig.member.handle_join(rig.now, ticket, answer(response));
    let Some(MemberRequest::Partitions { ticket, .. }) = rig.request() else {
        panic!("no plan")
    };
    rig.member
        .handle_partitions(rig.now, ticket, Ok(cluster(&[("input", 2)])));
    let (_, request) = rig.sync();
    let shares: Vec<_> = request
        .assignments
        .iter()
        .map(|given| wire::decode_assignment(&given.assignment))
        .collect();
    assert_eq!(shares, [Ok(vec![("input".to_owned(), vec![0])]), Ok(vec![])]);
}

#[test]
fn coordinator_trouble_forgets_the_coordinator_and_joins_later() {
    for code in [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR] {
        let mut rig = Rig::new();
        let (ticket, _) = rig.join();
        rig.member.handle_join(rig.now, ticket, join_error(code));
        assert!(rig.forgotten(), "{code}");
        rig.join_later();
    }
}

#[test]
fn a_loading_coordinator_is_waited_for() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member
        .handle_join(rig.now, ticket, join_error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    rig.join_later();
}

#[test]
fn a_join_that_could_not_be_replicated_is_tried_later() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    rig.member
        .handle_join(rig.now, ticket, join_error(ErrorCode::REBALANCE_IN_PROGRESS));
    rig.join_later();
}

#[test]
fn a_join_without_an_answer_forgets_the_coordinator_and_keeps_the_member_id() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.member.handle_sync(rig.now, ticket, no_answer());
    assert!(rig.forgotten());
    let (ticket, request) = rig.join_later();
    assert_eq!(request.member_id, *"m-1");
    rig.member.handle_join(rig.now, ticket, no_answer());
    assert!(rig.forgotten());
    rig.join_later();
}

#[test]
fn an_unknown_member_joins_at_once_without_its_id() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.member
        .handle_sync(rig.now, ticket, sync_error(ErrorCode::UNKNOWN_MEMBER_ID));
    let (ticket, request) = rig.join();
    assert!(request.member_id.is_empty());
    rig.member
        .handle_join(rig.now, ticket, join_error(ErrorCode::UNKNOWN_MEMBER_ID));
    rig.join_later();
}

#[test]
fn a_sync_of_an_old_generation_joins_at_once_with_the_same_id() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.member
        .handle_sync(rig.now, ticket, sync_error(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(rig.member.generation(), NO_GENERATION);
    let (_, request) = rig.join();
    assert_eq!(request.member_id, *"m-1");
}

#[test]
fn a_sync_met_by_the_next_rebalance_joins_at_once_but_not_in_a_storm() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.member
        .handle_sync(rig.now, ticket, sync_error(ErrorCode::REBALANCE_IN_PROGRESS));
    for _ in 0..5 {
        let (ticket, _) = match rig.request() {
            Some(MemberRequest::Join { ticket, request, .. }) => (ticket, request),
            None => {
                rig.pass_to_next_timeout();
                rig.join()
            }
            other => panic!("{other:?}"),
        };
        rig.member.handle_join(rig.now, ticket, answer(follower()));
        let (ticket, _) = rig.sync();
        rig.member
            .handle_sync(rig.now, ticket, sync_error(ErrorCode::REBALANCE_IN_PROGRESS));
        assert_eq!(rig.request(), None, "a second rejoin in a row waits");
    }
}

#[test]
fn repeated_failures_wait_longer_and_longer_up_to_the_cap() {
    let mut rig = Rig::new();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let (ticket, _) = rig.join();
        rig.member
            .handle_join(rig.now, ticket, join_error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
        waits.push(rig.member.next_timeout().unwrap() - rig.now);
        rig.pass_to_next_timeout();
    }
    assert!(
        waits[0] <= 120 * MS && waits[5] >= 800 * MS && waits[5] <= 1200 * MS,
        "{waits:?}"
    );
}

#[test]
fn a_refusal_for_good_fails_the_member() {
    for code in [
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ErrorCode::INVALID_SESSION_TIMEOUT,
        ErrorCode::INVALID_GROUP_ID,
        ErrorCode::GROUP_MAX_SIZE_REACHED,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode::UNSUPPORTED_VERSION,
    ] {
        let mut rig = Rig::new();
        let (ticket, _) = rig.join();
        rig.member.handle_join(rig.now, ticket, join_error(code));
        let refused = rig.assert_failed();
        assert!(
            matches!(refused, MembershipErrorKind::Refused { code: found, .. } if found == code),
            "{refused:?}"
        );
        assert_eq!(rig.request(), None);
    }
}

#[test]
fn a_sync_refused_for_good_fails_the_member() {
    for code in [ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorCode::UNSUPPORTED_VERSION] {
        let mut rig = Rig::new();
        rig.become_syncing();
        let (ticket, _) = rig.sync();
        rig.member.handle_sync(rig.now, ticket, sync_error(code));
        assert!(matches!(
            rig.assert_failed(),
            MembershipErrorKind::Refused { api: "SyncGroup", .. }
        ));
    }
}

#[test]
fn a_sync_met_by_coordinator_trouble_joins_again_later() {
    for code in [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR] {
        let mut rig = Rig::new();
        rig.become_syncing();
        let (ticket, _) = rig.sync();
        rig.member.handle_sync(rig.now, ticket, sync_error(code));
        assert!(rig.forgotten());
        rig.join_later();
    }
}

#[test]
fn a_fenced_instance_fails_and_does_not_fight_its_double() {
    for fenced_at_sync in [false, true] {
        let mut rig = Rig::with(GroupConfig::new("group", ["input"]).with_instance_id("i-1"));
        let (ticket, _) = rig.join();
        if fenced_at_sync {
            rig.member.handle_join(rig.now, ticket, answer(follower()));
            let (ticket, _) = rig.sync();
            rig.member
                .handle_sync(rig.now, ticket, sync_error(ErrorCode::FENCED_INSTANCE_ID));
        } else {
            rig.member
                .handle_join(rig.now, ticket, join_error(ErrorCode::FENCED_INSTANCE_ID));
        }
        assert_eq!(
            rig.assert_failed(),
            MembershipErrorKind::Fenced {
                instance_id: "i-1".into()
            }
        );
        assert_eq!(rig.request(), None);
    }
}

#[test]
fn a_refused_coordinator_look_up_fails_the_member() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    let refused = Failure::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED, "no".into());
    rig.member.handle_join(
        rig.now,
        ticket,
        Answer {
            node: None,
            result: Err(refused),
        },
    );
    assert!(matches!(
        rig.assert_failed(),
        MembershipErrorKind::Refused {
            api: "FindCoordinator",
            ..
        }
    ));
}

#[test]
fn a_coordinator_look_up_out_of_time_is_tried_later() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.join();
    let refused = Failure::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, "starting".into());
    rig.member.handle_join(
        rig.now,
        ticket,
        Answer {
            node: None,
            result: Err(refused),
        },
    );
    rig.join_later();
}

#[test]
fn nonsense_from_a_broker_fails_the_member_instead_of_confusing_it() {
    let nonsense = [
        follower().with_protocol_name(Some(StrBytes::from_static_str("range"))),
        follower().with_protocol_name(None),
        follower().with_member_id(StrBytes::default()),
        follower().with_generation_id(-1),
    ];
    for response in nonsense {
        let mut rig = Rig::new();
        let (ticket, _) = rig.join();
        rig.member.handle_join(rig.now, ticket, answer(response));
        assert!(matches!(rig.assert_failed(), MembershipErrorKind::Protocol(_)));
    }
}

#[test]
fn an_unreadable_assignment_fails_the_member_and_leaves_the_group() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    let response = SyncGroupResponse::default().with_assignment(Bytes::from_static(b"\x00\x00\x00"));
    rig.member.handle_sync(rig.now, ticket, answer(response));
    assert!(matches!(rig.assert_failed(), MembershipErrorKind::Protocol(_)));
    rig.leave();
}

#[test]
fn a_topic_we_did_not_subscribe_is_not_ours() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    let share = cluster(&[("input", 1), ("other", 1)]);
    let response = SyncGroupResponse::default().with_assignment(wire::encode_assignment(&share));
    rig.assign(ticket, response);
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0])));
}

#[test]
fn an_assignment_may_be_empty() {
    let mut rig = Rig::new();
    rig.become_syncing();
    let (ticket, _) = rig.sync();
    rig.assign(ticket, SyncGroupResponse::default());
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[])));
    assert_eq!(rig.member.state(), State::Stable);
}

#[test]
fn late_answers_of_an_older_generation_change_nothing() {
    let mut rig = Rig::new();
    let (old_join, _) = rig.join();
    rig.member.handle_join(rig.now, old_join, no_answer());
    assert!(rig.forgotten());
    let (join, _) = rig.join_later();
    rig.member.handle_join(rig.now, old_join, answer(follower()));
    assert_eq!(rig.member.state(), State::Joining);
    rig.member.handle_join(rig.now, join, answer(follower()));
    let (sync, _) = rig.sync();
    rig.member
        .handle_join(rig.now, old_join, join_error(ErrorCode::UNKNOWN_MEMBER_ID));
    rig.member
        .handle_sync(rig.now, join, sync_error(ErrorCode::UNKNOWN_MEMBER_ID));
    rig.assign(sync, sync_response(&[0]));
    rig.member
        .handle_sync(rig.now, sync, sync_error(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(rig.member.state(), State::Stable);
    assert_eq!(rig.event(), Some(assigned(GENERATION, &[0])));
    assert_eq!(rig.event(), None);
}
