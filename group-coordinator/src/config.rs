//! What a member of a group is told once, at the start.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::ConfigError;

use crate::assignor::{Assignor, Copartition};

/// How a member joins its group. Kafka's names, Rust's types.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: String,
    /// Subscribed topics, in the order in which they are told to the group (goka: inputs in definition order, then the loop).
    pub topics: Vec<String>,
    /// `group.instance.id`: a static member (KIP-345). It does not leave the group when it stops, and a second process with the
    /// same id fences the first. Default none.
    pub instance_id: Option<String>,
    /// `session.timeout.ms`: without a heartbeat for this long the broker gives our partitions away, and the [`Lease`] is over.
    /// Default 45 s, as in Kafka since 3.0 (KIP-735); the broker allows 6 s to 30 min.
    ///
    /// [`Lease`]: crate::Lease
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`. Default 3 s; at most a third of the session timeout, so that two may get lost.
    pub heartbeat_interval: Duration,
    /// How long a member may take to give up its partitions when the group rebalances. Default 60 s, as in goka: a Go member
    /// needs five seconds alone to come back.
    pub rebalance_timeout: Duration,
    /// Who distributes the partitions when this member leads the group. Default [`Copartition`], tolerant.
    pub assignor: Arc<dyn Assignor>,
    /// The first wait before something is tried again; doubled per failure, +-20 %. Default 100 ms (KIP-580).
    pub retry_backoff: Duration,
    /// The longest wait before something is tried again. Default 1 s (KIP-580).
    pub retry_backoff_max: Duration,
    /// How long a commit, or a look-up of committed offsets, is tried before its caller gets an error. Default 60 s
    /// (`default.api.timeout.ms`). Offsets held back by an open transaction are waited for without this limit (KIP-447).
    pub offsets_timeout: Duration,
}

impl GroupConfig {
    /// A dynamic member of `group_id` with the defaults above.
    pub fn new(group_id: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            group_id: group_id.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            assignor: Arc::new(Copartition::tolerant()),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            offsets_timeout: Duration::from_secs(60),
        }
    }

    /// Sets [`Self::instance_id`].
    pub fn with_instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// Sets [`Self::session_timeout`].
    pub fn with_session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Sets [`Self::heartbeat_interval`].
    pub fn with_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Sets [`Self::rebalance_timeout`].
    pub fn with_rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.rebalance_timeout = timeout;
        self
    }

    /// Sets [`Self::assignor`].
    pub fn with_assignor(mut self, assignor: Arc<dyn Assignor>) -> Self {
        self.assignor = assignor;
        self
    }

    /// Sets [`Self::offsets_timeout`].
    pub fn with_offsets_timeout(mut self, timeout: Duration) -> Self {
        self.offsets_timeout = timeout;
        self
    }

    /// Refuses values with which no group works.
    ///
    /// # Errors
    /// The first wrong field, by name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field, reason: &str| Err(ConfigError::new(field, reason));
        if self.group_id.is_empty() {
            return wrong("group_id", "is empty");
        }
        if self.topics.is_empty() {
            return wrong("topics", "is empty: a member that subscribes to nothing gets nothing");
        }
        if self.instance_id.as_deref() == Some("") {
            return wrong("instance_id", "is empty: leave it out for a dynamic member");
        }
        for (field, value) in self.protocol_strings() {
            if value.len() > i16::MAX as usize {
                return wrong(field, "is longer than a Kafka string (32767 bytes)");
            }
        }
        for (field, value) in self.durations() {
            if value.is_zero() {
                return wrong(field, "is zero");
            }
            if value.as_millis() > i32::MAX as u128 {
                return wrong(field, "does not fit the protocol (24.8 days)");
            }
        }
        if self.heartbeat_interval * 3 > self.session_timeout {
            return wrong("heartbeat_interval", "is more than a third of session_timeout");
        }
        if self.heartbeat_interval >= self.rebalance_timeout {
            return wrong(
                "heartbeat_interval",
                "must be below rebalance_timeout, or a rebalance is over before it is heard of",
            );
        }
        if self.retry_backoff > self.retry_backoff_max {
            return wrong("retry_backoff", "is above retry_backoff_max");
        }
        Ok(())
    }

    fn protocol_strings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let topics = self.topics.iter().map(|topic| ("topics", topic.as_str()));
        let ids = [
            ("group_id", self.group_id.as_str()),
            ("instance_id", self.instance_id.as_deref().unwrap_or_default()),
        ];
        ids.into_iter().chain(topics)
    }

    fn durations(&self) -> [(&'static str, Duration); 6] {
        [
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("rebalance_timeout", self.rebalance_timeout),
            ("retry_backoff", self.retry_backoff),
            ("retry_backoff_max", self.retry_backoff_max),
            ("offsets_timeout", self.offsets_timeout),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(GroupConfig::new("group", ["input"]).validate(), Ok(()));
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_field() {
        let good = || GroupConfig::new("group", ["input"]);
        let cases = [
            ("group_id", GroupConfig::new("", ["input"])),
            ("topics", GroupConfig::new("group", Vec::<String>::new())),
            ("topics", GroupConfig::new("group", ["x".repeat(40_000)])),
            ("instance_id", good().with_instance_id("")),
            ("session_timeout", good().with_session_timeout(Duration::MAX)),
            (
                "heartbeat_interval",
                good().with_heartbeat_interval(Duration::from_secs(16)),
            ),
            (
                "heartbeat_interval",
                good().with_rebalance_timeout(Duration::from_secs(1)),
            ),
            ("offsets_timeout", good().with_offsets_timeout(Duration::ZERO)),
        ];
        for (field, config) in cases {
            assert_eq!(config.validate().map_err(|error| error.setting), Err(field));
        }
    }
}
