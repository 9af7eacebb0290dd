//! A snapshot of the cluster: which brokers there are and who leads which partition.
//!
//! Snapshots are immutable; each response or hint makes the next one. Rules:
//! - Metadata with an older leader epoch never overwrites a newer one (KIP-320): a broker that lags behind must not send us back.
//! - A topic whose answer carries an error keeps the leaders known before; only the error is noted.
//! - Another topic id under the same name is another topic (KIP-516): nothing of the old one is kept.
//! - A hint (KIP-951) adds a broker and moves one leader, if its epoch is newer; it never drops anything.
//! - Partition numbers are the peer's word: as many partitions are kept as were listed, and a number beyond them is ignored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};

use crate::connection::BrokerAddress;
use crate::protocol::{ErrorCode, TopicId, TopicPartition};

/// What is known about the cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct ClusterImage {
    cluster_id: Option<String>,
    controller: Option<i32>,
    brokers: BTreeMap<i32, Arc<BrokerAddress>>,
    topics: HashMap<Arc<str>, Arc<TopicImage>>,
    names: HashMap<TopicId, Arc<str>>,
}

/// What is known about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// The topic's id, [`TopicId::ZERO`] from brokers older than 2.8.
    pub id: TopicId,
    /// By partition number, without gaps.
    pub partitions: Vec<PartitionImage>,
    /// Why the last answer says nothing about the topic, or `NONE`.
    pub error: ErrorCode,
}

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// Node id of the leader, -1 when there is none.
    pub leader: i32,
    /// Epoch of this leader, -1 from brokers older than 2.1.
    pub leader_epoch: i32,
    /// Node ids of all replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub in_sync: Vec<i32>,
    /// The partition's error, for example `LEADER_NOT_AVAILABLE`, or `NONE`.
    pub error: ErrorCode,
}

/// The new leader a Produce or Fetch error told (KIP-951).
#[derive(Debug, Clone)]
pub(crate) struct LeaderHint {
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    /// The leader's address, if the broker told it.
    pub(crate) endpoint: Option<BrokerAddress>,
}

impl ClusterImage {
    /// The cluster's id, as the broker of the last answer told it.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// Node id of the controller, or of some broker that forwards to it (KRaft).
    pub fn controller(&self) -> Option<i32> {
        self.controller
    }

