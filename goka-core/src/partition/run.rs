//! The innermost loop: one task owns one partition number of every input, its table and its writers.
//!
//! ```text
//!   open store ─> recover table ─> ┌─ acknowledgements ─> pipeline ─> committable offsets
//!                                  │  a slice of records ─> callbacks ─> perform ─> table + writers
//!                                  │  flush of the table, in the background
//!                                  └─ nothing to do: send open batches, wait
//!   asked to drain: take no more input, wait for acknowledgements, flush the store, end
//!   asked to abandon, or the lease ran out: emit nothing more, end
//! ```
//!
//! Records of a slice run back to back with nothing in between but their callbacks; everything that costs a lock, a clock or a
//! queue is paid once per slice. A foreign writer found in the changelog (invariant I3) makes the task settle what is
//! outstanding and recover its table from the store's checkpoint before the next record.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use group_coordinator::Lease;
use kafka_wire::{Ack, Fetcher, Permit, Producer, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::RunError;
use super::lane::{Lane, next_ready};
use super::opening::Opening;
use super::pipeline::CommitPipeline;
use super::state::{Close, Control, PartitionState, Progress};
use super::writers::{CHANGELOG, Writers};
use crate::context::Effects;
use crate::graph::GroupGraphCore;
use crate::storage::Durability;
use crate::table::{FlushDone, OpenTable, Table, TableError, flush_done, now, spawn_flush};

/// How often a waiting task looks whether the partition is still its own.
pub(super) const LOOK_AT_LEASE: Duration = Duration::from_millis(200);

/// Lets the other tasks of this worker run. tokio keeps whoever yields for the worker that it ran on; should a callback of another
/// partition block that worker, the timer brings it to another one.
async fn give_way() {
    tokio::select! {
        biased;
        () = tokio::task::yield_now() => {}
        () = tokio::time::sleep(LOOK_AT_LEASE) => {}
    }
}

/// A task that works off its inputs.
pub(super) struct Task {
    pub(super) partition: i32,
    pub(super) graph: Arc<GroupGraphCore>,
    pub(super) how: Option<OpenTable>,
    pub(super) table_fetcher: Fetcher,
    pub(super) producer: Producer,
    pub(super) linger: Duration,
    pub(super) lease: Lease,
    pub(super) generation: i32,
    pub(super) progress: Arc<Progress>,
    pub(super) control: mpsc::UnboundedReceiver<Control>,
    pub(super) changed: mpsc::UnboundedSender<i32>,

    pub(super) lanes: Vec<Lane>,
    pub(super) next_lane: usize,
    pub(super) table: Option<Table>,
    /// How long the changelog does without rows that may be overwritten meanwhile; `None` writes each at once.
    pub(super) window: Option<Duration>,
    pub(super) flush: Option<JoinHandle<FlushDone>>,
    pub(super) effects: Effects,
    pub(super) scratch: Vec<u8>,
    pub(super) writers: Writers,
    pub(super) acks: mpsc::UnboundedReceiver<Ack>,
    pub(super) pipeline: CommitPipeline,
    pub(super) foreign_write: bool,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) table_writes: u64,
    pub(super) emitted: u64,
    pub(super) foreign_writes: u64,
    /// Records without a value that their edge's codec gives no meaning.
    pub(super) skipped: u64,
}

/// Why the loop goes round again.
enum Wake {
    Control(Option<Control>),
    Ack(Ack),
    Flush(FlushDone),
    Again,
}

