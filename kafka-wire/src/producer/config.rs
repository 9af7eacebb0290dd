//! Settings of a [`Producer`](crate::producer::Producer).

use std::collections::HashMap;
use std::time::Duration;

use crate::config::ConfigError;
use crate::protocol::Compression;

/// How records are collected, sent and given up.
///
/// ```
/// use kafka_wire::producer::ProducerConfig;
/// let config = ProducerConfig { buffer_bytes: Some(16 << 20), ..ProducerConfig::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// How long a shared batch waits for more records while an earlier one of its partition is unanswered; with nothing
    /// unanswered it is sent at once. Default 5 ms, as Java since 4.0.
    pub linger: Duration,
    /// Uncompressed bytes at which a batch is closed. Default 256 KiB: large enough that headers and round trips do not
    /// matter, small enough for the 1 MiB that brokers accept by default.
    pub batch_bytes: usize,
    /// Batches that one request carries, in bytes; also the largest record. Default 8 MiB.
    pub max_request_bytes: usize,
    /// Bytes that may be unacknowledged before senders have to wait. Default `None`: 64 MiB, or in a processor its share of
    /// `max_memory`.
    pub buffer_bytes: Option<usize>,
    /// Time from submission until a batch is given up. Default 120 s, as Java. A batch whose request is unanswered at that
    /// moment is decided by the answer, so its outcome comes at most `request_timeout` later.
    pub delivery_timeout: Duration,
    /// Time for the answer to one request, and for the broker to reach all in-sync replicas. Default 30 s, as Java.
    pub request_timeout: Duration,
    /// Requests in flight per broker, 1 to 5. Default 5: brokers remember five batches per producer and partition, so more
    /// could not be repeated safely.
    pub max_in_flight: usize,
    /// Codec of topics that `topic_compression` does not name. Default none.
    pub compression: Compression,
    /// Codec by topic.
    pub topic_compression: HashMap<String, Compression>,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            batch_bytes: 256 << 10,
            max_request_bytes: 8 << 20,
            buffer_bytes: None,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            max_in_flight: 5,
            compression: Compression::None,
            topic_compression: HashMap::new(),
        }
    }
}

/// What may be unacknowledged unless told otherwise.
const BUFFER_BYTES: usize = 64 << 20;

impl ProducerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Half of what a length field can say, so that envelopes and the last record never reach the limit.
        const LARGEST: usize = 1 << 30;
        let sizes = [
            ("batch_bytes", self.batch_bytes, 1, self.max_request_bytes.min(LARGEST)),
            ("max_request_bytes", self.max_request_bytes, 1, LARGEST),
            ("buffer_bytes", self.buffer_limit(), self.batch_bytes, usize::MAX),
            ("max_in_flight", self.max_in_flight, 1, 5),
        ];
        for (setting, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::new(
                    setting,
                    format!("is {value}, must be {least} to {most}"),
                ));
            }
        }
        for (setting, time) in [
            ("delivery_timeout", self.delivery_timeout),
            ("request_timeout", self.request_timeout),
        ] {
            if time.is_zero() {
                return Err(ConfigError::new(setting, "is zero; nothing could ever be sent"));
            }
        }
        Ok(())
    }

    /// Bytes that may be unacknowledged.
    pub(super) fn buffer_limit(&self) -> usize {
        self.buffer_bytes.unwrap_or(BUFFER_BYTES)
    }

    pub(super) fn compression_of(&self, topic: &str) -> Compression {
        self.topic_compression.get(topic).copied().unwrap_or(self.compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_works() {
        ProducerConfig::default().validate().unwrap();
    }

    #[test]
    fn each_wrong_value_is_refused_by_name() {
        let fine = ProducerConfig::default;
        let wrong = [
            (
                "batch_bytes",
                ProducerConfig {
                    batch_bytes: 0,
                    ..fine()
                },
            ),
            (
                "batch_bytes",
                ProducerConfig {
                    batch_bytes: 9 << 20,
                    ..fine()
                },
            ),
            (
                "max_request_bytes",
                ProducerConfig {
                    max_request_bytes: 2 << 30,
                    ..fine()
                },
            ),
            (
                "buffer_bytes",
                ProducerConfig {
                    buffer_bytes: Some(1),
                    ..fine()
                },
            ),
            (
                "max_in_flight",
                ProducerConfig {
                    max_in_flight: 6,
                    ..fine()
                },
            ),
            (
                "max_in_flight",
                ProducerConfig {
                    max_in_flight: 0,
                    ..fine()
                },
            ),
            (
                "delivery_timeout",
                ProducerConfig {
                    delivery_timeout: Duration::ZERO,
                    ..fine()
                },
            ),
            (
                "request_timeout",
                ProducerConfig {
                    request_timeout: Duration::ZERO,
                    ..fine()
                },
            ),
        ];
        for (setting, config) in wrong {
            assert_eq!(config.validate().unwrap_err().setting, setting);
        }
    }

    #[test]
    fn a_topic_may_have_its_own_codec() {
        let topic_compression = HashMap::from([("logs".to_owned(), Compression::Lz4)]);
        let config = ProducerConfig {
            topic_compression,
            ..ProducerConfig::default()
        };
        assert_eq!(config.compression_of("logs"), Compression::Lz4);
        assert_eq!(config.compression_of("clicks"), Compression::None);
    }
}
