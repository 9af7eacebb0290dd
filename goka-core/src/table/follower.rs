//! The follower: reads a changelog into a table (invariant I4: recovery, views and every other read-only copy are this one loop,
//! with a different end).
//!
//! It decides nothing about trust (`open`) or about what recovered means (`recovery`); it moves batches from the fetcher into
//! the table, a lock or none around each, and runs the table's flushes on threads that may block.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kafka_wire::{
    Client, FetchedBatch, Fetcher, IsolationLevel, OffsetReset, PartitionFetch, RecordCursor, StartOffset,
};
use tokio::task::JoinHandle;

use super::TableError;
use super::open::{blocking, leader_epoch, now};
use super::recovery::REPORT_EVERY;
use super::room::Turn;
use super::{FlushDone, FlushJob, OpenTable, Recovery, RecoveryProgress, Room, Table};
use crate::storage::Durability;

/// When a follower with nothing to do looks again whether there is.
const IDLE: Duration = Duration::from_secs(3600);

/// A table that is owned, or shared with readers.
pub(crate) trait TableAccess {
    /// Runs `f` on the table, alone.
    fn with<R>(&mut self, f: impl FnOnce(&mut Table) -> R) -> R;
}

impl TableAccess for Table {
    fn with<R>(&mut self, f: impl FnOnce(&mut Table) -> R) -> R {
        f(self)
    }
}

impl TableAccess for Arc<RwLock<Table>> {
    fn with<R>(&mut self, f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut self.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A batch that is being read: what it says beside its records.
struct Reading {
    bytes: u64,
    leader_epoch: i32,
    /// Up to where the log is read once the batch is; -1 if that is not known.
    end: i64,
}

/// See the module's text.
pub(crate) struct Follower {
    client: Client,
    fetch: PartitionFetch,
    cursor: Option<RecordCursor>,
    /// The batch that the cursor is in, unless it is read to its end.
    reading: Option<Reading>,
    recovery: Recovery,
    room: Arc<Room>,
    /// The place in the queue for a turn.
    asked: Option<Pin<Box<dyn Future<Output = Turn> + Send + Sync>>>,
    /// Kept until the flush that it was for is done.
    turn: Option<Turn>,
    flush: Option<JoinHandle<FlushDone>>,
}

impl Follower {
    /// Follows the changelog of `table` from its position; it counts as recovered once it has passed `target`.
    pub(crate) fn new(how: &OpenTable, fetcher: &Fetcher, table: &mut Table, target: i64) -> Follower {
        let start = table.position();
        let from = StartOffset::Offset(start);
        if start < target {
            table.begin_recovery();
        }
        Follower {
            client: how.client.clone(),
            fetch: fetcher.fetch(table.topic_partition().clone(), from, OffsetReset::Error),
            cursor: None,
            reading: None,
            recovery: Recovery::new(now(), start, target),
            room: how.room.clone(),
            asked: None,
            turn: None,
            flush: None,
        }
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.recovery.is_recovered()
    }

    pub(crate) fn progress(&self) -> RecoveryProgress {
        self.recovery.progress(now())
    }

    /// Offsets the broker has and the table has not; `None` before the first answer.
    pub(crate) fn lag(&self, position: i64) -> Option<u64> {
        let high = self.fetch.watermarks().high;
        (high >= 0).then(|| (high - position).max(0) as u64)
    }

    /// One step: a batch read into the table, a flush started or ended, room lent. Cancel-safe.
    ///
    /// # Errors
    /// The changelog cannot be read or decoded, or the store fails.
    pub(crate) async fn step<A: TableAccess>(&mut self, access: &mut A) -> Result<(), TableError> {
        self.report(access);
        self.start_flush(access, None);
        let state = |table: &mut Table| (table.is_full(), table.wants_room(), table.flush_at());
        let (full, wants_room, flush_at) = access.with(state);
        if wants_room && self.asked.is_none() {
            self.asked = Some(Box::pin(self.room.clone().turn()));
        }
        let look_at = now() + if self.is_recovered() { IDLE } else { REPORT_EVERY };
        let wake_at = flush_at.map_or(look_at, |at| at.min(look_at));
        tokio::select! {
            biased;
            done = flush_done(&mut self.flush) => self.end_flush(access, done),
            turn = its_turn(&mut self.asked), if self.flush.is_none() => {
                access.with(|table| table.lend(now(), turn.bytes()));
                self.turn = Some(turn);
                Ok(())
            }
            () = std::future::ready(()), if !full && self.reading.is_some() => self.read_on(access),
            batch = self.fetch.next(), if !full => match batch {
                Some(Ok(batch)) => {
                    self.begin(batch);
                    self.read_on(access)
                }
                Some(Err(error)) => Err(access.with(|table| TableError::fetch(table.topic_partition(), error))),
                None => Err(access.with(|table| TableError::no_offsets(table.topic_partition()))),
            },
            () = tokio::time::sleep_until(wake_at.into()) => Ok(()),
        }
    }

    /// Writes everything read so far into the store, which is durable once that is closed.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn flush_all<A: TableAccess>(&mut self, access: &mut A) -> Result<(), TableError> {
        loop {
            if self.flush.is_none() {
                self.start_flush(access, Some(Durability::Deferred));
            }
            if self.flush.is_none() {
                return Ok(());
            }
            let done = flush_done(&mut self.flush).await;
            self.end_flush(access, done)?;
        }
    }

    /// Waits for the flush under way, if there is one, and wants no room any more.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn settle<A: TableAccess>(&mut self, access: &mut A) -> Result<(), TableError> {
        (self.asked, self.turn) = (None, None);
        if self.flush.is_none() {
            return Ok(());
        }
        let done = flush_done(&mut self.flush).await;
        self.end_flush(access, done)
    }

