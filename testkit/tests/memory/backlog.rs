//! Much input, written fast.

use std::time::Duration;

use kafka_wire::{Ack, Compression, PartitionWriter, Partitioner, Producer, ProducerConfig, TopicPartition};
use tokio::sync::mpsc;

use crate::cluster::{Cluster, unix_ms};

/// Records per partition of a new topic.
pub(crate) struct Backlog {
    pub(crate) topic: String,
    pub(crate) records: Vec<u64>,
}

/// Writes so many records with values of 100 bytes; every key comes `repeats` times. Odd partitions are compressed.
pub(crate) async fn write(cluster: &Cluster, partitions: i32, records: u64, repeats: u64) -> Backlog {
    let topic = cluster.topic(partitions, &[]).await;
    let producers = [Compression::None, Compression::Lz4].map(|compression| {
        cluster.producer(ProducerConfig {
            compression,
            batch_bytes: 900 << 10,
            ..ProducerConfig::default()
        })
    });
    let (acks, answers) = mpsc::unbounded_channel();
    let mut writers = writers(&producers, &topic, partitions, &acks);
    let mut written = vec![0; partitions as usize];
    let now = unix_ms();
    let (value, keys) = ([b'v'; 100], records / repeats);
    for number in 0..records {
        let key = format!("user-{}", number % keys);
        let partition = Partitioner::Fnv1a.partition(key.as_bytes(), partitions) as usize;
        let producer = &producers[partition % 2];
        while !producer.has_room() {
            writers.iter_mut().for_each(PartitionWriter::flush);
            producer.wait_for_room().await;
        }
        writers[partition]
            .append(now, Some(key.as_bytes()), Some(&value), &[])
            .unwrap();
        written[partition] += 1;
    }
    writers.iter_mut().for_each(PartitionWriter::flush);
    for producer in &producers {
        producer.close().await.unwrap();
    }
    drop((writers, acks));
    all_written(answers, records).await;
    Backlog {
        topic,
        records: written,
    }
}

fn writers(
    producers: &[Producer; 2],
    topic: &str,
    partitions: i32,
    acks: &mpsc::UnboundedSender<Ack>,
) -> Vec<PartitionWriter> {
    let writer = |partition: i32| {
        let at = TopicPartition::new(topic, partition);
        producers[partition as usize % 2].partition_writer(at, acks.clone(), partition as u32)
    };
    (0..partitions).map(writer).collect()
}

async fn all_written(mut answers: mpsc::UnboundedReceiver<Ack>, records: u64) {
    let mut acknowledged = 0;
    while acknowledged < records {
        let ack = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
        acknowledged += u64::from(ack.unwrap().unwrap().result.unwrap().record_count);
    }
}
