//! What others see of a partition's task, and what they may ask of it.

use std::sync::{Arc, Mutex, PoisonError};

use kafka_wire::TopicPartition;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::RunError;
use crate::storage::StoreError;
use crate::table::RecoveryProgress;

/// What a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PartitionState {
    /// Its store is being opened.
    #[default]
    Opening,
    /// Its table is read from the changelog.
    Recovering,
    /// Records go through the callbacks.
    Running,
    /// It takes no more input and waits for what is outstanding.
    Draining,
    /// It has ended.
    Closed,
}

/// A snapshot of one partition.
#[derive(Debug, Clone, Default)]
pub struct PartitionStats {
    /// What it is doing.
    pub state: PartitionState,
    /// Its inputs, in the order of the group graph.
    pub inputs: Vec<InputStats>,
    /// Its group table, if the graph persists one.
    pub table: Option<TableStats>,
    /// Records written to other topics.
    pub emitted: u64,
    /// Records skipped because they have no value and their edge's codec gives that no meaning.
    pub skipped: u64,
}

/// A snapshot of one input topic of one partition.
#[derive(Debug, Clone, Default)]
pub struct InputStats {
    /// The topic.
    pub topic: String,
    /// Records that went through the callback.
    pub records: u64,
    /// Next offset to be read.
    pub position: i64,
    /// Next offset that may be committed; -1 while nothing is.
    pub committable: i64,
    /// Records in the topic that were not read yet; `None` before the broker's first answer.
    pub lag: Option<u64>,
}

/// A snapshot of one partition's group table.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableStats {
    /// Its recovery, running or done.
    pub recovery: Option<RecoveryProgress>,
    /// Rows written, deletions among them.
    pub writes: u64,
    /// Bytes held in memory above the store.
    pub overlay_bytes: usize,
    /// The changelog offset up to which everything is acknowledged.
    pub position: i64,
    /// How often a foreign writer was found in the changelog while this partition was ours; each time the table was recovered
    /// from its store before the next record.
    pub foreign_writes: u64,
}

/// How a task is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// In order: no more input, wait for acknowledgements, flush the store.
    Drain,
    /// It is no longer the owner: emit nothing more, apply nothing more.
    Abandon,
}

/// A question to, or a command for, a task.
pub(crate) enum Control {
    Get {
        key: Vec<u8>,
        reply: oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>,
    },
    Close(Close),
}

/// What a task publishes for the one who commits its offsets and answers for it.
#[derive(Debug)]
pub(crate) struct Progress {
    inputs: Vec<TopicPartition>,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    committable: Vec<i64>,
    stats: PartitionStats,
}

impl Progress {
    pub(crate) fn new(inputs: Vec<TopicPartition>) -> Arc<Progress> {
        let stats = PartitionStats {
            inputs: inputs
                .iter()
                .map(|tp| InputStats {
                    topic: tp.topic.to_string(),
                    committable: -1,
                    ..InputStats::default()
                })
                .collect(),
            ..PartitionStats::default()
        };
        let shared = Shared {
            committable: vec![-1; inputs.len()],
            stats,
        };
        Arc::new(Progress {
            inputs,
            shared: Mutex::new(shared),
        })
    }

    /// The offsets that may be committed by now; inputs of which nothing is done are left out.
    pub(crate) fn committable(&self) -> Vec<(TopicPartition, i64)> {
        let shared = self.lock();
        let offsets = self.inputs.iter().cloned().zip(shared.committable.iter().copied());
        offsets.filter(|(_, offset)| *offset >= 0).collect()
    }

    pub(crate) fn publish(&self, committable: &[i64], update: impl FnOnce(&mut PartitionStats)) {
        let mut shared = self.lock();
        shared.committable.copy_from_slice(committable);
        for (input, offset) in shared.stats.inputs.iter_mut().zip(committable) {
            input.committable = *offset;
        }
        update(&mut shared.stats);
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut PartitionStats)) {
        update(&mut self.lock().stats);
    }

    pub(crate) fn stats(&self) -> PartitionStats {
        self.lock().stats.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task.
pub(crate) struct TaskHandle {
    pub(crate) control: mpsc::UnboundedSender<Control>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) join: JoinHandle<Result<(), RunError>>,
}
