//! Sending: what is acknowledged is in the log, once, in order, as it was sent; what is not says why.

use kafka_wire::protocol::batch::Header;
use kafka_wire::protocol::compression::CodecId;
use kafka_wire::{Ack, Compression, ProducerConfig, ProducerRecord, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, compressed, keyed, sender, unix_ms, within};

const PARTITIONS: usize = 4;

/// Record `n` of a stream in which keys, values and headers are now there, now empty, now null.
struct Sample {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp: i64,
    partition: usize,
}

impl Sample {
    fn new(n: usize, start: i64) -> Sample {
        let header = |name: &str, value: Option<&str>| (name.as_bytes().to_vec(), value.map(|text| text.into()));
        let mut headers = Vec::new();
        if n.is_multiple_of(3) {
            headers = vec![
                header("trace", Some(&n.to_string())),
                header("trace", None),
                header("", Some("")),
            ];
        }
        Sample {
            key: (!n.is_multiple_of(5)).then(|| {
                if n.is_multiple_of(7) {
                    Vec::new()
                } else {
                    format!("key-{n}").into()
                }
            }),
            value: match n % 11 {
                0 => None,
                1 => Some(Vec::new()),
                _ => Some(format!("value {n} {}", "x".repeat(n % 200)).into()),
            },
            headers,
            timestamp: start + n as i64,
            partition: n % PARTITIONS,
        }
    }
}

/// 10 000 records over four partitions come back as they were sent, where their receipts say.
async fn samples_come_back(cluster: Cluster, compression: Compression, codec: CodecId) {
    const RECORDS: usize = 10_000;
    let topic = cluster.topic(PARTITIONS as i32, &[]).await;
    let producer = cluster.producer(compressed(compression));
    let sender = sender(&producer, &topic).await;
    let start = unix_ms() - RECORDS as i64;
    let mut receipts = Vec::new();
    for n in 0..RECORDS {
        let sample = Sample::new(n, start);
        let headers: Vec<Header<'_>> = sample
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        let record = ProducerRecord {
            key: sample.key.as_deref(),
            value: sample.value.as_deref(),
            headers: &headers,
            timestamp: Some(sample.timestamp),
            partition: Some(sample.partition as i32),
        };
        receipts.push(sender.send(record).unwrap());
        if n % 1000 == 999 {
            // Lets batches of many sizes come about.
            tokio::task::yield_now().await;
        }
    }
    within("every acknowledgement", producer.close()).await.unwrap();
    for (n, receipt) in receipts.into_iter().enumerate() {
        let position = receipt.try_result().expect("settled by close").unwrap();
        assert_eq!(position.partition as usize, n % PARTITIONS);
        assert_eq!(position.offset as usize, n / PARTITIONS);
        assert_eq!(position.timestamp, start + n as i64);
    }
    for partition in 0..PARTITIONS {
        let found = cluster.records(&topic, partition as i32).await;
        assert_eq!(found.len(), RECORDS / PARTITIONS);
        for (index, found) in found.into_iter().enumerate() {
            let sent = Sample::new(index * PARTITIONS + partition, start);
            assert_eq!(found.offset as usize, index);
            assert_eq!(found.timestamp, sent.timestamp);
            assert_eq!((found.key, found.value), (sent.key, sent.value));
            assert_eq!(found.headers, sent.headers);
        }
        // A batch that does not get smaller is stored as it is; only tiny ones do not.
        let codecs = cluster.codecs(&topic, partition as i32).await;
        let large: Vec<_> = codecs.into_iter().filter(|(records, _)| *records > 10).collect();
        assert!(
            !large.is_empty() && large.iter().all(|(_, found)| *found == codec),
            "stored as {large:?}"
        );
    }
}

pub(crate) async fn records_come_back_as_they_were_sent(cluster: Cluster) {
    samples_come_back(cluster, Compression::None, CodecId::NONE).await;
}

pub(crate) async fn records_come_back_as_they_were_sent_in_lz4(cluster: Cluster) {
    samples_come_back(cluster, Compression::Lz4, CodecId::LZ4).await;
}

pub(crate) async fn records_come_back_as_they_were_sent_in_snappy(cluster: Cluster) {
    samples_come_back(cluster, Compression::Snappy, CodecId::SNAPPY).await;
}

pub(crate) async fn receipts_of_many_tasks_tell_where_each_record_is(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    let producer = cluster.producer(ProducerConfig::default());
    let sender = sender(&producer, &topic).await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let sender = sender.clone();
        tasks.spawn(async move {
            let mut told = Vec::new();
            for n in 0..100 {
                let text = format!("{task}/{n}");
                let receipt = sender.send(keyed(&text)).unwrap();
                told.push((text, within("an acknowledgement", receipt).await.unwrap()));
            }
            told
        });
    }
    let told: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let logs = [cluster.records(&topic, 0).await, cluster.records(&topic, 1).await];
    assert_eq!((told.len(), logs[0].len() + logs[1].len()), (800, 800));
    for (text, position) in told {
        assert_eq!(position.partition, sender.partition_for(text.as_bytes()));
        let found = &logs[position.partition as usize][position.offset as usize];
        assert_eq!(
            (found.offset, found.timestamp, found.text()),
            (position.offset, position.timestamp, text.as_str())
        );
    }
}

pub(crate) async fn on_log_append_time_topics_the_brokers_clock_counts(cluster: Cluster) {
    let topic = cluster.topic(1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let producer = cluster.producer(ProducerConfig::default());
    let record = ProducerRecord {
        timestamp: Some(1000),
        ..keyed("late")
    };
    let before = unix_ms();
    let receipt = sender(&producer, &topic).await.send(record).unwrap();
    let position = within("an acknowledgement", receipt).await.unwrap();
    assert!(
        (before..=unix_ms()).contains(&position.timestamp),
        "{before} <= {}",
        position.timestamp
    );
    assert_eq!(cluster.records(&topic, 0).await[0].timestamp, position.timestamp);
}

pub(crate) async fn a_partition_writers_batches_are_acknowledged_in_order(cluster: Cluster) {
    const RECORDS: u32 = 5000;
    let topic = cluster.topic(1, &[]).await;
    let producer = cluster.producer(ProducerConfig {
        batch_bytes: 2000,
        ..ProducerConfig::default()
    });
    let (acks, mut acked) = mpsc::unbounded_channel();
    let mut writer = producer.partition_writer(TopicPartition::new(topic.as_str(), 0), acks, 7);
    let mut batch_of = Vec::new();
    for n in 0..RECORDS {
        let value = format!("{n} {}", "x".repeat(n as usize % 100));
        batch_of.push(writer.append(unix_ms(), None, Some(value.as_bytes()), &[]).unwrap());
    }
    writer.flush();
    let last = *batch_of.last().unwrap();
    assert!(last > 100, "only {last} batches");
    let mut next_offset = 0;
    for batch in 0..=last {
        let ack: Ack = within("an acknowledgement", acked.recv()).await.unwrap();
        assert_eq!((ack.writer, ack.batch), (7, batch));
        let persisted = ack.result.unwrap();
        assert_eq!(persisted.base_offset, next_offset);
        let records = batch_of.iter().filter(|found| **found == batch).count();
        assert_eq!(persisted.record_count as usize, records);
        next_offset += records as i64;
    }
    let found = cluster.records(&topic, 0).await;
    assert_eq!(found.len(), RECORDS as usize);
    for (n, found) in found.iter().enumerate() {
        assert_eq!(found.text().split(' ').next(), Some(n.to_string().as_str()));
    }
}
