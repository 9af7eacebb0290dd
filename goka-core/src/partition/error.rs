//! Why a processor ended.

use std::fmt;
use std::sync::Arc;

use group_coordinator::{CommitError, MembershipError};
use kafka_wire::{CallError, ConfigError, FetchError, ProduceError, TopicPartition};

use crate::context::CallbackError;
use crate::table::TableError;
use crate::topics::TopicError;

/// A processor ended because of this. Nothing at or after the record it names has been committed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A callback returned an error, or its record could not be decoded.
    #[error("{at}: {error}")]
    Callback {
        /// The record.
        at: RecordPlace,
        /// What the callback, or the codec, said.
        error: Arc<CallbackError>,
    },
    /// A callback panicked.
    #[error("{at}: the callback panicked: {message}")]
    Panic {
        /// The record.
        at: RecordPlace,
        /// The panic's message.
        message: String,
    },
    /// A record that the callback wrote was refused.
    #[error("{at}: {error}")]
    Write {
        /// The input record whose callback wrote it.
        at: RecordPlace,
        /// What is wrong with it.
        error: Box<ProduceError>,
    },
    /// A write was not acknowledged.
    #[error("{0}")]
    Produce(Box<ProduceError>),
    /// An input cannot be read.
    #[error("{0}")]
    Input(Box<FetchError>),
    /// The group table fails.
    #[error("{0}")]
    Table(TableError),
    /// A topic is missing, or not as the group graph needs it.
    #[error("{0}")]
    Topic(Box<TopicError>),
    /// The group will not have us.
    #[error("{0}")]
    Membership(Box<MembershipError>),
    /// Committed offsets cannot be read or written.
    #[error("{0}")]
    Commit(Box<CommitError>),
    /// A broker does not answer as needed.
    #[error("{0}")]
    Broker(Box<CallError>),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigError),
    /// A partition's task ended without saying why.
    #[error("partition {partition}: its task ended unexpectedly: {message}")]
    Task {
        /// The partition.
        partition: i32,
        /// What is known.
        message: String,
    },
    /// The processor has already ended.
    #[error("the processor has ended")]
    Ended,
}

/// Which record an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// Topic and partition.
    pub topic_partition: TopicPartition,
    /// Offset.
    pub offset: i64,
    /// Key, cut to 64 bytes.
    pub key: Vec<u8>,
}

impl RecordPlace {
    pub(crate) fn new(topic_partition: &TopicPartition, offset: i64, key: &[u8]) -> RecordPlace {
        let key = key[..key.len().min(64)].to_vec();
        RecordPlace {
            topic_partition: topic_partition.clone(),
            offset,
            key,
        }
    }
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = &self.topic_partition;
        let (offset, key) = (self.offset, String::from_utf8_lossy(&self.key));
        write!(f, "topic {topic}, partition {partition}, offset {offset}, key {key:?}")
    }
}

impl From<ProduceError> for RunError {
    fn from(error: ProduceError) -> RunError {
        RunError::Produce(Box::new(error))
    }
}

impl From<FetchError> for RunError {
    fn from(error: FetchError) -> RunError {
        RunError::Input(Box::new(error))
    }
}

impl From<TableError> for RunError {
    fn from(error: TableError) -> RunError {
        RunError::Table(error)
    }
}

impl From<TopicError> for RunError {
    fn from(error: TopicError) -> RunError {
        RunError::Topic(Box::new(error))
    }
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> RunError {
        RunError::Config(error)
    }
}

impl From<CallError> for RunError {
    fn from(error: CallError) -> RunError {
        RunError::Broker(Box::new(error))
    }
}

impl From<CommitError> for RunError {
    fn from(error: CommitError) -> RunError {
        RunError::Commit(Box::new(error))
    }
}

impl From<MembershipError> for RunError {
    fn from(error: MembershipError) -> RunError {
        RunError::Membership(Box::new(error))
    }
}
