//! Brokers that fail on command; on the embedded kind only.

use std::time::{Duration, Instant};

use goka_core::storage::Memory;
use goka_core::{Int64, View};
use kafka_wire::ErrorCode;
use testkit::broker::{Api, Fault, LostTail};

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
use crate::cluster::{Cluster, eventually, within};

/// I2: offsets wait for what their records wrote.
pub(crate) async fn nothing_is_committed_before_its_effects_are_acknowledged(cluster: Cluster) {
    let app = App::new(cluster).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    let clicks = clicks(200, 30);
    let faults = app.cluster.broker().faults();
    // The changelog's leaders do not answer for a while, in one partition; the records of the others go through.
    for _ in 0..1000 {
        faults.inject(
            Fault::new(Api::Produce)
                .partition(&app.table, 1)
                .error(ErrorCode::NOT_ENOUGH_REPLICAS),
        );
    }
    app.click(&clicks).await;
    let (_, end) = app.cluster.bounds(&app.topic, 1).await;
    assert!(end > 10, "partition 1 has {end} clicks");
    eventually("the callbacks", async || {
        running.stats().await.unwrap().records() == 200
    })
    .await;
    eventually("the others' commits", async || {
        app.committed().await.get(&0).is_some_and(|offset| *offset > 0)
    })
    .await;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let committed = app.committed().await.get(&1).copied().unwrap_or(0);
        assert_eq!(
            committed, 0,
            "committed although no row of partition 1 is in the changelog"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    faults.clear();
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(running).await;
}

/// Brokers learn of leaders, and of topics, one after the other.
pub(crate) async fn topics_just_created_are_waited_for(cluster: Cluster) {
    let app = App::new(cluster).await;
    let faults = app.cluster.broker().faults();
    let unready = || {
        // The first is the client's own look at the cluster.
        faults.inject(
            Fault::new(Api::Metadata)
                .times(4)
                .error(ErrorCode::LEADER_NOT_AVAILABLE),
        );
        let lagging = Fault::new(Api::DescribeConfigs).times(2);
        faults.inject(lagging.error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    };
    unready();
    let running = app.start(app.graph(), Memory::new()).await;
    assert_eq!(faults.pending(), 0);
    ready(&running).await;
    unready();
    let view = View::new(app.cluster.new_client(), app.table.as_str(), Int64, Memory::new()).unwrap();
    let view = within("a view's start", view.start()).await.unwrap();
    assert_eq!(faults.pending(), 0);
    within("the view", view.ready()).await.unwrap();
    stop(running).await;
}

/// I3: a member that cannot reach its group stops by itself when its session may be over, although everything else works.
pub(crate) async fn without_heartbeats_nothing_is_written_after_the_session(cluster: Cluster) {
    let app = App::new(cluster).await;
    let running = app.running(app.redb("a")).await;
    let clicks = clicks(400, 30);
    app.click(&clicks[..100]).await;
    app.until_committed().await;
    let faults = app.cluster.broker().faults();
    for api in [Api::Heartbeat, Api::JoinGroup, Api::SyncGroup, Api::OffsetCommit] {
        faults.inject(Fault::new(api).times(100_000).stall());
    }
    let silent_since = Instant::now();
    // Longer than the session; the last heartbeat that came through was before.
    tokio::time::sleep(Duration::from_millis(6500)).await;
    app.click(&clicks[100..300]).await;
    let table = async || {
        let mut ends = 0;
        for partition in 0..PARTITIONS {
            ends += app.cluster.bounds(&app.table, partition).await.1;
        }
        ends
    };
    for _ in 0..20 {
        assert_eq!(
            table().await,
            100,
            "written {:?} after the last heartbeat",
            silent_since.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    faults.clear();
    faults.cut_all_connections();
    app.click(&clicks[300..]).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(running).await;
}

pub(crate) async fn crashing_brokers_and_moving_leaders_lose_nothing(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(4000, 60);
    let running = app.running(app.redb("a")).await;
    let emitting = async {
        for part in clicks.chunks(100) {
            app.click(part).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let broker = app.cluster.broker();
    let (faults, nodes) = (broker.faults(), broker.nodes().to_vec());
    let failing = async {
        for round in 0..9 {
            let node = nodes[round % nodes.len()];
            match round % 3 {
                0 => faults.crash_and_restart(node, LostTail::Nothing),
                1 => {
                    for partition in 0..PARTITIONS {
                        faults.move_leader(&app.table, partition, node).unwrap();
                        faults.move_leader(&app.topic, partition, node).unwrap();
                    }
                    faults.move_coordinator(&app.group, node);
                }
                _ => {
                    faults.inject(Fault::new(Api::Produce).times(3).cut_before_answer());
                    faults.inject(Fault::new(Api::Fetch).times(3).cut_answer_after(20));
                    faults.inject(Fault::new(Api::OffsetCommit).error(ErrorCode::NOT_COORDINATOR));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::join!(emitting, failing);
    app.until_committed().await;
    let (truth, fold) = (truth(&clicks), app.counts().await);
    for (user, clicks) in &truth {
        assert!(fold[user] >= *clicks, "{user}: {} of {clicks}", fold[user]);
        assert_eq!(running.get(user).await.unwrap(), Some(fold[user]), "{user}");
    }
    stop(running).await;
}

/// Whoever starts while connections break must not end because nobody said whether its table was made.
pub(crate) async fn a_table_whose_creation_was_not_answered_is_used(cluster: Cluster) {
    let app = App::new(cluster).await;
    let faults = app.cluster.broker().faults();
    // The first request is lost with its connection, the second one is obeyed and its answer lost.
    faults.inject(Fault::new(Api::CreateTopics).cut());
    faults.inject(Fault::new(Api::CreateTopics).cut_before_answer());
    let running = app.running(app.redb("a")).await;
    assert_eq!(faults.pending(), 0);
    let clicks = clicks(100, 10);
    app.click(&clicks).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(running).await;
}
