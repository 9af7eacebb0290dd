//! How a processor behaves.

use std::time::Duration;

use kafka_wire::{ConfigError, FetcherConfig, OffsetReset, ProducerConfig, StartOffset};

use crate::memory::{self, Shares, Wanted};
use crate::topics::TopicsConfig;

/// Settings of a processor; the defaults are meant for production.
#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    /// How often offsets are committed. Default 1 s: what a crash repeats, at most, beside what was in flight.
    pub commit_interval: Duration,
    /// Age at which written rows are put into the store, and how often that is made durable. Default 10 s: a crash of the
    /// machine reads that much of the changelog again.
    pub flush_interval: Duration,
    /// Bytes that this instance may hold in memory, over all its partitions and however many it is given: what is fetched and not
    /// read yet, rows above the stores and the stores' caches, records not acknowledged yet. Whatever is full makes what comes
    /// before it wait. Default 256 MiB, which with code and allocator fits into a container of 512 MiB. What callbacks keep is not
    /// in it, and a single batch larger than its share comes through all the same.
    pub max_memory: usize,
    /// Bytes of written rows, over all partitions of this instance, that start a flush: large flushes cost the store far less per
    /// row. Default `None`: an eighth of [`max_memory`](ProcessorConfig::max_memory).
    pub flush_bytes: Option<usize>,
    /// Bytes of rows held in memory above the stores, over all partitions. Default `None`: five sixteenths of
    /// [`max_memory`](ProcessorConfig::max_memory).
    pub cache_bytes: Option<usize>,
    /// Where an input without a committed offset begins. Default [`StartOffset::Earliest`]: nothing is skipped.
    pub initial_offset: StartOffset,
    /// What to do when a committed offset no longer exists. Default [`OffsetReset::Error`]: records were lost, and that is for a
    /// person to decide.
    pub offset_reset: OffsetReset,
    /// How long a member may be silent before the group gives its partitions away. Default 45 s.
    pub session_timeout: Duration,
    /// How often the coordinator is told that we live. Default 3 s.
    pub heartbeat_interval: Duration,
    /// How long members get to hand over in a rebalance. Default 60 s.
    pub rebalance_timeout: Duration,
    /// How topics are checked and created.
    pub topics: TopicsConfig,
    /// The producer of changelog and outputs.
    pub producer: ProducerConfig,
    /// The fetcher of inputs; tables are read with the same settings.
    pub fetcher: FetcherConfig,
}

impl Default for ProcessorConfig {
    fn default() -> ProcessorConfig {
        ProcessorConfig {
            commit_interval: Duration::from_secs(1),
            flush_interval: Duration::from_secs(10),
            max_memory: memory::DEFAULT,
            flush_bytes: None,
            cache_bytes: None,
            initial_offset: StartOffset::Earliest,
            offset_reset: OffsetReset::Error,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            topics: TopicsConfig::default(),
            producer: ProducerConfig::default(),
            fetcher: FetcherConfig::default(),
        }
    }
}

impl ProcessorConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("commit_interval", self.commit_interval),
            ("flush_interval", self.flush_interval),
            ("heartbeat_interval", self.heartbeat_interval),
            ("rebalance_timeout", self.rebalance_timeout),
        ];
        for (name, value) in positive {
            if value.is_zero() {
                return Err(ConfigError::new(name, "must be longer than zero"));
            }
        }
        if self.session_timeout <= self.heartbeat_interval {
            return Err(ConfigError::new(
                "session_timeout",
                "must be longer than heartbeat_interval",
            ));
        }
        if self.flush_bytes == Some(0) {
            return Err(ConfigError::new("flush_bytes", "must be at least 1"));
        }
        Ok(())
    }

    /// How the memory is shared out, in a group with a table or without.
    ///
    /// # Errors
    /// It is too small.
    pub(crate) fn shares(&self, table: bool) -> Result<Shares, ConfigError> {
        let wanted = Wanted {
            table,
            batch_bytes: Some(self.producer.batch_bytes),
            fetch: self.fetcher.buffer_bytes,
            producer: self.producer.buffer_bytes,
            cache: self.cache_bytes,
            flush: self.flush_bytes,
        };
        Shares::of(self.max_memory, wanted)
    }
}
