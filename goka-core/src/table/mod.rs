//! A partition's table: its store, the overlay above it, and the rules by which rows travel from one to the other.
//!
//! ```text
//!   stage ─> overlay ──seal──> sealed rows ──changelog acknowledged up to their end──> flush job ─> store
//!            (read here first)                 (checkpoint = that end)                 rows + checkpoint, one transaction
//! ```
//!
//! Two kinds of owner use it. A running task stages what its callbacks write; a sealed generation then waits for the changelog's
//! acknowledgement of the batch it ends with. A follower (recovery, views) stages what it read from the changelog, which is
//! acknowledged by nature. While a table is recovered, when nobody reads it, its rows are not in the overlay but [`Gathered`],
//! which takes half the memory, and may be lent memory for more of them than its part (see `room`). Either way the store is at all
//! times equal to the fold of the changelog up to its checkpoint (I1), and offsets never wait for it.
//!
//! Here: what is written and read, and how much of it may be held. `flush` has its way into the store.
//!
//! A pure value: the owner moves bytes and time, and runs [`FlushJob`]s wherever blocking is allowed.

mod error;
mod flush;
mod flush_job;
mod follower;
mod gathered;
mod open;
mod overlay;
mod packed;
mod recovery;
mod room;
mod scan;
mod sealed;
mod trust;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_wire::rpc::short;
use kafka_wire::{TopicId, TopicPartition};

pub use self::error::TableError;
use self::flush::Flush;
pub(crate) use self::flush_job::{FlushDone, FlushJob};
pub(crate) use self::follower::{Follower, TableAccess, flush_done, spawn_flush};
use self::gathered::Gathered;
pub(crate) use self::open::{OpenTable, OpenedTable, attach, blocking, leader_epoch, now, open_table};
pub(crate) use self::overlay::Lookup;
use self::overlay::Overlay;
pub(crate) use self::recovery::Recovery;
pub use self::recovery::RecoveryProgress;
use self::room::Holding;
pub(crate) use self::room::Room;
pub(crate) use self::scan::{merged_scan, overlay_rows};
use crate::storage::{PartitionStore, StoreError};

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
    /// Rows that a recovery read and the store lacks; `None` once it is over.
    gathered: Option<Gathered>,
    /// Bytes that may be gathered beside the table's part; `None` if it was lent none.
    lent: Option<usize>,
    holding: Holding,
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

impl Table {
    /// A table whose store holds the changelog up to `position`; what it holds above that is counted in `room`.
    pub(crate) fn new(
        topic_partition: TopicPartition,
        store: Arc<dyn PartitionStore>,
        (limits, room): (TableLimits, Arc<Room>),
        topic_id: TopicId,
        position: i64,
    ) -> Table {
        Table {
            topic_partition,
            store,
            overlay: Overlay::new(),
            gathered: None,
            lent: None,
            holding: Holding::new(room),
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

    /// A recovery begins: until it is over, rows are only written and not read.
    pub(crate) fn begin_recovery(&mut self) {
        self.gathered.get_or_insert_default();
    }

    /// The recovery is at its target. Few rows go into the overlay, as if they had just been written; with many this gives false,
    /// and they must be flushed first.
    pub(crate) fn end_recovery(&mut self) -> bool {
        let is_flushing = self.is_flushing();
        let rows = match &mut self.gathered {
            Some(gathered) if is_flushing || gathered.bytes() >= self.limits.flush_bytes => return false,
            Some(gathered) => gathered.take(),
            None => return true,
        };
        (self.gathered, self.lent) = (None, None);
        for row in rows.iter() {
            self.overlay.stage(row.key, row.value);
        }
        self.trim();
        true
    }

    /// Whether the table's part is full while it recovers, and nothing was lent to it.
    pub(crate) fn wants_room(&self) -> bool {
        self.gathered.is_some() && self.lent.is_none() && self.is_at_limit()
    }

    /// It may gather so many bytes more, until the next flush ends; that is due when they are full, and by age from now on.
    pub(crate) fn lend(&mut self, now: Instant, bytes: usize) {
        self.lent = Some(bytes);
        self.oldest_write = self.oldest_write.map(|_| now);
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
        match &mut self.gathered {
            None => self.overlay.stage(key, value),
            Some(gathered) => gathered.put(key, value),
        }
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

    /// Whether so much is written that no more may be, until a flush begins or room is lent.
    pub(crate) fn is_at_limit(&self) -> bool {
        match &self.gathered {
            None => self.overlay.dirty_bytes() >= self.limits.flush_bytes,
            Some(gathered) => {
                let lent = self.lent.map_or(0, |lent| self.holding.left_of(lent));
                gathered.bytes() >= self.limits.flush_bytes.saturating_add(lent)
            }
        }
    }

    /// Whether a write must wait for the flush under way, or for room: two generations are all that is held, and one while the
    /// table recovers.
    pub(crate) fn is_full(&self) -> bool {
        match self.flush {
            Flush::Idle => self.wants_room(),
            _ => self.gathered.is_some() || self.is_at_limit(),
        }
    }

    fn has_written(&self) -> bool {
        match &self.gathered {
            None => self.overlay.is_dirty(),
            Some(gathered) => !gathered.is_empty(),
        }
    }

    pub(crate) fn acknowledged_batches(&self) -> u64 {
        self.acknowledged_batches
    }

    /// Evicts clean rows when over budget; cheap when there is nothing to do.
    pub(crate) fn trim(&mut self) {
        let sealed = self.sealed_bytes();
        let clean = self.overlay.bytes().saturating_sub(self.overlay.dirty_bytes() + sealed);
        if self.overlay.bytes() > self.limits.cache_bytes && clean > self.limits.cache_bytes / 8 {
            self.overlay
                .evict(self.limits.cache_bytes - self.limits.cache_bytes / 8);
        }
        self.holding.resize(self.overlay.bytes());
    }

    /// A task that recovered anew goes on writing: so many of its changelog batches are behind it.
    pub(crate) fn set_acknowledged_batches(&mut self, batches: u64) {
        self.acknowledged_batches = batches;
    }

    /// Bytes of rows above the store.
    pub(crate) fn bytes_above(&self) -> usize {
        match &self.gathered {
            None => self.overlay.bytes(),
            Some(gathered) => self.overlay.bytes() + gathered.bytes() + self.sealed_bytes(),
        }
    }

    /// Bytes on their way into the store; while the table recovers they are nowhere else.
    fn sealed_bytes(&self) -> usize {
        match &self.flush {
            Flush::Sealed { rows, .. } => rows.bytes(),
            Flush::Applying { bytes } => *bytes,
            Flush::Idle | Flush::Failed => 0,
        }
    }

    pub(crate) fn overlay(&self) -> &Overlay {
        &self.overlay
    }
}

#[cfg(test)]
mod tests;
