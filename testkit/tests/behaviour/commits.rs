//! Committed offsets: what is found again, and whose commits count.

use std::time::Duration;

use group_coordinator::{CommitErrorKind, GroupConfig};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::rpc::ConnectionClass;
use kafka_wire::{ErrorCode, TopicPartition};

use crate::cluster::{Cluster, within};
use crate::driven::{Driven, quick, shared, two_topics};

pub(crate) async fn committed_offsets_are_found_by_the_next_member(cluster: Cluster) {
    let config = two_topics(&cluster).await;
    let at = |topic: usize, partition| TopicPartition::new(config.topics[topic].as_str(), partition);
    let everything = [at(0, 0), at(0, 1), at(1, 0), at(1, 3)];
    let first = Driven::join(cluster.client(), config.clone());
    first.owns(8).await;
    let found = within("offsets", first.offsets.committed(&everything)).await.unwrap();
    assert!(everything.iter().all(|at| found[at].is_none()));
    let commit = async |offsets| within("a commit", first.offsets.commit(offsets)).await;
    commit(vec![(at(0, 0), 10), (at(1, 3), 5_000_000_000)]).await.unwrap();
    commit(vec![(at(0, 0), 12), (at(1, 0), 0)]).await.unwrap();
    // Within an assignment offsets do not go back.
    commit(vec![(at(0, 0), 11)]).await.unwrap();
    let stranger = TopicPartition::new(config.topics[0].as_str(), 99);
    let error = commit(vec![(stranger, 1)]).await.unwrap_err();
    assert_eq!(error.kind, CommitErrorKind::NotAssigned);
    first.leave().await;

    let second = Driven::join(cluster.new_client(), config.clone());
    second.owns(8).await;
    let found = within("offsets", second.offsets.committed(&everything)).await.unwrap();
    let offsets: Vec<Option<i64>> = everything.iter().map(|at| found[at]).collect();
    assert_eq!(offsets, [Some(12), None, Some(0), Some(5_000_000_000)]);
}

/// Commits as somebody who says to be `member` in `generation`; what the coordinator answers.
async fn commit_as(cluster: &Cluster, config: &GroupConfig, member: &str, generation: i32, offset: i64) -> ErrorCode {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(&config.topics[0])))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(&config.group_id)))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic]);
    let client = cluster.client();
    let node = within("the coordinator", client.coordinator(&config.group_id))
        .await
        .unwrap();
    let called = client.call(node, ConnectionClass::General, request, Some(9), Duration::ZERO);
    let response = within("an answer", called).await.unwrap();
    ErrorCode(response.topics[0].partitions[0].error_code)
}

pub(crate) async fn only_commits_of_the_present_generation_count(cluster: Cluster) {
    let config = quick(two_topics(&cluster).await);
    let at = TopicPartition::new(config.topics[0].as_str(), 0);
    let one = Driven::join(cluster.client(), config.clone());
    let old = one.owns(8).await;
    within("a commit", one.offsets.commit(vec![(at.clone(), 7)]))
        .await
        .unwrap();
    let two = Driven::join(cluster.new_client(), config.clone());
    shared(&config, &one, &two).await;
    let new = one.state.borrow().clone();
    assert!(new.generation > old.generation && new.member_id == old.member_id);

    let commit =
        async |member: &str, generation, offset| commit_as(&cluster, &config, member, generation, offset).await;
    assert_eq!(
        commit(&old.member_id, old.generation, 100).await,
        ErrorCode::ILLEGAL_GENERATION
    );
    assert_eq!(
        commit("nobody", new.generation, 100).await,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    let committed = async || {
        within("offsets", two.offsets.committed(std::slice::from_ref(&at)))
            .await
            .unwrap()[&at]
    };
    assert_eq!(committed().await, Some(7));
    assert_eq!(commit(&new.member_id, new.generation, 8).await, ErrorCode::NONE);
    assert_eq!(committed().await, Some(8));
    // The member that gave the partition up does not even ask.
    let loser = if new.owned.contains(&(config.topics[0].clone(), 0)) {
        &two
    } else {
        &one
    };
    let error = within("a refusal", loser.offsets.commit(vec![(at.clone(), 9)]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, CommitErrorKind::NotAssigned);
    assert_eq!(committed().await, Some(8));
}
