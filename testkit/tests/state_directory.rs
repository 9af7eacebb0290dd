//! Several processes at one state directory: exactly one has it, the others are told at once, and a killed one leaves nothing
//! behind that has to be cleaned up.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use goka_core::storage::{KeyRange, PartitionStore, StoreBuilder};
use storage_redb::Redb;
use testkit::store_contract::{NAME, open, scan};

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("state-directory-{}-{number}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Another process; killed when dropped.
struct Other {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(directory: &Path) -> Other {
        let mut process = Command::new(env!("CARGO_BIN_EXE_batch-writer"))
            .arg(directory)
            .arg(KEYS.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Other { process, lines }
    }

    /// What it says of the directory: nothing if it has it.
    fn refused(&mut self) -> Option<String> {
        let said = self.lines.next().expect("it says what it found").unwrap();
        (said != "MINE").then_some(said)
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Dead already, or it dies now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many keys the processes write to.
const KEYS: u64 = 40;

/// The rows after so many batches (see `batch-writer`).
fn fold(batches: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = BTreeMap::new();
    for number in batches.saturating_sub(2 * KEYS)..batches {
        rows.insert((number % KEYS).to_be_bytes().to_vec(), number.to_be_bytes().repeat(50));
        rows.remove(&((number + 1) % KEYS).to_be_bytes()[..]);
    }
    rows.into_iter().collect()
}

fn batches(store: &dyn PartitionStore) -> u64 {
    store.checkpoint().unwrap().map_or(0, |found| found.offset as u64)
}

/// Fails to open `directory`, within a second, with an error that names it.
fn is_refused(directory: &Path) {
    let started = Instant::now();
    let error = Redb::at(directory)
        .open(NAME)
        .err()
        .expect("the directory is in use")
        .to_string();
    let path = directory.to_string_lossy();
    assert!(
        error.contains("another instance is using it") && error.contains(&*path),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_directory_of_another_process_is_refused_until_that_is_killed_and_then_goes_on_where_it_was() {
    let scratch = Scratch::new();
    let rounds: u64 = std::env::var("KILLS").map_or(12, |kills| kills.parse().unwrap());
    for round in 0..rounds {
        let mut other = Other::start(&scratch.0);
        assert_eq!(other.refused(), None);
        is_refused(&scratch.0);
        std::thread::sleep(Duration::from_millis(3 + 7 * (round % 11)));
        other.kill();
        // At once, with the lock file still there.
        let redb = Redb::at(&scratch.0);
        let store = open(&redb);
        assert_eq!(
            scan(&*store, KeyRange::all()),
            fold(batches(&*store)),
            "after {round} kills"
        );
    }
    let covered = batches(&*open(&Redb::at(&scratch.0)));
    println!("{rounds} kills, {covered} batches");
    assert!(covered > rounds, "{covered} batches");
}

#[test]
fn of_processes_that_start_at_the_same_time_one_gets_the_directory() {
    for _ in 0..3 {
        let scratch = Scratch::new();
        let mut others: Vec<_> = (0..5).map(|_| Other::start(&scratch.0)).collect();
        let refused: Vec<_> = others.iter_mut().filter_map(Other::refused).collect();
        assert_eq!(refused.len(), 4, "{refused:?}");
        assert!(
            refused
                .iter()
                .all(|error| error.contains("another instance is using it")),
            "{refused:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_directory_whose_lock_file_was_removed_is_still_refused() {
    let scratch = Scratch::new();
    let mut other = Other::start(&scratch.0);
    assert_eq!(other.refused(), None);
    std::fs::remove_file(scratch.0.join(".lock")).unwrap();
    is_refused(&scratch.0);
    let mut third = Other::start(&scratch.0);
    assert!(
        third
            .refused()
            .is_some_and(|error| error.contains("another instance is using it"))
    );
    other.kill();
    open(&Redb::at(&scratch.0));
}

#[cfg(unix)]
#[test]
fn a_program_that_was_started_meanwhile_does_not_hold_the_directory() {
    let scratch = Scratch::new();
    let redb = Redb::at(&scratch.0);
    let store = open(&redb);
    let mut started = Command::new("sleep").arg("600").spawn().unwrap();
    store.close().unwrap();
    drop((store, redb));
    let reopened = Redb::at(&scratch.0).open(NAME).map(drop);
    started.kill().unwrap();
    started.wait().unwrap();
    reopened.unwrap();
}
