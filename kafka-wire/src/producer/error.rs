//! What a failed send says: which partition, which broker, why, and whether the records may be in the log.
//!
//! The last part is what a caller decides on. A retry after [`Persistence::NotPersisted`] cannot duplicate; after
//! [`Persistence::PossiblyPersisted`] it can, and only reading the partition tells.

use std::fmt;
use std::sync::Arc;

use crate::protocol::{ErrorCode, TopicPartition};

/// Whether the records of a failed send may be in the partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// The records are not in the log and no request that could still write them is on its way.
    NotPersisted,
    /// A request with the records left this process and no definite answer came back: they may be in the log, once.
    PossiblyPersisted,
}

/// Why a send failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProduceErrorKind {
    /// The producer was closed, or its task ended with the runtime.
    Closed,
    /// The buffer holds `buffer_bytes` unacknowledged bytes; wait with `wait_for_room` and send again.
    BufferFull,
    /// The record, or what is left of its batch after splitting, exceeds what the producer or the broker accepts.
    RecordTooLarge,
    /// The topic does not exist, or ceased to exist.
    UnknownTopic,
    /// The topic has no partition of that number.
    UnknownPartition,
    /// No broker could be asked (metadata, producer id) before the operation's deadline.
    Unavailable,
    /// The broker refused the records for good; `code` says why.
    Rejected,
    /// `delivery_timeout` passed before a definite answer.
    DeliveryTimeout,
    /// An earlier batch of the same [`PartitionWriter`](crate::producer::PartitionWriter) failed, so this one was not
    /// written: its place in the order is lost.
    EarlierBatchFailed,
    /// The [`PartitionWriter`](crate::producer::PartitionWriter) was abandoned: its partition belongs to someone else.
    Abandoned,
    /// The broker no longer knows the sequence of this partition, and an unanswered attempt may have been written.
    SequenceLost,
}

/// A send that failed, with everything an operator needs to find out why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProduceError {
    /// Where the records were to go; `None` when the failure concerns the whole producer.
    pub topic_partition: Option<TopicPartition>,
    /// The broker that answered, or was last tried.
    pub broker: Option<i32>,
    /// The broker's error code, when it gave one.
    pub code: Option<ErrorCode>,
    /// Whether the records may be in the log.
    pub persistence: Persistence,
    /// Why the send failed.
    pub kind: ProduceErrorKind,
    /// The details: the broker's words, sizes, what to do.
    pub text: Arc<str>,
}

impl ProduceError {
    /// A failure before anything was sent.
    pub(super) fn new(kind: ProduceErrorKind, text: impl Into<Arc<str>>) -> ProduceError {
        ProduceError {
            topic_partition: None,
            broker: None,
            code: None,
            persistence: Persistence::NotPersisted,
            kind,
            text: text.into(),
        }
    }

    pub(super) fn at(mut self, topic_partition: &TopicPartition) -> ProduceError {
        self.topic_partition = Some(topic_partition.clone());
        self
    }

    /// `broker` is the one that answered or was last tried; `code` is what it said.
    pub(super) fn said_by(mut self, broker: Option<i32>, code: Option<ErrorCode>) -> ProduceError {
        self.broker = broker;
        self.code = code;
        self
    }

    pub(super) fn with_persistence(mut self, possibly_written: bool) -> ProduceError {
        self.persistence = if possibly_written {
            Persistence::PossiblyPersisted
        } else {
            Persistence::NotPersisted
        };
        self
    }

    pub(super) fn abandoned() -> ProduceError {
        ProduceError::new(ProduceErrorKind::Abandoned, "the writer was abandoned")
    }

    pub(super) fn closed() -> ProduceError {
        ProduceError::new(ProduceErrorKind::Closed, "the producer is closed")
    }
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("produce")?;
        if let Some(topic_partition) = &self.topic_partition {
            write!(f, " to {topic_partition}")?;
        }
        if let Some(broker) = self.broker {
            write!(f, " at broker {broker}")?;
        }
        f.write_str(" failed: ")?;
        if let Some(code) = self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.text)?;
        f.write_str(match self.persistence {
            Persistence::NotPersisted => " (not persisted)",
            Persistence::PossiblyPersisted => " (possibly persisted)",
        })
    }
}

impl std::error::Error for ProduceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_partition_broker_code_and_persistence() {
        let error = ProduceError::new(ProduceErrorKind::Rejected, "record 3 has no key")
            .at(&TopicPartition::new("orders", 3))
            .said_by(Some(2), Some(ErrorCode::INVALID_RECORD))
            .with_persistence(true);
        let text = error.to_string();
        for part in [
            "orders-3",
            "broker 2",
            "INVALID_RECORD",
            "record 3 has no key",
            "possibly persisted",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
}
