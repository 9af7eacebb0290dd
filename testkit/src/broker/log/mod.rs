//! The log of one partition: record batches as the producer sent them, with offsets and leader epoch stamped in.
//!
//! ```text
//!   log start          a batch: base offset .. last offset                      end = high watermark = last stable offset
//!      v               v                                                        v
//!   ---|--[ 3 .. 7 ]--[ 8 .. 8 ]--[ 12 .. 20 ]--[ 21 .. 25 ]--------------------|
//!                                 ^ compaction leaves gaps, and may leave a batch without records
//! ```
//!
//! Appends are validated as `UnifiedLog.append` and `LogValidator` do it. Not here: segments (so no partial retention),
//! transactions (a transactional batch is refused), message formats before v2.

mod append;
mod compaction;
mod epochs;
mod producers;
mod read;

use bytes::Bytes;
use kafka_wire::protocol::batch::BatchHeader;

pub(crate) use append::{AppendError, AppendInfo};
pub use compaction::Tombstones;
pub(crate) use epochs::LeaderEpochs;
pub(crate) use producers::{Producers, Sequence};
pub(crate) use read::Found;
pub use read::{RecordWriter, StoredRecord};

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
}

impl StoredBatch {
    fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    fn last_offset(&self) -> i64 {
        self.header.base_offset + i64::from(self.header.last_offset_delta)
    }

    /// The producer's numbers, if the producer was idempotent.
    fn sequence(&self) -> Option<Sequence> {
        let header = &self.header;
        (header.producer_id >= 0).then_some(Sequence {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first: header.base_sequence,
            delta: header.last_offset_delta,
        })
    }
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    batches: Vec<StoredBatch>,
    start: i64,
    end: i64,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
}

impl PartitionLog {
    /// An empty log whose first leader epoch is 0.
    pub(crate) fn new() -> Self {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(0, 0);
        Self {
            batches: Vec::new(),
            start: 0,
            end: 0,
            epochs,
            producers: Producers::default(),
        }
    }

    /// The first offset that may be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start
    }

    /// The offset the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end
    }

    /// A new leader writes from here on.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.assign(epoch, self.end);
    }

    /// Moves the log start forward; batches wholly before it are gone. The offset must not lie behind the end.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        if offset <= self.start || offset > self.end {
            return;
        }
        self.start = offset;
        self.batches.retain(|batch| batch.last_offset() >= offset);
        self.epochs.truncate_from_start(offset);
    }

    /// Drops every batch that reaches to the offset or beyond, as a follower that becomes leader never had them.
    pub(crate) fn truncate_to(&mut self, offset: i64) {
        if offset >= self.end {
            return;
        }
        self.batches.retain(|batch| batch.last_offset() < offset);
        self.end = self
            .batches
            .last()
            .map_or(offset.max(self.start), |batch| batch.last_offset() + 1)
            .min(offset);
        self.start = self.start.min(self.end);
        self.epochs.truncate_from_end(self.end);
        self.rebuild_producers();
    }

    /// Drops the last batches; how many there were to drop.
    pub(crate) fn lose_tail(&mut self, batches: usize) -> usize {
        let kept = self.batches.len().saturating_sub(batches);
        let lost = self.batches.len() - kept;
        if let Some(first_lost) = self.batches.get(kept) {
            self.truncate_to(first_lost.base_offset());
        }
        lost
    }

    fn push(&mut self, header: BatchHeader, bytes: Bytes) {
        let batch = StoredBatch { header, bytes };
        self.end = batch.last_offset() + 1;
        self.batches.push(batch);
    }

    fn rebuild_producers(&mut self) {
        self.producers = Producers::default();
        for batch in &self.batches {
            if let Some(sequence) = batch.sequence() {
                self.producers
                    .append(sequence, batch.base_offset(), batch.header.max_timestamp);
            }
        }
    }
}
