//! The main job: counts that are exact wherever one looks, and that outlive stops and lost disks.

use goka_core::storage::{KeyRange, Memory};
use goka_core::{GroupGraph, Int64, Utf8, ViewError};

use crate::app::{App, clicks, ready, recovered, rows, stop, truth};
use crate::cluster::{Cluster, eventually, within};

pub(crate) async fn counts_are_exact_in_table_view_changelog_and_offsets(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(2000, 50);
    app.click(&clicks[..700]).await;
    let running = app.running(app.redb("a")).await;
    let view = app.view().await;
    app.click(&clicks[700..]).await;
    app.until_committed().await;
    let truth = truth(&clicks);
    assert_eq!(app.counts().await, truth, "the changelog");
    for (user, count) in &truth {
        assert_eq!(
            running.get(user).await.unwrap(),
            Some(*count),
            "the table's row of {user}"
        );
    }
    assert_eq!(running.get("nobody").await.unwrap(), None);
    eventually("the view's last update", || async { rows(&view) == truth }).await;
    let first_ten: Vec<_> = view.range(KeyRange::new("user-000", "user-010")).unwrap().collect();
    assert_eq!(first_ten.len(), 10);
    assert_eq!(view.get("user-007").unwrap(), Some(truth["user-007"]));
    assert!(view.has("user-007").unwrap() && !view.has("nobody").unwrap());
    assert_eq!(running.stats().await.unwrap().lag(), Some(0));
    stop(running).await;
    within("the view's end", view.stop()).await.unwrap();
}

pub(crate) async fn a_table_in_memory_counts_as_exactly_and_is_recovered_at_each_start(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(2000, 50);
    for (round, part) in clicks.chunks(1000).enumerate() {
        app.click(part).await;
        let running = app.running(Memory::new()).await;
        assert_eq!(recovered(&running).await, round as u64 * 1000);
        app.until_committed().await;
        let truth = truth(&clicks[..(round + 1) * 1000]);
        assert_eq!(app.counts().await, truth);
        for (user, count) in &truth {
            assert_eq!(running.get(user).await.unwrap(), Some(*count), "{user}");
        }
        stop(running).await;
    }
}

pub(crate) async fn a_restart_goes_on_where_it_stopped_and_recovers_nothing(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(900, 30);
    for round in 0..3 {
        app.click(&clicks[round * 300..][..300]).await;
        let running = app.running(app.redb("a")).await;
        assert_eq!(recovered(&running).await, 0, "round {round}: the store had everything");
        app.until_committed().await;
        assert_eq!(
            running.stats().await.unwrap().records(),
            300,
            "round {round}: records read"
        );
        stop(running).await;
        assert_eq!(app.fold().await, truth(&clicks[..(round + 1) * 300]), "round {round}");
    }
}

pub(crate) async fn without_its_state_everything_is_recovered(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(600, 30);
    app.click(&clicks[..300]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    stop(running).await;
    std::fs::remove_dir_all(&app.state).unwrap();
    let running = app.running(app.redb("a")).await;
    assert_eq!(recovered(&running).await, 300);
    app.click(&clicks[300..]).await;
    app.until_counted(&running, &clicks).await;
    stop(running).await;
}

pub(crate) async fn a_deleted_row_is_gone_from_table_view_and_changelog(cluster: Cluster) {
    let app = App::new(cluster).await;
    let graph = || {
        let graph = GroupGraph::builder(app.group.as_str())
            .persist(Int64)
            .input(app.topic.as_str(), Utf8, |ctx, _| match ctx.value()?.unwrap_or(0) + 1 {
                3 => ctx.delete(),
                count => ctx.set_value(&count),
            });
        graph.build().unwrap()
    };
    app.click(["amy", "bob", "amy", "bob", "amy"]).await;
    let running = app.start(graph(), app.redb("a")).await;
    ready(&running).await;
    let view = app.view().await;
    within("the view", view.ready()).await.unwrap();
    app.until_committed().await;
    let expected = [("bob".to_owned(), 2)].into();
    eventually("the view's last update", || async { rows(&view) == expected }).await;
    assert_eq!(running.get("amy").await.unwrap(), None);
    assert_eq!(app.fold().await, expected);
    stop(running).await;
    // The store on disk has forgotten it as well.
    let running = app.start(graph(), app.redb("a")).await;
    ready(&running).await;
    assert_eq!(
        (running.get("amy").await.unwrap(), running.get("bob").await.unwrap()),
        (None, Some(2))
    );
    stop(running).await;
    within("the view's end", view.stop()).await.unwrap();
}

pub(crate) async fn a_view_answers_only_once_it_has_recovered(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(3000, 40);
    app.click(&clicks).await;
    let running = app.running(Memory::new()).await;
    app.until_committed().await;
    let view = app.view().await;
    // Either it says that it is not ready, or it is and the answer is right.
    match view.get("user-001") {
        Ok(count) => assert_eq!(count, Some(truth(&clicks)["user-001"])),
        Err(error) => assert!(matches!(error, ViewError::Recovering { .. }), "{error}"),
    }
    within("the view", view.ready()).await.unwrap();
    assert_eq!(rows(&view), truth(&clicks));
    let records: u64 = view
        .stats()
        .partitions
        .iter()
        .map(|partition| partition.recovery.unwrap().records)
        .sum();
    assert_eq!(records, 3000);
    stop(running).await;
    within("the view's end", view.stop()).await.unwrap();
}
