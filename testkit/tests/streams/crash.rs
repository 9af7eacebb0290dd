//! Processes that are killed with SIGKILL while they count.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::storage::{KeyRange, StoreBuilder, StoreName};
use storage_redb::Redb;

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
use crate::cluster::{Cluster, eventually};

/// A process of the group; killed when dropped.
struct Instance(Child);

impl Instance {
    fn start(app: &App, directory: &Path) -> Instance {
        let arguments = [&app.cluster.bootstrap().join(","), &app.topic, &app.group];
        let mut command = Command::new(env!("CARGO_BIN_EXE_counting-instance"));
        command.args(arguments).arg(directory).stdin(Stdio::piped());
        Instance(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Dead already, or it dies now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each store is the fold of its changelog up to the checkpoint (I1); gives how many changelog records the checkpoints cover.
async fn check_prefix(app: &App, directory: &Path) -> i64 {
    let mut covered = 0;
    for partition in 0..PARTITIONS {
        let name = StoreName {
            owner: &app.group,
            topic: &app.table,
            partition,
        };
        let opened = Redb::at(directory).open(name).unwrap();
        assert_eq!(opened.rebuilt, None, "a kill must not damage a store");
        let rows: BTreeMap<_, _> = opened
            .store
            .scan(KeyRange::all())
            .unwrap()
            .map(|row| row.unwrap())
            .collect();
        let end = opened
            .store
            .checkpoint()
            .unwrap()
            .map_or(0, |checkpoint| checkpoint.offset);
        let mut fold = BTreeMap::new();
        for record in app.cluster.records(&app.table, partition).await {
            if record.offset < end {
                fold.insert(record.key.unwrap(), record.value.unwrap());
            }
        }
        assert_eq!(rows, fold, "store of partition {partition} at checkpoint {end}");
        opened.store.close().unwrap();
        covered += end;
    }
    covered
}

pub(crate) async fn a_killed_process_loses_nothing_and_its_store_is_a_prefix_of_the_changelog(cluster: Cluster) {
    let app = App::new(cluster).await;
    let (all, done) = (clicks(100_000, 60), AtomicBool::new(false));
    let directory = app.state.join("killed");
    // Clicks go on as long as processes are killed.
    let emitting = async {
        let mut emitted = 0;
        while !done.load(Ordering::SeqCst) && emitted < all.len() {
            app.click(&all[emitted..][..50]).await;
            emitted += 50;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        emitted
    };
    let killing = async {
        let mut covered = 0;
        for round in 0..3 {
            let mut instance = Instance::start(&app, &directory);
            let before = app.committed().await;
            eventually("progress of a new process", async || app.committed().await != before).await;
            tokio::time::sleep(Duration::from_millis(300 + 170 * round)).await;
            instance.kill();
            covered = check_prefix(&app, &directory).await;
        }
        done.store(true, Ordering::SeqCst);
        covered
    };
    let (emitted, covered) = tokio::join!(emitting, killing);
    let clicks = &all[..emitted];
    assert!(
        covered > 0,
        "no process lived long enough to put anything into its store"
    );
    let running = app.start(app.graph(), Redb::at(&directory)).await;
    ready(&running).await;
    app.until_committed().await;
    let (truth, fold) = (truth(clicks), app.fold().await);
    for (user, clicks) in &truth {
        let counted = fold[user];
        assert!(
            counted >= *clicks,
            "{user} clicked {clicks} times, {counted} were counted"
        );
        assert_eq!(
            running.get(user).await.unwrap(),
            Some(counted),
            "the table's row of {user}"
        );
    }
    assert_eq!(fold.len(), truth.len());
    stop(running).await;
    check_prefix(&app, &directory).await;
}

pub(crate) async fn when_one_of_two_processes_is_killed_the_other_goes_on_from_its_commits(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(3000, 60);
    let survivor = app.start(app.graph(), app.redb("survivor")).await;
    ready(&survivor).await;
    let mut instance = Instance::start(&app, &app.state.join("killed"));
    let shared = async || survivor.stats().await.unwrap().partitions.len() == PARTITIONS as usize / 2;
    eventually("an even share", shared).await;
    app.click(&clicks[..1500]).await;
    app.until_committed().await;
    instance.kill();
    app.click(&clicks[1500..]).await;
    app.until_committed().await;
    // Nothing was uncommitted when it was killed, so that nothing is repeated.
    assert_eq!(app.fold().await, truth(&clicks));
    stop(survivor).await;
    check_prefix(&app, &app.state.join("killed")).await;
    check_prefix(&app, &app.state.join("survivor")).await;
}
