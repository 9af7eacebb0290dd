//! Membership in a group: who owns what, and how it is handed over.

use std::time::{Duration, Instant};

use group_coordinator::MembershipErrorKind;

use crate::cluster::{Cluster, eventually, within};
use crate::cuts::Cuts;
use crate::driven::{Driven, State, numbers, quick, shared, two_topics};

pub(crate) async fn one_member_gets_every_partition_of_every_topic(cluster: Cluster) {
    let config = two_topics(&cluster).await;
    let member = Driven::join(cluster.client(), config.clone());
    let state = member.owns(8).await;
    for topic in &config.topics {
        assert_eq!(numbers(&state, topic), (0..4).collect());
    }
    assert!(member.lease.is_held_in(state.generation, Instant::now()));
    member.leave().await;
}

pub(crate) async fn two_members_share_equal_numbers_of_all_topics(cluster: Cluster) {
    let config = two_topics(&cluster).await;
    let one = Driven::join(cluster.client(), quick(config.clone()));
    one.owns(8).await;
    let two = Driven::join(cluster.new_client(), quick(config.clone()));
    shared(&config, &one, &two).await;
}

/// Their JoinGroups all wait at the broker until the last one is there.
pub(crate) async fn members_of_one_client_do_not_wait_for_each_other_and_one_too_many_gets_nothing(cluster: Cluster) {
    let config = quick(two_topics(&cluster).await);
    let members: Vec<Driven> = (0..5).map(|_| Driven::join(cluster.client(), config.clone())).collect();
    let mut counts: Vec<usize> = Vec::new();
    let begun = Instant::now();
    eventually("five members in one generation", || {
        let states: Vec<State> = members.iter().map(|member| member.state.borrow().clone()).collect();
        let generation = states[0].generation;
        let settled = states
            .iter()
            .all(|state| state.generation == generation && state.assigned.is_some());
        counts = states.iter().map(|state| state.owned.len()).collect();
        std::future::ready(settled && counts.iter().sum::<usize>() == 8)
    })
    .await;
    counts.sort_unstable();
    assert_eq!(counts, [0, 2, 2, 2, 2]);
    // Long before anybody's time at the broker is over.
    assert!(
        begun.elapsed() < config.rebalance_timeout / 2,
        "took {:?}",
        begun.elapsed()
    );
    assert!(members.iter().all(|member| member.state.borrow().lost == 0));
}

pub(crate) async fn a_member_that_leaves_hands_over_at_once(cluster: Cluster) {
    // The session would last ten times as long as the test has time.
    let config = two_topics(&cluster)
        .await
        .with_session_timeout(Duration::from_secs(600));
    let (one, two) = (
        Driven::join(cluster.client(), config.clone()),
        Driven::join(cluster.new_client(), config.clone()),
    );
    shared(&config, &one, &two).await;
    let lease = one.lease.clone();
    one.leave().await;
    assert!(!lease.is_held(Instant::now()));
    two.owns(8).await;
    assert_eq!(two.state.borrow().lost, 0);
}

pub(crate) async fn a_member_that_is_cut_off_stops_before_it_is_replaced_and_comes_back(cluster: Cluster) {
    let config = quick(two_topics(&cluster).await);
    let cuts = Cuts::new();
    let stays = Driven::join(cluster.client(), config.clone());
    let cut = Driven::join(cluster.client_through(&cuts), config.clone());
    shared(&config, &stays, &cut).await;

    cuts.refuse(true);
    let mut deadline = cut.lease.deadline().expect("a lease");
    eventually("the replacement", || {
        deadline = cut.lease.deadline().map_or(deadline, |later| later.max(deadline));
        std::future::ready(stays.state.borrow().owned.len() == 8)
    })
    .await;
    let replaced = stays.state.borrow().assigned.unwrap();
    assert!(deadline < replaced, "its lease lasted {:?} longer", deadline - replaced);
    assert!(!cut.lease.is_held(replaced));
    eventually("word of the loss", || {
        std::future::ready(cut.state.borrow().owned.is_empty())
    })
    .await;
    assert_eq!((cut.state.borrow().lost, stays.state.borrow().lost), (4, 0));

    cuts.refuse(false);
    shared(&config, &stays, &cut).await;
}

pub(crate) async fn a_second_member_of_the_same_instance_fences_the_first(cluster: Cluster) {
    let config = quick(two_topics(&cluster).await).with_instance_id("one-and-only");
    let first = Driven::join(cluster.client(), config.clone());
    first.owns(8).await;
    let second = Driven::join(cluster.new_client(), config);
    second.owns(8).await;
    let mut state = first.state.clone();
    let failed = within("the fencing", state.wait_for(|state| state.failed.is_some())).await;
    let failed = failed.unwrap().clone();
    assert!(matches!(
        failed.failed.unwrap().kind,
        MembershipErrorKind::Fenced { .. }
    ));
    assert!(failed.owned.is_empty() && !first.lease.is_held(Instant::now()));
}
