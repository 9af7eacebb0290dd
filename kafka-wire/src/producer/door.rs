//! What the front doors and the driver share, and the channel from the one to the other.
//!
//! The driver holds [`Commons`] only. So the channel closes when the last front door is gone, and the driver ends once
//! everything submitted has its outcome.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::cluster::ClusterImage;
use crate::connection::Permit;
use crate::producer::buffers::{Budget, BufferPool};
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::Delivery;
use crate::producer::error::ProduceError;
use crate::producer::pending_batch::Submission;
use crate::producer::shared_partition::Lingering;
use crate::producer::shared_topic::SharedTopic;
use crate::protocol::TopicPartition;
use crate::protocol::batch::SealedBatch;

/// Shared by every front door of one producer and its driver.
#[derive(Debug)]
pub(super) struct Commons {
    pub(super) config: ProducerConfig,
    pub(super) budget: Arc<Budget>,
    pub(super) buffers: BufferPool,
    closed: AtomicBool,
    next_chain: AtomicU64,
    topics: Mutex<BTreeMap<Arc<str>, Weak<SharedTopic>>>,
}

/// A front door's way to the driver.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) commons: Arc<Commons>,
    pub(super) client: Client,
    commands: mpsc::UnboundedSender<Command>,
}

/// What the driver is told; per batch, never per record.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Submission<Delivery>),
    /// A shared batch was begun behind an unanswered one.
    Linger(Lingering),
    /// A writer takes back what it submitted for its partition and what is not in flight.
    Abandon(TopicPartition, u64),
    /// A writer is gone.
    ChainClosed(u64),
    /// Answered when everything submitted before has its outcome.
    Flush(oneshot::Sender<Result<(), ProduceError>>),
    /// End; what is submitted after this fails.
    Close,
}

impl Commons {
    pub(super) fn new(config: ProducerConfig) -> Commons {
        Commons {
            budget: Budget::new(config.buffer_limit()),
            buffers: BufferPool::default(),
            closed: AtomicBool::new(false),
            next_chain: AtomicU64::new(0),
            topics: Mutex::default(),
            config,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// No front door begins a batch from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn next_chain(&self) -> u64 {
        self.next_chain.fetch_add(1, Ordering::Relaxed)
    }

    /// The topic's shared batches; `begin` makes them for the first who asks.
    pub(super) fn topic(&self, name: &Arc<str>, begin: impl FnOnce() -> Arc<SharedTopic>) -> Arc<SharedTopic> {
        let mut topics = self.lock_topics();
        if let Some(topic) = topics.get(name).and_then(Weak::upgrade) {
            return topic;
        }
        topics.retain(|_, topic| topic.strong_count() > 0);
        let topic = begin();
        topics.insert(Arc::clone(name), Arc::downgrade(&topic));
        topic
    }

    pub(super) fn topics(&self) -> Vec<Arc<SharedTopic>> {
        self.lock_topics().values().filter_map(Weak::upgrade).collect()
    }

    /// Topics grow: their shared batches follow the picture of the cluster.
    pub(super) fn follow(&self, image: &ClusterImage) {
        for topic in self.topics() {
            topic.follow(image);
        }
    }

    fn lock_topics(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Weak<SharedTopic>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    pub(super) fn new(commons: Arc<Commons>, client: Client, commands: mpsc::UnboundedSender<Command>) -> Door {
        Door {
            commons,
            client,
            commands,
        }
    }

    /// Hands a sealed batch to the driver. If the driver is gone, dropping the delivery tells so.
    pub(super) fn submit(
        &self,
        topic_partition: &TopicPartition,
        batch: SealedBatch,
        chain: Option<u64>,
        permit: Option<Permit>,
        mut delivery: Delivery,
    ) {
        delivery.sealed(batch.len());
        let topic_partition = topic_partition.clone();
        self.tell(Command::Submit(Submission {
            topic_partition,
            batch,
            chain,
            permit,
            tag: delivery,
        }));
    }

    /// Tells the driver; a command that finds it gone is dropped, and what it carries answers for itself.
    pub(super) fn tell(&self, command: Command) {
        drop(self.commands.send(command));
    }

    /// Waits until everything submitted so far has its outcome.
    pub(super) async fn flush_submitted(&self) -> Result<(), ProduceError> {
        let (flushed, done) = oneshot::channel();
        self.tell(Command::Flush(flushed));
        done.await.unwrap_or_else(|_| Err(ProduceError::closed()))
    }

    /// Whether the driver has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.commands.is_closed()
    }

    /// Waits until the driver has ended, or takes no commands any more.
    pub(super) async fn closed(&self) {
        self.commands.closed().await;
    }
}
