//! Tables whose changelog gets only the last value per key of each commit interval: nothing else may change for their group.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use goka_core::storage::Memory;
use goka_core::{GroupGraph, Int64, RecordMeta, Utf8};
use kafka_wire::ErrorCode;
use kafka_wire::protocol::batch::Header;
use storage_redb::Redb;
use testkit::broker::{Api, Fault};

use crate::app::{App, PARTITIONS, clicks, ready, rows, stop, truth};
use crate::cluster::{Cluster, eventually, within};
use crate::crash::Instance;

/// Records in the changelog.
async fn written(app: &App) -> i64 {
    let mut written = 0;
    for partition in 0..PARTITIONS {
        written += app.cluster.bounds(&app.table, partition).await.1;
    }
    written
}

pub(crate) async fn a_coalesced_changelog_gets_the_last_value_of_each_interval(cluster: Cluster) {
    let app = App::coalesced(cluster).await;
    let clicks = clicks(20_000, 50);
    app.click(&clicks).await;
    let running = app.running(app.redb("one")).await;
    app.until_committed().await;
    assert_eq!(app.fold().await, truth(&clicks));
    let written = written(&app).await;
    assert!(
        (50..10_000).contains(&written),
        "{written} changelog records for 20,000 updates of 50 keys"
    );
    let view = app.view().await;
    within("the view's recovery", view.ready()).await.unwrap();
    eventually("the view's rows", async || rows(&view) == truth(&clicks)).await;
    stop(running).await;
    app.check_prefix(&app.state.join("one")).await;
    // What was stored is all that was written: nothing is recovered, and counting goes on from there.
    let running = app.running(app.redb("one")).await;
    assert_eq!(crate::app::recovered(&running).await, 0);
    app.click(&clicks[..50]).await;
    app.until_committed().await;
    assert_eq!(app.fold().await, truth(clicks.iter().chain(&clicks[..50])));
    stop(running).await;
}

/// I2: an offset is not committed before the changelog has the rows, although their records went through long ago.
pub(crate) async fn offsets_wait_for_coalesced_rows(cluster: Cluster) {
    let app = App::coalesced(cluster).await;
    let clicks = clicks(1_000, 30);
    app.click(&clicks).await;
    let faults = app.cluster.broker().faults();
    for partition in 0..PARTITIONS {
        let refusal = Fault::new(Api::Produce).partition(&app.table, partition);
        faults.inject(refusal.times(1_000_000).error(ErrorCode::NOT_ENOUGH_REPLICAS));
    }
    let running = app.start(app.graph(), Memory::new()).await;
    let all = async || running.stats().await.unwrap().records() == 1_000;
    eventually("the callbacks", all).await;
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let committed = app.committed().await;
        assert!(committed.values().all(|offset| *offset == 0), "{committed:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    faults.clear();
    app.until_committed().await;
    assert_eq!(app.fold().await, truth(&clicks));
    stop(running).await;
}

/// I1 and I2 across kills at any point of an interval.
pub(crate) async fn a_killed_process_with_a_coalesced_changelog_loses_nothing(cluster: Cluster) {
    let app = App::coalesced(cluster).await;
    let (all, done) = (clicks(100_000, 60), AtomicBool::new(false));
    let directory = app.state.join("killed");
    let emitting = app.click_until(&all, &done);
    let killing = async {
        let mut covered = 0;
        for round in 0..4 {
            let before = app.committed().await;
            let mut instance = Instance::start(&app, &directory);
            eventually("progress of a new process", async || app.committed().await != before).await;
            tokio::time::sleep(Duration::from_millis(300 + 90 * round)).await;
            instance.kill();
            covered = app.check_prefix(&directory).await;
        }
        done.store(true, Ordering::SeqCst);
        covered
    };
    let (emitted, covered) = tokio::join!(emitting, killing);
    assert!(covered > 0, "no process lived long enough to store anything");
    let running = app.start(app.graph(), Redb::at(&directory)).await;
    ready(&running).await;
    app.until_committed().await;
    let (truth, counts) = (truth(&all[..emitted]), app.fold().await);
    for (user, clicks) in &truth {
        assert!(counts[user] >= *clicks, "{user}: {} of {clicks} clicks", counts[user]);
        assert_eq!(running.get(user).await.unwrap(), Some(counts[user]), "{user}");
    }
    stop(running).await;
    app.check_prefix(&directory).await;
}

/// A member that hands over in order writes what its changelog lacks before it lets go.
pub(crate) async fn two_members_that_hand_over_coalesced_tables_count_exactly(cluster: Cluster) {
    let app = App::coalesced(cluster).await;
    let clicks = clicks(6_000, 40);
    let first = app.running(app.redb("first")).await;
    app.click(&clicks[..2_000]).await;
    let second = app.start(app.graph(), app.redb("second")).await;
    app.click(&clicks[2_000..4_000]).await;
    ready(&second).await;
    app.click(&clicks[4_000..]).await;
    stop(first).await;
    app.until_committed().await;
    assert_eq!(app.fold().await, truth(&clicks));
    stop(second).await;
}

/// I6 per key: what must be written at once replaces what waits, and what comes after it waits again.
pub(crate) async fn rows_set_with_headers_keep_their_place_among_coalesced_ones(cluster: Cluster) {
    let app = App::new(cluster).await;
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .coalesced()
        .input(app.topic.as_str(), Utf8, |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            let why = [Header {
                key: b"why",
                value: Some(b"third"),
            }];
            match count % 3 {
                0 => ctx.set_value_with(
                    &count,
                    RecordMeta {
                        headers: &why,
                        timestamp: None,
                    },
                ),
                _ => ctx.set_value(&count),
            }
        });
    let clicks = clicks(3_000, 20);
    app.click(&clicks).await;
    let running = app.start(graph.build().unwrap(), app.redb("one")).await;
    ready(&running).await;
    app.until_committed().await;
    stop(running).await;
    let mut last = BTreeMap::<Vec<u8>, i64>::new();
    let mut headed = 0;
    for partition in 0..PARTITIONS {
        for record in app.cluster.records(&app.table, partition).await {
            let count: i64 = record.text().parse().unwrap();
            headed += i64::from(!record.headers.is_empty());
            assert_eq!(!record.headers.is_empty(), count % 3 == 0, "{record:?}");
            let before = last.insert(record.key.unwrap(), count);
            assert!(before.unwrap_or(0) < count, "{before:?} came before {count}");
        }
    }
    let truth = truth(&clicks);
    assert_eq!(headed, truth.values().map(|clicks| clicks / 3).sum::<i64>());
    let last = last
        .into_iter()
        .map(|(key, count)| (String::from_utf8(key).unwrap(), count));
    assert_eq!(last.collect::<BTreeMap<_, _>>(), truth);
    app.check_prefix(&app.state.join("one")).await;
}
