//! Tables that are too large for their part of the memory recover in turns.

use std::time::Duration;

use goka_core::{Emitter, EmitterConfig, RunningView, Utf8, View, ViewConfig, ViewPartitionStats};
use kafka_wire::{ErrorCode, FetcherConfig, ProducerConfig};
use storage_redb::Redb;
use testkit::broker::{Api, Fault};

use crate::cluster::{Cluster, eventually, unique, within};

const TABLES: i32 = 8;
/// Rows of one kilobyte each: three quarters of a megabyte in each table.
const ROWS: usize = 6000;
/// What makes a table of eight ask for room after a sixteenth of its rows, and flush after a third.
const SMALL: usize = 384 << 10;
/// What makes it ask after a sixth, and flush near its end.
const LARGE: usize = 1 << 20;

/// A topic of [`ROWS`] rows.
async fn profiles(cluster: &Cluster) -> String {
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
    for number in 0..ROWS {
        emitter.ready().await;
        drop(emitter.emit(format!("user-{number}"), &profile).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    topic
}

async fn start(cluster: &Cluster, topic: &str, stores: Redb, rows: usize) -> RunningView<Utf8> {
    let config = ViewConfig {
        flush_interval: Duration::from_millis(200),
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
fn assert_complete(view: &RunningView<Utf8>) {
    let lengths = view.iterate().unwrap().map(|row| row.unwrap().1.len());
    assert_eq!(lengths.collect::<Vec<_>>(), vec![1000; ROWS]);
}

pub(crate) async fn tables_too_large_for_their_part_recover_in_turns_and_within_bounds(cluster: Cluster) {
    let topic = profiles(&cluster).await;
    let state = std::env::temp_dir().join(unique("recovering"));
    let view = start(&cluster, &topic, Redb::at(&state), SMALL).await;
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
    assert_complete(&view);
    let read: u64 = view
        .stats()
        .partitions
        .iter()
        .map(|p| p.recovery.unwrap().records)
        .sum();
    assert_eq!(read, ROWS as u64, "each record is read once");
    within("the view's end", view.stop()).await.unwrap();
    let again = start(&cluster, &topic, Redb::at(&state), SMALL).await;
    within("the view", again.ready()).await.unwrap();
    let start_at_the_end =
        |p: &ViewPartitionStats| p.recovery.is_some_and(|recovery| recovery.start == recovery.target);
    assert!(again.stats().partitions.iter().all(start_at_the_end));
    assert_complete(&again);
    within("the view's end", again.stop()).await.unwrap();
    std::fs::remove_dir_all(state).unwrap();
}

/// Embedded only: half of the tables, as many as have turns at a time, are not served any more once they hold rows.
pub(crate) async fn tables_that_nobody_serves_keep_no_room_from_the_others(cluster: Cluster) {
    let topic = profiles(&cluster).await;
    let state = std::env::temp_dir().join(unique("recovering"));
    let faults = cluster.broker().faults();
    let slow = || {
        Fault::new(Api::Fetch)
            .times(u32::MAX)
            .delay_answer(Duration::from_millis(20))
    };
    let refuse = |partitions: std::ops::Range<i32>| {
        for partition in partitions {
            let refusal = Fault::new(Api::Fetch).partition(&topic, partition).times(1_000_000);
            faults.inject(refusal.error(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
    };
    // The first half gets all turns there are.
    refuse(4..TABLES);
    faults.inject(slow());
    let view = start(&cluster, &topic, Redb::at(&state), LARGE).await;
    let partition = |number: i32| view.stats().partitions[number as usize];
    let holds_rows = async || (0..4).all(|number| partition(number).position > 200);
    eventually("rows of the first half", holds_rows).await;
    faults.clear();
    refuse(0..4);
    let others = async || (4..TABLES).all(|number| partition(number).recovered);
    eventually("the other half", others).await;
    assert!(
        (0..4).all(|number| !partition(number).recovered),
        "the first half was too quick"
    );
    within("the view's end", view.stop()).await.unwrap();
    faults.clear();
    // What was read is not read again.
    let again = start(&cluster, &topic, Redb::at(&state), LARGE).await;
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
    assert_complete(&again);
    within("the view's end", again.stop()).await.unwrap();
    std::fs::remove_dir_all(state).unwrap();
}
