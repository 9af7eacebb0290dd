//! The hot path: records run back to back through their callback, and what it asked for is performed.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{RecordPlace, RunError};
use super::lane::{Lane, TableRows};
use super::perform::perform;
use super::run::Task;
use crate::context::{ContextCore, MessageRef};
use crate::graph::Handled;
use crate::table::{Table, now};

/// A slice ends after so many records, so much time, or when its effects have no more room, whichever comes first; the task then
/// looks at everything else.
const SLICE_RECORDS: usize = 4096;
const SLICE_TIME: Duration = Duration::from_millis(5);
/// The clock is read, and room for effects looked for, once per so many records within a slice.
const RECORDS_PER_LOOK: usize = 16;

/// Why a slice ended early, and the offset up to which everything went through, if that is known.
type Failed = (Option<i64>, RunError);

impl Task {
    /// Runs records of the next lane through its callback until its batch or the slice ends, and closes the chunk.
    pub(super) fn work_slice(&mut self) -> Result<(), RunError> {
        let number = self.next_lane;
        let now = now();
        let done = self.run_callbacks(number, now);
        let (next_offset, result) = match done {
            Ok(next_offset) => (next_offset, Ok(())),
            Err((next_offset, error)) => (next_offset, Err(error)),
        };
        if let Some(next_offset) = next_offset {
            let mut marks = self.pipeline.marks();
            self.writers.take_marks(&mut marks);
            self.pipeline.handle_chunk(number, next_offset, marks);
        }
        result?;
        if let Some(table) = &mut self.table {
            table.trim();
        }
        self.writers.flush_older_than(now, self.linger);
        if !self.lanes[number].has_batch {
            self.next_lane = (number + 1) % self.lanes.len();
        }
        Ok(())
    }

    /// The records themselves. Gives the offset up to which everything went through, also when a record failed.
    fn run_callbacks(&mut self, number: usize, now: Instant) -> Result<Option<i64>, Failed> {
        let Task {
            graph,
            lanes,
            table,
            window,
            effects,
            scratch,
            writers,
            producer,
            counts,
            ..
        } = self;
        make_way();
        let timestamp = producer.client().wall_ms();
        let Lane {
            edge,
            topic_partition,
            cursor,
            has_batch,
            records,
            ..
        } = &mut lanes[number];
        let Some(cursor) = cursor else { return Ok(None) };
        for count in 1..=SLICE_RECORDS {
            let record = match cursor.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    *has_batch = false;
                    break;
                }
                Err(error) => return Err((None, RunError::from(error))),
            };
            let (offset, key) = (record.offset, record.key.unwrap_or_default());
            let place = || RecordPlace::new(topic_partition, offset, key);
            effects.clear();
            let mut rows = TableRows(table.as_mut());
            let mut core = ContextCore {
                message: MessageRef {
                    topic: &edge.topic,
                    partition: topic_partition.partition,
                    offset,
                    timestamp: record.timestamp,
                    key,
                    value: record.value,
                    headers: record.headers,
                },
                effects,
                rows: &mut rows,
                scratch,
                graph,
            };
            match catch_unwind(AssertUnwindSafe(|| edge.handler.handle(&mut core))) {
                Ok(Ok(Handled::Called)) => {}
                Ok(Ok(Handled::SkippedNil)) => counts.skipped += 1,
                Ok(Err(error)) => {
                    let error = Arc::new(error);
                    return Err((Some(offset), RunError::Callback { at: place(), error }));
                }
                Err(panic) => {
                    let message = panic_message(&*panic);
                    return Err((Some(offset), RunError::Panic { at: place(), message }));
                }
            }
            if !effects.is_empty() {
                match perform(effects, table, writers, window.is_some(), now, timestamp) {
                    Ok(performed) => {
                        counts.table_writes += performed.table_writes;
                        counts.emitted += performed.emitted;
                        if writers.take_submitted() {
                            make_way();
                        }
                    }
                    Err(error) => {
                        let error = Box::new(error);
                        return Err((Some(offset), RunError::Write { at: place(), error }));
                    }
                }
            }
            *records += 1;
            if count % RECORDS_PER_LOOK == 0
                && (now.elapsed() >= SLICE_TIME
                    || !producer.has_room()
                    || table.as_ref().is_some_and(Table::is_at_limit))
            {
                break;
            }
        }
        Ok(Some(cursor.next_offset()))
    }
}

/// Keeps a callback that blocks from blocking more than its partition. tokio keeps the task that was woken last, be it the
/// producer's or a connection's, for the worker that woke it, and no other worker may take it over; one that does nothing takes
/// its place, and sets it free.
fn make_way() {
    drop(tokio::spawn(async {}));
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
