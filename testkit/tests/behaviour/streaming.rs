//! Sending and reading at the same time, while something goes wrong: the load for tests of faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_wire::{
    Client, ClientConfig, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, ProduceErrorKind, Producer,
    ProducerConfig, ProducerRecord, Receipt, StartOffset, TopicPartition,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, eventually, records_of, sender, within};

/// As many as there are brokers, so that each leads one.
pub(crate) const PARTITIONS: i32 = 3;
/// Of one request. Short, so that requests nobody answers are repeated within a test's time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Record `n` of the stream.
fn value(n: usize) -> String {
    format!("{n} {}", "x".repeat(n * 37 % 400))
}

/// Streams records through a new topic while `trouble`, which is given the topic, happens. Then everything that was sent must be
/// acknowledged where it is, lie in the log once and in order, and have been read once and in order.
pub(crate) async fn nothing_is_lost_or_doubled(cluster: &Cluster, trouble: impl AsyncFnOnce(&str)) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let config = ClientConfig::new(cluster.bootstrap()).with_request_timeout(REQUEST_TIMEOUT);
    let client = Client::new(config).unwrap();
    let (tell_ends, ends) = watch::channel(None);
    let mut readers = readers(&client, &topic, &ends);
    let over = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send(client, topic.clone(), Arc::clone(&over)));
    // Trouble meets a stream that flows.
    for partition in 0..PARTITIONS {
        eventually("the first records", async || {
            cluster.bounds(&topic, partition).await.1 > 100
        })
        .await;
    }
    trouble(&topic).await;
    over.store(true, Ordering::SeqCst);
    let receipts = within("every acknowledgement", sending).await.unwrap();
    let per_partition = receipts.len() / PARTITIONS as usize;
    tell_ends.send_replace(Some(per_partition));
    while let Some(read) = within("every record", readers.join_next()).await {
        assert_eq!(read.unwrap(), per_partition);
    }
    for partition in 0..PARTITIONS {
        let found = cluster.records(&topic, partition).await;
        assert_eq!(found.len(), per_partition, "in partition {partition}");
        for (index, found) in found.iter().enumerate() {
            let n = nth(partition, index);
            assert_eq!((found.offset as usize, found.text()), (index, value(n).as_str()));
            // The answer to a repeated batch may not tell where the first one went.
            let told = receipts[n].try_result().unwrap().unwrap().offset;
            assert!(
                told == found.offset || told == -1,
                "record {n} is at {}, not {told}",
                found.offset
            );
        }
    }
}

/// Which record of the stream lies at this place of a partition.
fn nth(partition: i32, index: usize) -> usize {
    index * PARTITIONS as usize + partition as usize
}

/// Sends in turn to all partitions until the trouble is over.
async fn send(client: Client, topic: String, over: Arc<AtomicBool>) -> Vec<Receipt> {
    let config = ProducerConfig {
        batch_bytes: 4 << 10,
        request_timeout: REQUEST_TIMEOUT,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config).unwrap();
    let sender = sender(&producer, &topic).await;
    let mut receipts = Vec::new();
    while !over.load(Ordering::SeqCst) || receipts.len() < 3000 || !receipts.len().is_multiple_of(300) {
        let value = value(receipts.len());
        let record = ProducerRecord {
            value: Some(value.as_bytes()),
            partition: Some(receipts.len() as i32 % PARTITIONS),
            ..ProducerRecord::default()
        };
        match sender.send(record) {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => {
                assert_eq!(error.kind, ProduceErrorKind::BufferFull, "{error}");
                sender.wait_for_room().await;
            }
        }
        if receipts.len().is_multiple_of(30) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    producer.close().await.unwrap();
    receipts
}

/// A reader for each partition; how many records it read in the end.
fn readers(client: &Client, topic: &str, ends: &watch::Receiver<Option<usize>>) -> JoinSet<usize> {
    let config = FetcherConfig {
        partition_max_bytes: 16 << 10,
        partition_buffer_bytes: 32 << 10,
        ..FetcherConfig::default()
    };
    let fetcher = Fetcher::new(client.clone(), config).unwrap();
    let mut readers = JoinSet::new();
    for partition in 0..PARTITIONS {
        let at = TopicPartition::new(topic, partition);
        let fetch = fetcher.fetch(at, StartOffset::Earliest, OffsetReset::Error);
        readers.spawn(read(fetch, ends.clone()));
    }
    readers
}

async fn read(mut fetch: PartitionFetch, mut end: watch::Receiver<Option<usize>>) -> usize {
    let partition = fetch.topic_partition().partition;
    let mut read = 0;
    while *end.borrow_and_update() != Some(read) {
        let batch = tokio::select! {
            batch = fetch.next() => batch.unwrap().unwrap(),
            Ok(()) = end.changed() => continue,
        };
        for found in records_of(batch) {
            assert_eq!(
                (found.offset as usize, found.text()),
                (read, value(nth(partition, read)).as_str())
            );
            read += 1;
        }
    }
    read
}
