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
mod tests {
    use super::*;
    use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
    use kafka_protocol::messages::{BrokerId, TopicName};
    use kafka_protocol::protocol::StrBytes;

    fn broker(id: i32) -> MetadataResponseBroker {
        let host = StrBytes::from_string(format!("kafka-{id}"));
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(host)
            .with_port(9092)
    }

    fn partition(index: i32, leader: i32, epoch: i32) -> MetadataResponsePartition {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
    }

    fn topic(id: u8, partitions: Vec<MetadataResponsePartition>) -> MetadataResponseTopic {
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("clicks"))))
            .with_topic_id(uuid::Uuid::from_bytes([id; 16]))
            .with_partitions(partitions)
    }

    fn response(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
        MetadataResponse::default()
            .with_brokers(vec![broker(1), broker(2)])
            .with_topics(topics)
    }

    fn image(topics: Vec<MetadataResponseTopic>) -> ClusterImage {
        ClusterImage::default().after_metadata(&response(topics)).unwrap()
    }

    fn clicks(partition: i32) -> TopicPartition {
        TopicPartition::new("clicks", partition)
    }

    #[test]
    fn leaders_counts_and_names_are_found() {
        let image = image(vec![topic(7, vec![partition(1, 2, 5), partition(0, 1, 4)])]);
        assert_eq!(image.leader(&clicks(0)), Some((1, 4)));
        assert_eq!(image.leader(&clicks(1)), Some((2, 5)));
        assert_eq!(image.leader(&clicks(2)), None);
        assert_eq!(image.leader(&clicks(-1)), None);
        assert_eq!(image.partition_count("clicks"), Some(2));
        assert_eq!(image.partition_count("other"), None);
        assert_eq!(image.topic_by_id(TopicId([7; 16])).unwrap().as_ref(), "clicks");
        assert_eq!(image.broker(2).unwrap().to_string(), "kafka-2:9092 (broker 2)");
    }

    #[test]
    fn an_older_leader_epoch_never_overwrites_a_newer_one() {
        let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
        let next = image
            .after_metadata(&response(vec![topic(7, vec![partition(0, 2, 8)])]))
            .unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((1, 9)));
        let next = next
            .after_metadata(&response(vec![topic(7, vec![partition(0, 2, 9)])]))
            .unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((2, 9)));
    }

    #[test]
    fn a_recreated_topic_starts_over() {
        let image = image(vec![topic(7, vec![partition(0, 1, 9), partition(1, 1, 9)])]);
        let next = image
            .after_metadata(&response(vec![topic(8, vec![partition(0, 2, 0)])]))
            .unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((2, 0)));
        assert_eq!(next.partition_count("clicks"), Some(1));
        assert!(next.topic_by_id(TopicId([7; 16])).is_none());
    }

    #[test]
    fn a_topic_error_changes_no_leader() {
        let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
        let failed = topic(0, vec![]).with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
        let next = image.after_metadata(&response(vec![failed])).unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((1, 9)));
        assert_eq!(
            next.topic("clicks").unwrap().error,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
        assert_eq!(next.topic("clicks").unwrap().id, TopicId([7; 16]));
    }

    #[test]
    fn an_answer_without_brokers_tells_nothing() {
        assert!(image(vec![]).after_metadata(&MetadataResponse::default()).is_none());
    }

    #[test]
    fn an_unmentioned_topic_stays() {
        let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
        assert_eq!(
            image.after_metadata(&response(vec![])).unwrap().leader(&clicks(0)),
            Some((1, 9))
        );
    }

    #[test]
    fn hostile_partition_numbers_cost_nothing() {
        let image = image(vec![topic(
            7,
            vec![partition(i32::MAX, 1, 1), partition(-5, 1, 1), partition(0, 2, 1)],
        )]);
        assert_eq!(image.partition_count("clicks"), Some(3));
        assert_eq!(image.leader(&clicks(0)), Some((2, 1)));
        assert_eq!(image.leader(&clicks(1)), None);
    }

    #[test]
    fn a_newer_hint_moves_one_leader_and_keeps_every_broker() {
        let image = image(vec![topic(7, vec![partition(0, 1, 4), partition(1, 1, 4)])]);
        let endpoint = Some(BrokerAddress {
            id: 3,
            host: "kafka-3".into(),
            port: 9092,
        });
        let next = image
            .after_hint(
                &clicks(0),
                LeaderHint {
                    leader: 3,
                    epoch: 5,
                    endpoint,
                },
            )
            .unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((3, 5)));
        assert_eq!(next.leader(&clicks(1)), Some((1, 4)));
        assert_eq!(next.brokers().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn stale_empty_or_unreachable_hints_are_ignored() {
        let image = image(vec![topic(7, vec![partition(0, 1, 4)])]);
        for (leader, epoch) in [(2, 3), (1, 4), (-1, 9), (2, -1), (9, 9)] {
            assert!(
                image
                    .after_hint(
                        &clicks(0),
                        LeaderHint {
                            leader,
                            epoch,
                            endpoint: None
                        }
                    )
                    .is_none()
            );
        }
        assert!(
            image
                .after_hint(
                    &clicks(9),
                    LeaderHint {
                        leader: 2,
                        epoch: 9,
                        endpoint: None
                    }
                )
                .is_none()
        );
        let next = image
            .after_hint(
                &clicks(0),
                LeaderHint {
                    leader: 2,
                    epoch: 4,
                    endpoint: None,
                },
            )
            .unwrap();
        assert_eq!(next.leader(&clicks(0)), Some((2, 4)), "same epoch, another leader");
    }
}
