//! Settings of a [`Client`](crate::Client): whom to ask first and how patient to be.
//!
//! Producer, fetcher and group members have their own structs; nothing here concerns records. Every default is justified where
//! it stands, and [`ClientConfig::validate`] is the one place that refuses a wrong value, by name.

use std::time::Duration;

use crate::surroundings::Surroundings;

/// A setting that cannot work, named as it is spelled in the configuration struct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {setting}: {reason}")]
pub struct ConfigError {
    /// The field, for example `connection.request_timeout`.
    pub setting: &'static str,
    /// What is wrong with its value and what would be right.
    pub reason: String,
}

impl ConfigError {
    /// Names the `setting` and says what is wrong with it.
    pub fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self {
            setting,
            reason: reason.into(),
        }
    }
}

/// Whom to connect to and how.
///
/// ```
/// use kafka_wire::ClientConfig;
/// let config = ClientConfig::new(["localhost:9092"]).with_client_id("billing");
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Brokers to ask first, as `host:port` (`[::1]:9092` for IPv6). The rest of the cluster is learned from them, and they are
    /// asked again when every learned broker is gone (KIP-899).
    pub bootstrap: Vec<String>,
    /// Name shown in broker logs, quotas and metrics. Default `kafka-wire`.
    pub client_id: String,
    /// Settings of each socket.
    pub connection: ConnectionConfig,
    /// How the picture of the cluster is kept fresh.
    pub metadata: MetadataConfig,
    /// Chance and the wall clock: the machine's, unless a simulation fixes them.
    #[doc(hidden)]
    pub surroundings: Surroundings,
}

impl ClientConfig {
    /// Starts from the brokers to ask first; everything else has its default.
    pub fn new<S: Into<String>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            client_id: "kafka-wire".to_owned(),
            connection: ConnectionConfig::default(),
            metadata: MetadataConfig::default(),
            surroundings: Surroundings::default(),
        }
    }

    /// Sets the name shown in broker logs, quotas and metrics.
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets the settings of each socket.
    pub fn with_connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// Sets how the picture of the cluster is kept fresh.
    pub fn with_metadata(mut self, metadata: MetadataConfig) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets how long one connection attempt may take, see [`ConnectionConfig::connect_timeout`].
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connection.connect_timeout = timeout;
        self
    }

    /// Sets how long an answer may take, see [`ConnectionConfig::request_timeout`].
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.connection.request_timeout = timeout;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.bootstrap.is_empty() {
            return Err(ConfigError::new("bootstrap", "is empty; give at least one host:port"));
        }
        for address in &self.bootstrap {
            parse_address(address)?;
        }
        if self.client_id.len() > i16::MAX as usize {
            return Err(ConfigError::new(
                "client_id",
                "is longer than the 32767 bytes the protocol can carry",
            ));
        }
        self.connection.validate()?;
        self.metadata.validate()
    }
}

/// Settings of each socket.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// Time for name resolution, TCP and the version handshake together. Default 10 s, as Java and franz-go.
    pub connect_timeout: Duration,
    /// Time for an answer on top of what the request itself waits for at the broker. Default 30 s, as Java.
    pub request_timeout: Duration,
    /// First pause after a failed attempt to connect; it doubles up to the maximum, with full jitter. Default 50 ms, as Java.
    pub reconnect_backoff: Duration,
    /// Longest pause between two attempts. Default 2 s: a restarted broker is found again quickly, a dead one is not hammered.
    pub reconnect_backoff_max: Duration,
    /// A connection without traffic and without pending answers is closed after this time. Default 240 s, well below the 600 s
    /// after which brokers close it, so that we close first and no request races with the broker's close.
    pub idle_timeout: Duration,
    /// Longest response accepted, in bytes. Default 128 MiB: above any sane fetch, far below what a hostile length could claim.
    pub max_response_bytes: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(240),
            max_response_bytes: 128 << 20,
        }
    }
}

