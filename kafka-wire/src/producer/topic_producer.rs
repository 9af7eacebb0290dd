//! The front door for emitters: any task sends single records, batches are shared, each record has a receipt.

use std::sync::Arc;

use crate::producer::error::{ProduceError, ProduceErrorKind};
use crate::producer::receipt::Receipt;
use crate::producer::shared_topic::SharedTopic;
use crate::protocol::batch::{BatchBuilder, HEADER_LEN, Header};
use crate::protocol::{Partitioner, TopicPartition};

/// A record to send; what is borrowed is encoded before `send` returns.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProducerRecord<'a> {
    /// Decides the partition, if `partition` does not.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone on compacted topics.
    pub value: Option<&'a [u8]>,
    /// In the order they are to have; keys may repeat.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the epoch; `None` is now.
    pub timestamp: Option<i64>,
    /// The partition, whatever the key.
    pub partition: Option<i32>,
}

/// Sends records to one topic. Clones, and other producers of the same topic, share their batches.
#[derive(Debug, Clone)]
pub struct TopicProducer {
    topic: Arc<SharedTopic>,
    partitioner: Partitioner,
}

impl TopicProducer {
    pub(super) fn new(topic: Arc<SharedTopic>, partitioner: Partitioner) -> TopicProducer {
        TopicProducer { topic, partitioner }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.topic.name()
    }

    /// Partitions of the topic, as last seen; follows when the topic grows.
    pub fn partition_count(&self) -> i32 {
        self.topic.partition_count()
    }

    /// The partition a record with this key goes to.
    pub fn partition_for(&self, key: &[u8]) -> i32 {
        self.partitioner.partition(key, self.partition_count())
    }

    /// Appends the record to its partition's batch and returns at once. The receipt resolves when the record is
    /// acknowledged by all in-sync replicas, or has failed.
    ///
    /// Records sent one after the other by one task to one partition are written in that order.
    ///
    /// # Errors
    /// `BufferFull` (wait with [`TopicProducer::wait_for_room`]), `RecordTooLarge`, `UnknownPartition`, `Closed`. Nothing was
    /// sent then.
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<Receipt, ProduceError> {
        let commons = &self.topic.door().commons;
        if !commons.budget.has_room() {
            return Err(self.buffer_full());
        }
        let bound = BatchBuilder::size_upper_bound(record.key, record.value, record.headers);
        if HEADER_LEN + bound > commons.config.max_request_bytes {
            return Err(too_large(bound, commons.config.max_request_bytes).at(&self.at(record.partition.unwrap_or(-1))));
        }
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => self.partition_for(key),
            (None, None) => self.topic.keyless_partition(bound),
        };
        let timestamp = record.timestamp.unwrap_or_else(|| self.topic.door().client.wall_ms());
        self.topic
            .with_partition(partition, |shared| shared.append(&record, timestamp, bound))
            .unwrap_or_else(|| Err(self.unknown_partition(partition)))
    }

    /// Waits until [`TopicProducer::send`] has room, or the producer is closed.
    pub async fn wait_for_room(&self) {
        self.topic.door().commons.budget.wait_for_room().await;
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(Arc::clone(self.topic.name()), partition)
    }

    fn buffer_full(&self) -> ProduceError {
        let commons = &self.topic.door().commons;
        let text = format!(
            "{} of {} bytes are unacknowledged; wait for room, or raise buffer_bytes",
            commons.budget.used(),
            commons.config.buffer_limit()
        );
        ProduceError::new(ProduceErrorKind::BufferFull, text)
    }

    fn unknown_partition(&self, partition: i32) -> ProduceError {
        let text = format!("the topic has {} partitions", self.partition_count());
        ProduceError::new(ProduceErrorKind::UnknownPartition, text).at(&self.at(partition))
    }
}

/// A record of up to `bound` bytes does not fit into a request.
pub(super) fn too_large(bound: usize, limit: usize) -> ProduceError {
    let text = format!("a record of up to {bound} bytes exceeds max_request_bytes ({limit})");
    ProduceError::new(ProduceErrorKind::RecordTooLarge, text)
}
