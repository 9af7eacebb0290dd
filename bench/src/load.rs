//! Fills the topics that the workloads read.

use kafka_wire::admin::{NewTopic, OffsetSpec};
use kafka_wire::{Client, Compression, IsolationLevel, Producer, ProducerConfig, TopicPartition};

use crate::report::Outcome;
use crate::wire::{PARTITIONER, client, send};
use crate::{Args, Failure};

/// Records of an input topic.
pub(crate) const RECORDS: u64 = 3_000_000;
/// Keys among them.
pub(crate) const KEYS: u64 = 100_000;
const UNIQUE_KEYS: u64 = 1_000_000;
pub(crate) const PARTITIONS: i32 = 8;

pub(crate) async fn load(args: &Args) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let records = args.records.unwrap_or(RECORDS);
    let mut written = 0;
    let popular: fn(u64) -> String = |number| key(number, KEYS);
    let unique: fn(u64) -> String = |number| format!("u{number:07}");
    for (topic, compression, compacted, records, key_of) in [
        ("bench-in", Compression::None, false, records, popular),
        ("bench-in-lz4", Compression::Lz4, false, records, popular),
        (
            "bunique-table",
            Compression::None,
            true,
            records.min(UNIQUE_KEYS),
            unique,
        ),
    ] {
        if !ensure_topic(&client, topic, compacted).await? {
            continue;
        }
        let config = ProducerConfig {
            compression,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(client.clone(), config)?;
        fill(&producer, topic, records, key_of).await?;
        producer.close().await?;
        written += records;
    }
    ensure_topic(&client, "bench-forward-out", false).await?;
    Ok(Outcome {
        records: written,
        first: None,
        wall: None,
        note: "topics filled".to_owned(),
    })
}

/// Writes `records` records with 100-byte values and waits for their acknowledgement.
pub(crate) async fn fill(
    producer: &Producer,
    topic: &str,
    records: u64,
    key_of: impl Fn(u64) -> String,
) -> Result<(), Failure> {
    let topic = producer.topic(topic, PARTITIONER).await?;
    let mut bytes = Vec::new();
    for number in 0..records {
        value(number, &mut bytes);
        send(&topic, key_of(number).as_bytes(), Some(&bytes)).await?;
    }
    producer.flush().await?;
    Ok(())
}

/// Creates `topic` with 8 partitions and waits until their leaders serve them; false if it exists.
pub(crate) async fn ensure_topic(client: &Client, topic: &str, compacted: bool) -> Result<bool, Failure> {
    let exists = client
        .admin()
        .describe_topics(&[topic])
        .await
        .is_ok_and(|topics| !topics.is_empty());
    if exists {
        return Ok(false);
    }
    let mut new = NewTopic::new(topic, PARTITIONS);
    if compacted {
        new = new.with_config("cleanup.policy", "compact");
    }
    client.admin().create_topics(&[new]).await?;
    // Brokers name a leader a moment before it takes its part, and the floors do not ask twice. This does, for a while.
    let starts: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TopicPartition::new(topic, partition), OffsetSpec::Earliest))
        .collect();
    client
        .admin()
        .list_offsets(&starts, IsolationLevel::ReadUncommitted)
        .await?;
    Ok(true)
}

/// The key of record `number` among `keys` keys: scattered, but the same in every run.
pub(crate) fn key(number: u64, keys: u64) -> String {
    let scattered = (number.wrapping_mul(2_654_435_761) & 0xffff_ffff) % keys;
    format!("k{scattered:07}")
}

/// The value of record `number`: 50 hexadecimal digits that do not repeat, then 50 dots.
pub(crate) fn value(number: u64, into: &mut Vec<u8>) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x0123_4567);
    into.clear();
    while into.len() < 50 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let digits = (0..16).map(|digit| b"0123456789abcdef"[(state >> (4 * digit)) as usize & 15]);
        into.extend(digits.take(50 - into.len()));
    }
    into.resize(100, b'.');
}
