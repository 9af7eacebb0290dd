//! The hot path allocates nothing per record.
//!
//! Everything of ours runs on the test's own thread, whose allocations are counted; the broker runs on threads of its own. What is
//! allocated per batch, request and commit is counted, too, and shared out among the records, of which there are many per batch.
//! The first records are not counted: buffers grow to their size then, and each key takes its place in the table.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::cell::Cell;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use goka_core::{GroupGraph, Int64, Output, Processor, Running, Undecoded};
use kafka_wire::admin::NewTopic;
use kafka_wire::{
    Client, ClientConfig, Fetcher, FetcherConfig, IsolationLevel, OffsetReset, Partitioner, Producer, ProducerConfig,
    ProducerRecord, RecordCursor, StartOffset, TopicPartition,
};
use storage_redb::Redb;
use testkit::broker::{BrokerConfig, EmbeddedBroker};
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 4;
const KEYS: usize = 1_000;
const FIRST: usize = 40_000;
const RECORDS: usize = 100_000;
/// Allocations per record.
const MOST: f64 = 0.1;

/// A broker on threads of its own, and this thread's runtime.
struct Bench {
    outside: Runtime,
    broker: EmbeddedBroker,
    inside: Runtime,
    state: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let outside = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let broker = outside
            .block_on(EmbeddedBroker::start(BrokerConfig::default()))
            .unwrap();
        let inside = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let state = std::env::temp_dir().join(format!("allocations-{name}-{}", std::process::id()));
        let bench = Bench {
            outside,
            broker,
            inside,
            state,
        };
        bench.topic("in");
        bench
    }

    fn client(&self) -> Client {
        Client::new(ClientConfig::new(self.broker.bootstrap())).unwrap()
    }

    fn topic(&self, name: &str) {
        let client = self.client();
        self.outside.block_on(async {
            let created = client.admin().create_topics(&[NewTopic::new(name, PARTITIONS)]).await;
            created.unwrap().remove(0).1.unwrap();
            client.close().await;
        });
    }

    /// Writes so many records of 100 bytes, whose keys repeat.
    fn fill(&self, records: usize) {
        let client = self.client();
        self.outside.block_on(async {
            let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
            let topic = producer.topic("in", Partitioner::Fnv1a).await.unwrap();
            for number in 0..records {
                topic.wait_for_room().await;
                let key = format!("key-{}", number % KEYS);
                let record = ProducerRecord {
                    key: Some(key.as_bytes()),
                    value: Some(&[b'.'; 100]),
                    ..ProducerRecord::default()
                };
                drop(topic.send(record).unwrap());
            }
            producer.close().await.unwrap();
            client.close().await;
        });
    }

    /// Allocations of this thread while `work` goes on, per record of [`RECORDS`].
    fn allocations(&self, work: impl Future<Output = ()>) -> f64 {
        let counted = allocation_counter::measure(|| self.inside.block_on(work));
        counted.count_total as f64 / RECORDS as f64
    }

    /// Runs `graph` over the first records, then counts over the others.
    fn processed<T: goka_core::Codec>(&self, graph: GroupGraph<T>) -> f64 {
        self.processed_by(|client| Processor::new(client, graph, Redb::at(&self.state)).unwrap())
    }

    fn processed_by<T: Clone>(&self, processor: impl FnOnce(Client) -> Processor<T>) -> f64 {
        self.fill(FIRST);
        let running = self.inside.block_on(async {
            let running = processor(self.client()).start().await.unwrap();
            until(&running, FIRST).await;
            running
        });
        self.fill(RECORDS);
        let counted = self.allocations(until(&running, FIRST + RECORDS));
        self.inside.block_on(running.stop()).unwrap();
        counted
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Left behind, it is only disk space.
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Waits until so many records may be committed.
async fn until<T>(running: &Running<T>, records: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let stats = running.stats().await.unwrap();
        let inputs = stats.partitions.values().flat_map(|partition| &partition.inputs);
        if inputs.map(|input| input.committable.max(0)).sum::<i64>() == records as i64 {
            return;
        }
        assert!(Instant::now() < deadline, "{} of {records} records", stats.records());
    }
}

