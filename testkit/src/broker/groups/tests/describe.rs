//! DescribeGroups, ListGroups, DeleteGroups.

use kafka_protocol::messages::{GroupId, ListGroupsRequest};
use kafka_wire::ErrorCode;

use super::fixture::{Coordinator, GROUP, group_id};

#[test]
fn a_stable_group_is_described_with_metadata_and_assignments() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    let described = c.shard.describe(6, &group_id());
    assert_eq!((described.group_state.as_str(), described.error_code), ("Stable", 0));
    assert_eq!(
        (described.protocol_type.as_str(), described.protocol_data.as_str()),
        ("consumer", "range")
    );
    let member = &described.members[1];
    assert_eq!(member.member_id.as_str(), ids[1]);
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("app", "/127.0.0.1")
    );
    assert_eq!(
        (&member.member_metadata[..], &member.member_assignment[..]),
        (&b"topics of range"[..], &b"part-1"[..])
    );
}

#[test]
fn a_rebalancing_group_is_described_without_metadata_and_assignments() {
    let mut c = Coordinator::new();
    let (_, ids) = c.stable(2);
    c.join(&ids[0]);
    let described = c.shard.describe(6, &group_id());
    assert_eq!(
        (described.group_state.as_str(), described.protocol_data.as_str()),
        ("PreparingRebalance", "")
    );
    assert!(
        described
            .members
            .iter()
            .all(|m| m.member_metadata.is_empty() && m.member_assignment.is_empty())
    );
}

#[test]
fn a_group_that_does_not_exist_is_dead_and_from_version_6_an_error() {
    let c = Coordinator::new();
    let before = c.shard.describe(5, &group_id());
    assert_eq!((before.group_state.as_str(), before.error_code), ("Dead", 0));
    let after = c.shard.describe(6, &group_id());
    assert_eq!(ErrorCode(after.error_code), ErrorCode::GROUP_ID_NOT_FOUND);
    assert!(after.error_message.unwrap().contains(GROUP));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut c = Coordinator::new();
    c.stable(1);
    let count = |states: &[&str], types: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned().into()).collect();
        let request = ListGroupsRequest::default()
            .with_states_filter(own(states))
            .with_types_filter(own(types));
        c.shard.list(&request).len()
    };
    assert_eq!(count(&[], &[]), 1);
    assert_eq!(count(&["stable"], &["Classic"]), 1);
    assert_eq!(count(&["Empty"], &[]), 0);
    assert_eq!(count(&[], &["consumer"]), 0);
}

#[test]
fn only_an_empty_group_is_deleted_and_its_offsets_go_with_it() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    assert_eq!(c.commit(&ids[0], generation, 5), ErrorCode::NONE);
    let (outcome, refused) = c.shard.delete(&group_id());
    c.take(outcome);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::NON_EMPTY_GROUP);

    c.leave(5, &[&ids[0]]);
    let (outcome, deleted) = c.shard.delete(&group_id());
    c.take(outcome);
    assert_eq!(deleted.error_code, 0);
    assert!(c.shard.list(&ListGroupsRequest::default()).is_empty());
    assert!(c.shard.group_ids().is_empty(), "nothing of it was left written down");

    let (outcome, unknown) = c.shard.delete(&GroupId("other".into()));
    c.take(outcome);
    assert_eq!(ErrorCode(unknown.error_code), ErrorCode::GROUP_ID_NOT_FOUND);
}
