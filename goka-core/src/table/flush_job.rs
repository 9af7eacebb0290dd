//! A flush: sealed rows on a thread that may block.

use std::sync::Arc;

use kafka_wire::TopicPartition;

use super::sealed::SealedRows;
use crate::storage::{Checkpoint, Durability, PartitionStore, StoreError};

/// Sealed rows and the checkpoint they end at; [`run`](FlushJob::run) blocks.
pub(crate) struct FlushJob {
    pub(super) topic_partition: TopicPartition,
    pub(super) store: Arc<dyn PartitionStore>,
    pub(super) rows: SealedRows,
    pub(super) checkpoint: Checkpoint,
    pub(super) durability: Durability,
}

/// How a [`FlushJob`] ended.
#[derive(Debug)]
pub(crate) struct FlushDone {
    pub(super) generation: u64,
    pub(super) result: Result<(), StoreError>,
}

impl FlushDone {
    /// The job ended without an answer: the store panicked.
    pub(crate) fn lost(why: &dyn std::fmt::Display) -> FlushDone {
        FlushDone {
            generation: 0,
            result: Err(StoreError::new("flush", why.to_string())),
        }
    }
}

impl FlushJob {
    /// The changelog partition whose leader epoch the checkpoint lacks; `None` if it has one.
    pub(crate) fn lacks_epoch(&self) -> Option<&TopicPartition> {
        (self.checkpoint.leader_epoch < 0).then_some(&self.topic_partition)
    }

    /// Notes the leader epoch, asked for after everything in here was acknowledged: the last record's, or a later one.
    pub(crate) fn set_epoch(&mut self, leader_epoch: i32) {
        self.checkpoint.leader_epoch = leader_epoch;
    }

    pub(crate) fn may_block(&self) -> bool {
        self.store.may_block()
    }

    /// Writes rows and checkpoint in one store transaction; in bulk when the store is still empty.
    pub(crate) fn run(self) -> FlushDone {
        let generation = self.rows.generation();
        FlushDone {
            generation,
            result: self.write(),
        }
    }

    fn write(&self) -> Result<(), StoreError> {
        if self.store.is_empty()? {
            // Nothing to delete in an empty store: tombstones need not be written.
            let mut rows = self.rows.sorted().filter_map(|row| Some((row.key, row.value?)));
            self.store.load_sorted(&mut rows, self.checkpoint)?;
            if self.durability == Durability::Immediate {
                self.store.sync()?;
            }
            return Ok(());
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        rows.extend(self.rows.sorted());
        self.store.apply(&rows, self.checkpoint, self.durability)
    }
}
