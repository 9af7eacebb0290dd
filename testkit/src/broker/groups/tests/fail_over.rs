//! What a new coordinator knows: everything that was written down, and nothing else.

use kafka_wire::ErrorCode;

use super::super::{GroupRecord, GroupShard, GroupShardConfig};
use super::fixture::{Coordinator, GROUP, SESSION, group_id};

fn fail_over(c: &mut Coordinator) {
    let outcome = c.shard.fail_over(c.now, GROUP);
    c.take(outcome);
}

#[test]
fn a_stable_group_survives_the_move_of_its_coordinator() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    assert_eq!(c.commit(&ids[0], generation, 5), ErrorCode::NONE);
    fail_over(&mut c);
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::NONE);
    assert_eq!(c.commit(&ids[1], generation, 6), ErrorCode::NONE);
    let again = c.sync(&ids[1], generation, &[]);
    assert_eq!(c.synced(again).assignment, "part-1");
    c.advance(SESSION);
    assert_eq!(
        c.heartbeat(&ids[0], generation),
        ErrorCode::UNKNOWN_MEMBER_ID,
        "sessions are watched again"
    );
}

#[test]
fn requests_that_were_held_are_told_that_the_coordinator_moved() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let held = c.join(&ids[0]);
    fail_over(&mut c);
    assert_eq!(c.join_error(held), ErrorCode::NOT_COORDINATOR);
    assert_eq!(
        c.heartbeat(&ids[0], generation),
        ErrorCode::NONE,
        "the rebalance was never written down"
    );

    let rejoined = [
        c.join(&ids[0]),
        c.send_join(9, super::fixture::join_request(&ids[1], &["range", "x"])),
    ];
    let next = rejoined.map(|ticket| c.joined(ticket).generation_id)[0];
    let held = c.sync(&ids[1], next, &[]);
    fail_over(&mut c);
    assert_eq!(c.sync_error(held), ErrorCode::NOT_COORDINATOR);
    assert_eq!(
        c.heartbeat(&ids[0], next),
        ErrorCode::ILLEGAL_GENERATION,
        "nor was the unfinished generation"
    );
}

#[test]
fn a_shard_that_replays_the_records_of_another_goes_on_where_that_one_was() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    assert_eq!(c.commit(&ids[0], generation, 5), ErrorCode::NONE);

    let mut heir = GroupShard::new(GroupShardConfig::default(), 7);
    for (group, value) in c.shard.metadata.clone() {
        heir.replay(GroupRecord::GroupMetadata {
            group,
            value: Some(value),
        });
    }
    let committed = c.shard.offsets.get(GROUP, "in", 0).cloned();
    let (group, topic) = (GROUP.to_owned(), "in".to_owned());
    heir.replay(GroupRecord::OffsetCommit {
        group,
        topic,
        partition: 0,
        value: committed,
        producer_id: None,
    });
    for group in heir.group_ids() {
        heir.load(c.now, &group);
    }

    assert_eq!(heir.describe(6, &group_id()), c.shard.describe(6, &group_id()));
    assert_eq!(heir.offsets.get(GROUP, "in", 0), c.shard.offsets.get(GROUP, "in", 0));
}

#[test]
fn a_group_that_only_commits_offsets_survives_too() {
    let mut c = Coordinator::new();
    assert_eq!(c.commit("", -1, 5), ErrorCode::NONE);
    fail_over(&mut c);
    assert_eq!(c.shard.describe(6, &group_id()).group_state.as_str(), "Empty");
    assert_eq!(c.commit("", -1, 6), ErrorCode::NONE);
}

#[test]
fn nobody_is_watched_while_there_is_no_coordinator() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let outcome = c.shard.unload(GROUP);
    c.take(outcome);
    assert_eq!(c.shard.next_timeout(), None);
    c.advance(SESSION * 10);
    c.shard.load(c.now, GROUP);
    assert_eq!(c.heartbeat(&ids[0], generation), ErrorCode::NONE);
}