fn counter(extra: impl Fn() + Send + Sync + 'static) -> GroupGraph<Int64> {
    let graph = GroupGraph::builder("counting")
        .persist(Int64)
        .input("in", Undecoded, move |ctx, ()| {
            extra();
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        });
    graph.build().unwrap()
}

#[test]
fn counting_allocates_nothing_per_record() {
    let counted = Bench::new("count").processed(counter(|| {}));
    assert!(counted <= MOST, "{counted} allocations per record");
}

#[test]
fn a_single_allocation_per_record_would_be_noticed() {
    let counted = Bench::new("one").processed(counter(|| drop(std::hint::black_box(Box::new(1u8)))));
    assert!(counted > 1.0 - MOST, "{counted} allocations per record");
}

#[test]
fn coalesced_counting_allocates_nothing_per_record() {
    let graph = GroupGraph::builder("counting")
        .persist(Int64)
        .coalesced()
        .input("in", Undecoded, |ctx, ()| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        });
    let counted = Bench::new("coalesced").processed(graph.build().unwrap());
    assert!(counted <= MOST, "{counted} allocations per record");
}

#[test]
fn forwarding_allocates_nothing_per_record() {
    let bench = Bench::new("forward");
    bench.topic("out");
    let out = Output::new("out", Undecoded);
    let to = out.clone();
    let graph = GroupGraph::builder("forwarding")
        .output(&out)
        .input("in", Undecoded, move |ctx, ()| {
            ctx.emit(&to, ctx.key(), ctx.bytes().unwrap_or_default())
        });
    let graph = graph.build().unwrap();
    let counted = bench.processed_by(|client| Processor::new(client, graph, Redb::at(&bench.state)).unwrap());
    assert!(counted <= MOST, "{counted} allocations per record");
}

#[test]
fn consuming_allocates_nothing_per_record() {
    let bench = Bench::new("consume");
    bench.fill(FIRST);
    let fetcher = bench.inside.block_on(async {
        let config = FetcherConfig::default();
        Fetcher::new(bench.client(), config).unwrap()
    });
    let read = Cell::new(0);
    let mut partitions: Vec<_> = (0..PARTITIONS)
        .map(|number| {
            let _guard = bench.inside.enter();
            let from = TopicPartition::new("in", number);
            let fetch = fetcher.fetch(from, StartOffset::Earliest, OffsetReset::Error);
            (fetch, None::<RecordCursor>)
        })
        .collect();
    let mut read_to = async |records: usize| {
        let read_one = async |fetch: &mut kafka_wire::PartitionFetch, cursor: &mut Option<RecordCursor>| {
            let batch = fetch.next().await.unwrap().unwrap();
            let cursor = match cursor {
                Some(cursor) => {
                    cursor.reset(batch);
                    cursor
                }
                none => none.insert(RecordCursor::new(batch, IsolationLevel::ReadUncommitted)),
            };
            while let Some(record) = cursor.next_record().unwrap() {
                assert_eq!(record.value.map(<[u8]>::len), Some(100));
                read.set(read.get() + 1);
            }
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while read.get() < records {
            for (fetch, cursor) in &mut partitions {
                // A partition may have nothing more.
                let _ = tokio::time::timeout(Duration::from_millis(20), read_one(fetch, cursor)).await;
            }
            assert!(Instant::now() < deadline, "{} of {records} records", read.get());
        }
    };
    bench.inside.block_on(read_to(FIRST));
    bench.fill(RECORDS);
    let counted = bench.allocations(read_to(FIRST + RECORDS));
    assert!(counted <= MOST, "{counted} allocations per record");
}
