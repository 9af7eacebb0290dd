//! A partition's table: its store, the overlay above it, and the rules by which rows travel from one to the other.
//!
//! ```text
//!   stage ─> overlay ──seal──> sealed rows ──changelog acknowledged up to their end──> flush job ─> store
//!            (read here first)                 (checkpoint = that end)                 rows + checkpoint, one transaction
//! ```
//!
//! Two kinds of owner use it. A running task stages what its callbacks write; a sealed generation then waits for the changelog's
//! acknowledgement of the batch it ends with. A follower (recovery, views) stages what it read from the changelog, which is
//! acknowledged by nature. Either way the store is at all times equal to the fold of the changelog up to its checkpoint (I1),
//! and offsets never wait for it.
//!
//! A pure value: the owner moves bytes and time, and runs [`FlushJob`]s wherever blocking is allowed.

mod error;
mod follower;
mod open;
mod overlay;
mod packed;
mod recovery;
mod scan;
mod sealed;
mod trust;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_wire::rpc::short;
use kafka_wire::{TopicId, TopicPartition};

pub use self::error::TableError;
pub(crate) use self::follower::{Follower, TableAccess, flush_done, spawn_flush};
pub(crate) use self::open::{OpenTable, OpenedTable, attach, blocking, leader_epoch, now, open_table};
pub(crate) use self::overlay::Lookup;
use self::overlay::Overlay;
pub(crate) use self::recovery::Recovery;
pub use self::recovery::RecoveryProgress;
pub(crate) use self::scan::{merged_scan, overlay_rows};
use self::sealed::SealedRows;
use crate::storage::{Checkpoint, Durability, PartitionStore, StoreError};

/// Budgets of one partition's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableLimits {
    /// Bytes the overlay may hold before clean rows are evicted.
    pub(crate) cache_bytes: usize,
    /// Bytes written that start a flush.
    pub(crate) flush_bytes: usize,
    /// Age of the oldest unflushed write that starts a flush; also how often a flush is made durable.
    pub(crate) flush_interval: Duration,
}

/// See the module's text.
pub(crate) struct Table {
    topic_partition: TopicPartition,
    store: Arc<dyn PartitionStore>,
    overlay: Overlay,
    limits: TableLimits,
    /// Identity of the changelog, written into each checkpoint.
    topic_id: TopicId,
    leader_epoch: i32,
    /// Everything before this changelog offset is acknowledged and staged.
    acknowledged_end: i64,
    /// Changelog batches of ours that are acknowledged.
    acknowledged_batches: u64,
    flush: Flush,
    oldest_write: Option<Instant>,
    /// When the first row was written that the changelog did not get at once.
    unlogged_since: Option<Instant>,
    last_durable: Option<Instant>,
}

/// Where the one sealed generation is.
enum Flush {
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
    /// A table whose store holds the changelog up to `position`.
    pub(crate) fn new(
        topic_partition: TopicPartition,
        store: Arc<dyn PartitionStore>,
        limits: TableLimits,
        topic_id: TopicId,
        position: i64,
    ) -> Table {
        Table {
            topic_partition,
            store,
            overlay: Overlay::new(),
            limits,
            topic_id,
            leader_epoch: -1,
            acknowledged_end: position,
            acknowledged_batches: 0,
            flush: Flush::Idle,
            oldest_write: None,
            unlogged_since: None,
            last_durable: None,
        }
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub(crate) fn store(&self) -> &Arc<dyn PartitionStore> {
        &self.store
    }

    /// What the overlay knows of `key`; on a miss the store decides.
    pub(crate) fn lookup(&self, key: &[u8]) -> Lookup<'_> {
        self.overlay.get(key)
    }

    /// Reads the row of `key` into `into`; tells whether there is one. A row that came from the store stays cached.
    pub(crate) fn read(&mut self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        match self.overlay.get(key) {
            Lookup::Value(value) => {
                into.clear();
                short::append(into, value);
                Ok(true)
            }
            Lookup::Deleted => Ok(false),
            Lookup::Miss => {
                let found = self.store.get(key, into)?;
                if found {
                    self.overlay.cache(key, into);
                }
                Ok(found)
            }
        }
    }

    /// Writes a row, `None` deletes it. The next read sees it; the store gets it later.
    pub(crate) fn stage(&mut self, now: Instant, key: &[u8], value: Option<&[u8]>) {
        self.oldest_write.get_or_insert(now);
        self.overlay.stage(key, value);
    }

    /// Writes a row that the changelog gets with [`log`](Table::log), which must come before the next [`seal`](Table::seal).
    pub(crate) fn stage_unlogged(&mut self, now: Instant, key: &[u8], value: Option<&[u8]>) {
        self.oldest_write.get_or_insert(now);
        self.unlogged_since.get_or_insert(now);
        self.overlay.stage_unlogged(key, value);
    }

    /// Since when the changelog lacks rows; `None` if it has all.
    pub(crate) fn unlogged_since(&self) -> Option<Instant> {
        self.unlogged_since
    }

    /// Gives the rows that the changelog lacks to `append`, each with its last value.
    ///
    /// # Errors
    /// What `append` said.
    pub(crate) fn log<E>(&mut self, append: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        self.overlay.log(append)?;
        self.unlogged_since = None;
        Ok(())
    }

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

    /// Feeds the position of a follower: every record below it is staged.
    pub(crate) fn handle_position(&mut self, position: i64, leader_epoch: i32) {
        self.acknowledged_end = self.acknowledged_end.max(position);
        self.leader_epoch = self.leader_epoch.max(leader_epoch);
    }

