//! Coordinators that fail for a moment cost a member nothing; one that falls silent ends its lease in time.

use std::time::{Duration, Instant};

use kafka_wire::{Client, ClientConfig, ErrorCode};
use testkit::broker::{Api, Fault};

use crate::cluster::{Cluster, eventually, within};
use crate::driven::{Driven, quick, two_topics};
use crate::each_fault::all_happened;

const RETRIABLE: [ErrorCode; 3] = [
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::NOT_COORDINATOR,
];

pub(crate) async fn heartbeats_that_fail_for_a_moment_cost_nothing(cluster: Cluster) {
    let faults = cluster.broker().faults();
    let member = Driven::join(cluster.client(), quick(two_topics(&cluster).await));
    let before = member.owns(8).await;
    for code in RETRIABLE {
        faults.inject(Fault::new(Api::Heartbeat).error(code));
        faults.inject(Fault::new(Api::Heartbeat).cut());
        all_happened(&faults).await;
    }
    // One more, that succeeds.
    let served = cluster.broker().served(Api::Heartbeat);
    eventually("another heartbeat", || {
        std::future::ready(cluster.broker().served(Api::Heartbeat) > served + 1)
    })
    .await;
    let after = member.state.borrow().clone();
    assert_eq!(
        (after.generation, after.lost, after.owned.len()),
        (before.generation, 0, 8)
    );
}

pub(crate) async fn a_coordinator_that_answers_nothing_ends_the_lease_in_time(cluster: Cluster) {
    let faults = cluster.broker().faults();
    let config = quick(two_topics(&cluster).await).with_rebalance_timeout(Duration::from_secs(5));
    // What it asks while nobody answers is given up within the test's time.
    let patience = ClientConfig::new(cluster.bootstrap()).with_request_timeout(Duration::from_secs(2));
    let member = Driven::join(Client::new(patience).unwrap(), config.clone());
    member.owns(8).await;
    let node = within("the coordinator", cluster.client().coordinator(&config.group_id))
        .await
        .unwrap();
    faults.stall(node, true);
    let stalled = Instant::now();
    let mut state = member.state.clone();
    within("the loss", state.wait_for(|state| state.owned.is_empty()))
        .await
        .unwrap();
    assert!(
        stalled.elapsed() <= config.session_timeout + Duration::from_secs(2),
        "{:?}",
        stalled.elapsed()
    );
    assert!(!member.lease.is_held(Instant::now()));
    assert_eq!(member.state.borrow().lost, 8);
    faults.stall(node, false);
    member.owns(8).await;
}
