//! Views: several of one table, on one disk, of any topic, through recoveries and accidents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use goka_core::storage::{KeyRange, Memory, StoreBuilder};
use goka_core::{Emitter, EmitterConfig, Int64, Partitioner, RunError, RunningView, Utf8, View, ViewConfig, ViewError};
use kafka_wire::ErrorCode;
use kafka_wire::admin::NewTopic;
use testkit::broker::{Api, Fault, LostTail};

use crate::app::{App, PARTITIONS, clicks, ready, rows, stop, truth};
use crate::cluster::{Cluster, eventually, unique, within};

/// A view called `owner` in `stores`, caught up.
async fn view(app: &App, owner: &str, stores: impl StoreBuilder) -> RunningView<Int64> {
    let view = View::new(app.cluster.new_client(), app.table.as_str(), Int64, stores).unwrap();
    let config = ViewConfig {
        owner: owner.to_owned(),
        ..ViewConfig::default()
    };
    let view = within("a view's start", view.with_config(config).start())
        .await
        .unwrap();
    within("the view", view.ready()).await.unwrap();
    view
}

fn records_read(view: &RunningView<Int64>) -> u64 {
    let partitions = view.stats().partitions;
    partitions
        .iter()
        .map(|partition| partition.recovery.unwrap().records)
        .sum()
}

/// Counts `clicks` to the end and stops.
async fn count(app: &App, clicks: &[String]) {
    app.click(clicks).await;
    let running = app.running(app.redb("processor")).await;
    app.until_committed().await;
    stop(running).await;
}

pub(crate) async fn a_processor_and_two_views_share_one_directory(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(900, 45);
    let stores: Arc<dyn StoreBuilder> = Arc::new(app.redb("shared"));
    app.click(&clicks[..300]).await;
    let running = app.start(app.graph(), Arc::clone(&stores)).await;
    ready(&running).await;
    app.until_committed().await;
    let left = view(&app, "left", Arc::clone(&stores)).await;
    let right = view(&app, "right", Arc::clone(&stores)).await;
    let before = truth(&clicks[..300]);
    assert_eq!((rows(&left), rows(&right)), (before.clone(), before));
    app.click(&clicks[300..600]).await;
    app.until_committed().await;
    let after = truth(&clicks[..600]);
    let both = async || rows(&left) == after && rows(&right) == after;
    eventually("both views' last update", both).await;
    within("the view's end", left.stop()).await.unwrap();
    app.click(&clicks[600..]).await;
    app.until_committed().await;
    // One goes on from what it had, the other was never away.
    let left = view(&app, "left", Arc::clone(&stores)).await;
    assert_eq!(records_read(&left), 300);
    let all = truth(&clicks);
    assert_eq!(rows(&left), all);
    eventually("the other view's last update", async || rows(&right) == all).await;
    let middle: Vec<_> = right.range(KeyRange::new("user-01", "user-03")).unwrap().collect();
    let keys: Vec<_> = middle.into_iter().map(|row| row.unwrap().0).collect();
    let expected: Vec<_> = (10..30)
        .map(|number| format!("user-{number:03}").into_bytes())
        .collect();
    assert_eq!(keys, expected, "ascending over all partitions");
    stop(running).await;
    within("the view's end", left.stop()).await.unwrap();
    within("the view's end", right.stop()).await.unwrap();
    assert_eq!(records_read(&view(&app, "right", stores).await), 0);
}

pub(crate) async fn a_view_of_a_table_that_is_made_anew_starts_over(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    count(&app, &clicks).await;
    let view = view(&app, "view", app.redb("view")).await;
    assert_eq!(rows(&view), truth(&clicks));
    let admin = app.cluster.client().admin();
    admin.delete_topics(&[&app.table]).await.unwrap().remove(0).1.unwrap();
    let anew = || NewTopic::new(&app.table, PARTITIONS).with_config("cleanup.policy", "compact");
    eventually("the topic's successor", async || {
        admin.create_topics(&[anew()]).await.unwrap().remove(0).1.is_ok()
    })
    .await;
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Int64));
    let emitter = emitter.await.unwrap();
    for user in ["amy", "bob", "cat", "dan", "eve"] {
        within("an acknowledgement", emitter.emit_sync(user, &7)).await.unwrap();
    }
    let expected: BTreeMap<String, i64> = ["amy", "bob", "cat", "dan", "eve"]
        .map(|user| (user.to_owned(), 7))
        .into();
    let is_new = async || view.iterate().is_ok() && rows(&view) == expected;
    eventually("the successor's rows, and none of the old", is_new).await;
    within("the view's end", view.stop()).await.unwrap();
}

