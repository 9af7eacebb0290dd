//! Sending records: acknowledged by all in-sync replicas, written once however often a request is repeated, in order.
//!
//! ```text
//!   TopicProducer::send ----> shared batch --\                         /--> broker 1
//!                                             +--> driver, accumulator +--> broker 2
//!   PartitionWriter::append -> own batch ----/                         \--> ..
//!        Receipt, Ack <--------------------------- outcome per batch ------------+
//! ```
//!
//! A [`Producer`] is idempotent (KIP-98) and always waits for all in-sync replicas. Two front doors share it: a
//! [`TopicProducer`] collects the records of many tasks and gives a [`Receipt`] for each; a [`PartitionWriter`] belongs to one
//! task, encodes into its own batch and reports whole batches. Both encode on append; nothing but sealed batches travels.
//!
//! Every batch gets one outcome, within `delivery_timeout` plus `request_timeout`: it is persisted, it is certainly not, or
//! nobody can tell ([`Persistence`]). Outcomes of a partition come in the order of its batches. See the machines for the
//! rules: `accumulator` what is sent when, `partition_queue` what answers mean, `sequence` the numbering, `verdict` the
//! error table.
//!
//! Not here: transactions, and waiting for room on behalf of the caller.

mod accumulator;
mod backoff;
mod buffers;
mod causes;
mod config;
mod delivery;
mod door;
mod driver;
mod error;
mod flush_rounds;
mod identity;
mod leader_search;
mod outcome;
mod partition_queue;
mod partition_writer;
mod pending_batch;
mod receipt;
mod request;
mod response;
mod sequence;
mod shared_partition;
mod shared_topic;
mod topic_producer;
mod verdict;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::client::Client;
use crate::config::ConfigError;
use crate::protocol::{ErrorCode, Partitioner, Recovery, TopicPartition};

pub use self::config::ProducerConfig;
pub use self::error::{Persistence, ProduceError, ProduceErrorKind};
pub use self::outcome::{Ack, Persisted, RecordPosition};
pub use self::partition_writer::PartitionWriter;
pub use self::receipt::Receipt;
pub use self::topic_producer::{ProducerRecord, TopicProducer};

use self::door::{Command, Commons, Door};
use self::shared_topic::SharedTopic;

/// How often a topic is asked for before it counts as missing; a topic just created takes a moment to be known everywhere.
const TOPIC_LOOKUPS: u32 = 4;

/// An idempotent producer. Clones share everything.
///
/// Its task ends with [`Producer::close`], or when every clone, topic producer and partition writer is dropped and everything
/// submitted has its outcome.
#[derive(Clone)]
pub struct Producer {
    door: Arc<Door>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commons = &self.door.commons;
        f.debug_struct("Producer")
            .field("unacknowledged_bytes", &commons.budget.used())
            .field("closed", &commons.is_closed())
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// Starts a producer's task. No IO happens before the first record. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub fn new(client: Client, config: ProducerConfig) -> Result<Producer, ConfigError> {
        config.validate()?;
        let commons = Arc::new(Commons::new(config));
        let (commands, inbox) = mpsc::unbounded_channel();
        driver::start(client.clone(), Arc::clone(&commons), inbox);
        Ok(Producer {
            door: Arc::new(Door::new(commons, client, commands)),
        })
    }

    /// A sender for one topic; asks the cluster for its partitions.
    ///
    /// # Errors
    /// `UnknownTopic` names a topic that does not exist, `Rejected` one that may not be seen, `Unavailable` says that no broker
    /// could be asked within the client's request timeout.
    pub async fn topic(&self, name: &str, partitioner: Partitioner) -> Result<TopicProducer, ProduceError> {
        let name: Arc<str> = name.into();
        let count = self.partition_count(&name).await?;
        let begin = || Arc::new(SharedTopic::new(Arc::clone(&self.door), Arc::clone(&name), count));
        let topic = self.door.commons.topic(&name, begin);
        Ok(TopicProducer::new(topic, partitioner))
    }

    /// A writer for one partition. Each of its batches is answered through `acks`, marked with `id`.
    pub fn partition_writer(
        &self,
        topic_partition: TopicPartition,
        acks: mpsc::UnboundedSender<Ack>,
        id: u32,
    ) -> PartitionWriter {
        PartitionWriter::new(Arc::clone(&self.door), topic_partition, acks, id)
    }

    /// The client whose connections it uses.
    #[doc(hidden)]
    pub fn client(&self) -> &Client {
        &self.door.client
    }

    /// Whether less than `buffer_bytes` are unacknowledged.
    pub fn has_room(&self) -> bool {
        self.door.commons.budget.has_room()
    }

    /// Waits until [`Producer::has_room`].
    pub async fn wait_for_room(&self) {
        self.door.commons.budget.wait_for_room().await;
    }

    /// Sends all shared batches and waits until everything sent and submitted before has its outcome. A partition writer's
    /// open batch is its owner's business.
    ///
    /// # Errors
    /// The first failure among the batches that were waited for.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        let mut unsubmitted = Vec::new();
        for topic in self.door.commons.topics() {
            for partition in topic.partitions() {
                partition.flush(&mut unsubmitted);
            }
        }
        let submitted = self.door.flush_submitted().await;
        let mut result = submitted;
        for completion in unsubmitted {
            result = result.and(completion.settled().await);
        }
        result
    }

    /// Refuses new records, sends what is there, waits until all of it has its outcome and ends the task. What a partition
    /// writer submits later fails. Closing again does nothing.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(&self) -> Result<(), ProduceError> {
        if self.door.is_gone() {
            return Ok(());
        }
        self.door.commons.close();
        let flushed = self.flush().await;
        self.door.tell(Command::Close);
        self.door.closed().await;
        flushed
    }

    async fn partition_count(&self, name: &Arc<str>) -> Result<i32, ProduceError> {
        let client = &self.door.client;
        if let Some(count) = client.cluster().partition_count(name).filter(|count| *count > 0) {
            return Ok(count);
        }
        let mut code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        for lookup in 1..=TOPIC_LOOKUPS {
            let image = client.refresh(std::slice::from_ref(name)).await.map_err(|error| {
                ProduceError::new(
                    ProduceErrorKind::Unavailable,
                    format!("topic {name} cannot be looked up: {error}"),
                )
            })?;
            if let Some(count) = image.partition_count(name).filter(|count| *count > 0) {
                return Ok(count);
            }
            code = image
                .topic(name)
                .map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error);
            if !matches!(
                code.recovery(),
                Recovery::None | Recovery::Retry | Recovery::RefreshMetadata
            ) {
                break;
            }
            driver::pause(backoff::backoff(lookup)).await;
        }
        let (kind, text) = match code {
            ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => (
                ProduceErrorKind::UnknownTopic,
                format!("topic {name} does not exist; create it, or check its name"),
            ),
            _ => (ProduceErrorKind::Rejected, format!("topic {name} cannot be looked up")),
        };
        Err(ProduceError::new(kind, text).said_by(None, Some(code)))
    }
}
