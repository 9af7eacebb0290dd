//! The handle of a running processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::Partitioner;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::codec::Codec;
use crate::partition::{PartitionState, PartitionStats, RunError};
use crate::storage::StoreError;

/// What the driver can be asked.
pub(crate) enum Command {
    Get {
        partition: i32,
        key: Vec<u8>,
        reply: oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>,
    },
    Stats {
        reply: oneshot::Sender<ProcessorStats>,
    },
    Stop,
}

/// Where the processor as a whole stands.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// The group is being joined, or its partitions recover.
    Starting,
    /// Every assigned partition is running.
    Ready,
    /// It has ended.
    Ended(Result<(), RunError>),
}

/// What the driver hands over.
pub(crate) struct Started {
    pub(crate) group: Arc<str>,
    pub(crate) partitions: i32,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) driver: JoinHandle<()>,
}

/// A snapshot of a processor.
#[derive(Debug, Clone, Default)]
pub struct ProcessorStats {
    /// The group.
    pub group: String,
    /// The group's generation this instance belongs to; -1 before the first.
    pub generation: i32,
    /// The partitions assigned to this instance.
    pub partitions: BTreeMap<i32, PartitionStats>,
}

impl ProcessorStats {
    /// Whether every assigned partition is running.
    pub fn is_running(&self) -> bool {
        self.generation >= 0
            && self
                .partitions
                .values()
                .all(|partition| partition.state == PartitionState::Running)
    }

    /// Records not read yet, over all partitions; `None` while a partition's are not known.
    pub fn lag(&self) -> Option<u64> {
        self.partitions
            .values()
            .flat_map(|partition| &partition.inputs)
            .map(|input| input.lag)
            .sum()
    }

    /// Records that went through the callbacks of the present assignment.
    pub fn records(&self) -> u64 {
        self.partitions
            .values()
            .flat_map(|partition| &partition.inputs)
            .map(|input| input.records)
            .sum()
    }
}

/// A running processor. Dropping it stops the processor as [`stop`](Running::stop) does, without waiting.
pub struct Running<T> {
    started: Started,
    table: T,
}

impl<T> Running<T> {
    pub(crate) fn new(started: Started, table: T) -> Running<T> {
        Running { started, table }
    }

    /// Waits until this instance has its assignment and every partition of it is recovered and running. Later rebalances do not
    /// undo it; ask again to wait for their end.
    ///
    /// # Errors
    /// The processor ended.
    pub async fn ready(&self) -> Result<(), RunError> {
        let mut phase = self.started.phase.clone();
        let reached = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
        match reached.as_deref() {
            Ok(Phase::Ended(Err(error))) => Err(error.clone()),
            Ok(Phase::Ended(Ok(()))) | Err(_) => Err(RunError::Ended),
            Ok(_) => Ok(()),
        }
    }

    /// A snapshot of what every partition is doing.
    ///
    /// # Errors
    /// The processor ended.
    pub async fn stats(&self) -> Result<ProcessorStats, RunError> {
        let (reply, answer) = oneshot::channel();
        self.started
            .commands
            .send(Command::Stats { reply })
            .map_err(|_| RunError::Ended)?;
        answer.await.map_err(|_| RunError::Ended)
    }

    /// Waits for the processor's end, which only an error or a [`Stopper`] brings about.
    ///
    /// # Errors
    /// Why it ended, if not because it was asked to.
    pub async fn wait(&self) -> Result<(), RunError> {
        let mut phase = self.started.phase.clone();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await;
        match ended.as_deref() {
            Ok(Phase::Ended(result)) => result.clone(),
            _ => Err(RunError::Ended),
        }
    }

    /// A way to stop this processor from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            commands: self.started.commands.clone(),
        }
    }

    /// Stops in order: what is in work is finished and acknowledged, offsets are committed, stores closed, the group left.
    ///
    /// # Errors
    /// Why the processor had ended before, or what failed while stopping.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.stopper().stop();
        let result = self.wait().await;
        // The driver ends right after it said so; a panic in it would have shown above.
        let _ = (&mut self.started.driver).await;
        result
    }
}

impl<T: Codec> Running<T> {
    /// The group table's value of `key`, if its partition is assigned to this instance and running. Sees what callbacks wrote,
    /// acknowledged or not.
    ///
    /// # Errors
    /// The partition is not here or not running, the store fails, or the value does not decode.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T::Value>, GetError> {
        let key = key.as_ref();
        let partition = Partitioner::Fnv1a.partition(key, self.started.partitions);
        let (reply, answer) = oneshot::channel();
        let command = Command::Get {
            partition,
            key: key.to_vec(),
            reply,
        };
        let not_here = || GetError::NotHere {
            group: self.started.group.to_string(),
            partition,
        };
        self.started.commands.send(command).map_err(|_| not_here())?;
        match answer.await.map_err(|_| not_here())?.map_err(GetError::Store)? {
            Some(bytes) => self.table.decode(&bytes).map(Some).map_err(GetError::Codec),
            None => Ok(None),
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.stopper().stop();
    }
}

/// Stops a processor; see [`Running::stopper`].
#[derive(Debug, Clone)]
pub struct Stopper {
    commands: mpsc::UnboundedSender<Command>,
}

impl Stopper {
    /// Asks the processor to stop in order; [`Running::wait`] tells when it has.
    pub fn stop(&self) {
        // Ended already: nothing to stop.
        let _ = self.commands.send(Command::Stop);
    }
}

/// Why a table's value cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Another instance has the key's partition, or it is not recovered yet.
    #[error("group {group}: partition {partition} is not running on this instance")]
    NotHere {
        /// The group.
        group: String,
        /// The partition that the key belongs to.
        partition: i32,
    },
    /// The store fails.
    #[error("{0}")]
    Store(StoreError),
    /// The stored bytes do not decode.
    #[error("{0}")]
    Codec(crate::codec::CodecError),
}
