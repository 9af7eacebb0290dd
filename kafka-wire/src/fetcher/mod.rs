//! Fetching: the records of partitions, from whichever broker leads them.
//!
//! ```text
//!   PartitionFetch <── Shelf <── driver <──> Schedule (which partitions, which broker, when)
//!        |                         |             └── Position per partition (where, and whether that is still true)
//!   RecordCursor                   └──> brokers: Fetch, ListOffsets, OffsetForLeaderEpoch
//! ```
//!
//! A [`Fetcher`] reads any number of partitions, each with a [`PartitionFetch`] of its own. A reader that does not take what lies
//! ready stops its partition, and only that. Brokers that fail, leaders that move and topics that are not known yet are waited
//! out; what reaches a reader as [`FetchError`] is for a person or a program to decide.

mod config;
mod cursor;
mod driver;
mod error;
mod fetched_batch;
mod isolation;
mod memory;
mod partition_fetch;
mod position;
mod scan;
mod schedule;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

pub use self::config::FetcherConfig;
pub use self::cursor::RecordCursor;
pub use self::error::{FetchError, FetchErrorKind};
pub use self::fetched_batch::{AbortedTransaction, FetchedBatch, Watermarks};
pub use self::partition_fetch::PartitionFetch;
pub use self::position::{OffsetReset, StartOffset};

use self::driver::Command;
use self::memory::FetchMemory;
use self::partition_fetch::Shelf;
use crate::client::Client;
use crate::config::ConfigError;
use crate::protocol::TopicPartition;

/// Reads partitions. Clones share connections and requests; each fetcher has connections of its own, so that the waiting of one
/// never delays another.
#[derive(Debug, Clone)]
pub struct Fetcher {
    commands: mpsc::UnboundedSender<Command>,
    ids: Arc<AtomicU64>,
    client: Client,
    config: FetcherConfig,
    memory: Arc<FetchMemory>,
}

impl Fetcher {
    /// Starts a fetcher's task, which ends with the last clone and the last [`PartitionFetch`]. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub fn new(client: Client, config: FetcherConfig) -> Result<Fetcher, ConfigError> {
        config.validate()?;
        let memory = FetchMemory::new(config.limit());
        Ok(Fetcher::within(client, config, memory))
    }

    /// Another fetcher with the same settings and connections of its own; what both hold together is bounded by
    /// [`FetcherConfig::buffer_bytes`]. Must be called inside a tokio runtime.
    #[must_use]
    pub fn beside(&self) -> Fetcher {
        Fetcher::within(self.client.clone(), self.config.clone(), Arc::clone(&self.memory))
    }

    fn within(client: Client, config: FetcherConfig, memory: Arc<FetchMemory>) -> Fetcher {
        let (commands, inbox) = mpsc::unbounded_channel();
        driver::start(client.clone(), config.clone(), Arc::clone(&memory), inbox);
        Fetcher {
            commands,
            ids: Arc::default(),
            client,
            config,
            memory,
        }
    }

    /// Reads a partition from `start` on; `reset` says what to do when the log does not have an offset.
    pub fn fetch(&self, topic_partition: TopicPartition, start: StartOffset, reset: OffsetReset) -> PartitionFetch {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let shelf = Arc::new(Shelf::default());
        let added = Command::Added {
            id,
            topic_partition: topic_partition.clone(),
            start,
            reset,
            shelf: Arc::clone(&shelf),
        };
        if self.commands.send(added).is_err() {
            // The driver ends before its fetcher only with its runtime.
            shelf.end(None);
        }
        PartitionFetch::new(id, topic_partition, shelf, self.commands.clone())
    }
}
