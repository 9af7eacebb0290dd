//! What holds at every instant, crashes included: stores are prefixes of their changelogs (I1), offsets wait for effects (I2),
//! followers agree (I4), orders agree (I6), inputs come together (I7), memory is bounded (I8). Leases and foreign writers (I3)
//! are in `faults`, `crash` and `trust`, trust in stores (I5) is in `trust`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use goka_core::storage::Memory;
use goka_core::{GroupGraph, Int64, Output, Processor, Running, Utf8, View, ViewConfig};
use kafka_wire::ErrorCode;
use storage_redb::Redb;
use testkit::broker::{Api, Fault};

use crate::app::{App, PARTITIONS, clicks, quick, ready, rows, stop, truth};
use crate::cluster::{Cluster, eventually, within};

/// I1: a runtime that is torn down in the middle of everything is a crash without a kill.
pub(crate) async fn stores_are_prefixes_of_their_changelogs_after_an_abrupt_end(cluster: Cluster) {
    let app = App::new(cluster).await;
    let (all, done) = (clicks(100_000, 80), AtomicBool::new(false));
    let directory = app.state.join("torn");
    // Clicks go on as long as instances are torn down.
    let emitting = async {
        let mut parts = all.chunks(50);
        while !done.load(Ordering::SeqCst) {
            app.click(parts.next().unwrap()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        all.len() - parts.map(<[_]>::len).sum::<usize>()
    };
    let tearing = async {
        let mut covered = 0;
        for round in 0..3 {
            let before = app.committed().await;
            let torn = Torn::start(&app);
            eventually("progress of a new instance", async || app.committed().await != before).await;
            tokio::time::sleep(Duration::from_millis(300 + 110 * round)).await;
            torn.tear();
            covered = app.check_prefix(&directory).await;
        }
        done.store(true, Ordering::SeqCst);
        covered
    };
    let (emitted, covered) = tokio::join!(emitting, tearing);
    assert!(
        covered > 0,
        "no instance lived long enough to put anything into its store"
    );
    let running = app.start(app.graph(), Redb::at(&directory)).await;
    ready(&running).await;
    app.until_committed().await;
    let counts = app.counts().await;
    for (user, clicks) in truth(&all[..emitted]) {
        assert!(counts[&user] >= clicks, "{user}: {} of {clicks}", counts[&user]);
        assert_eq!(running.get(&user).await.unwrap(), Some(counts[&user]), "{user}");
    }
    stop(running).await;
    app.check_prefix(&directory).await;
}

/// An instance on a runtime of its own.
pub(crate) struct Torn {
    runtime: tokio::runtime::Runtime,
    running: Running<Int64>,
}

impl Torn {
    pub(crate) fn start(app: &App) -> Torn {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let processor = Processor::new(app.cluster.new_client(), app.graph(), app.redb("torn")).unwrap();
        let running = tokio::task::block_in_place(|| {
            runtime.block_on(within("a processor's start", processor.with_config(quick()).start()))
        });
        Torn {
            runtime,
            running: running.unwrap(),
        }
    }

    pub(crate) fn tear(self) {
        self.runtime.shutdown_background();
        drop(self.running);
    }
}

/// I2: what a record emits holds back its offset and those of all records after it, of which some write nothing.
pub(crate) async fn offsets_wait_for_what_their_records_emitted(cluster: Cluster) {
    let app = App::new(cluster).await;
    let out = app.cluster.topic(1, &[]).await;
    let output = Output::new(out.as_str(), Utf8);
    let to = output.clone();
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .output(&output)
        .input(app.topic.as_str(), Utf8, move |ctx, _| match ctx.offset() {
            5 if ctx.partition() == 1 => ctx.emit(&to, "key", "held up"),
            _ => Ok(()),
        });
    let faults = app.cluster.broker().faults();
    let refusal = Fault::new(Api::Produce).partition(&out, 0).times(1_000_000);
    faults.inject(refusal.error(ErrorCode::NOT_ENOUGH_REPLICAS));
    let clicks = clicks(400, 40);
    app.click(&clicks).await;
    let (_, end) = app.cluster.bounds(&app.topic, 1).await;
    assert!(end > 10, "partition 1 has {end} clicks");
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    let all = async || running.stats().await.unwrap().records() == 400;
    eventually("the callbacks", all).await;
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let committed = app.committed().await.get(&1).copied().unwrap_or(0);
        assert!(
            committed <= 5,
            "{committed} is committed, what record 5 emitted is not written"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    faults.clear();
    app.until_committed().await;
    assert_eq!(app.cluster.records(&out, 0).await.len(), 1);
    stop(running).await;
}

/// I4: recovery and views are one loop, so that what they show is one table: the fold of the changelog.
pub(crate) async fn views_recovered_tables_and_the_fold_agree(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(3000, 90);
    // Rows come, change and go.
    let graph = || {
        let graph = GroupGraph::builder(app.group.as_str())
            .persist(Int64)
            .input(app.topic.as_str(), Utf8, |ctx, _| match ctx.value()?.unwrap_or(0) + 1 {
                count if count % 7 == 0 => ctx.delete(),
                count => ctx.set_value(&count),
            });
        graph.build().unwrap()
    };
    let config = ViewConfig {
        flush_interval: Duration::from_millis(100),
        ..ViewConfig::default()
    };
    let stored = async || {
        let view = View::new(app.cluster.new_client(), app.table.as_str(), Int64, app.redb("view")).unwrap();
        let view = within("a view's start", view.with_config(config.clone()).start()).await;
        let view = view.unwrap();
        within("the view", view.ready()).await.unwrap();
        view
    };
    let mut users: BTreeSet<_> = clicks.iter().cloned().collect();
    users.insert("nobody".to_owned());
    for (round, part) in clicks.chunks(1000).enumerate() {
        app.click(part).await;
        // The first store is new, later ones are gone: each time the whole changelog is read.
        let running = app.start(graph(), app.redb(&format!("round-{round}"))).await;
        ready(&running).await;
        let live = app.view().await;
        app.until_committed().await;
        stop(running).await;
        let fold = app.fold().await;
        assert!(fold.len() > 20 && fold.len() < 91, "{} rows", fold.len());
        let recovered = app.start(graph(), Memory::new()).await;
        ready(&recovered).await;
        for user in &users {
            assert_eq!(
                recovered.get(user).await.unwrap(),
                fold.get(user).copied(),
                "round {round}: {user}"
            );
        }
        eventually("the view's last update", async || rows(&live) == fold).await;
        // This one goes on from its store, which saw the rounds before.
        let stored = stored().await;
        assert_eq!(rows(&stored), fold, "round {round}: the stored view");
        within("the view's end", stored.stop()).await.unwrap();
        within("the view's end", live.stop()).await.unwrap();
        stop(recovered).await;
    }
}

/// I6, also over requests that fail and are repeated.
pub(crate) async fn effects_are_written_in_order_although_requests_fail(cluster: Cluster) {
    let faults = cluster.broker().faults();
    for _ in 0..6 {
        faults.inject(
            Fault::new(Api::Produce)
                .times(2)
                .error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        );
        faults.inject(Fault::new(Api::Produce).times(2).cut_before_answer());
        faults.inject(Fault::new(Api::Produce).error_after(ErrorCode::REQUEST_TIMED_OUT));
        faults.inject(Fault::new(Api::Produce).delay_answer(Duration::from_millis(100)));
        faults.inject(Fault::new(Api::Produce).cut());
    }
    effects_are_written_in_the_order_of_records_and_calls(cluster).await;
    assert!(faults.pending() < 48, "no request failed");
}

/// I6: the changelog of a partition, and what it emits to one other, have the order in which callbacks asked for it.
pub(crate) async fn effects_are_written_in_the_order_of_records_and_calls(cluster: Cluster) {
    let app = App::new(cluster).await;
    let out = app.cluster.topic(1, &[]).await;
    let output = Output::new(out.as_str(), Utf8);
    let to = output.clone();
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Utf8)
        .output(&output)
        .input(app.topic.as_str(), Utf8, move |ctx, _| {
            let offset = ctx.offset();
            ctx.set_value(&format!("{offset} first"))?;
            ctx.emit(&to, ctx.partition().to_string(), &format!("{offset:06} a"))?;
            ctx.delete()?;
            ctx.emit(&to, ctx.partition().to_string(), &format!("{offset:06} b"))?;
            ctx.set_value(&format!("{offset} second"))
        });
    app.click(clicks(1500, 40)).await;
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    app.until_committed().await;
    stop(running).await;
    for partition in 0..PARTITIONS {
        let mut expected = Vec::new();
        for record in app.cluster.records(&app.topic, partition).await {
            let value = |which: &str| Some(format!("{} {which}", record.offset).into_bytes());
            expected.extend([value("first"), None, value("second")].map(|value| (record.key.clone(), value)));
        }
        let changelog = app.cluster.records(&app.table, partition).await;
        let changelog: Vec<_> = changelog.into_iter().map(|record| (record.key, record.value)).collect();
        assert!(changelog == expected, "the changelog of partition {partition}");
    }
    let mut emitted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in app.cluster.records(&out, 0).await {
        let text = record.text().to_owned();
        emitted.entry(record.key.unwrap()).or_default().push(text);
    }
    assert_eq!(emitted.len(), PARTITIONS as usize);
    for (from, texts) in emitted {
        assert!(
            texts.is_sorted_by(|a, b| a < b),
            "emitted by partition {from:?}: {texts:?}"
        );
    }
}
