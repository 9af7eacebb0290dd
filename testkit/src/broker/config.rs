//! How the embedded cluster is set up.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::api::Api;
use super::groups::GroupShardConfig;

/// Settings of the embedded cluster. Names in backticks are Kafka's.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Brokers in the cluster, 1 to 3; their node ids count from 1. Default 1.
    pub brokers: i32,
    /// `num.partitions`: what a topic gets that is created with -1 partitions. Default 1, as in Kafka.
    pub default_partitions: i32,
    /// `default.replication.factor`. Default 1, as in Kafka.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`. Kafka's default is true; false here, because a misspelt topic should fail a test.
    pub auto_create_topics: bool,
    /// `message.max.bytes`: the default of the topic setting `max.message.bytes`. Default 1 MiB + 12, as in Kafka.
    pub message_max_bytes: i32,
    /// `fetch.max.bytes`: the most one fetch is answered with. Default 55 MiB, as in Kafka.
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`. 0 answers every fetch without a session. Default 1000, as in Kafka.
    pub fetch_sessions: usize,
    /// `socket.request.max.bytes`: a longer request closes the connection. Default 100 MiB, as in Kafka.
    pub request_max_bytes: u32,
    /// Session timeouts, initial rebalance delay and limits of consumer groups.
    pub groups: GroupShardConfig,
    /// Versions to advertise instead of all that are served, to pose as an older broker. An empty range leaves the API out.
    pub api_versions: BTreeMap<Api, RangeInclusive<i16>>,
    /// `cluster.id`.
    pub cluster_id: String,
    /// What the records' clock shows at the start, in milliseconds since 1970. Default: what this machine's clock shows.
    pub start_unix_ms: Option<i64>,
    /// Whether every accepted commit is kept, for those who check a run afterwards. Default false.
    pub keep_commits: bool,
    /// Where topic ids and member ids come from; equal seeds give equal ids. Default 0.
    pub seed: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            brokers: 1,
            default_partitions: 1,
            default_replication_factor: 1,
            auto_create_topics: false,
            message_max_bytes: 1024 * 1024 + 12,
            fetch_max_bytes: 55 * 1024 * 1024,
            fetch_sessions: 1000,
            request_max_bytes: 100 * 1024 * 1024,
            groups: GroupShardConfig::default(),
            api_versions: BTreeMap::new(),
            cluster_id: "embedded-kafka-cluster".to_owned(),
            start_unix_ms: None,
            keep_commits: false,
            seed: 0,
        }
    }
}

impl BrokerConfig {
    /// The defaults with this many brokers, and topics replicated to all of them.
    pub fn with_brokers(brokers: i32) -> Self {
        let replication = i16::try_from(brokers).unwrap_or(1);
        Self {
            brokers,
            default_replication_factor: replication,
            ..Self::default()
        }
    }

    /// # Errors
    ///
    /// Names the setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        let named = |ok: bool, name: &str, rule: &str| if ok { Ok(()) } else { Err(format!("{name} {rule}")) };
        named((1..=3).contains(&self.brokers), "brokers", "must be 1, 2 or 3")?;
        named(self.default_partitions > 0, "default_partitions", "must be positive")?;
        let replication = 1..=self.brokers;
        let factor = i32::from(self.default_replication_factor);
        named(
            replication.contains(&factor),
            "default_replication_factor",
            "must be between 1 and the number of brokers",
        )?;
        named(self.message_max_bytes > 0, "message_max_bytes", "must be positive")?;
        named(
            self.fetch_max_bytes >= 1024,
            "fetch_max_bytes",
            "must be at least 1024, as Kafka demands",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_refused_by_name() {
        assert_eq!(BrokerConfig::default().validate(), Ok(()));
        assert_eq!(BrokerConfig::with_brokers(3).validate(), Ok(()));
        let refused = BrokerConfig {
            brokers: 4,
            ..BrokerConfig::default()
        }
        .validate();
        assert_eq!(refused, Err("brokers must be 1, 2 or 3".to_owned()));
        let refused = BrokerConfig {
            default_replication_factor: 2,
            ..BrokerConfig::default()
        }
        .validate();
        assert!(refused.is_err_and(|error| error.starts_with("default_replication_factor")));
    }
}
