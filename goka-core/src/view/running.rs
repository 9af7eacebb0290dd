//! The handle of a running view.

use std::collections::BinaryHeap;
use std::sync::{PoisonError, RwLockReadGuard};

use kafka_wire::Partitioner;

use super::driver::{StartedView, ViewPartition, ViewState};
use crate::codec::{Codec, CodecError};
use crate::partition::RunError;
use crate::storage::{KeyRange, RowIter, StoreError};
use crate::table::{Lookup, RecoveryProgress, Table, merged_scan, overlay_rows};

/// A running view. Dropping it stops the followers without waiting; [`stop`](RunningView::stop) flushes and closes its stores.
pub struct RunningView<C: Codec> {
    started: StartedView,
    codec: C,
    partitioner: Partitioner,
}

/// A snapshot of a view.
#[derive(Debug, Clone, Default)]
pub struct ViewStats {
    /// The table.
    pub table: String,
    /// Its partitions, from 0.
    pub partitions: Vec<ViewPartitionStats>,
}

/// A snapshot of one partition of a view.
#[derive(Debug, Clone, Copy, Default)]
pub struct ViewPartitionStats {
    /// Whether reads are answered.
    pub recovered: bool,
    /// The recovery, running or done.
    pub recovery: Option<RecoveryProgress>,
    /// Next changelog offset to read.
    pub position: i64,
    /// Changelog offsets not read yet; `None` before the broker's first answer.
    pub lag: Option<u64>,
    /// Bytes held in memory above the store.
    pub overlay_bytes: usize,
}

/// A view cannot answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The partition has not caught up yet; see [`RunningView::ready`].
    #[error("table {table}: partition {partition} is still recovering")]
    Recovering {
        /// The table.
        table: String,
        /// The partition.
        partition: i32,
    },
    /// The partition's follower ended.
    #[error("table {table}: partition {partition} is no longer followed: {reason}")]
    Ended {
        /// The table.
        table: String,
        /// The partition.
        partition: i32,
        /// Why.
        reason: String,
    },
    /// The store fails.
    #[error("{0}")]
    Store(StoreError),
    /// A stored value does not decode.
    #[error("{0}")]
    Codec(CodecError),
}

impl<C: Codec> RunningView<C> {
    pub(crate) fn new(started: StartedView, codec: C, partitioner: Partitioner) -> RunningView<C> {
        RunningView {
            started,
            codec,
            partitioner,
        }
    }

    /// Waits until every partition has caught up with where its changelog ended at the start.
    ///
    /// # Errors
    /// A partition's follower ended.
    pub async fn ready(&self) -> Result<(), RunError> {
        for partition in &self.started.partitions {
            let mut state = partition.state.clone();
            let reached = state.wait_for(|state| !matches!(state, ViewState::Recovering)).await;
            match reached.as_deref() {
                Ok(ViewState::Ended(Err(error))) => return Err(error.clone()),
                Ok(ViewState::Running) => {}
                _ => return Err(RunError::Ended),
            }
        }
        Ok(())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// The key's partition is recovering or ended, the store fails, or the value does not decode.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<C::Value>, ViewError> {
        let mut bytes = Vec::new();
        match self.read(key.as_ref(), &mut bytes)? {
            true => self.codec.decode(&bytes).map(Some).map_err(ViewError::Codec),
            false => Ok(None),
        }
    }

    /// Whether there is a value for `key`.
    ///
    /// # Errors
    /// As [`get`](RunningView::get), but for decoding.
    pub fn has(&self, key: impl AsRef<[u8]>) -> Result<bool, ViewError> {
        self.read(key.as_ref(), &mut Vec::new())
    }

    /// All rows, ascending by the bytes of their keys; each partition as of one moment.
    ///
    /// # Errors
    /// A partition is recovering or ended, or a store fails.
    pub fn iterate(&self) -> Result<Rows<C>, ViewError> {
        self.range(KeyRange::all())
    }

