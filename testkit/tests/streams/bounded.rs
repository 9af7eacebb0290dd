//! Memory is bounded, and whoever is full waits (I8); offsets do not wait for stores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use goka_core::storage::{Memory, StoreBuilder, StoreError};
use goka_core::{Emitter, EmitterConfig, GroupGraph, Output, Processor, ProcessorConfig, Running, Utf8};
use kafka_wire::{ErrorCode, FetcherConfig, ProducerConfig};
use testkit::broker::{Api, Fault};
use testkit::hooked::{Hooked, WriteHook};

use crate::app::{App, PARTITIONS, quick, ready, stop};
use crate::cluster::{Cluster, eventually, within};

/// Records of one kilobyte each, all of different keys.
const RECORDS: usize = 6000;

/// A sixth of the input: what may be worked off while nothing gets away.
const BOUND: u64 = 1000;

fn profiles(app: &App) -> GroupGraph<Utf8> {
    let graph = GroupGraph::builder(app.group.as_str()).persist(Utf8).input(
        app.topic.as_str(),
        Utf8,
        |ctx, profile: String| ctx.set_value(&profile),
    );
    graph.build().unwrap()
}

async fn emit_profiles(app: &App) {
    // Small batches: a slice of records, after which a task looks at its budgets, ends with its batch.
    let config = EmitterConfig {
        producer: small().producer,
        ..EmitterConfig::default()
    };
    let emitter = Emitter::with_config(app.cluster.new_client(), &app.topic, Utf8, config);
    let emitter = within("an emitter", emitter).await.unwrap();
    let profile = "p".repeat(1000);
    for number in 0..RECORDS {
        emitter.ready().await;
        drop(emitter.emit(format!("user-{number}"), &profile).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
}

/// Small budgets everywhere.
fn small() -> ProcessorConfig {
    ProcessorConfig {
        cache_bytes: Some(256 << 10),
        flush_bytes: Some(256 << 10),
        producer: ProducerConfig {
            buffer_bytes: Some(256 << 10),
            batch_bytes: 16 << 10,
            ..ProducerConfig::default()
        },
        fetcher: FetcherConfig {
            partition_max_bytes: 32 << 10,
            partition_buffer_bytes: 64 << 10,
            ..FetcherConfig::default()
        },
        ..quick()
    }
}

async fn start<T: Clone>(app: &App, graph: GroupGraph<T>, stores: impl StoreBuilder) -> Running<T> {
    let processor = Processor::new(app.cluster.new_client(), graph, stores).unwrap();
    within("a processor's start", processor.with_config(small()).start())
        .await
        .unwrap()
}

/// Bytes above the stores, over all partitions.
async fn overlay_bytes<T>(running: &Running<T>) -> usize {
    let stats = running.stats().await.unwrap();
    let tables = stats.partitions.values().filter_map(|partition| partition.table);
    tables.map(|table| table.overlay_bytes).sum()
}

/// Waits until no more records are worked off, and looks a while whether it stays so. Gives how many there were.
async fn comes_to_a_halt<T>(running: &Running<T>) -> u64 {
    let halt = async {
        let (mut seen, mut since) = (0, Instant::now());
        while seen == 0 || since.elapsed() < Duration::from_secs(1) {
            let now = running.stats().await.unwrap().records();
            assert!(overlay_bytes(running).await < 2 << 20, "after {now} records");
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen
    };
    within("a halt", halt).await
}

async fn everything_arrives(app: &App, running: Running<Utf8>) {
    app.until_committed().await;
    assert!(overlay_bytes(&running).await < 2 << 20);
    for number in 0..RECORDS {
        let row = running.get(format!("user-{number}")).await.unwrap();
        assert_eq!(row.map(|row| row.len()), Some(1000), "user-{number}");
    }
    let mut written = 0;
    for partition in 0..PARTITIONS {
        written += app.cluster.bounds(&app.table, partition).await.1;
    }
    assert_eq!(written, RECORDS as i64);
    stop(running).await;
}

/// Embedded only: the changelog's leaders do not take records for a while.
pub(crate) async fn records_wait_in_the_broker_while_the_changelog_takes_none(cluster: Cluster) {
    let app = App::new(cluster).await;
    emit_profiles(&app).await;
    let faults = app.cluster.broker().faults();
    for partition in 0..PARTITIONS {
        let refusal = Fault::new(Api::Produce)
            .partition(&app.table, partition)
            .times(1_000_000);
        faults.inject(refusal.error(ErrorCode::NOT_ENOUGH_REPLICAS));
    }
    let running = start(&app, profiles(&app), Memory::new()).await;
    ready(&running).await;
    let done = comes_to_a_halt(&running).await;
    assert!(
        done < BOUND,
        "{done} records were worked off, none of their rows is written"
    );
    assert!(app.committed().await.values().all(|offset| *offset == 0));
    faults.clear();
    everything_arrives(&app, running).await;
}

/// Embedded only, as above, for a group without a table.
pub(crate) async fn records_wait_in_the_broker_while_an_output_takes_none(cluster: Cluster) {
    let app = App::new(cluster).await;
    emit_profiles(&app).await;
    let output = Output::new(app.cluster.topic(1, &[]).await, Utf8);
    let to = output.clone();
    let graph = GroupGraph::builder(app.group.as_str()).output(&output).input(
        app.topic.as_str(),
        Utf8,
        move |ctx, profile: String| {
            let key = ctx.key();
            ctx.emit(&to, key, &profile)
        },
    );
    let faults = app.cluster.broker().faults();
    let refusal = Fault::new(Api::Produce).partition(output.topic(), 0).times(1_000_000);
    faults.inject(refusal.error(ErrorCode::NOT_ENOUGH_REPLICAS));
    let running = start(&app, graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    let done = comes_to_a_halt(&running).await;
    assert!(done < BOUND, "{done} records were worked off, none is forwarded");
    faults.clear();
    app.until_committed().await;
    stop(running).await;
    assert_eq!(app.cluster.bounds(output.topic(), 0).await, (0, RECORDS as i64));
}

pub(crate) async fn offsets_are_committed_before_the_store_has_the_rows_but_not_without_bound(cluster: Cluster) {
    let app = App::new(cluster).await;
    emit_profiles(&app).await;
    let held = Held::default();
    let release = held.hold();
    let running = start(&app, profiles(&app), Hooked::new(Memory::new(), held.clone())).await;
    ready(&running).await;
    let done = comes_to_a_halt(&running).await;
    assert!(
        done < BOUND,
        "{done} records were worked off, the store has none of their rows"
    );
    let committed = async || app.committed().await.values().sum::<i64>() == done as i64;
    eventually("commits of all that was worked off", committed).await;
    drop(release);
    everything_arrives(&app, running).await;
}

/// Flushes run beside the callbacks: those see nothing of a write that takes seconds, as long as there is room.
pub(crate) async fn callbacks_go_on_while_a_store_takes_seconds_to_write(cluster: Cluster) {
    const WRITES_TAKE: Duration = Duration::from_secs(3);
    let app = App::new(cluster).await;
    let (held, called) = (Held::default(), Arc::new(AtomicU64::new(0)));
    let calls = Arc::clone(&called);
    let graph = GroupGraph::builder(app.group.as_str()).persist(Utf8).input(
        app.topic.as_str(),
        Utf8,
        move |ctx, profile: String| {
            calls.fetch_add(1, Ordering::SeqCst);
            ctx.set_value(&profile)
        },
    );
    let processor = Processor::new(
        app.cluster.new_client(),
        graph.build().unwrap(),
        Hooked::new(Memory::new(), held.clone()),
    )
    .unwrap();
    let config = ProcessorConfig {
        flush_interval: Duration::from_millis(100),
        ..quick()
    };
    let running = within("a processor's start", processor.with_config(config).start())
        .await
        .unwrap();
    ready(&running).await;
    let release = held.hold();
    let done = AtomicBool::new(false);
    let emitting = async {
        let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.topic, Utf8))
            .await
            .unwrap();
        let mut emitted = 0u64;
        while !done.load(Ordering::SeqCst) {
            drop(emitter.emit(format!("user-{}", emitted % 500), "profile").unwrap());
            emitted += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        within("the last acknowledgement", emitter.finish()).await.unwrap();
        emitted
    };
    let watching = async {
        eventually("a write that is held up", async || held.waiting() == PARTITIONS as u64).await;
        let (until, mut longest) = (Instant::now() + WRITES_TAKE, Duration::ZERO);
        let (mut seen, mut since) = (called.load(Ordering::SeqCst), Instant::now());
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = called.load(Ordering::SeqCst);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            longest = longest.max(since.elapsed());
        }
        assert_eq!(held.waiting(), PARTITIONS as u64, "the writes are still held up");
        done.store(true, Ordering::SeqCst);
        longest
    };
    let (emitted, longest) = tokio::join!(emitting, watching);
    assert!(
        longest < WRITES_TAKE / 2,
        "no callback ran for {longest:?} while stores were being written"
    );
    eventually("every callback", async || called.load(Ordering::SeqCst) == emitted).await;
    app.until_committed().await;
    assert_eq!(held.waiting(), PARTITIONS as u64, "offsets do not wait for stores");
    drop(release);
    stop(running).await;
}

/// Writes wait for a word.
#[derive(Debug, Clone, Default)]
struct Held {
    gate: Arc<(Mutex<bool>, Condvar)>,
    waiting: Arc<AtomicU64>,
}

impl Held {
    /// Writes wait until what it gives is dropped, in a test that fails as well.
    fn hold(&self) -> Release {
        *self.gate.0.lock().unwrap() = true;
        Release(Arc::clone(&self.gate))
    }

    /// Writes that wait.
    fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
}

struct Release(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Release {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }
}

impl WriteHook for Held {
    fn may_block(&self) -> bool {
        true
    }

    fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (held, word) = &*self.gate;
        drop(word.wait_while(held.lock().unwrap(), |held| *held).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        write()
    }
}
