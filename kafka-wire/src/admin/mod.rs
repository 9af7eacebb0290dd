//! What administrators ask: topics, their configuration, offsets, brokers.
//!
//! [`Admin`] is a thin conversation over [`Client`]: each method builds one request (or one per leader), sends it to whoever can
//! answer, and turns error codes into errors that name topic and partition. It keeps nothing.

mod driver;
mod epochs;
mod offsets;
mod topics;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::client::Client;
use crate::connection::{BrokerAddress, CallError};
pub use crate::protocol::IsolationLevel;
use crate::protocol::{ErrorCode, TopicId, TopicPartition};

/// Administration of a cluster, from [`Client::admin`].
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name: letters, digits, `.`, `_` and `-`, at most 249.
    pub name: String,
    /// How many partitions; -1 takes the broker's `num.partitions`.
    pub partitions: i32,
    /// How many replicas; -1 takes the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// Configuration that differs from the broker's defaults, for example `cleanup.policy`.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's replication factor and configuration.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor: -1,
            configs: BTreeMap::new(),
        }
    }

    /// Sets the number of replicas.
    pub fn with_replication_factor(mut self, replicas: i16) -> Self {
        self.replication_factor = replicas;
        self
    }

    /// Sets one configuration entry.
    pub fn with_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }
}

/// Why an administrative request failed, as a whole or for one topic or partition.
#[derive(Debug, Clone)]
pub struct AdminError {
    /// What it was about: a topic, a partition, or empty for the whole request.
    pub subject: String,
    /// What went wrong.
    pub source: CallError,
}

impl AdminError {
    fn new(subject: impl fmt::Display, source: CallError) -> Self {
        Self {
            subject: subject.to_string(),
            source,
        }
    }

    /// The code the broker refused with, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        self.source.code()
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            self.source.fmt(f)
        } else {
            write!(f, "{}: {}", self.subject, self.source)
        }
    }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<CallError> for AdminError {
    fn from(source: CallError) -> Self {
        Self {
            subject: String::new(),
            source,
        }
    }
}

/// What a request said about each topic it named, in the order of the request.
pub type TopicResults = Vec<(String, Result<(), AdminError>)>;

/// A topic as the cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id, [`TopicId::ZERO`] from brokers older than 2.8.
    pub id: TopicId,
    /// Whether Kafka uses it for itself, as `__consumer_offsets`.
    pub internal: bool,
    /// By partition number.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as the cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Node id of the leader; `None` during an election or when every replica is down.
    pub leader: Option<i32>,
    /// Epoch of the leader, -1 from brokers older than 2.1.
    pub leader_epoch: i32,
    /// Node ids of all replicas.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub in_sync: Vec<i32>,
}

/// Brokers and controller of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Node id of the controller, or of a broker that forwards to it (KRaft).
    pub controller: Option<i32>,
    /// Every live broker, by node id.
    pub brokers: Vec<BrokerAddress>,
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The log end as the isolation level sees it: high watermark, or last stable offset.
    Latest,
    /// The first record at or after this time, in milliseconds since 1970.
    Timestamp(i64),
}

/// An offset the leader told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 when no record is as young as the timestamp asked for.
    pub offset: i64,
    /// Leader epoch of the record at this offset, -1 when unknown.
    pub leader_epoch: i32,
    /// Timestamp of the record found, -1 for earliest and latest.
    pub timestamp: i64,
}

/// Lies here and not with the rest of [`Client`], which knows nothing above it.
impl Client {
    /// Topics, configurations, offsets: what administrators ask.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone() }
    }
}

impl Admin {
    /// Creates topics and waits until each partition has a leader, 30 s at most.
    ///
    /// # Errors
    /// The request itself failed; what happened to each topic stands in the result, for example `TOPIC_ALREADY_EXISTS`.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<TopicResults, AdminError> {
        driver::create_topics(&self.client, topics).await
    }

    /// Deletes topics. Brokers remove the data in the background.
    ///
    /// # Errors
    /// The request itself failed; what happened to each topic stands in the result.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<TopicResults, AdminError> {
        let response = self
            .client
            .call_any_with(|version| topics::delete_request(version, names), None)
            .await?;
        Ok(topics::deleted(names, &response))
    }

    /// Describes topics, in the order asked for.
    ///
    /// # Errors
    /// Names the first topic that does not exist or may not be described.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, AdminError> {
        let response = self
            .client
            .call_any_with(|version| topics::describe_request(version, names), None)
            .await?;
        topics::described(names, &response)
    }

    /// The configuration of a topic as it is in force, defaults included. Sensitive values are left out.
    ///
    /// # Errors
    /// Names the topic when it does not exist or may not be described.
    pub async fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let response = self.client.call_any(topics::config_request(topic), None).await?;
        topics::config(topic, response)
    }

    /// Offsets of partitions, asked from each partition's leader; retried after a leader change until the request timeout.
    ///
    /// # Errors
    /// Names the first partition without an answer.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
    ) -> Result<HashMap<TopicPartition, ListedOffset>, AdminError> {
        driver::list_offsets(&self.client, wanted, isolation).await
    }

    /// The offset at which leader epoch `epoch` of a partition ended (KIP-320); `None` if the leader does not know. Retried after
    /// a leader change until the request timeout.
    ///
    /// # Errors
    /// Names the partition.
    pub async fn epoch_end_offset(&self, partition: &TopicPartition, epoch: i32) -> Result<Option<i64>, AdminError> {
        driver::epoch_end_offset(&self.client, partition, epoch).await
    }

    /// Brokers and controller, asked now.
    ///
    /// # Errors
    /// No broker answered.
    pub async fn cluster(&self) -> Result<ClusterDescription, AdminError> {
        let image = self.client.refresh(&[]).await?;
        Ok(ClusterDescription {
            cluster_id: image.cluster_id().map(ToOwned::to_owned),
            controller: image.controller(),
            brokers: image.brokers().map(|broker| BrokerAddress::clone(broker)).collect(),
        })
    }
}
