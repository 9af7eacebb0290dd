//! Tables that are too large for their part of the memory recover in turns.

use std::ops::Range;
use std::time::Duration;

use goka_core::{Emitter, EmitterConfig, RunningView, Utf8, View, ViewConfig, ViewPartitionStats};
use kafka_wire::{ErrorCode, FetcherConfig, Partitioner, ProducerConfig};
use storage_redb::Redb;
use testkit::broker::{Api, Fault};

use crate::cluster::{Cluster, eventually, unique, within};

const TABLES: i32 = 8;
/// Tables that recover beside each other although they are too large for their part.
const TURNS: i32 = 4;
/// Rows of one kilobyte each: three quarters of a megabyte in each table.
const ROWS: usize = 6000;
/// What makes a table of eight ask for room after a sixteenth of its rows, and flush after a third.
const SMALL: usize = 384 << 10;
/// What makes it ask after a sixth, and flush near its end.
const LARGE: usize = 1 << 20;
/// Intervals of flushes, with which turns end: longer than a test, and shorter than a recovery.
const SELDOM: Duration = Duration::from_secs(300);
const OFTEN: Duration = Duration::from_millis(200);

/// Keys for [`ROWS`] rows.
fn users() -> impl Iterator<Item = String> {
    (0..ROWS).map(|number| format!("user-{number}"))
}