pub(crate) async fn a_view_shows_any_topic_by_the_partitioner_that_wrote_it(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let config = EmitterConfig {
        partitioner: Partitioner::Murmur2,
        ..EmitterConfig::default()
    };
    let emitter = Emitter::with_config(cluster.new_client(), &topic, Utf8, config);
    let emitter = within("an emitter", emitter).await.unwrap();
    for number in 0..40 {
        drop(emitter.emit(format!("key-{number}"), "old").unwrap());
        drop(emitter.emit(format!("key-{number}"), &number.to_string()).unwrap());
    }
    drop(emitter.tombstone("key-7").unwrap());
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    let config = ViewConfig {
        partitioner: Partitioner::Murmur2,
        ..ViewConfig::default()
    };
    let view = View::new(cluster.new_client(), topic, Utf8, Memory::new()).unwrap();
    let view = within("a view's start", view.with_config(config).start())
        .await
        .unwrap();
    within("the view", view.ready()).await.unwrap();
    for number in 0..40 {
        let expected = Some(number.to_string()).filter(|_| number != 7);
        assert_eq!(view.get(format!("key-{number}")).unwrap(), expected);
    }
    assert_eq!(view.iterate().unwrap().count(), 39);
    within("the view's end", view.stop()).await.unwrap();
}

pub(crate) async fn a_missing_table_is_named(cluster: Cluster) {
    let missing = unique("missing-table");
    let view = View::new(cluster.new_client(), missing.as_str(), Int64, Memory::new()).unwrap();
    let error = within("an error", view.start()).await.err().unwrap();
    assert!(matches!(error, RunError::Topic(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&missing) && text.contains("does not exist"), "{text}");
}

/// Embedded only: one partition cannot be read for a while.
pub(crate) async fn while_one_partition_recovers_only_its_rows_are_refused(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 40);
    count(&app, &clicks).await;
    let faults = app.cluster.broker().faults();
    let refusal = Fault::new(Api::Fetch).partition(&app.table, 1).times(1_000_000);
    faults.inject(refusal.error(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let view = app.view().await;
    let others = async || {
        view.stats()
            .partitions
            .iter()
            .filter(|partition| partition.recovered)
            .count()
            == 3
    };
    eventually("the other partitions", others).await;
    let mut refused = 0;
    for (user, count) in truth(&clicks) {
        let partition = Partitioner::Fnv1a.partition(user.as_bytes(), PARTITIONS);
        match view.get(&user) {
            Ok(found) => assert_eq!((found, partition != 1), (Some(count), true), "{user}"),
            Err(ViewError::Recovering {
                table,
                partition: named,
            }) => {
                assert_eq!((table, named, partition), (app.table.clone(), 1, 1), "{user}");
                refused += 1;
            }
            Err(error) => panic!("{user}: {error}"),
        }
    }
    assert!(refused > 0);
    let error = view.iterate().err().expect("half a table is not shown");
    assert!(matches!(error, ViewError::Recovering { partition: 1, .. }), "{error}");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), view.ready())
            .await
            .is_err(),
        "ready without partition 1"
    );
    faults.clear();
    within("the view", view.ready()).await.unwrap();
    assert_eq!(rows(&view), truth(&clicks));
    within("the view's end", view.stop()).await.unwrap();
}

/// Embedded only: brokers crash on command.
pub(crate) async fn a_view_follows_over_crashing_brokers_and_moving_leaders(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(2000, 50);
    let running = app.running(app.redb("processor")).await;
    let view = view(&app, "view", app.redb("view")).await;
    let broker = app.cluster.broker();
    let (faults, nodes) = (broker.faults(), broker.nodes().to_vec());
    for (round, part) in clicks.chunks(250).enumerate() {
        let node = nodes[round % nodes.len()];
        match round % 3 {
            0 => faults.crash_and_restart(node, LostTail::Nothing),
            1 => (0..PARTITIONS).for_each(|partition| faults.move_leader(&app.table, partition, node).unwrap()),
            _ => faults.inject(Fault::new(Api::Fetch).times(4).cut_answer_after(30)),
        }
        app.click(part).await;
    }
    app.until_committed().await;
    let counts = app.counts().await;
    eventually("the view's last update", async || rows(&view) == counts).await;
    stop(running).await;
    within("the view's end", view.stop()).await.unwrap();
}
