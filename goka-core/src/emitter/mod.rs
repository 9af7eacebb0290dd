//! Emitters: write a topic from outside a processor.
//!
//! Records are encoded by the topic's codec, go to the partition that goka's rule gives for their key, and leave in batches. The
//! [`Receipt`] of a record resolves when all in-sync replicas have it. Whoever drops receipts loses nothing:
//! [`Emitter::finish`] reports every failure, its receipt dropped or not.

mod failures;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_wire::protocol::batch::Header;
use kafka_wire::{
    ConfigError, Partitioner, ProduceError, ProduceErrorKind, Producer, ProducerConfig, ProducerRecord, Receipt,
    RecordPosition, TopicProducer,
};

use self::failures::Unanswered;
pub use self::failures::{EmitFailure, EmitFailures};
use crate::codec::{Codec, CodecError};
use crate::into_client::IntoClient;

/// Settings of an emitter.
#[derive(Debug, Clone)]
pub struct EmitterConfig {
    /// Which partition a key belongs to. Default [`Partitioner::Fnv1a`], goka's; [`Partitioner::Murmur2`] is the Java client's.
    pub partitioner: Partitioner,
    /// Linger, batch size, buffer, compression and time-outs.
    pub producer: ProducerConfig,
}

impl Default for EmitterConfig {
    fn default() -> EmitterConfig {
        EmitterConfig {
            partitioner: Partitioner::Fnv1a,
            producer: ProducerConfig::default(),
        }
    }
}

/// Writes one topic. Shared by reference; all methods take `&self`.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use goka_core::{ClientConfig, Emitter, Utf8};
///
/// let emitter = Emitter::new(ClientConfig::new(["localhost:9092"]), "user-click", Utf8).await?;
/// drop(emitter.emit("bob", "login")?); // goes with the next batch
/// let position = emitter.emit_sync("eve", "login").await?; // is on all in-sync replicas
/// println!("partition {}, offset {}", position.partition, position.offset);
/// emitter.finish().await?; // everything is written, or the error says what is not
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Emitter<C: Codec> {
    codec: C,
    producer: Producer,
    topic: TopicProducer,
    unanswered: Mutex<Unanswered>,
}

impl<C: Codec> Emitter<C> {
    /// An emitter to `topic`, with default settings. It has a producer of its own.
    ///
    /// # Errors
    /// The client's configuration is wrong, the topic does not exist, or no broker answers.
    pub async fn new(kafka: impl IntoClient, topic: &str, codec: C) -> Result<Emitter<C>, EmitError> {
        Emitter::with_config(kafka, topic, codec, EmitterConfig::default()).await
    }

    /// As [`new`](Emitter::new), with settings.
    ///
    /// # Errors
    /// As [`new`](Emitter::new).
    pub async fn with_config(
        kafka: impl IntoClient,
        topic: &str,
        codec: C,
        config: EmitterConfig,
    ) -> Result<Emitter<C>, EmitError> {
        let producer = Producer::new(kafka.into_client()?, config.producer)?;
        let topic = producer.topic(topic, config.partitioner).await?;
        Ok(Emitter {
            codec,
            producer,
            topic,
            unanswered: Mutex::default(),
        })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.topic.topic()
    }

    /// Appends a record to its partition's batch and returns at once. Records of one key that one task emits are written in
    /// that order.
    ///
    /// # Errors
    /// The value cannot be encoded; the record is too large; more than the producer's `buffer_bytes` are unacknowledged
    /// ([`EmitError::is_full`]: wait with [`ready`](Emitter::ready)). Nothing was written then.
    pub fn emit(&self, key: impl AsRef<[u8]>, value: &C::Borrowed) -> Result<Receipt, EmitError> {
        self.emit_with_headers(key, value, &[])
    }

    /// As [`emit`](Emitter::emit), with headers; they keep their order, and keys may repeat.
    ///
    /// # Errors
    /// As [`emit`](Emitter::emit).
    pub fn emit_with_headers(
        &self,
        key: impl AsRef<[u8]>,
        value: &C::Borrowed,
        headers: &[Header<'_>],
    ) -> Result<Receipt, EmitError> {
        let mut bytes = Vec::new();
        self.codec.encode(value, &mut bytes).map_err(EmitError::Codec)?;
        self.send(key.as_ref(), Some(&bytes), headers)
    }

    /// Appends a tombstone: a record without a value, which deletes the key's row in tables.
    ///
    /// # Errors
    /// As [`emit`](Emitter::emit).
    pub fn tombstone(&self, key: impl AsRef<[u8]>) -> Result<Receipt, EmitError> {
        self.send(key.as_ref(), None, &[])
    }

    /// Emits and waits until all in-sync replicas have the record. Waits for room first if there is none.
    ///
    /// # Errors
    /// As [`emit`](Emitter::emit), or the record was not, or perhaps not, written.
    pub async fn emit_sync(&self, key: impl AsRef<[u8]>, value: &C::Borrowed) -> Result<RecordPosition, EmitError> {
        self.ready().await;
        Ok(self.emit(key, value)?.await?)
    }

    /// Waits until [`emit`](Emitter::emit) has room.
    pub async fn ready(&self) {
        self.topic.wait_for_room().await;
    }

    /// Sends what is batched, waits for all answers and ends the producer.
    ///
    /// # Errors
    /// Every record that failed since the emitter was made counts, whether its receipt was awaited, kept or dropped.
    pub async fn finish(self) -> Result<(), EmitFailures> {
        // Its error is the first of those collected below.
        let _first = self.producer.close().await;
        let unanswered = self.unanswered.into_inner().unwrap_or_else(PoisonError::into_inner);
        unanswered.finish(self.topic.topic())
    }

    fn send(&self, key: &[u8], value: Option<&[u8]>, headers: &[Header<'_>]) -> Result<Receipt, EmitError> {
        let record = ProducerRecord {
            key: Some(key),
            value,
            headers,
            timestamp: None,
            partition: None,
        };
        let receipt = self.topic.send(record)?;
        self.unanswered().push(key, receipt.clone());
        Ok(receipt)
    }

    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record was not emitted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The value cannot be encoded.
    #[error("{0}")]
    Codec(CodecError),
    /// The producer refused the record, or could not write it.
    #[error("{0}")]
    Produce(Arc<ProduceError>),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigError),
}

impl EmitError {
    /// Whether there was no room; the record may be emitted again after [`Emitter::ready`].
    pub fn is_full(&self) -> bool {
        matches!(self, EmitError::Produce(error) if error.kind == ProduceErrorKind::BufferFull)
    }
}

impl From<ProduceError> for EmitError {
    fn from(error: ProduceError) -> EmitError {
        EmitError::Produce(Arc::new(error))
    }
}

impl From<ConfigError> for EmitError {
    fn from(error: ConfigError) -> EmitError {
        EmitError::Config(error)
    }
}
