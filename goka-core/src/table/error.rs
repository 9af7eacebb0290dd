//! What can go wrong with a table.

use std::sync::Arc;

use kafka_wire::admin::AdminError;
use kafka_wire::{FetchError, FetchErrorKind, TopicPartition};

use crate::storage::StoreError;

/// A table cannot be opened, recovered, followed or flushed. Names the changelog partition.
#[derive(Debug, Clone, thiserror::Error)]
#[error("table {topic_partition}: {problem}")]
pub struct TableError {
    topic_partition: TopicPartition,
    problem: Arc<Problem>,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Store(StoreError),
    #[error("{0}")]
    Fetch(FetchError),
    #[error("its offsets cannot be learnt: {0}")]
    Broker(AdminError),
    #[error("the broker did not answer for this partition; does the topic exist with this many partitions?")]
    NoOffsets,
}

impl TableError {
    /// The changelog partition of the table.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Whether the changelog is no longer what it was, so that the store must be judged against it anew.
    pub(crate) fn asks_for_judgement(&self) -> bool {
        let Problem::Fetch(error) = &*self.problem else {
            return false;
        };
        matches!(
            error.kind,
            FetchErrorKind::OffsetOutOfRange { .. }
                | FetchErrorKind::Truncated { .. }
                | FetchErrorKind::TopicRecreated { .. }
        )
    }

    pub(crate) fn store(topic_partition: &TopicPartition, error: StoreError) -> TableError {
        TableError {
            topic_partition: topic_partition.clone(),
            problem: Arc::new(Problem::Store(error)),
        }
    }

    pub(crate) fn fetch(topic_partition: &TopicPartition, error: FetchError) -> TableError {
        TableError {
            topic_partition: topic_partition.clone(),
            problem: Arc::new(Problem::Fetch(error)),
        }
    }

    pub(crate) fn broker(topic_partition: &TopicPartition, error: AdminError) -> TableError {
        TableError {
            topic_partition: topic_partition.clone(),
            problem: Arc::new(Problem::Broker(error)),
        }
    }

    pub(crate) fn no_offsets(topic_partition: &TopicPartition) -> TableError {
        TableError {
            topic_partition: topic_partition.clone(),
            problem: Arc::new(Problem::NoOffsets),
        }
    }
}