    /// A task begins to write: acknowledgements tell no leader epoch, so each flush asks for it.
    pub(crate) fn forget_leader_epoch(&mut self) {
        self.leader_epoch = -1;
    }

    /// The changelog offset up to which everything is staged and acknowledged.
    pub(crate) fn position(&self) -> i64 {
        self.acknowledged_end
    }

    /// Whether the written rows should now be sealed.
    pub(crate) fn flush_due(&self, now: Instant) -> bool {
        matches!(self.flush, Flush::Idle)
            && self.overlay.is_dirty()
            && (self.wants_flush() || self.flush_at().is_some_and(|due| due <= now))
    }

    /// When [`flush_due`](Table::flush_due) should be asked again for reasons of age.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        match self.flush {
            Flush::Idle => self.oldest_write.map(|at| at + self.limits.flush_interval),
            _ => None,
        }
    }

    /// Whether so much is written that a flush is due, now or after the one under way.
    pub(crate) fn wants_flush(&self) -> bool {
        self.overlay.dirty_bytes() >= self.limits.flush_bytes
    }

    /// Whether a write must wait for the flush under way: two generations are all that is held.
    pub(crate) fn is_full(&self) -> bool {
        !matches!(self.flush, Flush::Idle) && self.wants_flush()
    }

    /// Seals what was written. `submitted_batches` is the number of changelog batches that hold these writes (a follower, whose
    /// rows come from the changelog itself, passes [`Table::acknowledged_batches`]).
    pub(crate) fn seal(&mut self, submitted_batches: u64) {
        if !matches!(self.flush, Flush::Idle) {
            return;
        }
        self.oldest_write = None;
        if let Some(rows) = self.overlay.seal() {
            let checkpoint = (submitted_batches == self.acknowledged_batches).then_some(self.acknowledged_end);
            self.flush = Flush::Sealed {
                rows,
                batches: submitted_batches,
                checkpoint,
            };
        }
    }

    pub(crate) fn acknowledged_batches(&self) -> u64 {
        self.acknowledged_batches
    }

    /// The sealed rows as work for a thread that may block, once the changelog has them all. `wall_ms` is stamped into the
    /// checkpoint; `last` makes it durable whatever its turn.
    pub(crate) fn take_job(&mut self, now: Instant, wall_ms: i64, last: bool) -> Option<FlushJob> {
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
        let due = self
            .last_durable
            .is_none_or(|at| now.duration_since(at) >= self.limits.flush_interval);
        let durability = if due || last {
            Durability::Immediate
        } else {
            Durability::Deferred
        };
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
    /// What the store said; the table must not be used any more.
    pub(crate) fn finish_job(&mut self, done: FlushDone) -> Result<(), StoreError> {
        self.flush = Flush::Idle;
        done.result?;
        self.overlay.applied(done.generation);
        self.trim();
        Ok(())
    }

    /// Whether nothing is on its way into the store.
    pub(crate) fn is_flushed(&self) -> bool {
        matches!(self.flush, Flush::Idle) && !self.overlay.is_dirty()
    }

    /// Whether a sealed generation is waiting or being applied.
    pub(crate) fn is_flushing(&self) -> bool {
        !matches!(self.flush, Flush::Idle)
    }

    /// A checkpoint for the present position, good only while [`is_flushed`](Table::is_flushed).
    pub(crate) fn checkpoint(&self, wall_ms: i64) -> Checkpoint {
        self.checkpoint_at(self.acknowledged_end, wall_ms)
    }

    /// Evicts clean rows when over budget; cheap when there is nothing to do.
    pub(crate) fn trim(&mut self) {
        let sealed = match &self.flush {
            Flush::Sealed { rows, .. } => rows.bytes(),
            Flush::Applying { bytes } => *bytes,
            Flush::Idle => 0,
        };
        let clean = self.overlay.bytes().saturating_sub(self.overlay.dirty_bytes() + sealed);
        if self.overlay.bytes() > self.limits.cache_bytes && clean > self.limits.cache_bytes / 8 {
            self.overlay
                .evict(self.limits.cache_bytes - self.limits.cache_bytes / 8);
        }
    }

    /// A task that recovered anew goes on writing: so many of its changelog batches are behind it.
    pub(crate) fn set_acknowledged_batches(&mut self, batches: u64) {
        self.acknowledged_batches = batches;
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
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

/// Sealed rows and the checkpoint they end at; [`run`](FlushJob::run) blocks.
pub(crate) struct FlushJob {
    topic_partition: TopicPartition,
    store: Arc<dyn PartitionStore>,
    rows: SealedRows,
    checkpoint: Checkpoint,
    durability: Durability,
}

/// How a [`FlushJob`] ended.
#[derive(Debug)]
pub(crate) struct FlushDone {
    generation: u64,
    result: Result<(), StoreError>,
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
        let rows = self.rows.sorted();
        if self.store.is_empty()? {
            // Nothing to delete in an empty store: tombstones need not be written.
            let mut rows = rows.iter().filter_map(|row| Some((row.key, row.value?)));
            self.store.load_sorted(&mut rows, self.checkpoint)?;
            if self.durability == Durability::Immediate {
                self.store.sync()?;
            }
            return Ok(());
        }
        self.store.apply(&rows, self.checkpoint, self.durability)
    }
}

#[cfg(test)]
mod tests;