impl Task {
    pub(super) fn new(opening: Opening, table: Option<Table>) -> Task {
        let Opening {
            start,
            progress,
            control,
        } = opening;
        let (ack_sender, acks) = mpsc::unbounded_channel();
        let changelog = table.as_ref().map(|table| table.topic_partition().clone());
        let lanes: Vec<_> = start
            .inputs
            .into_iter()
            .map(|(edge, from)| {
                let topic_partition = TopicPartition::new(edge.topic.clone(), start.partition);
                let fetch = start
                    .input_fetcher
                    .fetch(topic_partition.clone(), from, start.offset_reset);
                Lane::new(edge, topic_partition, fetch)
            })
            .collect();
        Task {
            partition: start.partition,
            graph: start.graph,
            how: start.table.map(|(_, how)| how),
            table_fetcher: start.table_fetcher,
            writers: Writers::new(
                start.producer.clone(),
                permit(&start.lease, start.generation),
                ack_sender,
                changelog,
                &start.outputs,
            ),
            producer: start.producer,
            linger: start.linger,
            lease: start.lease,
            generation: start.generation,
            progress,
            control,
            changed: start.changed,
            pipeline: CommitPipeline::new(lanes.len()),
            lanes,
            next_lane: 0,
            table,
            window: start.window,
            flush: None,
            effects: Effects::default(),
            scratch: Vec::new(),
            acks,
            foreign_write: false,
            counts: Counts::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<(), RunError> {
        self.enter(PartitionState::Running);
        let result = self.work().await;
        self.enter(PartitionState::Draining);
        match result {
            Ok(Close::Drain) => self.drain().await,
            Ok(Close::Abandon) => self.abandon().await,
            Err(error) => {
                // The records before the failing one went through: what they wrote is waited for, so that they can be committed.
                // Not so where part of a record's effects is already written, or nothing more can be.
                match error {
                    RunError::Produce(_) | RunError::Table(_) | RunError::Write { .. } => self.abandon().await,
                    _ => self.drain().await,
                }
                .unwrap_or_else(|second| tracing::warn!(partition = self.partition, %second, "while ending"));
                Err(error)
            }
        }
    }

    async fn work(&mut self) -> Result<Close, RunError> {
        loop {
            while let Ok(ack) = self.acks.try_recv() {
                self.handle_ack(ack)?;
            }
            if let Ok(command) = self.control.try_recv()
                && let Some(close) = self.handle_control(command)
            {
                return Ok(close);
            }
            if self.foreign_write
                && self.holds_lease()
                && let Some(close) = self.recover_again().await?
            {
                return Ok(close);
            }
            let now = now();
            if self.window_end().is_some_and(|end| end <= now) {
                self.close_window(now)?;
            }
            self.drive_flush(now, false)?;
            if self.may_work() && self.next_batch()? {
                self.work_slice()?;
                self.publish();
                give_way().await;
                continue;
            }
            if self.holds_lease() {
                self.writers.flush();
            }
            self.publish();
            match self.wait().await? {
                Wake::Control(None) => return Ok(Close::Abandon),
                Wake::Control(Some(command)) => {
                    if let Some(close) = self.handle_control(command) {
                        return Ok(close);
                    }
                }
                Wake::Ack(ack) => self.handle_ack(ack)?,
                Wake::Flush(done) => self.finish_flush(done)?,
                Wake::Again => {}
            }
        }
    }

    /// Whether the partition is still surely ours and there is room for the effects of another slice.
    fn may_work(&self) -> bool {
        self.holds_lease() && self.producer.has_room() && !self.table.as_ref().is_some_and(Table::is_full)
    }

    /// Without it nothing may be written; the group's word, `Lost` or a heartbeat's success, is on its way (I3).
    pub(super) fn holds_lease(&self) -> bool {
        self.lease.is_held_in(self.generation, now())
    }

    /// Makes sure that some lane has records, going round them; false if none has.
    fn next_batch(&mut self) -> Result<bool, RunError> {
        for step in 0..self.lanes.len() {
            let number = (self.next_lane + step) % self.lanes.len();
            let lane = &mut self.lanes[number];
            if !lane.has_batch
                && let Some(batch) = lane.fetch.try_next()
            {
                lane.take(batch)?;
            }
            if lane.has_batch {
                self.next_lane = number;
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn handle_ack(&mut self, ack: Ack) -> Result<(), RunError> {
        self.writers.handle_ack(&ack);
        let persisted = ack.result.map_err(RunError::from)?;
        if ack.writer == CHANGELOG
            && let Some(table) = &mut self.table
        {
            let base = (persisted.base_offset >= 0).then_some(persisted.base_offset);
            if let Err(foreign) = table.handle_ack(ack.batch, base, persisted.record_count) {
                let (expected, found) = (foreign.expected, foreign.found);
                tracing::warn!(
                    table = %table.topic_partition(), expected, ?found,
                    "somebody else wrote into the changelog; the table is recovered before the next record"
                );
                self.foreign_write = true;
                self.counts.foreign_writes += 1;
            }
        }
        self.pipeline.handle_ack(ack.writer, ack.batch);
        Ok(())
    }

    fn handle_control(&mut self, command: Control) -> Option<Close> {
        match command {
            Control::Close(close) => Some(close),
            Control::Get { key, reply } => {
                let answer = match &mut self.table {
                    Some(table) => table
                        .read(&key, &mut self.scratch)
                        .map(|found| found.then(|| self.scratch.clone())),
                    None => Ok(None),
                };
                // Nobody waits any more: fine.
                let _ = reply.send(answer);
                None
            }
        }
    }

    /// Sealing sends the changelog's open batch, and the rows it lacks before that, which only the owner may.
    fn may_seal(&self) -> bool {
        self.is_settled() || self.holds_lease() && (self.is_logged() || self.producer.has_room())
    }

    /// Whether everything is written to the changelog and the outputs, and acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.is_logged() && self.writers.is_settled()
    }

    fn is_logged(&self) -> bool {
        self.table.as_ref().is_none_or(|table| table.unlogged_since().is_none())
    }

    /// When the rows that the changelog lacks are written to it; `None` while there are none, or they may not be.
    fn window_end(&self) -> Option<Instant> {
        let since = self.table.as_ref().and_then(Table::unlogged_since)?;
        let end = since + self.window.unwrap_or_default();
        (self.holds_lease() && self.producer.has_room()).then_some(end)
    }

    /// Writes the rows that the changelog lacks, each with its last value; what waits for them waits for those batches from now on.
    pub(super) fn close_window(&mut self, now: Instant) -> Result<(), RunError> {
        let Some(table) = &mut self.table else { return Ok(()) };
        if table.unlogged_since().is_none() {
            return Ok(());
        }
        let (writers, timestamp) = (&mut self.writers, self.producer.client().wall_ms());
        table.log(|key, value| writers.append_changelog(now, timestamp, key, value, &[]))?;
        self.pipeline.resolve(CHANGELOG, writers.changelog_batches());
        Ok(())
    }

    /// Seals and starts a flush when its time has come; `all` does not wait for that time.
    pub(super) fn drive_flush(&mut self, now: Instant, all: bool) -> Result<(), RunError> {
        if self.flush.is_some() || self.foreign_write {
            return Ok(());
        }
        let is_due = |table: &Table| !table.is_flushing() && (all || table.flush_due(now));
        let seals = self.table.as_ref().is_some_and(is_due) && self.may_seal();
        if seals {
            self.close_window(now)?;
        }
        let (Some(table), Some(how)) = (&mut self.table, &self.how) else {
            return Ok(());
        };
        if seals {
            let batches = self.writers.cut_changelog();
            table.seal(batches);
        }
        // Closing, which comes after all, makes it durable.
        let durability = all.then_some(Durability::Deferred);
        self.flush = table
            .take_job(now, how.client.wall_ms(), durability)
            .map(|job| spawn_flush(&how.client, job));
        Ok(())
    }

    pub(super) fn finish_flush(&mut self, done: FlushDone) -> Result<(), RunError> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table
            .finish_job(done)
            .map_err(|error| RunError::Table(TableError::store(table.topic_partition(), error)))
    }

    /// Waits for anything to do. Cancel-safe: nothing is taken that is not returned or kept.
    async fn wait(&mut self) -> Result<Wake, RunError> {
        let working = self.may_work();
        let flush_at = self
            .table
            .as_ref()
            .and_then(Table::flush_at)
            .filter(|_| self.flush.is_none() && self.may_seal());
        let wake_at = flush_at
            .into_iter()
            .chain(self.window_end())
            .chain([now() + LOOK_AT_LEASE])
            .min()
            .unwrap_or_else(now);
        let Task {
            control,
            acks,
            flush,
            lanes,
            producer,
            ..
        } = self;
        tokio::select! {
            biased;
            command = control.recv() => Ok(Wake::Control(command)),
            Some(ack) = acks.recv() => Ok(Wake::Ack(ack)),
            done = flush_done(flush) => Ok(Wake::Flush(done)),
            ready = next_ready(lanes), if working => ready.map(|()| Wake::Again),
            () = producer.wait_for_room(), if !producer.has_room() => Ok(Wake::Again),
            () = tokio::time::sleep_until(wake_at.into()) => Ok(Wake::Again),
        }
    }

    fn enter(&self, state: PartitionState) {
        self.progress.update(|stats| stats.state = state);
        let _ = self.changed.send(self.partition);
    }

    pub(super) fn publish(&self) {
        self.progress.publish(self.pipeline.committable(), |stats| {
            for (lane, input) in self.lanes.iter().zip(&mut stats.inputs) {
                input.records = lane.records;
                if let Some(cursor) = &lane.cursor {
                    input.position = cursor.next_offset();
                }
                let high = lane.fetch.watermarks().high;
                input.lag = (high >= 0).then(|| (high - input.position).max(0) as u64);
            }
            stats.emitted = self.counts.emitted;
            stats.skipped = self.counts.skipped;
            if let Some(table) = &self.table {
                let shown = stats.table.get_or_insert_default();
                shown.writes = self.counts.table_writes;
                shown.foreign_writes = self.counts.foreign_writes;
                shown.overlay_bytes = table.bytes_above();
                shown.position = table.position();
            }
        });
    }
}

/// What is written and not yet sent when the lease ends stays unsent: a process may sleep at any point between the two.
fn permit(lease: &Lease, generation: i32) -> Permit {
    let lease = lease.clone();
    Permit::new(move |now| lease.is_held_in(generation, now))
}
