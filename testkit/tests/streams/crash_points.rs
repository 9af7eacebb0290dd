//! A process that dies at each point where something is half done; another goes on, and the history is checked.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::Running;
use goka_core::storage::StoreBuilder;
use testkit::checker::{Chain, Chained, Sent};
use testkit::crash::CrashPoint;
use testkit::proxy::{Faults, Proxies, Way};

use crate::app::{App, ready, stop};
use crate::cluster::{Cluster, eventually, within};
use crate::crash::Instance;

/// How long the group waits for the dead.
const SESSION: Duration = Duration::from_millis(2500);
/// How far away brokers are, each way: much is written and not answered when a process dies.
const FAR: Duration = Duration::from_millis(60);
/// What `abort` raises.
const SIGABRT: i32 = 6;

pub(crate) async fn a_death_within_a_callback_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::InCallback, 1500).await;
}

pub(crate) async fn a_death_between_writing_a_request_and_its_answer_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::ProduceWritten, 25).await;
}

pub(crate) async fn a_death_on_the_answer_to_a_write_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::ProduceAnswered, 25).await;
}

pub(crate) async fn a_death_before_rows_are_stored_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::BeforeApply, 6).await;
}

pub(crate) async fn a_death_while_rows_are_stored_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::InsideApply, 7).await;
}

pub(crate) async fn a_death_after_rows_were_stored_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::AfterApply, 6).await;
}

pub(crate) async fn a_death_before_a_commit_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::BeforeCommit, 5).await;
}

pub(crate) async fn a_death_on_the_way_of_a_commit_is_made_good(cluster: Cluster) {
    die(cluster, CrashPoint::CommitWritten, 5).await;
}

/// One process works on its own until it dies; one in the test goes on with its directory.
async fn die(cluster: Cluster, point: CrashPoint, times: u32) {
    let app = App::new(cluster).await;
    let output = app.cluster.topic(crate::app::PARTITIONS, &[]).await;
    let chain = app.chain(Some(&output));
    let proxies = Proxies::start(app.cluster.bootstrap(), 5).await.unwrap();
    proxies.set(&Faults::both(Way {
        delay: FAR,
        ..Way::default()
    }));
    let done = AtomicBool::new(false);
    let dying = async {
        let mut command = command(&app, "dying", &chain, point, times);
        command.args(["--via", &proxies.routes().join(",")]);
        until_dead(&mut Instance(command.spawn().unwrap()), point).await;
        let survivor = survive(&app, app.redb("dying"), &chain).await;
        done.store(true, Ordering::SeqCst);
        survivor
    };
    let (sent, survivor) = tokio::join!(app.emit_events(&done), dying);
    finish(app, survivor, &chain, (sent, &["dying"], 1)).await;
}

/// The second process finds nothing on its disk and dies while it reads the changelog.
pub(crate) async fn a_death_within_recovery_after_a_death_is_made_good(cluster: Cluster) {
    let app = App::new(cluster).await;
    let chain = app.chain(None);
    let done = AtomicBool::new(false);
    let dying = async {
        until_dead(
            &mut start(&app, "first", &chain, CrashPoint::AfterApply, 6),
            CrashPoint::AfterApply,
        )
        .await;
        done.store(true, Ordering::SeqCst);
        until_dead(
            &mut start(&app, "second", &chain, CrashPoint::InRecovery, 1),
            CrashPoint::InRecovery,
        )
        .await;
        survive(&app, app.redb("second"), &chain).await
    };
    let (sent, survivor) = tokio::join!(app.emit_events(&done), dying);
    finish(app, survivor, &chain, (sent, &["first", "second"], 2)).await;
}

/// Another member joins, and the process dies when it answers for the partitions that it gives away.
pub(crate) async fn a_death_while_handing_over_is_made_good(cluster: Cluster) {
    let app = App::new(cluster).await;
    let chain = app.chain(None);
    let done = AtomicBool::new(false);
    let dying = async {
        let mut dying = start(&app, "dying", &chain, CrashPoint::InRevoke, 1);
        let before = app.committed().await;
        eventually("progress of the process", async || app.committed().await != before).await;
        let other = app.start(app.chained(&chain), app.redb("other")).await;
        until_dead(&mut dying, CrashPoint::InRevoke).await;
        ready(&other).await;
        done.store(true, Ordering::SeqCst);
        other
    };
    let (sent, survivor) = tokio::join!(app.emit_events(&done), dying);
    finish(app, survivor, &chain, (sent, &["dying", "other"], 1)).await;
}

fn start(app: &App, directory: &str, chain: &Chain, point: CrashPoint, times: u32) -> Instance {
    Instance(command(app, directory, chain, point, times).spawn().unwrap())
}

fn command(app: &App, directory: &str, chain: &Chain, point: CrashPoint, times: u32) -> Command {
    let directory = app.state.join(directory);
    let mut command = Instance::command(app, Path::new(&directory));
    command
        .arg("--chain")
        .args(["--die", &format!("{point}:{times}")])
        .args(["--session", &SESSION.as_millis().to_string()])
        // An abort says nothing that is of interest.
        .stderr(Stdio::inherit());
    if let Some(output) = &chain.output {
        command.args(["--output", output]);
    }
    command
}

/// Waits until the process has died where it was told to.
async fn until_dead(instance: &mut Instance, point: CrashPoint) {
    let end = async {
        loop {
            match instance.0.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let status = within(&format!("a death at {point}"), end).await;
    assert_eq!(status.signal(), Some(SIGABRT), "{status}");
}

async fn survive(app: &App, stores: impl StoreBuilder, chain: &Chain) -> Running<Chained> {
    let survivor = app.start(app.chained(chain), stores).await;
    ready(&survivor).await;
    survivor
}

async fn finish(app: App, survivor: Running<Chained>, chain: &Chain, (sent, stores, ends): (Vec<Sent>, &[&str], u64)) {
    app.until_committed().await;
    stop(survivor).await;
    let report = app.check_history(chain, sent, stores, Some(ends)).await;
    assert!(report.inputs > 500 && report.stores > 0, "{report}");
}
