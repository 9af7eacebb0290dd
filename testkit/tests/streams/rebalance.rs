//! Members come, go and drop out; partitions move between them and the counts stay exact.

use std::time::Duration;

use goka_core::Running;

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
use crate::cluster::{Cluster, eventually, within};
use crate::cuts::Cuts;

/// How many partitions an instance has running.
async fn running_partitions<T>(running: &Running<T>) -> usize {
    let stats = running.stats().await.unwrap();
    if stats.is_running() { stats.partitions.len() } else { 0 }
}

pub(crate) async fn members_that_come_and_go_leave_the_counts_exact(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(4000, 60);
    let half = PARTITIONS as usize / 2;
    let emitting = async {
        for part in clicks.chunks(100) {
            app.click(part).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let members = async {
        let first = app.running(app.redb("first")).await;
        assert_eq!(running_partitions(&first).await, PARTITIONS as usize);
        let second = app.start(app.graph(), app.redb("second")).await;
        let shared = async || (running_partitions(&first).await, running_partitions(&second).await) == (half, half);
        eventually("an even share", shared).await;
        let third = app.start(app.graph(), app.redb("third")).await;
        eventually("the third member's share", async || {
            running_partitions(&third).await > 0
        })
        .await;
        stop(third).await;
        eventually("an even share again", shared).await;
        stop(first).await;
        eventually("all partitions", async || {
            running_partitions(&second).await == PARTITIONS as usize
        })
        .await;
        second
    };
    let ((), second) = tokio::join!(emitting, members);
    app.until_committed().await;
    let truth = truth(&clicks);
    assert_eq!(app.counts().await, truth);
    for (user, count) in &truth {
        assert_eq!(second.get(user).await.unwrap(), Some(*count), "{user}");
    }
    stop(second).await;
}

pub(crate) async fn a_member_that_is_cut_off_is_replaced_and_comes_back(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(900, 40);
    let cuts = Cuts::new();
    let client = app.cluster.client_through(&cuts);
    let lonely = app.start_with(client, app.graph(), app.redb("lonely")).await.unwrap();
    ready(&lonely).await;
    let steady = app.start(app.graph(), app.redb("steady")).await;
    let half = PARTITIONS as usize / 2;
    let shared = async || (running_partitions(&lonely).await, running_partitions(&steady).await) == (half, half);
    eventually("an even share", shared).await;
    app.click(&clicks[..300]).await;
    app.until_committed().await;
    cuts.refuse(true);
    app.click(&clicks[300..600]).await;
    eventually("all partitions", async || {
        running_partitions(&steady).await == PARTITIONS as usize
    })
    .await;
    app.until_committed().await;
    let before = app.counts().await;
    assert_eq!(before, truth(&clicks[..600]), "while one member is cut off");
    cuts.refuse(false);
    eventually("an even share again", shared).await;
    app.click(&clicks[600..]).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks), "after it came back");
    stop(lonely).await;
    stop(steady).await;
}

pub(crate) async fn connections_cut_again_and_again_lose_and_double_nothing(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(3000, 60);
    let cuts = Cuts::new();
    let client = app.cluster.client_through(&cuts);
    let running = app.start_with(client, app.graph(), app.redb("a")).await.unwrap();
    ready(&running).await;
    let emitting = async {
        for part in clicks.chunks(100) {
            app.click(part).await;
        }
    };
    let cutting = async {
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(120)).await;
            cuts.cut();
        }
    };
    tokio::join!(emitting, cutting);
    app.until_committed().await;
    // The member never lost its partitions, so that even repeats are no excuse for a difference.
    assert_eq!(app.counts().await, truth(&clicks));
    within("the run's end", running.stop()).await.unwrap();
}
