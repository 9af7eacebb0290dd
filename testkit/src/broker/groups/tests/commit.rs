//! OffsetCommit, TxnOffsetCommit, OffsetFetch.

use std::time::Duration;

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{OffsetFetchRequest, ProducerId, TopicName, TxnOffsetCommitRequest};
use kafka_wire::ErrorCode;

use super::super::GroupShardConfig;
use super::fixture::{Coordinator, SESSION, commit_request, group_id};

/// Partition 0 of `in`: error, offset.
fn fetch(c: &Coordinator, stable: bool) -> (ErrorCode, i64) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName("in".into()))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id())
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default()
        .with_groups(vec![group])
        .with_require_stable(stable);
    let response = c.shard.fetch_offsets(9, request);
    let partition = &response.groups[0].topics[0].partitions[0];
    (ErrorCode(partition.error_code), partition.committed_offset)
}

fn commit_in_transaction(c: &mut Coordinator, member: &str, generation: i32, offset: i64) -> ErrorCode {
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(TopicName("in".into()))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_group_id(group_id())
        .with_producer_id(ProducerId(77))
        .with_member_id(member.to_owned().into())
        .with_generation_id(generation)
        .with_topics(vec![topic]);
    let (outcome, response) = c.shard.commit_transactional_offsets(request);
    c.take(outcome);
    ErrorCode(response.topics[0].partitions[0].error_code)
}

#[test]
fn a_members_commit_is_found_again_with_all_its_fields() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    assert_eq!(c.commit(&ids[0], generation, 41), ErrorCode::NONE);
    assert_eq!(c.commit(&ids[0], generation, 42), ErrorCode::NONE);
    let topic = OffsetFetchRequestTopic::default()
        .with_name(TopicName("in".into()))
        .with_partition_indexes(vec![0, 1]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id())
        .with_topics(Some(vec![topic]));
    let response = c.shard.fetch_offsets(5, request);
    let [known, unknown] = response.topics[0].partitions.as_slice() else {
        panic!("{response:?}")
    };
    assert_eq!((known.committed_offset, known.committed_leader_epoch), (42, 3));
    assert_eq!(known.metadata.as_deref(), Some("note"));
    assert_eq!(
        (unknown.partition_index, unknown.committed_offset, unknown.error_code),
        (1, -1, 0)
    );
    assert_eq!(unknown.metadata.as_deref(), Some(""));
}

#[test]
fn no_topics_asks_for_all_that_was_committed() {
    let mut c = Coordinator::new();
    assert_eq!(c.commit("", -1, 7), ErrorCode::NONE);
    let old = OffsetFetchRequest::default()
        .with_group_id(group_id())
        .with_topics(None);
    assert_eq!(
        c.shard.fetch_offsets(7, old).topics[0].partitions[0].committed_offset,
        7
    );
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id())
        .with_topics(None);
    let new = OffsetFetchRequest::default().with_groups(vec![group.clone(), group.with_group_id(Default::default())]);
    let response = c.shard.fetch_offsets(8, new);
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 7);
    assert!(response.groups[1].topics.is_empty());
}

#[test]
fn a_commit_of_another_generation_or_of_a_stranger_is_refused_and_changes_nothing() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    assert_eq!(c.commit(&ids[0], generation, 1), ErrorCode::NONE);
    assert_eq!(c.commit(&ids[0], generation - 1, 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(c.commit(&ids[0], generation + 1, 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(c.commit("stranger", generation, 2), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(
        c.commit("", -1, 2),
        ErrorCode::UNKNOWN_MEMBER_ID,
        "only an empty group takes anybody's commits"
    );
    assert_eq!(fetch(&c, false), (ErrorCode::NONE, 1));
}

#[test]
fn a_commit_with_a_generation_to_a_group_that_does_not_exist_is_refused_in_the_words_of_its_version() {
    let mut c = Coordinator::new();
    for (version, error) in [(8, ErrorCode::ILLEGAL_GENERATION), (9, ErrorCode::GROUP_ID_NOT_FOUND)] {
        let response = c.send_commit(version, commit_request("app-1", 1, 5));
        assert_eq!(ErrorCode(response.topics[0].partitions[0].error_code), error);
    }
    let nameless = commit_request("", -1, 5).with_group_id(Default::default());
    let response = c.send_commit(9, nameless);
    assert_eq!(
        ErrorCode(response.topics[0].partitions[0].error_code),
        ErrorCode::INVALID_GROUP_ID
    );
}

#[test]
fn the_old_generation_may_commit_until_the_new_one_begins_and_then_must_wait_for_the_assignment() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(2);
    let held = c.join(&ids[0]);
    assert_eq!(c.commit(&ids[1], generation, 9), ErrorCode::NONE);
    let rejoined = c.join(&ids[1]);
    assert_eq!(c.joined(held).generation_id, c.joined(rejoined).generation_id);
    assert_eq!(c.commit(&ids[1], generation, 10), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(c.commit(&ids[1], generation + 1, 10), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(fetch(&c, false), (ErrorCode::NONE, 9));
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let mut c = Coordinator::new();
    let (generation, ids) = c.stable(1);
    for offset in 0..5 {
        c.advance(SESSION - Duration::from_millis(1));
        assert_eq!(c.commit(&ids[0], generation, offset), ErrorCode::NONE);
    }
}

#[test]
fn too_long_metadata_fails_its_partition_only() {
    let mut c = Coordinator::with(GroupShardConfig {
        offset_metadata_max_bytes: 3,
        ..Default::default()
    });
    assert_eq!(c.commit("", -1, 5), ErrorCode::OFFSET_METADATA_TOO_LARGE);
    let mut request = commit_request("", -1, 5);
    let fitting = request.topics[0].partitions[0]
        .clone()
        .with_partition_index(1)
        .with_committed_metadata(None);
    request.topics[0].partitions.push(fitting);
    let response = c.send_commit(9, request);
    let errors: Vec<i16> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(errors, [ErrorCode::OFFSET_METADATA_TOO_LARGE.0, 0]);
}

#[test]
fn pending_offsets_count_when_the_transaction_commits_and_are_dropped_when_it_aborts() {
    let mut c = Coordinator::new();
    assert_eq!(c.commit("", -1, 1), ErrorCode::NONE);
    for (offset, committed, then) in [(5, false, 1), (6, true, 6)] {
        assert_eq!(commit_in_transaction(&mut c, "", -1, offset), ErrorCode::NONE);
        assert_eq!(fetch(&c, true), (ErrorCode::UNSTABLE_OFFSET_COMMIT, -1));
        assert_eq!(fetch(&c, false), (ErrorCode::NONE, 1));
        let outcome = c.shard.end_transaction(77, committed);
        c.take(outcome);
        assert_eq!(fetch(&c, true), (ErrorCode::NONE, then));
    }
}

#[test]
fn a_transactional_commit_of_an_evicted_member_is_refused() {
    let mut c = Coordinator::new();
    assert_eq!(
        commit_in_transaction(&mut c, "app-1", 1, 5),
        ErrorCode::ILLEGAL_GENERATION,
        "no such group"
    );
    let (generation, ids) = c.stable(1);
    assert_eq!(commit_in_transaction(&mut c, &ids[0], generation, 5), ErrorCode::NONE);
    assert_eq!(
        commit_in_transaction(&mut c, &ids[0], generation - 1, 5),
        ErrorCode::ILLEGAL_GENERATION
    );
    assert_eq!(
        commit_in_transaction(&mut c, "stranger", generation, 5),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
}
