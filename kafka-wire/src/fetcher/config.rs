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
            isolation: IsolationLevel::ReadUncommitted,
        }
    }
}

impl FetcherConfig {
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
    }
}
