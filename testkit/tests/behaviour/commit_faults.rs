//! Commits and look-ups while coordinators fail: what was acknowledged is found, and what was refused says why.

use std::time::Duration;

use group_coordinator::{CommitErrorKind, GroupConfig};
use kafka_wire::{ErrorCode, TopicPartition};
use testkit::broker::{Api, Fault};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, within};
use crate::driven::{Driven, quick, two_topics};
use crate::each_fault::{LATE, each_fault, impatient};

/// A member that owns everything, and the first of its partitions.
async fn member(cluster: &Cluster) -> (GroupConfig, Driven, TopicPartition) {
    let config = quick(two_topics(cluster).await);
    let member = Driven::join(impatient(cluster), config.clone());
    member.owns(8).await;
    let at = TopicPartition::new(config.topics[0].as_str(), 0);
    (config, member, at)
}

async fn committed(member: &Driven, at: &TopicPartition) -> Option<i64> {
    let found = within("a look-up", member.offsets.committed(std::slice::from_ref(at))).await;
    found.unwrap()[at]
}

/// Commits meet the fault twice and are found all the same, by a member that comes later, too.
async fn commits_arrive(cluster: Cluster, fault: Fault) {
    let (config, first, at) = member(&cluster).await;
    let control = cluster.broker().faults();
    within("a commit", first.offsets.commit(vec![(at.clone(), 1)]))
        .await
        .unwrap();
    control.inject(fault.times(2));
    let mut offset = 1;
    while control.pending() > 0 {
        offset += 1;
        within("a commit", first.offsets.commit(vec![(at.clone(), offset)]))
            .await
            .unwrap();
        assert_eq!(committed(&first, &at).await, Some(offset));
    }
    assert_eq!(first.state.borrow().lost, 0);
    first.leave().await;
    let second = Driven::join(impatient(&cluster), config);
    second.owns(8).await;
    assert_eq!(committed(&second, &at).await, Some(offset));
}

pub(crate) async fn commits_are_repeated_until_they_are_acknowledged(_: Cluster) {
    let commit = || Fault::new(Api::OffsetCommit);
    let faults = [
        commit().cut(),
        commit().cut_before_answer(),
        commit().cut_answer_after(7),
        commit().stall(),
        commit().swallow_answer(),
        commit().delay_request(LATE),
        commit().delay_answer(LATE),
        commit().error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        commit().error(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        commit().error(ErrorCode::NOT_COORDINATOR),
        commit().error(ErrorCode::REQUEST_TIMED_OUT),
        commit().error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ];
    each_fault(faults, commits_arrive).await;
}

pub(crate) async fn look_ups_are_repeated_until_they_are_answered(_: Cluster) {
    let look_up = || Fault::new(Api::OffsetFetch);
    let faults = [
        look_up().cut(),
        look_up().cut_before_answer(),
        look_up().cut_answer_after(7),
        look_up().stall(),
        look_up().swallow_answer(),
        look_up().delay_answer(LATE),
        look_up().error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        look_up().error(ErrorCode::NOT_COORDINATOR),
        // A transaction that may still change the offset is waited for (KIP-447).
        look_up().error(ErrorCode::UNSTABLE_OFFSET_COMMIT),
    ];
    each_fault(faults, |cluster, fault| async move {
        let (_, member, at) = member(&cluster).await;
        let control = cluster.broker().faults();
        within("a commit", member.offsets.commit(vec![(at.clone(), 7)]))
            .await
            .unwrap();
        control.inject(fault.times(3));
        while control.pending() > 0 {
            assert_eq!(committed(&member, &at).await, Some(7));
        }
        let other = TopicPartition::new(at.topic.clone(), 1);
        assert_eq!(committed(&member, &other).await, None, "nothing was committed");
    })
    .await;
}

pub(crate) async fn a_refused_commit_says_why_and_leaves_the_offset(_: Cluster) {
    let refused = [
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::OFFSET_METADATA_TOO_LARGE,
        ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
    ];
    for code in refused {
        let refusal = Fault::new(Api::OffsetCommit).error(code);
        each_fault([refusal], move |cluster, fault| async move {
            let (config, member, at) = member(&cluster).await;
            within("a commit", member.offsets.commit(vec![(at.clone(), 1)]))
                .await
                .unwrap();
            cluster.broker().faults().inject(fault);
            let error = within("an answer", member.offsets.commit(vec![(at.clone(), 7)]))
                .await
                .unwrap_err();
            assert_eq!(error.kind, CommitErrorKind::Refused(code));
            assert_eq!(
                (&error.group, error.topic_partition.as_ref()),
                (&config.group_id, Some(&at))
            );
            assert_eq!(committed(&member, &at).await, Some(1));
            // The next one is taken: nothing else is wrong.
            within("a commit", member.offsets.commit(vec![(at.clone(), 8)]))
                .await
                .unwrap();
            assert_eq!(committed(&member, &at).await, Some(8));
        })
        .await;
    }
}

pub(crate) async fn a_commit_of_a_generation_that_is_over_is_not_taken_for_done(_: Cluster) {
    for code in [
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::REBALANCE_IN_PROGRESS,
    ] {
        let refusal = Fault::new(Api::OffsetCommit).error(code);
        each_fault([refusal], move |cluster, fault| async move {
            let (_, member, at) = member(&cluster).await;
            let before = member.state.borrow().generation;
            within("a commit", member.offsets.commit(vec![(at.clone(), 1)]))
                .await
                .unwrap();
            cluster.broker().faults().inject(fault);
            let error = within("an answer", member.offsets.commit(vec![(at.clone(), 7)]))
                .await
                .unwrap_err();
            assert_eq!(error.kind, CommitErrorKind::Rebalanced(Some(code)), "{error}");
            // It joins again, and commits in the new generation.
            let mut state = member.state.clone();
            let rejoined = state.wait_for(|state| state.generation != before && state.owned.len() == 8);
            within("another generation", rejoined).await.unwrap();
            assert_eq!(committed(&member, &at).await, Some(1));
            within("a commit", member.offsets.commit(vec![(at.clone(), 7)]))
                .await
                .unwrap();
            assert_eq!(committed(&member, &at).await, Some(7));
        })
        .await;
    }
}

pub(crate) async fn commits_behind_a_late_one_are_sent_as_one_and_never_overtake_it(cluster: Cluster) {
    let (_, member, at) = member(&cluster).await;
    let served = || cluster.broker().served(Api::OffsetCommit);
    let before = served();
    let late = Fault::new(Api::OffsetCommit).delay_request(LATE);
    cluster.broker().faults().inject(late);
    let mut commits = JoinSet::new();
    for offset in 1..=50 {
        let (offsets, at) = (member.offsets.clone(), at.clone());
        commits.spawn(async move { offsets.commit(vec![(at, offset)]).await.unwrap() });
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(
        commits.try_join_next().map(|_| ()),
        None,
        "acknowledged before it was carried out"
    );
    within("every commit", commits.join_all()).await;
    assert_eq!(served() - before, 2);
    assert_eq!(committed(&member, &at).await, Some(50));
    // Lower ones count as committed.
    within("a commit", member.offsets.commit(vec![(at.clone(), 3)]))
        .await
        .unwrap();
    assert_eq!((served() - before, committed(&member, &at).await), (2, Some(50)));
}