    /// Every live broker, by node id.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &Arc<BrokerAddress>> + Clone {
        self.brokers.values()
    }

    /// The address of one broker.
    pub fn broker(&self, node: i32) -> Option<&Arc<BrokerAddress>> {
        self.brokers.get(&node)
    }

    /// What is known about a topic. Only topics somebody asked for are known.
    pub fn topic(&self, name: &str) -> Option<&TopicImage> {
        self.topics.get(name).map(AsRef::as_ref)
    }

    /// The name behind a topic id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Leader and leader epoch of a partition; `None` when the partition is unknown or leaderless.
    pub fn leader(&self, partition: &TopicPartition) -> Option<(i32, i32)> {
        let index = usize::try_from(partition.partition).ok()?;
        let known = self.topics.get(&*partition.topic)?.partitions.get(index)?;
        (known.leader >= 0).then_some((known.leader, known.leader_epoch))
    }

    /// How many partitions a topic has, leaderless ones included; `None` when nothing is known about it.
    pub fn partition_count(&self, name: &str) -> Option<i32> {
        let count = self.topics.get(name)?.partitions.len();
        if count == 0 { None } else { i32::try_from(count).ok() }
    }

    /// The next snapshot after a Metadata response. `None` when the response names no broker and so tells nothing.
    pub(crate) fn after_metadata(&self, response: &MetadataResponse) -> Option<Self> {
        let brokers: BTreeMap<_, _> = response
            .brokers
            .iter()
            .filter_map(address)
            .map(|a| (a.id, Arc::new(a)))
            .collect();
        if brokers.is_empty() {
            return None;
        }
        let mut next = self.clone();
        next.brokers = brokers;
        next.cluster_id = response
            .cluster_id
            .as_ref()
            .map(ToString::to_string)
            .or(next.cluster_id);
        next.controller = (response.controller_id.0 >= 0).then_some(response.controller_id.0);
        for topic in &response.topics {
            next.take_over_topic(topic);
        }
        Some(next)
    }

    /// The next snapshot after a leader hint; `None` when the hint tells nothing new.
    pub(crate) fn after_hint(&self, partition: &TopicPartition, hint: LeaderHint) -> Option<Self> {
        let index = usize::try_from(partition.partition).ok()?;
        let known = self.topics.get(&*partition.topic)?.partitions.get(index)?;
        let newer =
            hint.epoch > known.leader_epoch || (hint.epoch == known.leader_epoch && hint.leader != known.leader);
        let reachable = hint.endpoint.is_some() || self.brokers.contains_key(&hint.leader);
        if hint.leader < 0 || hint.epoch < 0 || !newer || !reachable {
            return None;
        }
        let mut next = self.clone();
        if let Some(endpoint) = hint.endpoint {
            next.brokers.insert(hint.leader, Arc::new(endpoint));
        }
        let topic = next.topics.get_mut(&*partition.topic)?;
        let moved = Arc::make_mut(topic).partitions.get_mut(index)?;
        moved.leader = hint.leader;
        moved.leader_epoch = hint.epoch;
        moved.error = ErrorCode::NONE;
        Some(next)
    }

    /// The next snapshot with one more broker, as FindCoordinator tells it; `None` when it is known already.
    pub(crate) fn after_broker(&self, broker: BrokerAddress) -> Option<Self> {
        if broker.id < 0 || self.brokers.get(&broker.id).is_some_and(|known| **known == broker) {
            return None;
        }
        let mut next = self.clone();
        next.brokers.insert(broker.id, Arc::new(broker));
        Some(next)
    }

    /// The next snapshot without the brokers, to start over from the bootstrap addresses (KIP-1102).
    pub(crate) fn without_brokers(&self) -> Self {
        Self {
            brokers: BTreeMap::new(),
            ..self.clone()
        }
    }

    fn take_over_topic(&mut self, told: &MetadataResponseTopic) {
        let Some(name) = told.name.as_ref().map(|name| name.as_str()) else {
            return;
        };
        let id = TopicId(*told.topic_id.as_bytes());
        let error = ErrorCode(told.error_code);
        let before = self.topics.get(name);
        let next = match before {
            Some(before) if !error.is_ok() => TopicImage {
                error,
                ..TopicImage::clone(before)
            },
            Some(before) if before.id == id => TopicImage {
                id,
                error,
                partitions: merged(told, &before.partitions),
            },
            _ => TopicImage {
                id,
                error,
                partitions: merged(told, &[]),
            },
        };
        let name: Arc<str> = name.into();
        if let Some(before) = before
            && before.id != next.id
        {
            self.names.remove(&before.id);
        }
        if !next.id.is_zero() {
            self.names.insert(next.id, Arc::clone(&name));
        }
        self.topics.insert(name, Arc::new(next));
    }
}

/// The partitions of an answer, except where what we know is newer.
fn merged(told: &MetadataResponseTopic, before: &[PartitionImage]) -> Vec<PartitionImage> {
    let unknown = PartitionImage {
        leader: -1,
        leader_epoch: -1,
        replicas: Vec::new(),
        in_sync: Vec::new(),
        error: ErrorCode::LEADER_NOT_AVAILABLE,
    };
    let mut partitions = vec![unknown; told.partitions.len()];
    for partition in &told.partitions {
        let Ok(index) = usize::try_from(partition.partition_index) else {
            continue;
        };
        let Some(slot) = partitions.get_mut(index) else {
            continue;
        };
        *slot = PartitionImage {
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.iter().map(|node| node.0).collect(),
            in_sync: partition.isr_nodes.iter().map(|node| node.0).collect(),
            error: ErrorCode(partition.error_code),
        };
        // Brokers older than 2.1 tell no epoch (-1); then the last word counts.
        if let Some(known) = before.get(index)
            && partition.leader_epoch >= 0
            && known.leader_epoch > partition.leader_epoch
        {
            slot.leader = known.leader;
            slot.leader_epoch = known.leader_epoch;
            slot.error = known.error;
        }
    }
    partitions
}

fn address(broker: &MetadataResponseBroker) -> Option<BrokerAddress> {
    let port = u16::try_from(broker.port).ok().filter(|&port| port != 0)?;
    let host = broker.host.to_string();
    (broker.node_id.0 >= 0 && !host.is_empty()).then_some(BrokerAddress {
        id: broker.node_id.0,
        host,
        port,
    })
}

#[cfg(test)]
mod tests;
