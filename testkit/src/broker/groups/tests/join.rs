//! JoinGroup.

use std::time::Duration;

use kafka_wire::ErrorCode;

use super::super::GroupShardConfig;
use super::fixture::{Coordinator, GROUP, NEWEST_JOIN, REBALANCE, SESSION, join_request};

#[test]
fn a_new_member_is_sent_back_with_a_member_id_made_of_its_client_id() {
    let mut c = Coordinator::new();
    let ticket = c.join("");
    let answer = c.joined(ticket);
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::MEMBER_ID_REQUIRED);
    assert_eq!(answer.generation_id, -1);
    assert!(answer.member_id.starts_with("app-"), "{}", answer.member_id);
}

#[test]
fn before_version_4_a_new_member_joins_at_once() {
    let mut c = Coordinator::new();
    let ticket = c.send_join(3, join_request("", &["range"]));
    c.advance(Duration::ZERO);
    let answer = c.joined(ticket);
    assert_eq!((answer.error_code, answer.generation_id), (0, 1));
    assert_eq!(answer.leader, answer.member_id);
}

#[test]
fn the_first_member_leads_and_learns_all_members_and_a_follower_learns_none() {
    let mut c = Coordinator::new();
    let (a, b) = (c.new_member_id(), c.new_member_id());
    let (first, second) = (c.join(&a), c.join(&b));
    c.advance(Duration::ZERO);
    let (leading, following) = (c.joined(first), c.joined(second));
    assert_eq!((leading.generation_id, following.generation_id), (1, 1));
    assert_eq!(leading.leader.as_str(), a);
    assert_eq!(following.leader.as_str(), a);
    let members: Vec<&str> = leading.members.iter().map(|m| m.member_id.as_str()).collect();
    assert_eq!(members, [a.as_str(), b.as_str()]);
    assert_eq!(leading.members[1].metadata, "topics of range");
    assert!(following.members.is_empty());
    assert_eq!(following.protocol_name.as_deref(), Some("range"));
    assert_eq!(following.protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn a_member_id_nobody_gave_out_is_unknown() {
    let mut c = Coordinator::new();
    let ticket = c.join("app-1");
    assert_eq!(c.join_error(ticket), ErrorCode::UNKNOWN_MEMBER_ID, "no such group");
    c.stable(1);
    let ticket = c.join("app-1");
    assert_eq!(c.join_error(ticket), ErrorCode::UNKNOWN_MEMBER_ID, "no such member");
}

#[test]
fn a_session_timeout_outside_the_limits_is_refused() {
    let mut c = Coordinator::new();
    for (ms, error) in [
        (5_999, ErrorCode::INVALID_SESSION_TIMEOUT),
        (6_000, ErrorCode::MEMBER_ID_REQUIRED),
        (1_800_000, ErrorCode::MEMBER_ID_REQUIRED),
        (1_800_001, ErrorCode::INVALID_SESSION_TIMEOUT),
        (-1, ErrorCode::INVALID_SESSION_TIMEOUT),
    ] {
        let ticket = c.send_join(NEWEST_JOIN, join_request("", &["range"]).with_session_timeout_ms(ms));
        assert_eq!(c.join_error(ticket), error, "{ms} ms");
    }
}

#[test]
fn an_empty_group_id_is_refused() {
    let mut c = Coordinator::new();
    let ticket = c.send_join(
        NEWEST_JOIN,
        join_request("", &["range"]).with_group_id(Default::default()),
    );
    assert_eq!(c.join_error(ticket), ErrorCode::INVALID_GROUP_ID);
}

#[test]
fn a_member_without_a_common_protocol_is_refused() {
    let mut c = Coordinator::new();
    c.stable(1);
    for request in [
        join_request("", &["sticky"]),
        join_request("", &[]),
        join_request("", &["range"]).with_protocol_type("connect".into()),
    ] {
        let ticket = c.send_join(NEWEST_JOIN, request);
        assert_eq!(c.join_error(ticket), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
}

#[test]
fn the_protocol_most_members_prefer_among_the_common_ones_is_chosen() {
    let mut c = Coordinator::new();
    let ids: Vec<String> = (0..3).map(|_| c.new_member_id()).collect();
    let preferences: [&[&str]; 3] = [
        &["range", "sticky"],
        &["sticky", "range"],
        &["cooperative", "sticky", "range"],
    ];
    let tickets: Vec<_> = ids
        .iter()
        .zip(preferences)
        .map(|(id, p)| c.send_join(NEWEST_JOIN, join_request(id, p)))
        .collect();
    c.advance(Duration::ZERO);
    for ticket in tickets {
        assert_eq!(c.joined(ticket).protocol_name.as_deref(), Some("sticky"));
    }
}

#[test]
fn a_join_is_held_until_all_known_members_have_rejoined() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    let newcomer = c.new_member_id();
    let held = c.join(&newcomer);
    let second = c.join(&ids[0]);
    assert!(c.is_held(held) && c.is_held(second));
    let third = c.join(&ids[1]);
    for ticket in [held, second, third] {
        assert_eq!(c.joined(ticket).generation_id, 2);
    }
}

#[test]
fn a_join_is_held_for_a_member_id_that_was_given_out_and_not_yet_used() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(1);
    let pending = c.new_member_id();
    let held = c.join(&ids[0]);
    assert!(c.is_held(held));
    let late = c.join(&pending);
    assert_eq!(c.joined(held).members.len(), 2);
    assert_eq!(c.joined(late).generation_id, 2);
}

#[test]
fn a_member_id_that_is_not_used_within_the_session_timeout_is_forgotten() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    let pending = c.new_member_id();
    let held = c.join(&ids[0]);
    c.advance(SESSION);
    assert_eq!(c.joined(held).generation_id, generation + 1);
    let late = c.join(&pending);
    assert_eq!(c.join_error(late), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn whoever_does_not_rejoin_within_the_longest_rebalance_timeout_is_out() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    let patient = c.new_member_id();
    let request = join_request(&patient, &["range"]).with_rebalance_timeout_ms(90_000);
    let held = [c.send_join(NEWEST_JOIN, request), c.join(&ids[0])];
    for _ in 0..89 {
        c.advance(Duration::from_secs(1));
        assert_eq!(c.heartbeat(&ids[1], 1), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    assert!(c.is_held(held[0]) && c.is_held(held[1]));
    c.advance(Duration::from_secs(1));
    for ticket in held {
        assert_eq!(c.joined(ticket).generation_id, 2);
    }
    assert_eq!(c.heartbeat(&ids[1], 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn another_member_leads_when_the_leader_does_not_rejoin() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let newcomer = c.new_member_id();
    let held = [c.join(&newcomer), c.join(&ids[1])];
    for _ in 0..60 {
        assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
        c.advance(REBALANCE / 60);
    }
    for ticket in held {
        assert_eq!(c.joined(ticket).leader.as_str(), ids[1]);
    }
}

#[test]
fn a_rejoining_leader_starts_a_rebalance_even_with_the_same_metadata() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let held = c.join(&ids[0]);
    assert!(c.is_held(held));
    assert_eq!(c.heartbeat(&ids[1], generation), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_rejoining_follower_with_the_same_metadata_is_told_the_present_generation() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let ticket = c.join(&ids[1]);
    let answer = c.joined(ticket);
    assert_eq!((answer.error_code, answer.generation_id), (0, generation));
    assert!(answer.members.is_empty());
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::NONE);
}

#[test]
fn a_rejoining_follower_with_other_metadata_starts_a_rebalance() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let held = c.send_join(NEWEST_JOIN, join_request(&ids[1], &["range", "sticky"]));
    assert!(c.is_held(held));
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_member_that_missed_the_answer_to_its_join_gets_it_again_while_the_assignment_is_awaited() {
    let mut c = Coordinator::new();
    let id = c.new_member_id();
    let first = c.join(&id);
    c.advance(Duration::ZERO);
    let first = c.joined(first);
    let again = c.join(&id);
    assert_eq!(c.joined(again), first);
}

#[test]
fn the_initial_delay_lets_more_members_into_the_first_generation() {
    let config = GroupShardConfig {
        initial_rebalance_delay: Duration::from_secs(3),
        ..Default::default()
    };
    let mut c = Coordinator::with(config);
    let (a, b) = (c.new_member_id(), c.new_member_id());
    let first = c.join(&a);
    c.advance(Duration::from_secs(2));
    let second = c.join(&b);
    c.advance(Duration::from_secs(3));
    assert!(c.is_held(first), "each newcomer extends the delay");
    c.advance(Duration::from_secs(1));
    assert_eq!(c.joined(first).members.len(), 2);
    assert_eq!(c.joined(second).generation_id, 1);
}

#[test]
fn a_full_group_refuses_one_more() {
    let mut c = Coordinator::with(GroupShardConfig {
        max_size: 2,
        ..Default::default()
    });
    c.stable(2);
    let ticket = c.join("");
    assert_eq!(c.join_error(ticket), ErrorCode::GROUP_MAX_SIZE_REACHED);
}

#[test]
fn a_version_0_member_is_awaited_for_its_session_timeout() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(1);
    c.leave(5, &[&ids[0]]);
    let a = c.send_join(0, join_request("", &["range"]).with_rebalance_timeout_ms(-1));
    c.advance(Duration::ZERO);
    let a = c.joined(a);
    c.sync(&a.member_id, a.generation_id, &[]);
    let b = c.send_join(0, join_request("", &["range"]).with_rebalance_timeout_ms(-1));
    c.advance(SESSION - Duration::from_millis(1));
    assert!(c.is_held(b));
    c.advance(Duration::from_millis(1));
    assert_eq!(c.joined(b).generation_id, a.generation_id + 1);
}

#[test]
fn a_group_that_lost_all_members_counts_its_generations_on() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    c.leave(5, &[&ids[0]]);
    let (next, _) = c.stable(1);
    assert_eq!(next, generation + 2, "the empty generation counts");
    assert_eq!(
        c.shard
            .describe(5, &kafka_protocol::messages::GroupId(GROUP.into()))
            .group_state
            .as_str(),
        "Stable"
    );
}

#[test]
fn a_join_sent_twice_is_answered_twice() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let (first, second) = (c.join(&ids[0]), c.join(&ids[0]));
    assert_eq!(c.join_error(first), ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(c.is_held(second));
    c.leave(5, &[&ids[1]]);
    assert_eq!(c.joined(second).generation_id, generation + 1);
}
