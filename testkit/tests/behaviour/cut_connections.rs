//! Connections that break at any moment: nothing is lost, nothing comes twice, nothing changes places.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_wire::{
    Fetcher, FetcherConfig, OffsetReset, Producer, ProducerConfig, ProducerRecord, StartOffset, TopicPartition,
};
use tokio::sync::mpsc;

use crate::cluster::{Cluster, Found, eventually, records_of, sender, unix_ms, within};
use crate::cuts::Cuts;

const CUTS: usize = 20;

/// Small batches, so that a cut hits several at different stages.
fn small_batches() -> ProducerConfig {
    ProducerConfig {
        batch_bytes: 4 << 10,
        ..ProducerConfig::default()
    }
}

/// The values of a stream: numbered, of different lengths.
fn value(n: usize) -> String {
    format!("{n} {}", "x".repeat(n * 37 % 400))
}

fn number(found: &Found) -> usize {
    found.text().split(' ').next().unwrap().parse().unwrap()
}

/// Cuts what is open, `CUTS` times, each time after a connection came back.
async fn cut_again_and_again(cuts: Cuts) {
    for n in 0..CUTS {
        // A different pause each time, so that the cuts fall into different stages of connecting and sending.
        tokio::time::sleep(Duration::from_millis(3 + 11 * n as u64 % 40)).await;
        eventually("a connection to cut", || async { cuts.cut() > 0 }).await;
    }
}

pub(crate) async fn sent_records_are_written_once_and_in_order(cluster: Cluster) {
    const PARTITIONS: i32 = 4;
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let cuts = Cuts::new();
    let producer = Producer::new(cluster.client_through(&cuts), small_batches()).unwrap();
    let sender = sender(&producer, &topic).await;
    let cutting = tokio::spawn(cut_again_and_again(cuts));
    let mut receipts = Vec::new();
    // A multiple of the partitions, and not before the last cut.
    while !cutting.is_finished() || receipts.len() % 400 != 0 {
        let value = value(receipts.len());
        let record = ProducerRecord {
            value: Some(value.as_bytes()),
            partition: Some(receipts.len() as i32 % PARTITIONS),
            ..ProducerRecord::default()
        };
        receipts.push(sender.send(record).unwrap());
        if receipts.len() % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    cutting.await.unwrap();
    within("every acknowledgement", producer.close()).await.unwrap();
    for partition in 0..PARTITIONS {
        let found = cluster.records(&topic, partition).await;
        assert_eq!(
            found.len(),
            receipts.len() / PARTITIONS as usize,
            "in partition {partition}"
        );
        for (index, found) in found.iter().enumerate() {
            let n = index * PARTITIONS as usize + partition as usize;
            assert_eq!(found.text(), value(n));
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

pub(crate) async fn a_partition_writers_batches_are_written_once_and_in_order(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let cuts = Cuts::new();
    let producer = Producer::new(cluster.client_through(&cuts), small_batches()).unwrap();
    let (acks, mut acked) = mpsc::unbounded_channel();
    let mut writer = producer.partition_writer(TopicPartition::new(topic.as_str(), 0), acks, 0);
    let cutting = tokio::spawn(cut_again_and_again(cuts));
    let mut batches = VecDeque::new();
    let mut sent = 0;
    while !cutting.is_finished() {
        for _ in 0..40 {
            let batch = writer
                .append(unix_ms(), None, Some(value(sent).as_bytes()), &[])
                .unwrap();
            batches.push_back(batch);
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.flush();
    cutting.await.unwrap();
    let mut next = 0;
    for batch in 0..=*batches.back().unwrap() {
        let ack = within("an acknowledgement", acked.recv()).await.unwrap();
        assert_eq!(ack.batch, batch);
        let persisted = ack.result.unwrap();
        assert!(
            [next, -1].contains(&persisted.base_offset),
            "{persisted:?}, but {next} is next"
        );
        next += i64::from(persisted.record_count);
    }
    let found = cluster.records(&topic, 0).await;
    assert_eq!((found.len(), next), (sent, sent as i64));
    assert!(found.iter().enumerate().all(|(n, found)| found.text() == value(n)));
}

pub(crate) async fn a_reader_gets_every_record_once_and_in_order(cluster: Cluster) {
    const RECORDS: usize = 20_000;
    let topic = cluster.topic(1, &[]).await;
    let config = FetcherConfig {
        // Many small answers, so that every cut finds one under way.
        partition_max_bytes: 4 << 10,
        partition_buffer_bytes: 8 << 10,
        ..FetcherConfig::default()
    };
    let cuts = Cuts::new();
    let fetcher = Fetcher::new(cluster.client_through(&cuts), config).unwrap();
    let at = TopicPartition::new(topic.as_str(), 0);
    let mut fetch = fetcher.fetch(at, StartOffset::Earliest, OffsetReset::Error);
    let writing = cluster.write(&topic, 0, (0..RECORDS).map(value));
    let cutting = tokio::spawn(cut_again_and_again(cuts));
    let reading = async {
        let mut next = 0;
        while next < RECORDS {
            let batch = within("a batch", fetch.next()).await.unwrap().unwrap();
            for found in records_of(batch) {
                assert_eq!((found.offset as usize, number(&found)), (next, next));
                assert_eq!(found.text(), value(next));
                next += 1;
            }
            // Spreads the reading over the time of the cuts.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(writing, reading);
    cutting.await.unwrap();
    // And on: what is written after the last cut comes, too.
    cluster.write(&topic, 0, ["after"]).await;
    let batch = within("a batch", fetch.next()).await.unwrap().unwrap();
    assert_eq!(records_of(batch)[0].text(), "after");
}