/// A topic with a row for each of the keys.
async fn profiles(cluster: &Cluster, users: impl Iterator<Item = String>) -> String {
    let topic = cluster.topic(TABLES, &[]).await;
    // Small batches, so that a table is read in many steps.
    let config = EmitterConfig {
        producer: ProducerConfig {
            batch_bytes: 16 << 10,
            ..ProducerConfig::default()
        },
        ..EmitterConfig::default()
    };
    let emitter = Emitter::with_config(cluster.new_client(), &topic, Utf8, config);
    let emitter = within("an emitter", emitter).await.unwrap();
    let profile = "p".repeat(1000);
    for user in users {
        emitter.ready().await;
        drop(emitter.emit(user, &profile).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    topic
}

async fn start(
    cluster: &Cluster,
    topic: &str,
    stores: Redb,
    (rows, flush_interval): (usize, Duration),
) -> RunningView<Utf8> {
    let config = ViewConfig {
        flush_interval,
        cache_bytes: Some(rows),
        flush_bytes: Some(rows),
        fetcher: FetcherConfig {
            partition_max_bytes: 32 << 10,
            partition_buffer_bytes: 64 << 10,
            ..FetcherConfig::default()
        },
        ..ViewConfig::default()
    };
    let view = View::new(cluster.new_client(), topic, Utf8, stores).unwrap();
    within("a view's start", view.with_config(config).start())
        .await
        .unwrap()
}

/// Checks that rows are there, and that so many are.
fn assert_complete(view: &RunningView<Utf8>, rows: usize) {
    let lengths = view.iterate().unwrap().map(|row| row.unwrap().1.len());
    assert_eq!(lengths.collect::<Vec<_>>(), vec![1000; rows]);
}

/// Refuses to read these partitions.
fn refuse(cluster: &Cluster, topic: &str, partitions: Range<i32>) {
    for partition in partitions {
        let refusal = Fault::new(Api::Fetch).partition(topic, partition).times(1_000_000);
        let refusal = refusal.error(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        cluster.broker().faults().inject(refusal);
    }
}

/// A view whose first tables, as many as have turns at a time, hold rows and keep their turns when this returns: from then on
/// nobody serves them, nor the other `unserved` ones.
async fn start_with_all_turns_taken(
    cluster: &Cluster,
    topic: &str,
    stores: Redb,
    (flush_interval, unserved): (Duration, Range<i32>),
) -> RunningView<Utf8> {
    let faults = cluster.broker().faults();
    refuse(cluster, topic, TURNS..TABLES);
    let slow = Fault::new(Api::Fetch).times(u32::MAX);
    faults.inject(slow.delay_answer(Duration::from_millis(50)));
    let view = start(cluster, topic, stores, (LARGE, flush_interval)).await;
    let partitions = || view.stats().partitions;
    let holds_rows = async || partitions()[..TURNS as usize].iter().all(|table| table.position > 200);
    eventually("rows of the first", holds_rows).await;
    faults.clear();
    refuse(cluster, topic, unserved);
    view
}

pub(crate) async fn tables_too_large_for_their_part_recover_in_turns_and_within_bounds(cluster: Cluster) {
    let topic = profiles(&cluster, users()).await;
    let state = std::env::temp_dir().join(unique("recovering"));
    let view = start(&cluster, &topic, Redb::at(&state), (SMALL, OFTEN)).await;
    // Beside the rows that may be held together, each table may have gone one row beyond.
    let all = async {
        while !view.stats().partitions.iter().all(|partition| partition.recovered) {
            let partitions = view.stats().partitions;
            let held: usize = partitions.iter().map(|partition| partition.overlay_bytes).sum();
            assert!(held < 4 * SMALL, "{held} bytes are held");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("all tables", all).await;
    assert_complete(&view, ROWS);
    let read: u64 = view
        .stats()
        .partitions
        .iter()
        .map(|p| p.recovery.unwrap().records)
        .sum();
    assert_eq!(read, ROWS as u64, "each record is read once");
    within("the view's end", view.stop()).await.unwrap();
    let again = start(&cluster, &topic, Redb::at(&state), (SMALL, OFTEN)).await;
    within("the view", again.ready()).await.unwrap();
    let start_at_the_end =
        |p: &ViewPartitionStats| p.recovery.is_some_and(|recovery| recovery.start == recovery.target);
    assert!(again.stats().partitions.iter().all(start_at_the_end));
    assert_complete(&again, ROWS);
    within("the view's end", again.stop()).await.unwrap();
    std::fs::remove_dir_all(state).unwrap();
}

/// Embedded only: half of the tables, as many as have turns at a time, are not served any more once they hold rows.
pub(crate) async fn tables_that_nobody_serves_keep_no_room_from_the_others(cluster: Cluster) {
    let topic = profiles(&cluster, users()).await;
    let state = std::env::temp_dir().join(unique("recovering"));
    let view = start_with_all_turns_taken(&cluster, &topic, Redb::at(&state), (OFTEN, 0..TURNS)).await;
    let partition = |number: i32| view.stats().partitions[number as usize];
    let others = async || (TURNS..TABLES).all(|number| partition(number).recovered);
    eventually("the other half", others).await;
    assert!(
        (0..TURNS).all(|number| !partition(number).recovered),
        "the first half was too quick"
    );
    within("the view's end", view.stop()).await.unwrap();
    cluster.broker().faults().clear();
    // What was read is not read again.
    let again = start(&cluster, &topic, Redb::at(&state), (LARGE, OFTEN)).await;
    within("the view", again.ready()).await.unwrap();
    for (number, partition) in again.stats().partitions.iter().enumerate() {
        let recovery = partition.recovery.unwrap();
        assert!(recovery.start > 200, "{number} begins at {}", recovery.start);
        assert_eq!(
            recovery.start < recovery.target,
            number < 4,
            "{number} was interrupted, or not"
        );
    }
    assert_complete(&again, ROWS);
    within("the view's end", again.stop()).await.unwrap();
    std::fs::remove_dir_all(state).unwrap();
}

/// Embedded only: four tables keep all turns and are not served, two are small, and two are large and wait for their turns.
pub(crate) async fn small_tables_recover_while_large_ones_wait_for_their_turns(cluster: Cluster) {
    let (small, waiting) = (TURNS..6, 6..TABLES);
    let mut few = 0..40;
    let is_row = |user: &String| {
        let partition = Partitioner::Fnv1a.partition(user.as_bytes(), TABLES);
        !small.contains(&partition) || few.next().is_some()
    };
    let users: Vec<String> = users().filter(is_row).collect();
    let rows = users.len();
    let topic = profiles(&cluster, users.into_iter()).await;
    let state = std::env::temp_dir().join(unique("recovering"));
    let setting = (SELDOM, 0..small.end);
    let view = start_with_all_turns_taken(&cluster, &topic, Redb::at(&state), setting).await;
    let partition = |number: i32| view.stats().partitions[number as usize];
    let part = LARGE / TABLES as usize;
    let parts_are_full = async || waiting.clone().all(|number| partition(number).overlay_bytes >= part);
    eventually("two large tables that wait", parts_are_full).await;
    assert!(small.clone().all(|number| partition(number).position == 0));
    cluster.broker().faults().clear();
    refuse(&cluster, &topic, 0..TURNS);
    let are_recovered = async || small.clone().all(|number| partition(number).recovered);
    eventually("the small tables", are_recovered).await;
    assert!(
        (0..TURNS)
            .chain(waiting.clone())
            .all(|number| !partition(number).recovered),
        "a large table did not wait"
    );
    cluster.broker().faults().clear();
    within("the view", view.ready()).await.unwrap();
    assert_complete(&view, rows);
    within("the view's end", view.stop()).await.unwrap();
    std::fs::remove_dir_all(state).unwrap();
}
