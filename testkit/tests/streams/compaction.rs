//! Changelogs that brokers compact: the table stays what it was, and deletions are not forgotten.

use goka_core::storage::Memory;
use goka_core::{GroupGraph, Int64, Partitioner, Utf8};
use kafka_wire::admin::NewTopic;
use testkit::broker::Tombstones;

use crate::app::{App, PARTITIONS, clicks, ready, recovered, rows, stop, truth};
use crate::cluster::{Cluster, within};

/// With a table topic that forgets tombstones after `delete_retention_ms`.
async fn app(cluster: Cluster, delete_retention_ms: &str) -> App {
    let app = App::new(cluster).await;
    let table = NewTopic::new(&app.table, PARTITIONS)
        .with_config("cleanup.policy", "compact")
        .with_config("delete.retention.ms", delete_retention_ms);
    let admin = app.cluster.client().admin();
    let created = within("a topic's creation", admin.create_topics(&[table])).await;
    created.unwrap().remove(0).1.unwrap();
    app
}

/// Every third click of a user deletes the row.
fn forgetful(app: &App) -> GroupGraph<Int64> {
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .input(app.topic.as_str(), Utf8, |ctx, _| match ctx.value()?.unwrap_or(0) + 1 {
            3 => ctx.delete(),
            count => ctx.set_value(&count),
        });
    graph.build().unwrap()
}

/// Lets instance `who` work off `clicks`; gives how many changelog records it read before.
async fn count<K: AsRef<[u8]>>(app: &App, who: &str, clicks: impl IntoIterator<Item = K>) -> u64 {
    app.click(clicks).await;
    let running = app.start(forgetful(app), app.redb(who)).await;
    ready(&running).await;
    let read = recovered(&running).await;
    app.until_committed().await;
    stop(running).await;
    read
}

pub(crate) async fn a_store_that_was_away_for_longer_than_tombstones_live_is_rebuilt(cluster: Cluster) {
    let app = app(cluster, "1").await;
    let clicks = clicks(300, 20);
    assert_eq!(count(&app, "a", &clicks[..100]).await, 0);
    // Whoever has seen everything has missed nothing, for however long it was away.
    assert_eq!(count(&app, "a", &clicks[..0]).await, 0);
    assert_eq!(count(&app, "b", &clicks[100..200]).await, 100);
    assert_eq!(count(&app, "a", &clicks[200..]).await, 200, "all, not what was missed");
}

pub(crate) async fn a_store_that_was_away_for_less_reads_what_it_missed(cluster: Cluster) {
    let app = app(cluster, "86400000").await;
    let clicks = clicks(300, 20);
    assert_eq!(count(&app, "a", &clicks[..100]).await, 0);
    assert_eq!(count(&app, "b", &clicks[100..200]).await, 100);
    assert_eq!(count(&app, "a", &clicks[200..]).await, 100);
}

/// Embedded only: compaction on command.
pub(crate) async fn deletions_that_compaction_removed_are_not_undone_by_an_old_store(cluster: Cluster) {
    let app = app(cluster, "1").await;
    count(&app, "a", ["amy", "amy", "bob"]).await;
    count(&app, "b", ["amy", "bob"]).await;
    // A row behind the tombstone, so that it is not at the end of the log.
    let partition = Partitioner::Fnv1a.partition(b"amy", PARTITIONS);
    let neighbour = (0..).map(|number| format!("user-{number}"));
    let neighbour = neighbour
        .into_iter()
        .find(|user| Partitioner::Fnv1a.partition(user.as_bytes(), PARTITIONS) == partition);
    let neighbour = neighbour.unwrap();
    count(&app, "b", [&neighbour]).await;
    app.cluster
        .broker()
        .compact(&app.table, partition, Tombstones::Drop)
        .unwrap();
    let left = app.cluster.records(&app.table, partition).await;
    assert!(
        left.iter().all(|record| record.key.as_deref() != Some(b"amy")),
        "the tombstone is still there"
    );
    let running = app.start(forgetful(&app), app.redb("a")).await;
    ready(&running).await;
    assert_eq!(running.get("amy").await.unwrap(), None);
    assert_eq!(running.get("bob").await.unwrap(), Some(2));
    assert_eq!(running.get(&neighbour).await.unwrap(), Some(1));
    stop(running).await;
}

/// Embedded only: compaction on command.
pub(crate) async fn a_compacted_changelog_gives_the_same_table(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(2000, 50);
    app.click(&clicks[..1900]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    // While its owner is at work.
    for partition in 0..PARTITIONS {
        app.cluster
            .broker()
            .compact(&app.table, partition, Tombstones::Keep)
            .unwrap();
    }
    app.click(&clicks[1900..]).await;
    app.until_committed().await;
    stop(running).await;
    let truth = truth(&clicks);
    assert_eq!(app.fold().await, truth);
    let running = app.running(Memory::new()).await;
    let read = recovered(&running).await;
    assert!(
        (50..=200).contains(&read),
        "{read} records were read of a compacted changelog"
    );
    for (user, count) in &truth {
        assert_eq!(running.get(user).await.unwrap(), Some(*count), "{user}");
    }
    let view = app.view().await;
    within("the view", view.ready()).await.unwrap();
    assert_eq!(rows(&view), truth);
    stop(running).await;
    within("the view's end", view.stop()).await.unwrap();
}
