//! Processes that are killed with SIGKILL while they count.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::{ClientConfig, GroupGraph, Int64, Processor, Utf8};
use storage_redb::Redb;

use crate::app::{App, PARTITIONS, clicks, quick, ready, stop, truth};
use crate::cluster::{Cluster, eventually, within};

/// A process of the group; killed when dropped.
pub(crate) struct Instance(pub(crate) Child);

impl Instance {
    pub(crate) fn start(app: &App, directory: &Path) -> Instance {
        Instance(Instance::command(app, directory).spawn().unwrap())
    }

    pub(crate) fn command(app: &App, directory: &Path) -> Command {
        let arguments = [&app.cluster.bootstrap().join(","), &app.topic, &app.group];
        let mut command = Command::new(env!("CARGO_BIN_EXE_counting-instance"));
        command.args(arguments).arg(directory).stdin(Stdio::piped());
        command.args(app.coalesced.then_some("--coalesce"));
        command
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.0.id());
        assert!(
            Command::new("sh").args(["-c", &command]).status().unwrap().success(),
            "{command}"
        );
    }

    pub(crate) fn kill(&mut self) {
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

pub(crate) async fn a_killed_process_loses_nothing_and_its_store_is_a_prefix_of_the_changelog(cluster: Cluster) {
    let app = App::new(cluster).await;
    let (all, done) = (clicks(100_000, 60), AtomicBool::new(false));
    let directory = app.state.join("killed");
    // Clicks go on as long as processes are killed.
    let emitting = app.click_until(&all, &done);
    let killing = async {
        let (mut covered, mut repeated) = (0, 0);
        for round in 0..5 {
            let mut instance = Instance::start(&app, &directory);
            let before = app.committed().await;
            eventually("progress of a new process", async || app.committed().await != before).await;
            tokio::time::sleep(Duration::from_millis(300 + 110 * round)).await;
            instance.kill();
            repeated = written_but_not_committed(&app).await;
            covered = app.check_prefix(&directory).await;
        }
        done.store(true, Ordering::SeqCst);
        (covered, repeated)
    };
    let (emitted, (covered, repeated)) = tokio::join!(emitting, killing);
    assert!(
        covered > 0,
        "no process lived long enough to put anything into its store"
    );
    let running = app.start(app.graph(), Redb::at(&directory)).await;
    ready(&running).await;
    app.until_committed().await;
    let (truth, counts) = (truth(&all[..emitted]), app.counts().await);
    for (user, clicks) in &truth {
        let counted = counts[user];
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
    assert_eq!(counts.len(), truth.len());
    // What is counted too often is what the killed processes had written and not committed, and nothing else.
    assert_eq!(counts.values().sum::<i64>(), emitted as i64 + repeated);
    stop(running).await;
    app.check_prefix(&directory).await;
}

/// By how much the changelog is ahead of the committed offsets, once all is in that a dead process had sent.
async fn written_but_not_committed(app: &App) -> i64 {
    let ahead = async || {
        let mut written = 0;
        for partition in 0..PARTITIONS {
            written += app.cluster.bounds(&app.table, partition).await.1;
        }
        (written, app.committed().await.values().sum::<i64>())
    };
    let mut seen = ahead().await;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = ahead().await;
        if now == seen {
            return seen.0 - seen.1;
        }
        seen = now;
    }
}

pub(crate) async fn when_one_of_two_processes_is_killed_the_other_goes_on_from_its_commits(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(3000, 60);
    let survivor = app.running(app.redb("survivor")).await;
    let mut instance = Instance::start(&app, &app.state.join("killed"));
    let shared = async || survivor.stats().await.unwrap().partitions.len() == PARTITIONS as usize / 2;
    eventually("an even share", shared).await;
    app.click(&clicks[..1500]).await;
    app.until_committed().await;
    instance.kill();
    app.click(&clicks[1500..]).await;
    app.until_committed().await;
    // Nothing was uncommitted when it was killed, so that nothing is repeated.
    assert_eq!(app.counts().await, truth(&clicks));
    stop(survivor).await;
    app.check_prefix(&app.state.join("killed")).await;
    app.check_prefix(&app.state.join("survivor")).await;
}

/// I3: whoever wakes up after its session was over must not write what it had begun, although it has not learnt that yet.
pub(crate) async fn a_member_that_slept_past_its_session_writes_nothing_more(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(2000, 60);
    app.click(&clicks).await;
    let asleep = Arc::new(AtomicBool::new(false));
    let sleeper = Sleeper::start(&app, Arc::clone(&asleep));
    eventually("the sleep", async || asleep.load(Ordering::SeqCst)).await;
    let other = app.start(app.graph(), app.redb("other")).await;
    let everything = async || other.stats().await.unwrap().partitions.len() == PARTITIONS as usize;
    eventually("all partitions", everything).await;
    app.until_committed().await;
    eventually("the awakening", async || !asleep.load(Ordering::SeqCst)).await;
    // It comes back as a member that knows its place.
    let shared = async || other.stats().await.unwrap().partitions.len() == PARTITIONS as usize / 2;
    eventually("an even share", shared).await;
    sleeper.stop();
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(other).await;
}

/// An instance on a thread of its own, which the first callback puts to sleep for longer than a session, heartbeats included.
struct Sleeper {
    thread: std::thread::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl Sleeper {
    fn start(app: &App, asleep: Arc<AtomicBool>) -> Sleeper {
        let slept = AtomicBool::new(false);
        let graph = GroupGraph::builder(app.group.as_str())
            .persist(Int64)
            .input(app.topic.as_str(), Utf8, move |ctx, _| {
                let count = ctx.value()?.unwrap_or(0) + 1;
                ctx.set_value(&count)?;
                // In the middle of a slice: some effects wait to be sent, much input waits to be worked off.
                if ctx.offset() == 10 && !slept.swap(true, Ordering::SeqCst) {
                    asleep.store(true, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_secs(12));
                    asleep.store(false, Ordering::SeqCst);
                }
                Ok(())
            })
            .build()
            .unwrap();
        let (kafka, stores) = (ClientConfig::new(app.cluster.bootstrap().to_vec()), app.redb("sleeper"));
        let (end, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let processor = Processor::new(kafka, graph, stores).unwrap().with_config(quick());
                let running = processor.start().await.unwrap();
                // A test that failed drops its end.
                let _ = ended.await;
                running.stop().await.unwrap();
            });
        });
        Sleeper { thread, end }
    }

    fn stop(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

pub(crate) async fn a_second_process_on_the_same_directory_ends_and_says_why(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(600, 30);
    let directory = app.state.join("shared");
    let first = app.start(app.graph(), Redb::at(&directory)).await;
    ready(&first).await;
    app.click(&clicks[..300]).await;
    app.until_committed().await;
    let command = Instance::command(&app, &directory).stderr(Stdio::piped()).spawn();
    let mut second = Instance(command.unwrap());
    let end = async {
        loop {
            match second.0.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let ended = within("the second process's end", end).await;
    let mut said = String::new();
    second.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!ended.success());
    assert!(
        said.contains(&*directory.to_string_lossy()) && said.contains("another instance is using it"),
        "{said}"
    );
    app.click(&clicks[300..]).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(first).await;
}

/// I3 for a whole process that is stopped for a while: what it had read and begun must not be written once others have its
/// partitions. The changelog must grow by ones, so that neither a repeated row nor an older one is let through.
pub(crate) async fn a_process_that_was_paused_past_its_session_writes_nothing_more(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(60_000, 60);
    let paused = Instance::start(&app, &app.state.join("paused"));
    eventually("the first commits", async || {
        app.click(&clicks[..60]).await;
        !app.committed().await.is_empty()
    })
    .await;
    app.click(&clicks).await;
    paused.signal("STOP");
    let other = app.start(app.graph(), app.redb("other")).await;
    let everything = async || {
        let stats = other.stats().await.unwrap();
        stats.is_running() && stats.partitions.len() == PARTITIONS as usize
    };
    eventually("all partitions", everything).await;
    app.until_committed().await;
    paused.signal("CONT");
    let shared = async || other.stats().await.unwrap().partitions.len() == PARTITIONS as usize / 2;
    eventually("an even share", shared).await;
    app.click(&clicks[..600]).await;
    app.until_committed().await;
    let counts = app.counts().await;
    for (user, clicks) in truth(&clicks) {
        assert!(counts[&user] >= clicks, "{user}: {} of {clicks} clicks", counts[&user]);
    }
    stop(other).await;
}
