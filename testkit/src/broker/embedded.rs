//! [`EmbeddedBroker`]: the cluster as tests and examples hold it.
#![allow(clippy::disallowed_methods, reason = "driver: reads the clocks once at the start")]

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_wire::transport::Connector;
use kafka_wire::{Client, ClientConfig, ConfigError, TopicId};

use super::api::Api;
use super::config::BrokerConfig;
use super::core::BrokerCore;
use super::driver::{Hub, MemoryConnector, bind};
use super::faults::FaultControl;
use super::inspect::{AcceptedCommit, KeyValue, NewTopic, PartitionLeader, PartitionOffsets, StoredRecord, TopicError};
use super::log::Tombstones;

/// A running cluster. Dropping it ends it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use testkit::broker::{BrokerConfig, EmbeddedBroker};
///
/// let kafka = EmbeddedBroker::start(BrokerConfig::default()).await?;
/// kafka.create_topic("clicks", 3)?;
/// println!("bootstrap.servers={}", kafka.bootstrap().join(","));
/// # kafka.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker {
    hub: Arc<Hub>,
    nodes: Vec<i32>,
    default_partitions: i32,
    /// Whether the brokers listen on sockets.
    listens: bool,
}

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error("the embedded broker's configuration is wrong: {0}")]
    Config(String),
    /// No port could be had.
    #[error("the embedded broker could not listen on 127.0.0.1")]
    Listen(#[source] io::Error),
}

impl EmbeddedBroker {
    /// Starts a cluster whose brokers listen on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, or there is no free port.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let mut broker = Self::in_memory(config)?;
        broker.listens = true;
        for node in &broker.nodes {
            let address = bind(&broker.hub, *node).await.map_err(StartError::Listen)?;
            broker
                .hub
                .with(|core, _| core.set_address(*node, &address.ip().to_string(), address.port()));
        }
        Ok(broker)
    }

    /// Starts a cluster that is reached through [`EmbeddedBroker::connector`] only and opens no socket. With
    /// `tokio::time::pause` it runs on virtual time. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The configuration is wrong.
    pub fn in_memory(config: BrokerConfig) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let now = tokio::time::Instant::now().into_std();
        let unix_ms = config.start_unix_ms.unwrap_or_else(unix_ms);
        let (nodes, seed) = ((1..=config.brokers).collect(), config.seed);
        let (default_partitions, request_max_bytes) = (config.default_partitions, config.request_max_bytes);
        let core = BrokerCore::new(config, now, unix_ms, seed);
        Ok(Self {
            hub: Hub::new(core, request_max_bytes),
            nodes,
            default_partitions,
            listens: false,
        })
    }

    /// `host:port` of every broker.
    pub fn bootstrap(&self) -> Vec<String> {
        self.hub.with(|core, _| core.addresses())
    }

    /// A client configuration that finds this cluster; give it to [`EmbeddedBroker::client_with`].
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.bootstrap())
    }

    /// A client of this cluster: over sockets if the brokers listen, else within the process.
    ///
    /// # Errors
    ///
    /// The configuration is wrong.
    pub fn client_with(&self, config: ClientConfig) -> Result<Client, ConfigError> {
        if self.listens {
            Client::new(config)
        } else {
            Client::with_connector(config, self.connector())
        }
    }

    /// The node ids, ascending.
    pub fn nodes(&self) -> &[i32] {
        &self.nodes
    }

    /// Connects to the brokers without sockets, by the addresses of [`EmbeddedBroker::bootstrap`].
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(MemoryConnector {
            hub: Arc::clone(&self.hub),
        })
    }

    /// What may go wrong.
    pub fn faults(&self) -> FaultControl {
        FaultControl::new(Arc::clone(&self.hub))
    }

    /// Creates a topic with default settings; 0 partitions mean the default number.
    ///
    /// # Errors
    ///
    /// It exists, or its name is illegal.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<TopicId, TopicError> {
        let partitions = if partitions > 0 {
            partitions
        } else {
            self.default_partitions
        };
        self.create_topic_with(&NewTopic::new(name, partitions))
    }

    /// Creates a topic with settings of its own.
    ///
    /// # Errors
    ///
    /// It exists, its name is illegal, a setting is wrong, or there are too few brokers.
    pub fn create_topic_with(&self, topic: &NewTopic) -> Result<TopicId, TopicError> {
        self.hub.with(|core, _| core.create_topic(topic))
    }

    /// Deletes a topic; whether it was there.
    pub fn delete_topic(&self, topic: &str) -> bool {
        self.hub.with(|core, now| core.delete_topic(now, topic))
    }

    /// The id of a topic.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.hub.with(|core, _| core.topic_id(topic))
    }

    /// Every record of a partition from the log start on.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn records(&self, topic: &str, partition: i32) -> Result<Vec<StoredRecord>, TopicError> {
        self.hub.with(|core, _| core.records(topic, partition))
    }

    /// Appends records past all clients, in one batch; the offset of the first.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the log refuses the batch.
    pub fn append(&self, topic: &str, partition: i32, records: &[KeyValue<'_>]) -> Result<i64, TopicError> {
        self.hub.with(|core, now| core.append(now, topic, partition, records))
    }

    /// The ends of a partition's log.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Result<PartitionOffsets, TopicError> {
        self.hub.with(|core, _| core.offsets(topic, partition))
    }

    /// Who leads a partition.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<PartitionLeader, TopicError> {
        self.hub.with(|core, _| core.leader(topic, partition))
    }

    /// Compacts a partition now, whatever its settings; how many records went.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn compact(&self, topic: &str, partition: i32, tombstones: Tombstones) -> Result<usize, TopicError> {
        self.hub.with(|core, _| core.compact(topic, partition, tombstones))
    }

    /// Deletes the records before an offset, as retention does.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<(), TopicError> {
        self.hub
            .with(|core, now| core.delete_records(now, topic, partition, before))
    }

    /// The offset a group has committed.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.hub.with(|core, _| core.committed(group, topic, partition))
    }

    /// Every commit of a group, in the order the coordinator accepted them; none without
    /// [`BrokerConfig::keep_commits`].
    pub fn commits(&self, group: &str) -> Vec<AcceptedCommit> {
        self.hub.with(|core, _| core.commits(group))
    }

    /// How many requests of an API were served so far, by all brokers.
    pub fn served(&self, api: Api) -> u64 {
        self.hub.with(|core, _| core.state.served(api))
    }

    /// Open connections to a node.
    pub fn connections(&self, node: i32) -> usize {
        self.hub.with(|core, _| core.connection_count(node))
    }

    /// Ends the cluster: connections break off, ports are free when this returns.
    pub async fn stop(self) {
        self.hub.shut_down().await;
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.hub.abort();
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