    fn begin(&mut self, batch: FetchedBatch) {
        self.reading = Some(Reading {
            bytes: batch.records.len() as u64,
            leader_epoch: batch.leader_epoch,
            end: end_of_log(&batch),
        });
        match &mut self.cursor {
            Some(cursor) => cursor.reset(batch),
            none => *none = Some(RecordCursor::new(batch, IsolationLevel::ReadUncommitted)),
        }
    }

    /// Reads what was fetched to its end, or until so much is written that it should be flushed: a few kilobytes may decompress to
    /// more than the table may hold.
    fn read_on<A: TableAccess>(&mut self, access: &mut A) -> Result<(), TableError> {
        let (Some(cursor), Some(reading)) = (&mut self.cursor, &mut self.reading) else {
            return Ok(());
        };
        let now = now();
        let (position, records, is_read) = access.with(|table| {
            let mut records = 0;
            let is_read = loop {
                // What is decompressed goes in all the same: it is held in any case, and as memory for fetches it would be lacking to
                // those whose turn it is.
                if table.is_at_limit() && !cursor.is_in_scratch() {
                    cursor.rest();
                    break false;
                }
                let next = cursor.next_record();
                let Some(record) = next.map_err(|error| TableError::fetch(table.topic_partition(), error))? else {
                    break true;
                };
                table.stage(now, record.key.unwrap_or_default(), record.value);
                records += 1;
            };
            let end = if is_read { reading.end } else { -1 };
            table.handle_position(cursor.next_offset().max(end), reading.leader_epoch);
            table.trim();
            Ok((table.position(), records, is_read))
        })?;
        let bytes = std::mem::take(&mut reading.bytes);
        if is_read {
            self.reading = None;
        }
        self.recovery.handle_progress(position, records, bytes);
        self.end_recovery(access);
        Ok(())
    }

    /// A line about a recovery now and then, also while it waits.
    fn report<A: TableAccess>(&mut self, access: &mut A) {
        let now = now();
        if self.recovery.report_due(now) {
            let progress = self.recovery.progress(now);
            access.with(|table| {
                let waits = if table.wants_room() { ", waits for room" } else { "" };
                tracing::info!(table = %table.topic_partition(), "recovering: {progress}{waits}");
            });
        }
    }

