//! When a store may be gone on with and when not (I5), and who else may write (I3).

use goka_core::{Emitter, GroupGraph, Int64, Partitioner, Running, Utf8};
use kafka_wire::admin::NewTopic;
use testkit::broker::{LostTail, Tombstones};

use crate::app::{App, PARTITIONS, clicks, ready, recovered, stop, truth};
use crate::cluster::{Cluster, eventually, within};

/// Counts `clicks` to the end and stops.
async fn count<'a>(app: &App, clicks: &'a [String]) -> &'a [String] {
    app.click(clicks).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    stop(running).await;
    clicks
}

/// The table is what the changelog says, row by row.
async fn table_is_the_fold(app: &App, running: &Running<Int64>, users: &[String]) {
    let fold = app.fold().await;
    for user in users {
        match running.get(user).await {
            Ok(count) => assert_eq!(count, fold.get(user).copied(), "{user}"),
            Err(error) => panic!("{error}; {:?}", running.stats().await),
        }
    }
}

/// Deletes the table topic and makes another of its name.
async fn make_anew(app: &App) {
    let admin = app.cluster.client().admin();
    admin.delete_topics(&[&app.table]).await.unwrap().remove(0).1.unwrap();
    let anew = || NewTopic::new(&app.table, PARTITIONS).with_config("cleanup.policy", "compact");
    eventually("the topic's successor", async || {
        admin.create_topics(&[anew()]).await.unwrap().remove(0).1.is_ok()
    })
    .await;
}

pub(crate) async fn a_table_topic_that_was_made_anew_makes_the_store_start_anew(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    count(&app, &clicks[..200]).await;
    make_anew(&app).await;
    app.click(&clicks[200..]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    // The old rows are nobody's any more: what the store had went with the topic that it copied.
    assert_eq!(app.fold().await, truth(&clicks[200..]));
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
}

/// The successor is longer than what the store has seen, in the same leader epoch: nothing but the topic's id tells them apart.
pub(crate) async fn a_longer_successor_of_the_table_topic_is_not_taken_for_it(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    count(&app, &clicks[..200]).await;
    make_anew(&app).await;
    let others: Vec<_> = (0..600).map(|number| format!("other-{}", number % 50)).collect();
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Int64)).await;
    let emitter = emitter.unwrap();
    for other in &others {
        drop(emitter.emit(other, &1).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    let running = app.running(app.redb("a")).await;
    table_is_the_fold(&app, &running, &clicks).await;
    table_is_the_fold(&app, &running, &others).await;
    app.click(&clicks[200..]).await;
    app.until_committed().await;
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
}

pub(crate) async fn a_foreign_write_is_noticed_and_counts(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(300, 20);
    app.click(&clicks[..200]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    let foreign = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Int64))
        .await
        .unwrap();
    for user in ["user-001", "nobody"] {
        within("an acknowledgement", foreign.emit_sync(user, &1000))
            .await
            .unwrap();
    }
    foreign.finish().await.unwrap();
    app.click(&clicks[200..]).await;
    app.until_committed().await;
    let noticed = async || {
        let stats = running.stats().await.unwrap();
        stats
            .partitions
            .values()
            .map(|partition| partition.table.unwrap().foreign_writes)
            .sum::<u64>()
            > 0
    };
    eventually("the notice", noticed).await;
    eventually("the foreign row", async || {
        running.get("nobody").await.ok() == Some(Some(1000))
    })
    .await;
    app.click(&clicks[200..]).await;
    app.until_committed().await;
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
    // The store on disk has it too.
    let running = app.running(app.redb("a")).await;
    assert_eq!(
        (recovered(&running).await, running.get("nobody").await.unwrap()),
        (0, Some(1000))
    );
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
}

/// Embedded only: Apache Kafka deletes no records of compacted topics on command.
pub(crate) async fn a_log_that_begins_past_the_checkpoint_makes_the_store_start_anew(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(600, 20);
    count(&app, &clicks[..200]).await;
    // Somebody else counts on, far beyond what the first store has seen; then the log's beginning goes.
    app.click(&clicks[200..400]).await;
    let other = app.running(app.redb("b")).await;
    app.until_committed().await;
    stop(other).await;
    for partition in 0..PARTITIONS {
        let (_, end) = app.cluster.bounds(&app.table, partition).await;
        app.cluster
            .broker()
            .delete_records(&app.table, partition, (end - 1).max(0))
            .unwrap();
    }
    let kept = app.fold().await;
    assert!(kept.len() <= PARTITIONS as usize);
    let running = app.running(app.redb("a")).await;
    table_is_the_fold(&app, &running, &clicks).await;
    app.click(&clicks[400..]).await;
    app.until_committed().await;
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
}

/// Embedded only: compaction on command. A reader that waits for the record before the end would wait for ever.
pub(crate) async fn a_changelog_that_ends_in_removed_records_is_recovered(cluster: Cluster) {
    let app = App::new(cluster).await;
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.topic, Utf8))
        .await
        .unwrap();
    for (user, profile) in [("amy", "hello"), ("bob", "hi"), ("amy", "bye")] {
        within("an acknowledgement", emitter.emit_sync(user, profile))
            .await
            .unwrap();
    }
    emitter.finish().await.unwrap();
    let graph = || {
        let graph = GroupGraph::builder(app.group.as_str()).persist(Utf8).input(
            app.topic.as_str(),
            Utf8,
            |ctx, profile: String| match profile.as_str() {
                "bye" => ctx.delete(),
                profile => ctx.set_value(profile),
            },
        );
        graph.build().unwrap()
    };
    let running = app.start(graph(), app.redb("a")).await;
    ready(&running).await;
    app.until_committed().await;
    stop(running).await;
    let partition = Partitioner::Fnv1a.partition(b"amy", PARTITIONS);
    let bounds = app.cluster.bounds(&app.table, partition).await;
    app.cluster
        .broker()
        .compact(&app.table, partition, Tombstones::Drop)
        .unwrap();
    assert_eq!(
        app.cluster.bounds(&app.table, partition).await,
        bounds,
        "compaction moves no end"
    );
    let records = app.cluster.broker().records(&app.table, partition).unwrap();
    assert!(
        records.last().is_none_or(|last| last.offset + 1 < bounds.1),
        "the last record is still there"
    );
    let running = app.start(graph(), app.redb("b")).await;
    ready(&running).await;
    assert_eq!(running.get("amy").await.unwrap(), None);
    assert_eq!(running.get("bob").await.unwrap().as_deref(), Some("hi"));
    stop(running).await;
}

/// Embedded only: an unclean leader election on command.
pub(crate) async fn a_log_that_lost_its_tail_makes_the_store_start_anew(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(900, 20);
    for part in clicks[..600].chunks(100) {
        count(&app, part).await;
    }
    let broker = app.cluster.broker();
    for node in broker.nodes() {
        broker.faults().crash_and_restart(*node, LostTail::Batches(2));
    }
    // The input lost its tail as well; what is committed must exist again, or the run ends with an error that says so.
    app.click(&clicks).await;
    // Others write until the log is longer again than the checkpoint says: the length alone shows nothing.
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Int64))
        .await
        .unwrap();
    for user in &clicks[..400] {
        emitter.ready().await;
        drop(emitter.emit(user, &7).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    let running = app.running(app.redb("a")).await;
    table_is_the_fold(&app, &running, &clicks).await;
    stop(running).await;
}
