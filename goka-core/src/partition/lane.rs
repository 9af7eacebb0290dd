//! A task's inputs: what is fetched of each, and how far its records are worked off.

use std::future::poll_fn;
use std::task::Poll;

use kafka_wire::{FetchError, FetchedBatch, IsolationLevel, PartitionFetch, RecordCursor, TopicPartition};

use super::error::RunError;
use crate::context::ReadRows;
use crate::graph::InputEdge;
use crate::storage::StoreError;
use crate::table::Table;

/// One input of the task and where it stands in it.
pub(super) struct Lane {
    pub(super) edge: InputEdge,
    pub(super) topic_partition: TopicPartition,
    pub(super) fetch: PartitionFetch,
    pub(super) cursor: Option<RecordCursor>,
    pub(super) has_batch: bool,
    pub(super) records: u64,
}

impl Lane {
    pub(super) fn new(edge: InputEdge, topic_partition: TopicPartition, fetch: PartitionFetch) -> Lane {
        Lane {
            edge,
            topic_partition,
            fetch,
            cursor: None,
            has_batch: false,
            records: 0,
        }
    }

    pub(super) fn take(&mut self, batch: Result<FetchedBatch, FetchError>) -> Result<(), RunError> {
        let batch = batch.map_err(RunError::from)?;
        match &mut self.cursor {
            Some(cursor) => cursor.reset(batch),
            none => *none = Some(RecordCursor::new(batch, IsolationLevel::ReadUncommitted)),
        }
        self.has_batch = true;
        Ok(())
    }
}

/// The table as a callback reads it.
pub(super) struct TableRows<'a>(pub(super) Option<&'a mut Table>);

impl ReadRows for TableRows<'_> {
    fn get(&mut self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        match &mut self.0 {
            Some(table) => table.read(key, into),
            None => Ok(false),
        }
    }
}

/// Waits until some lane has a batch; it is put into its lane.
pub(super) async fn next_ready(lanes: &mut [Lane]) -> Result<(), RunError> {
    poll_fn(|context| {
        for lane in lanes.iter_mut() {
            if lane.has_batch {
                return Poll::Ready(Ok(()));
            }
            match lane.fetch.poll_next(context) {
                Poll::Ready(Some(batch)) => return Poll::Ready(lane.take(batch)),
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}
