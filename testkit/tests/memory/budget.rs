//! Budget and measurement.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use goka_core::storage::{KeyRange, StoreBuilder as _, StoreName};
use storage_redb::Redb;
use testkit::broker::{Api, Fault};

use crate::backlog::{self, Backlog};
use crate::cluster::Cluster;
use crate::instance::{Instance, Told};

/// `max_memory`, in MiB; a fifth of what the backlogs hold.
const BUDGET: u64 = 48;
/// What the budget does not cover, in MiB: the code, the runtime, what the allocator loses.
const BESIDE: u64 = 64;

/// Every key of a processor's input comes so often.
const REPEATS: u64 = 10;

/// A directory of this test's own, gone after it.
struct State(PathBuf);

impl Drop for State {
    fn drop(&mut self) {
        // Left behind, it is only disk space.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn state(topic: &str) -> State {
    State(std::env::temp_dir().join(topic))
}

pub(crate) async fn a_large_backlog_is_worked_off_within_the_budget_although_everything_is_slow(cluster: Cluster) {
    let records = 2_000_000;
    let backlog = backlog::write(&cluster, 4, records, REPEATS).await;
    slow_down(&cluster);
    let state = state(&backlog.topic);
    let started = Instant::now();
    let instance = Instance::start(&bootstrap(&cluster), &backlog.topic, &state.0, BUDGET, -1);
    instance.works_off(records).await;
    tell("backlog", &instance.told(), started);
    let ended = instance.stop().await;
    assert_within(ended);
    check_exact(&cluster, &backlog, &state.0).await;
}

/// Recovery, which a processor's tables share with views, reads as fast as it can.
pub(crate) async fn a_view_of_a_table_much_larger_than_the_budget_keeps_to_it(cluster: Cluster) {
    let records = 1_000_000;
    let backlog = backlog::write(&cluster, 4, records, 1).await;
    let state = state(&backlog.topic);
    let started = Instant::now();
    let instance = Instance::view(&bootstrap(&cluster), &backlog.topic, &state.0, BUDGET);
    instance.works_off(records).await;
    tell("view", &instance.told(), started);
    let ended = instance.stop().await;
    assert_within(ended);
    let mut keys = 0;
    for partition in 0..4 {
        keys += rows(&state.0, "view", &backlog.topic, partition).len() as u64;
    }
    assert_eq!(keys, records);
}

pub(crate) async fn many_partitions_share_the_budget_and_one_that_is_stuck_holds_nobody_up(cluster: Cluster) {
    let (records, stuck) = (640_000, 7);
    let backlog = backlog::write(&cluster, 64, records, REPEATS).await;
    slow_down(&cluster);
    let state = state(&backlog.topic);
    let started = Instant::now();
    let mut instance = Instance::start(&bootstrap(&cluster), &backlog.topic, &state.0, BUDGET, stuck);
    let others = records - backlog.records[stuck as usize];
    instance.works_off(others).await;
    assert_eq!(instance.told().records, others, "one partition is stuck");
    assert_within(instance.told());
    instance.release();
    instance.works_off(records).await;
    tell("partitions", &instance.told(), started);
    let ended = instance.stop().await;
    assert_within(ended);
    check_exact(&cluster, &backlog, &state.0).await;
}

fn bootstrap(cluster: &Cluster) -> String {
    cluster.bootstrap().join(",")
}

/// Acknowledgements take their time, where brokers do as they are told.
fn slow_down(cluster: &Cluster) {
    if let Some(broker) = cluster.embedded_broker() {
        let slow = Fault::new(Api::Produce).times(u32::MAX);
        broker.faults().inject(slow.delay_answer(Duration::from_millis(40)));
    }
}

fn assert_within(told: Told) {
    let used = told.high_water_kib / 1024;
    assert!(told.high_water_kib > 0, "the high-water mark is not told");
    assert!(used <= BUDGET + BESIDE, "it had {used} MiB with a budget of {BUDGET}");
}

#[allow(clippy::print_stderr, reason = "figures for whoever runs this by hand")]
fn tell(what: &str, told: &Told, started: Instant) {
    let (records, used, seconds) = (
        told.records,
        told.high_water_kib / 1024,
        started.elapsed().as_secs_f64(),
    );
    eprintln!("{what}: {records} records in {seconds:.1} s, at most {used} MiB with a budget of {BUDGET} MiB");
}

/// Every record was counted once: as many rows were written as there are records, and every key's count is right.
async fn check_exact(cluster: &Cluster, backlog: &Backlog, directory: &Path) {
    let group = format!("{}-group", backlog.topic);
    let table = format!("{group}-table");
    let mut keys = 0;
    for (partition, records) in backlog.records.iter().enumerate() {
        let partition = partition as i32;
        let end = cluster.bounds(&table, partition).await.1;
        assert_eq!(end as u64, *records, "rows written in partition {partition}");
        for (key, row) in rows(directory, &group, &table, partition) {
            let count = u64::from_be_bytes(*row.first_chunk().unwrap());
            assert_eq!(count, REPEATS, "{}", String::from_utf8_lossy(&key));
            keys += 1;
        }
    }
    assert_eq!(keys * REPEATS, backlog.records.iter().sum::<u64>());
}

fn rows(directory: &Path, owner: &str, topic: &str, partition: i32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let name = StoreName {
        owner,
        topic,
        partition,
    };
    let opened = Redb::at(directory).open(name).unwrap();
    opened
        .store
        .scan(KeyRange::all())
        .unwrap()
        .map(Result::unwrap)
        .collect()
}
