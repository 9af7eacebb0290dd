//! The way of rows into the store: what was written is sealed, waits until the changelog has it, and becomes a [`FlushJob`].
//!
//! ```text
//!   Idle ──seal──> Sealed ──handle_ack: its last batch──> Sealed at a checkpoint ──take_job──> Applying ──finish_job──> Idle
//!                                                                                                  └──it failed──> Failed
//! ```
//!
//! One generation at a time. Who follows has no batches of its own: its rows have their checkpoint when they are sealed.

use std::time::Instant;

use super::sealed::SealedRows;
use super::{FlushDone, FlushJob, Table};
use crate::storage::{Checkpoint, Durability, StoreError};

/// Where the one sealed generation is.
pub(super) enum Flush {
    Idle,
    /// Waits until batch number `batches - 1` of the changelog is acknowledged.
    Sealed {
        rows: SealedRows,
        batches: u64,
        checkpoint: Option<i64>,
    },
    Applying {
        bytes: usize,
    },
    /// It did not get into the store. Nothing may any more: a later generation would take the checkpoint past its rows.
    Failed,
}

/// Somebody else wrote to the changelog between two of our records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForeignWrite {
    /// The offset at which our next record should have landed.
    pub(crate) expected: i64,
    /// The offset it was given; `None` if the broker did not say.
    pub(crate) found: Option<i64>,
}

impl Table {
    /// Feeds the acknowledgement of changelog batch number `batch` (from 0, in order).
    ///
    /// # Errors
    /// Our records do not follow each other: see [`ForeignWrite`]. What is here is no prefix of the changelog any more; the caller
    /// must drop it, once nothing of ours is outstanding, and recover from the store's checkpoint.
    pub(crate) fn handle_ack(
        &mut self,
        batch: u64,
        base_offset: Option<i64>,
        records: u32,
    ) -> Result<(), ForeignWrite> {
        let expected = self.acknowledged_end;
        self.acknowledged_batches = batch + 1;
        self.acknowledged_end = base_offset.unwrap_or(expected) + i64::from(records);
        if base_offset != Some(expected) {
            return Err(ForeignWrite {
                expected,
                found: base_offset,
            });
        }
        if let Flush::Sealed {
            batches, checkpoint, ..
        } = &mut self.flush
            && *batches == self.acknowledged_batches
        {
            *checkpoint = Some(self.acknowledged_end);
        }
        Ok(())
    }

    /// Whether the written rows should now be sealed.
    pub(crate) fn flush_due(&self, now: Instant) -> bool {
        let full = self.is_at_limit() && !self.wants_room();
        matches!(self.flush, Flush::Idle)
            && self.has_written()
            && (full || self.flush_at().is_some_and(|due| due <= now))
    }

    /// When [`flush_due`](Table::flush_due) should be asked again for reasons of age.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        match self.flush {
            // Its turn comes: others give theirs back when they are as old.
            Flush::Idle if self.wants_room() => None,
            Flush::Idle => self.oldest_write.map(|at| at + self.limits.flush_interval),
            _ => None,
        }
    }

    /// Seals what was written. `submitted_batches` is the number of changelog batches that hold these writes (a follower, whose
    /// rows come from the changelog itself, passes [`Table::acknowledged_batches`]).
    pub(crate) fn seal(&mut self, submitted_batches: u64) {
        if !matches!(self.flush, Flush::Idle) {
            return;
        }
        self.oldest_write = None;
        let rows = match &mut self.gathered {
            None => self.overlay.seal(),
            Some(gathered) => (!gathered.is_empty()).then(|| gathered.take()),
        };
        if let Some(rows) = rows {
            let checkpoint = (submitted_batches == self.acknowledged_batches).then_some(self.acknowledged_end);
            self.flush = Flush::Sealed {
                rows,
                batches: submitted_batches,
                checkpoint,
            };
        }
    }

    /// The sealed rows as work for a thread that may block, once the changelog has them all. `wall_ms` is stamped into the
    /// checkpoint. Without a `durability` every flush interval's first job is durable.
    pub(crate) fn take_job(&mut self, now: Instant, wall_ms: i64, durability: Option<Durability>) -> Option<FlushJob> {
        let (rows, offset) = match std::mem::replace(&mut self.flush, Flush::Idle) {
            Flush::Sealed {
                rows,
                checkpoint: Some(offset),
                ..
            } => (rows, offset),
            other => {
                self.flush = other;
                return None;
            }
        };
        let is_due = self
            .last_durable
            .is_none_or(|at| now.duration_since(at) >= self.limits.flush_interval);
        let durability = durability.unwrap_or(match is_due {
            true => Durability::Immediate,
            false => Durability::Deferred,
        });
        if durability == Durability::Immediate {
            self.last_durable = Some(now);
        }
        self.flush = Flush::Applying { bytes: rows.bytes() };
        Some(FlushJob {
            topic_partition: self.topic_partition.clone(),
            store: self.store.clone(),
            rows,
            checkpoint: self.checkpoint_at(offset, wall_ms),
            durability,
        })
    }

    /// Feeds the end of the job under way.
    ///
    /// # Errors
    /// What the store said; the table writes nothing to it any more.
    pub(crate) fn finish_job(&mut self, done: FlushDone) -> Result<(), StoreError> {
        (self.flush, self.lent) = (Flush::Failed, None);
        done.result?;
        self.flush = Flush::Idle;
        self.overlay.applied(done.generation);
        self.trim();
        Ok(())
    }

    /// Whether nothing is on its way into the store.
    pub(crate) fn is_flushed(&self) -> bool {
        matches!(self.flush, Flush::Idle) && !self.has_written()
    }

    /// Whether a sealed generation is waiting or being applied.
    pub(crate) fn is_flushing(&self) -> bool {
        !matches!(self.flush, Flush::Idle)
    }

    /// A checkpoint for the present position, good only while [`is_flushed`](Table::is_flushed).
    pub(crate) fn checkpoint(&self, wall_ms: i64) -> Checkpoint {
        self.checkpoint_at(self.acknowledged_end, wall_ms)
    }

    fn checkpoint_at(&self, offset: i64, wall_ms: i64) -> Checkpoint {
        Checkpoint {
            offset,
            leader_epoch: self.leader_epoch,
            topic_id: self.topic_id,
            written_at: wall_ms,
        }
    }
}