    /// The rows of `range`, as [`iterate`](RunningView::iterate) gives them.
    ///
    /// # Errors
    /// As [`iterate`](RunningView::iterate).
    pub fn range(&self, range: KeyRange) -> Result<Rows<C>, ViewError> {
        let mut sources = Vec::with_capacity(self.started.partitions.len());
        for number in 0..self.started.partitions.len() {
            let table = self.readable(number)?;
            let overlay = overlay_rows(&table, &range);
            let stored = table.store().scan(range.clone()).map_err(ViewError::Store)?;
            drop(table);
            sources.push(merged_scan(overlay, stored));
        }
        Rows::new(sources, self.codec.clone())
    }

    /// A snapshot of every partition.
    pub fn stats(&self) -> ViewStats {
        let stats = |partition: &ViewPartition| *partition.stats.lock().unwrap_or_else(PoisonError::into_inner);
        ViewStats {
            table: self.started.topic.to_string(),
            partitions: self.started.partitions.iter().map(stats).collect(),
        }
    }

    /// Stops following; flushes and closes the stores.
    ///
    /// # Errors
    /// Why a partition's follower had ended, or what failed while closing.
    pub async fn stop(self) -> Result<(), RunError> {
        let mut result = Ok(());
        for partition in &self.started.partitions {
            partition.stop.send_replace(true);
        }
        for (number, partition) in self.started.partitions.into_iter().enumerate() {
            let joined = partition.task.await;
            let ended = match (&*partition.state.borrow(), joined) {
                (ViewState::Ended(ended), _) => ended.clone(),
                (_, Err(error)) => Err(RunError::Task {
                    partition: number as i32,
                    message: error.to_string(),
                }),
                (_, Ok(())) => Ok(()),
            };
            result = result.and(ended);
        }
        result
    }

    fn read(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, ViewError> {
        let number = self.partitioner.partition(key, self.started.partitions.len() as i32);
        let table = self.readable(number as usize)?;
        match table.lookup(key) {
            Lookup::Value(value) => {
                into.extend_from_slice(value);
                Ok(true)
            }
            Lookup::Deleted => Ok(false),
            Lookup::Miss => table.store().get(key, into).map_err(ViewError::Store),
        }
    }

    fn readable(&self, number: usize) -> Result<RwLockReadGuard<'_, Table>, ViewError> {
        let partition = &self.started.partitions[number];
        let (table, number) = (self.started.topic.to_string(), number as i32);
        match &*partition.state.borrow() {
            ViewState::Running => Ok(partition.table.read().unwrap_or_else(PoisonError::into_inner)),
            ViewState::Recovering => Err(ViewError::Recovering {
                table,
                partition: number,
            }),
            ViewState::Ended(result) => {
                let reason = result
                    .as_ref()
                    .err()
                    .map_or_else(|| "it was stopped".to_owned(), ToString::to_string);
                Err(ViewError::Ended {
                    table,
                    partition: number,
                    reason,
                })
            }
        }
    }
}

/// Rows of a view in ascending order of their keys.
pub struct Rows<C: Codec> {
    codec: C,
    /// The next row of each partition, smallest key first.
    heads: BinaryHeap<Head>,
    failed: Option<StoreError>,
}

struct Head {
    key: Vec<u8>,
    value: Vec<u8>,
    rest: RowIter,
}

impl<C: Codec> Rows<C> {
    fn new(sources: Vec<RowIter>, codec: C) -> Result<Rows<C>, ViewError> {
        let mut rows = Rows {
            codec,
            heads: BinaryHeap::new(),
            failed: None,
        };
        for source in sources {
            rows.advance(source);
        }
        match rows.failed.take() {
            Some(error) => Err(ViewError::Store(error)),
            None => Ok(rows),
        }
    }

    fn advance(&mut self, mut source: RowIter) {
        match source.next() {
            Some(Ok((key, value))) => self.heads.push(Head {
                key,
                value,
                rest: source,
            }),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
    }
}

impl<C: Codec> Iterator for Rows<C> {
    type Item = Result<(Vec<u8>, C::Value), ViewError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(ViewError::Store(error)));
        }
        let head = self.heads.pop()?;
        self.advance(head.rest);
        Some(
            self.codec
                .decode(&head.value)
                .map(|value| (head.key, value))
                .map_err(ViewError::Codec),
        )
    }
}

impl Ord for Head {
    /// Reversed: the heap gives its greatest first, and the smallest key is wanted.
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.key == other.key
    }
}

impl Eq for Head {}
