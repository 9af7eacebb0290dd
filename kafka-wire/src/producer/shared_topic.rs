//! The shared batches of a topic's partitions, and where records without a key go.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::cluster::ClusterImage;
use crate::producer::door::Door;
use crate::producer::shared_partition::SharedPartition;
use crate::protocol::TopicPartition;

/// One topic, shared by all its `TopicProducer`s.
#[derive(Debug)]
pub(super) struct SharedTopic {
    name: Arc<str>,
    door: Arc<Door>,
    count: AtomicI32,
    /// Grows with the topic and never shrinks.
    partitions: RwLock<Vec<Arc<SharedPartition>>>,
    keyless: AtomicI32,
    keyless_bytes: AtomicUsize,
}

impl SharedTopic {
    pub(super) fn new(door: Arc<Door>, name: Arc<str>, count: i32) -> SharedTopic {
        let topic = SharedTopic {
            name,
            door,
            count: AtomicI32::new(0),
            partitions: RwLock::default(),
            keyless: AtomicI32::new(0),
            keyless_bytes: AtomicUsize::new(0),
        };
        topic.set_count(count);
        topic
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    pub(super) fn partition_count(&self) -> i32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Runs `with` on the partition, if the topic has it.
    pub(super) fn with_partition<T>(&self, partition: i32, with: impl FnOnce(&Arc<SharedPartition>) -> T) -> Option<T> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(partition)
            .ok()
            .filter(|_| partition < self.partition_count())?;
        partitions.get(index).map(with)
    }

    /// The partition for a record without a key: the same one until a batch full of them went there, then the next one, so
    /// that batches fill up (KIP-480; all partitions get the same share in turn).
    pub(super) fn keyless_partition(&self, record_bytes: usize) -> i32 {
        let sent = self.keyless_bytes.fetch_add(record_bytes, Ordering::Relaxed);
        if sent + record_bytes >= self.door.commons.config.batch_bytes {
            self.keyless_bytes.store(0, Ordering::Relaxed);
            let next = (self.keyless.load(Ordering::Relaxed) + 1) % self.partition_count().max(1);
            return self.keyless.swap(next, Ordering::Relaxed);
        }
        self.keyless.load(Ordering::Relaxed)
    }

    /// Takes the number of partitions from a new picture of the cluster, if that has it.
    pub(super) fn follow(&self, image: &ClusterImage) {
        if let Some(count) = image.partition_count(&self.name).filter(|count| *count > 0)
            && count != self.partition_count()
        {
            tracing::info!(topic = %self.name, from = self.partition_count(), to = count, "partition count changed");
            self.set_count(count);
        }
    }

    pub(super) fn partitions(&self) -> Vec<Arc<SharedPartition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_count(&self, count: i32) {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions.len() as i32..count {
            let topic_partition = TopicPartition::new(Arc::clone(&self.name), partition);
            partitions.push(Arc::new(SharedPartition::new(Arc::clone(&self.door), topic_partition)));
        }
        self.count.store(count, Ordering::Relaxed);
    }
}
