//! Membership while coordinators fail: members find each other again, and nobody keeps what is another's.

use std::time::{Duration, Instant};

use group_coordinator::{GroupMember, MembershipErrorKind, MembershipEvent};
use kafka_wire::{ErrorCode, TopicPartition};
use testkit::broker::{Api, Fault, FaultControl, LostTail};
use tokio::time::sleep;

use crate::cluster::{Cluster, within};
use crate::driven::{Driven, quick, shared, two_topics};
use crate::each_fault::{LATE, all_happened, each_fault, impatient};

/// A fault meets two requests while a second member comes, stays and goes.
async fn members_find_each_other(cluster: Cluster, fault: Fault) {
    let control = cluster.broker().faults();
    let config = quick(two_topics(&cluster).await).with_rebalance_timeout(Duration::from_secs(3));
    let one = Driven::join(impatient(&cluster), config.clone());
    one.owns(8).await;
    control.inject(fault.clone().times(2));
    let two = Driven::join(impatient(&cluster), config.clone());
    shared(&config, &one, &two).await;
    two.leave().await;
    one.owns(8).await;
    all_happened(&control).await;
    // Whatever was under way when the last fault happened is over after another heartbeat.
    sleep(Duration::from_millis(600)).await;
    one.owns(8).await;
    assert_eq!(one.state.borrow().failed, None, "{fault:?}");
    one.leave().await;
}