    /// At the target: the table is recovered, unless what was gathered must be flushed first.
    fn end_recovery<A: TableAccess>(&mut self, access: &mut A) {
        if !self.recovery.is_at_target() {
            return;
        }
        if access.with(Table::end_recovery) {
            (self.asked, self.turn) = (None, None);
            self.recovery.finish(now());
            self.report_recovered(access);
        } else {
            self.start_flush(access, Some(Durability::Immediate));
        }
    }

    /// One line that says what was read and how fast.
    pub(crate) fn report_recovered<A: TableAccess>(&self, access: &mut A) {
        let progress = self.progress();
        access.with(|table| {
            tracing::info!(
                table = %table.topic_partition(), from = progress.start, to = progress.target, records = progress.records,
                seconds = progress.elapsed.as_secs_f64(), "table recovered"
            );
        });
    }

    /// With a `durability` it does not wait for its time.
    fn start_flush<A: TableAccess>(&mut self, access: &mut A, durability: Option<Durability>) {
        if self.flush.is_some() {
            return;
        }
        let now = now();
        let job = access.with(|table| {
            if durability.is_some() || table.flush_due(now) {
                table.seal(table.acknowledged_batches());
            }
            table.take_job(now, self.client.wall_ms(), durability)
        });
        self.flush = job.map(|job| spawn_flush(&self.client, job));
    }

    fn end_flush<A: TableAccess>(&mut self, access: &mut A, done: FlushDone) -> Result<(), TableError> {
        access.with(|table| {
            table
                .finish_job(done)
                .map_err(|error| TableError::store(table.topic_partition(), error))
        })?;
        self.turn = None;
        self.end_recovery(access);
        Ok(())
    }
}

/// The turn that was asked for; waits for ever if none was. Cancel-safe.
async fn its_turn(asked: &mut Option<Pin<Box<dyn Future<Output = Turn> + Send + Sync>>>) -> Turn {
    let Some(waiting) = asked.as_mut() else {
        return std::future::pending().await;
    };
    let turn = waiting.await;
    *asked = None;
    turn
}

/// Up to where `batch` shows the log to be read: if nothing follows it, to the high watermark, although the last offsets before
/// that may hold no records any more. -1 if it does not show that.
fn end_of_log(batch: &FetchedBatch) -> i64 {
    if batch.at_end { batch.high_watermark } else { -1 }
}

/// Runs a flush where blocking is allowed; asks for the leader epoch first if its checkpoint has none.
pub(crate) fn spawn_flush(client: &Client, mut job: FlushJob) -> JoinHandle<FlushDone> {
    let client = client.clone();
    tokio::spawn(async move {
        if let Some(topic_partition) = job.lacks_epoch() {
            let epoch = leader_epoch(&client, topic_partition).await;
            job.set_epoch(epoch);
        }
        blocking(job.may_block(), move || job.run()).await
    })
}

/// The end of the flush under way; waits for ever if there is none. Cancel-safe.
pub(crate) async fn flush_done(flush: &mut Option<JoinHandle<FlushDone>>) -> FlushDone {
    let Some(handle) = flush.as_mut() else {
        return std::future::pending().await;
    };
    let done = match handle.await {
        Ok(done) => done,
        // The job catches nothing: a store that panicked, or a runtime that is shutting down.
        Err(error) => FlushDone::lost(&error),
    };
    *flush = None;
    done
}

#[cfg(test)]
mod tests {
    use kafka_wire::TopicPartition;

    use super::*;

    #[test]
    fn a_log_whose_last_offsets_hold_no_records_counts_as_read_up_to_its_end() {
        let mut batch = FetchedBatch::empty(TopicPartition::new("table", 0), 90);
        batch.high_watermark = 100;
        assert_eq!(end_of_log(&batch), -1, "there may be more to come");
        batch.at_end = true;
        assert_eq!(end_of_log(&batch), 100);
    }
}