impl ConnectionConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        not_zero("connection.connect_timeout", self.connect_timeout)?;
        not_zero("connection.request_timeout", self.request_timeout)?;
        not_zero("connection.reconnect_backoff", self.reconnect_backoff)?;
        not_zero("connection.idle_timeout", self.idle_timeout)?;
        if self.reconnect_backoff_max < self.reconnect_backoff {
            return Err(ConfigError::new(
                "connection.reconnect_backoff_max",
                "is shorter than reconnect_backoff",
            ));
        }
        if !(1024..=i32::MAX as usize).contains(&self.max_response_bytes) {
            return Err(ConfigError::new(
                "connection.max_response_bytes",
                format!(
                    "is {}; it must lie between 1 KiB and 2 GiB - 1",
                    self.max_response_bytes
                ),
            ));
        }
        Ok(())
    }
}

/// How the picture of the cluster is kept fresh.
#[derive(Debug, Clone)]
pub struct MetadataConfig {
    /// The cluster is asked again after this time even when nothing went wrong. Default 5 min, as Java.
    pub max_age: Duration,
    /// Pause between two requests in a row, and after a failure, where it doubles. The first few in a row, after a quiet time,
    /// follow each other sooner: after a sixteenth of it, an eighth, and so on. Default 100 ms, as Java's `retry.backoff.ms`.
    pub refresh_backoff: Duration,
    /// Longest pause between two requests. Default 5 s: a leader election is noticed within it even in bad times.
    pub refresh_backoff_max: Duration,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            refresh_backoff: Duration::from_millis(100),
            refresh_backoff_max: Duration::from_secs(5),
        }
    }
}

impl MetadataConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        not_zero("metadata.max_age", self.max_age)?;
        not_zero("metadata.refresh_backoff", self.refresh_backoff)?;
        if self.refresh_backoff_max < self.refresh_backoff {
            return Err(ConfigError::new(
                "metadata.refresh_backoff_max",
                "is shorter than refresh_backoff",
            ));
        }
        Ok(())
    }
}

/// Splits `host:port`; an IPv6 host stands in brackets.
pub(crate) fn parse_address(address: &str) -> Result<(String, u16), ConfigError> {
    let wrong = |why: &str| ConfigError::new("bootstrap", format!("`{address}` {why}; expected host:port"));
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| wrong("has an unclosed bracket"))?,
        None if host.contains(':') => return Err(wrong("is an IPv6 address without brackets")),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong("has no host"));
    }
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok((host.to_owned(), port)),
        _ => Err(wrong("has no valid port")),
    }
}

fn not_zero(setting: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(setting, "is zero"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_into_host_and_port() {
        assert_eq!(
            parse_address("kafka-1.bank:9092").unwrap(),
            ("kafka-1.bank".to_owned(), 9092)
        );
        assert_eq!(parse_address("[::1]:19092").unwrap(), ("::1".to_owned(), 19092));
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_by_name() {
        for wrong in [
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            ":9092",
            "::1:9092",
            "[::1:9092",
        ] {
            let refused = ClientConfig::new([wrong]).validate().unwrap_err();
            assert_eq!(refused.setting, "bootstrap");
            assert!(refused.to_string().contains(wrong), "{refused}");
        }
        assert_eq!(
            ClientConfig::new(Vec::<String>::new()).validate().unwrap_err().setting,
            "bootstrap"
        );
    }

    #[test]
    fn every_duration_is_checked() {
        let mut config = ClientConfig::new(["a:1"]);
        config.connection.reconnect_backoff_max = Duration::from_millis(1);
        assert_eq!(
            config.validate().unwrap_err().setting,
            "connection.reconnect_backoff_max"
        );
        let mut config = ClientConfig::new(["a:1"]);
        config.metadata.max_age = Duration::ZERO;
        assert_eq!(config.validate().unwrap_err().setting, "metadata.max_age");
        let mut config = ClientConfig::new(["a:1"]);
        config.connection.max_response_bytes = 3 << 30;
        assert_eq!(config.validate().unwrap_err().setting, "connection.max_response_bytes");
    }
}