fn coordinator_troubles(api: Api) -> [Fault; 3] {
    [
        Fault::new(api).error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        Fault::new(api).error(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        Fault::new(api).error(ErrorCode::NOT_COORDINATOR),
    ]
}

pub(crate) async fn joining_is_repeated_until_it_works(_: Cluster) {
    let join = || Fault::new(Api::JoinGroup);
    let others = [
        join().cut(),
        join().cut_before_answer(),
        join().cut_answer_after(7),
        join().swallow_answer(),
        join().delay_request(LATE),
        join().delay_answer(LATE),
        join().error(ErrorCode::UNKNOWN_MEMBER_ID),
        join().error(ErrorCode::REBALANCE_IN_PROGRESS),
    ];
    each_fault(
        coordinator_troubles(Api::JoinGroup).into_iter().chain(others),
        members_find_each_other,
    )
    .await;
}

pub(crate) async fn a_plan_that_does_not_arrive_is_made_anew(_: Cluster) {
    let sync = || Fault::new(Api::SyncGroup);
    let others = [
        sync().cut(),
        sync().cut_before_answer(),
        sync().cut_answer_after(7),
        sync().swallow_answer(),
        sync().delay_answer(LATE),
        sync().error(ErrorCode::ILLEGAL_GENERATION),
        sync().error(ErrorCode::REBALANCE_IN_PROGRESS),
    ];
    each_fault(
        coordinator_troubles(Api::SyncGroup).into_iter().chain(others),
        members_find_each_other,
    )
    .await;
}

pub(crate) async fn heartbeats_that_fail_are_repeated_or_begin_anew(_: Cluster) {
    let heartbeat = || Fault::new(Api::Heartbeat);
    let others = [
        heartbeat().cut(),
        heartbeat().cut_before_answer(),
        heartbeat().swallow_answer(),
        heartbeat().delay_answer(LATE),
        heartbeat().error(ErrorCode::UNKNOWN_MEMBER_ID),
        heartbeat().error(ErrorCode::ILLEGAL_GENERATION),
    ];
    each_fault(
        coordinator_troubles(Api::Heartbeat).into_iter().chain(others),
        members_find_each_other,
    )
    .await;
}

pub(crate) async fn the_coordinator_is_looked_for_until_it_is_found(_: Cluster) {
    let find = || Fault::new(Api::FindCoordinator);
    let faults = [
        find().cut(),
        find().cut_before_answer(),
        find().swallow_answer(),
        find().error(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        find().error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
    ];
    each_fault(faults, members_find_each_other).await;
}

pub(crate) async fn who_is_not_known_any_more_loses_everything_before_it_joins_anew(cluster: Cluster) {
    let config = quick(two_topics(&cluster).await);
    let mut member = GroupMember::join(cluster.client(), config).unwrap();
    let MembershipEvent::Assigned { partitions: first, .. } = within("an assignment", member.next_event()).await else {
        panic!("something before the assignment");
    };
    let (lease, id) = (member.lease(), member.member_id());
    assert!(first.len() == 8 && lease.is_held(Instant::now()));
    let unknown = Fault::new(Api::Heartbeat).error(ErrorCode::UNKNOWN_MEMBER_ID);
    cluster.broker().faults().inject(unknown);
    let MembershipEvent::Lost {
        partitions: lost,
        reason,
    } = within("the loss", member.next_event()).await
    else {
        panic!("something before the loss");
    };
    assert_eq!(lost, first);
    assert!(reason.contains("UNKNOWN_MEMBER_ID"), "{reason}");
    let MembershipEvent::Assigned { partitions: again, .. } = within("an assignment", member.next_event()).await else {
        panic!("something before the new assignment");
    };
    assert_eq!(again, first);
    assert_ne!(member.member_id(), id);
    assert!(lease.is_held(Instant::now()));
    within("the farewell", member.leave()).await.unwrap();
    assert!(!lease.is_held(Instant::now()));
}

pub(crate) async fn a_refusal_for_good_ends_the_membership_and_is_told(cluster: Cluster) {
    let refused = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    for api in [Api::JoinGroup, Api::SyncGroup, Api::Heartbeat, Api::FindCoordinator] {
        let config = quick(two_topics(&cluster).await);
        let group = config.group_id.clone();
        cluster.broker().faults().inject(Fault::new(api).error(refused));
        let mut member = GroupMember::join(cluster.new_client(), config).unwrap();
        let error = within("the end", async {
            loop {
                if let MembershipEvent::Failed(error) = member.next_event().await {
                    return error;
                }
            }
        });
        let error = error.await;
        assert!(
            matches!(error.kind, MembershipErrorKind::Refused { code, .. } if code == refused),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(&group) && text.contains(&format!("{api:?}")), "{text}");
        assert!(!member.lease().is_held(Instant::now()));
        let after = within("the end", member.next_event()).await;
        assert!(matches!(after, MembershipEvent::Failed(_)), "{after:?}");
    }
}

/// Two members commit one partition each as long as the coordinator is in trouble; both keep what they own.
async fn both_keep_their_partitions(cluster: &Cluster, trouble: impl AsyncFnOnce(FaultControl, &str)) {
    let config = quick(two_topics(cluster).await);
    let (one, two) = (
        Driven::join(cluster.new_client(), config.clone()),
        Driven::join(cluster.new_client(), config.clone()),
    );
    shared(&config, &one, &two).await;
    let before = [one.state.borrow().clone(), two.state.borrow().clone()];
    let working = async {
        let mut offset = 0;
        loop {
            for (member, state) in [(&one, &before[0]), (&two, &before[1])] {
                let (topic, partition) = state.owned.first().unwrap();
                let at = TopicPartition::new(topic.as_str(), *partition);
                within("a commit", member.offsets.commit(vec![(at.clone(), offset)]))
                    .await
                    .unwrap();
                let committed = within("a look-up", member.offsets.committed(std::slice::from_ref(&at)))
                    .await
                    .unwrap();
                assert_eq!(committed[&at], Some(offset));
            }
            offset += 1;
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = working => {}
        () = trouble(cluster.broker().faults(), &config.group_id) => {}
    }
    // Longer than a heartbeat takes to say that something is wrong.
    sleep(Duration::from_secs(1)).await;
    for (member, before) in [(&one, &before[0]), (&two, &before[1])] {
        let after = member.state.borrow();
        assert_eq!((after.lost, &after.failed), (0, &None));
        assert_eq!((after.generation, &after.owned), (before.generation, &before.owned));
        assert!(member.lease.is_held(Instant::now()));
    }
}

pub(crate) async fn a_coordinator_that_moves_again_and_again_disturbs_nobody(cluster: Cluster) {
    let nodes = cluster.broker().nodes().to_vec();
    both_keep_their_partitions(&cluster, async |control, group| {
        for node in nodes.iter().cycle().take(15) {
            control.move_coordinator(group, *node);
            sleep(Duration::from_millis(150)).await;
        }
    })
    .await;
}

pub(crate) async fn a_coordinator_that_crashes_disturbs_nobody(cluster: Cluster) {
    let nodes = cluster.broker().nodes().to_vec();
    both_keep_their_partitions(&cluster, async |control, _| {
        for node in nodes.iter().cycle().take(6) {
            control.crash(*node, LostTail::Nothing);
            sleep(Duration::from_millis(300)).await;
            control.restart(*node);
            sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}
