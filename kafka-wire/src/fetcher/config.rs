//! Settings of a fetcher.

use std::time::Duration;

use crate::config::ConfigError;
use crate::protocol::IsolationLevel;

/// How much is fetched at a time and how long brokers may wait for it.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// How long a broker waits for [`min_bytes`](FetcherConfig::min_bytes) before it answers with less. Kafka's
    /// `fetch.max.wait.ms`; default 500 ms, as Java.
    pub max_wait: Duration,
    /// Bytes for which a broker waits. Kafka's `fetch.min.bytes`; default 1: records are sent as they come.
    pub min_bytes: usize,
    /// Bytes of one response at most, a single larger batch excepted. Kafka's `fetch.max.bytes`; default 50 MiB, as Java.
    pub max_bytes: usize,
    /// Bytes of one partition in one response at most, a single larger batch excepted. Kafka's `max.partition.fetch.bytes`;
    /// default 1 MiB, as Java.
    pub partition_max_bytes: usize,
    /// Bytes of one partition that may lie ready before it is left out of further fetches. Default 2 MiB: while a reader works
    /// on one response's bytes, the next ones come in.
    pub partition_buffer_bytes: usize,
    /// Bytes that fetches may hold over all partitions, in responses under way and in what is not read yet; a single larger batch
    /// excepted. While many partitions are read, each gets a part of it instead of
    /// [`partition_buffer_bytes`](FetcherConfig::partition_buffer_bytes). Default `None`: 64 MiB, or in a processor or a view its
    /// share of `max_memory`.
    pub buffer_bytes: Option<usize>,
    /// Which records count. Default all, as Java; a table whose changelog is written in transactions wants committed ones.
    pub isolation: IsolationLevel,
}

impl Default for FetcherConfig {
    fn default() -> FetcherConfig {
        FetcherConfig {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            partition_buffer_bytes: 2 << 20,
            buffer_bytes: None,
            isolation: IsolationLevel::ReadUncommitted,
        }
    }
}

/// What fetches may hold unless told otherwise: some responses of megabytes, and what is read of them meanwhile.
const BUFFER_BYTES: usize = 64 << 20;
/// Less than this cannot hold a batch of Kafka's default `max.message.bytes` and the next one.
const LEAST_BUFFER_BYTES: usize = 2 << 20;
/// What a partition is asked for at a time although there are too many of them for the memory there is.
const LEAST_PARTITION_BYTES: usize = 16 << 10;

/// What one partition may take while so many are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionRoom {
    /// Bytes asked for at a time.
    pub(super) max_bytes: usize,
    /// Bytes that may lie ready.
    pub(super) buffer_bytes: usize,
}

impl FetcherConfig {
    /// Divides `limit` bytes over so many partitions: half of it may lie ready, the other half is for what is under way and for
    /// what slices keep alive beside themselves.
    pub(super) fn partition_room(&self, limit: usize, partitions: usize) -> PartitionRoom {
        let buffer = (limit / 2 / partitions.max(1)).max(2 * LEAST_PARTITION_BYTES);
        PartitionRoom {
            max_bytes: self.partition_max_bytes.min(buffer / 2),
            buffer_bytes: self.partition_buffer_bytes.min(buffer),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.buffer_bytes.unwrap_or(BUFFER_BYTES)
    }

    /// Sets which records count.
    #[must_use]
    pub fn with_isolation(mut self, isolation: IsolationLevel) -> FetcherConfig {
        self.isolation = isolation;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_wait > Duration::from_secs(300) {
            return Err(ConfigError::new(
                "max_wait",
                "is longer than 5 minutes; a broker would seem dead",
            ));
        }
        for (setting, bytes) in [
            ("max_bytes", self.max_bytes),
            ("partition_max_bytes", self.partition_max_bytes),
        ] {
            if !(1..=i32::MAX as usize).contains(&bytes) {
                return Err(ConfigError::new(
                    setting,
                    format!("is {bytes}; it must lie between 1 byte and 2 GiB - 1"),
                ));
            }
        }
        if self.min_bytes > self.max_bytes {
            return Err(ConfigError::new(
                "min_bytes",
                "is more than max_bytes; every fetch would wait for max_wait",
            ));
        }
        if self.partition_buffer_bytes < self.partition_max_bytes {
            return Err(ConfigError::new(
                "partition_buffer_bytes",
                "is less than partition_max_bytes; no fetch would fit",
            ));
        }
        if self.limit() < LEAST_BUFFER_BYTES {
            return Err(ConfigError::new(
                "buffer_bytes",
                format!(
                    "is {}; less than {LEAST_BUFFER_BYTES} cannot hold one batch of the size that brokers accept and the next one",
                    self.limit()
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_wrong_values_are_refused_by_name() {
        let config = FetcherConfig::default();
        assert!(config.validate().is_ok());
        let refused = |change: fn(&mut FetcherConfig)| {
            let mut config = FetcherConfig::default();
            change(&mut config);
            config.validate().unwrap_err().setting
        };
        assert_eq!(refused(|c| c.max_wait = Duration::from_secs(301)), "max_wait");
        assert_eq!(refused(|c| c.max_bytes = 0), "max_bytes");
        assert_eq!(refused(|c| c.partition_max_bytes = 3 << 30), "partition_max_bytes");
        assert_eq!(refused(|c| c.min_bytes = 60 << 20), "min_bytes");
        assert_eq!(refused(|c| c.partition_buffer_bytes = 1), "partition_buffer_bytes");
        assert_eq!(refused(|c| c.buffer_bytes = Some(1 << 20)), "buffer_bytes");
    }

    #[test]
    fn few_partitions_have_what_is_set_and_many_share_half_of_the_memory() {
        let config = FetcherConfig::default();
        let room = |partitions| config.partition_room(64 << 20, partitions);
        let set = PartitionRoom {
            max_bytes: config.partition_max_bytes,
            buffer_bytes: config.partition_buffer_bytes,
        };
        assert_eq!([room(0), room(1), room(16)], [set; 3]);
        assert_eq!(room(64).buffer_bytes, 512 << 10);
        assert_eq!(room(64).max_bytes, 256 << 10);
        for partitions in 17..1024 {
            assert!(room(partitions).buffer_bytes * partitions <= 32 << 20, "{partitions}");
        }
        assert_eq!(room(100_000).max_bytes, LEAST_PARTITION_BYTES, "the floor");
    }
}
