//! Records: written in every codec of ours.

use kafka_wire::producer::{Ack, PartitionWriter, Producer, ProducerConfig};
use kafka_wire::protocol::batch::Header;
use kafka_wire::{Compression, TopicPartition};
use tokio::sync::mpsc;

use super::{Session, SessionError, Step, TOPIC, done, same};

/// What each batch holds: headers with the same key twice, a record without key, a tombstone. `JavaTopics.java` writes the
/// same. Offset in the batch, timestamp, key, value, headers.
pub(super) fn three_records() -> Vec<Record> {
    let headers = vec![
        (b"h".to_vec(), Some(b"1".to_vec())),
        (b"h".to_vec(), Some(b"2".to_vec())),
        (b"empty".to_vec(), None),
    ];
    vec![
        (0, 1000, Some(b"k1".to_vec()), Some(b"one ".repeat(50)), headers),
        (1, 1001, None, Some(b"two ".repeat(50)), Vec::new()),
        (2, 1002, Some(b"k3".to_vec()), None, Vec::new()),
    ]
}

/// Offset, timestamp, key, value, headers.
pub(super) type Record = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

impl<B: Fn(&str)> Session<B> {
    /// Three batches, by three producers.
    pub(super) async fn produce(&self) -> Step {
        for (step, compression, first_offset) in [
            ("records are produced", Compression::None, 0),
            ("records are produced in snappy", Compression::Snappy, 3),
            ("records are produced in lz4", Compression::Lz4, 6),
        ] {
            (self.begin)(step);
            let config = ProducerConfig {
                compression,
                ..ProducerConfig::default()
            };
            let producer = done(step, Producer::new(self.client.clone(), config))?;
            let (acks, mut acked) = mpsc::unbounded_channel();
            let mut writer = producer.partition_writer(TopicPartition::new(TOPIC, 0), acks, 0);
            write(&mut writer)?;
            let ack: Ack = acked
                .recv()
                .await
                .ok_or_else(|| SessionError::new(step, "no outcome"))?;
            let persisted = done(step, ack.result)?;
            same(step, (persisted.base_offset, persisted.record_count), (first_offset, 3))?;
            drop(writer);
            done(step, producer.close().await)?;
        }
        Ok(())
    }
}

fn write(writer: &mut PartitionWriter) -> Step {
    for (_, timestamp, key, value, headers) in three_records() {
        let headers: Vec<Header<'_>> = headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        done(
            "appending",
            writer.append(timestamp, key.as_deref(), value.as_deref(), &headers),
        )?;
    }
    writer.flush();
    Ok(())
}
