//! The workloads of the client alone: produce, consume, emit-sync.

use std::time::{Duration, Instant};

use goka_core::{Bytes, Emitter};
use kafka_wire::producer::ProducerRecord;
use kafka_wire::{
    Client, ClientConfig, Fetcher, FetcherConfig, IsolationLevel, OffsetReset, Partitioner, Producer, ProducerConfig,
    RecordCursor, StartOffset, TopicPartition,
};

use crate::load::{self, ensure_topic, key, value};
use crate::report::Outcome;
use crate::{Args, Failure};

pub(crate) async fn produce(args: &Args) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let topic = args.topic_or("bench-produce");
    ensure_topic(&client, &topic, false).await?;
    let records = args.records.unwrap_or(load::RECORDS);
    let config = ProducerConfig {
        compression: args.compression.compression(),
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config)?;
    load::fill(&producer, &topic, records, |number| key(number, load::KEYS)).await?;
    producer.close().await?;
    Ok(Outcome {
        records,
        first: None,
        wall: None,
        note: format!("{:?}", args.compression),
    })
}

pub(crate) async fn consume(args: &Args, started: Instant) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let topic = args.topic_or("bench-in");
    let described = client.admin().describe_topics(&[&topic]).await?;
    let partitions = described.first().map_or(0, |topic| topic.partitions.len()) as i32;
    let config = FetcherConfig {
        partition_buffer_bytes: 4 << 20,
        ..FetcherConfig::default()
    };
    let fetcher = Fetcher::new(client.clone(), config)?;
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..partitions {
        let tp = TopicPartition::new(topic.as_str(), number);
        let fetch = fetcher.fetch(tp, StartOffset::Earliest, OffsetReset::Error);
        readers.spawn(read_to_end(fetch, started));
    }
    let (mut records, mut checksum, mut first) = (0, 0u64, None::<Duration>);
    while let Some(read) = readers.join_next().await {
        let (count, sum, at) = read??;
        records += count;
        checksum = checksum.wrapping_add(sum);
        first = first.into_iter().chain(at).min();
    }
    Ok(Outcome {
        records,
        first,
        wall: None,
        note: format!("checksum {checksum:x}"),
    })
}

/// Reads one partition to its end; touches every key and value.
async fn read_to_end(
    mut fetch: kafka_wire::PartitionFetch,
    started: Instant,
) -> Result<(u64, u64, Option<Duration>), Failure> {
    let (mut records, mut sum, mut first, mut cursor) = (0, 0u64, None, None::<RecordCursor>);
    while let Some(batch) = fetch.next().await {
        let batch = batch?;
        let high = batch.high_watermark;
        first.get_or_insert_with(|| started.elapsed());
        let cursor = match &mut cursor {
            Some(cursor) => {
                cursor.reset(batch);
                cursor
            }
            none => none.insert(RecordCursor::new(batch, IsolationLevel::ReadUncommitted)),
        };
        while let Some(record) = cursor.next_record()? {
            let last = |bytes: Option<&[u8]>| bytes.and_then(<[u8]>::last).copied().map_or(0, u64::from);
            sum = sum.wrapping_add(last(record.key)).wrapping_add(last(record.value));
            records += 1;
        }
        if cursor.next_offset() >= high {
            break;
        }
    }
    Ok((records, sum, first))
}

pub(crate) async fn emit_sync(args: &Args) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let topic = args.topic_or("bench-emit");
    ensure_topic(&client, &topic, false).await?;
    let records = args.records.unwrap_or(2_000);
    let emitter = Emitter::new(client, &topic, Bytes).await?;
    // In a task, as in a service: what awaits on the main thread is woken through the operating system.
    let micros = tokio::spawn(emit_one_by_one(emitter, records)).await??;
    Ok(Outcome {
        records,
        first: None,
        wall: None,
        note: crate::report::percentiles(micros),
    })
}

/// How long each record took, in microseconds.
async fn emit_one_by_one(emitter: Emitter<Bytes>, records: u64) -> Result<Vec<u128>, Failure> {
    let mut bytes = Vec::new();
    let mut micros = Vec::with_capacity(records as usize);
    for number in 0..records {
        value(number, &mut bytes);
        let sent = Instant::now();
        emitter.emit_sync(key(number, load::KEYS), &bytes).await?;
        micros.push(sent.elapsed().as_micros());
    }
    emitter.finish().await?;
    Ok(micros)
}

pub(crate) fn client(args: &Args) -> Result<Client, Failure> {
    Ok(Client::new(ClientConfig::new(args.brokers.split(',')))?)
}

/// Sends one keyed record, waiting for room if there is none.
pub(crate) async fn send(
    topic: &kafka_wire::producer::TopicProducer,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), Failure> {
    topic.wait_for_room().await;
    let record = ProducerRecord {
        key: Some(key),
        value,
        headers: &[],
        timestamp: None,
        partition: None,
    };
    // The receipt is not needed: the flush at the end reports failures.
    drop(topic.send(record)?);
    Ok(())
}

/// The partitioner of every workload: goka's.
pub(crate) const PARTITIONER: Partitioner = Partitioner::Fnv1a;
