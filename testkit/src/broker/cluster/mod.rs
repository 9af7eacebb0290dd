//! Brokers, topics and partitions: what a Kafka cluster keeps in its metadata log, and the partitions' logs.

mod topic;
mod topic_config;
mod topic_name;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::{ErrorCode, TopicId};

pub(crate) use topic::{Partition, Topic};
pub(crate) use topic_config::{ConfigEntry, ConfigKind, TopicConfig};
pub(crate) use topic_name::{collides, invalid_reason, is_internal};

use super::config::BrokerConfig;
use crate::split_mix::SplitMix;

/// One broker of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) alive: bool,
}

/// All brokers and all topics.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) cluster_id: String,
    nodes: BTreeMap<i32, Node>,
    topics: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<[u8; 16], Arc<str>>,
    chance: SplitMix,
    /// Partitions created so far, so that leaders are spread over the brokers.
    placed: usize,
    message_max_bytes: i32,
}

impl Cluster {
    pub(crate) fn new(config: &BrokerConfig, seed: u64) -> Self {
        let node = |id: i32| {
            let port = u16::try_from(9091 + id).unwrap_or(9092);
            (
                id,
                Node {
                    id,
                    host: "127.0.0.1".to_owned(),
                    port,
                    alive: true,
                },
            )
        };
        Self {
            cluster_id: config.cluster_id.clone(),
            nodes: (1..=config.brokers).map(node).collect(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            chance: SplitMix::new(seed),
            placed: 0,
            message_max_bytes: config.message_max_bytes,
        }
    }

    /// Says where a node is reached.
    pub(crate) fn set_address(&mut self, node: i32, host: &str, port: u16) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.host = host.to_owned();
            node.port = port;
        }
    }

    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(crate) fn is_alive(&self, node: i32) -> bool {
        self.node(node).is_some_and(|node| node.alive)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn live_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.alive)
    }

    /// The broker that answers for the controller; any live one does in KRaft.
    pub(crate) fn controller(&self) -> i32 {
        self.live_nodes().next().map_or(-1, |node| node.id)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(crate) fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id.0)
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partition(partition)
    }

    /// Where the logs of this partition number end, by topic.
    pub(crate) fn log_ends(&self, partition: i32) -> BTreeMap<String, i64> {
        let logs = self.topics.iter();
        logs.filter_map(|(name, topic)| Some((name.to_string(), topic.partition(partition)?.log.end_offset())))
            .collect()
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<(&TopicConfig, &mut Partition)> {
        self.topics.get_mut(topic)?.partition_mut(partition)
    }

    /// The topic's settings with their defaults filled in.
    pub(crate) fn topic_defaults(&self) -> TopicConfig {
        TopicConfig::with_max_message_bytes(self.message_max_bytes)
    }

    /// Creates a topic whose replicas are spread over the live brokers. The caller has checked the name.
    ///
    /// # Errors
    ///
    /// INVALID_REPLICATION_FACTOR if there are fewer live brokers than replicas are wanted.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        config: TopicConfig,
    ) -> Result<&Topic, ErrorCode> {
        let assignments = self.place(partitions, replication_factor)?;
        self.placed += assignments.len();
        Ok(self.create_assigned(name, &assignments, config))
    }

    /// Creates a topic with the given replicas per partition; the first replica leads.
    pub(crate) fn create_assigned(&mut self, name: &str, assignments: &[Vec<i32>], config: TopicConfig) -> &Topic {
        let name: Arc<str> = Arc::from(name);
        let id = TopicId(self.chance.uuid());
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        let topic = Topic::new(Arc::clone(&name), id, assignments, &live, config);
        self.names.insert(id.0, Arc::clone(&name));
        self.topics.entry(name).insert_entry(topic).into_mut()
    }

    /// Replicas for each partition of a new topic, round robin over the live brokers.
    pub(crate) fn place(&self, partitions: i32, replication_factor: i16) -> Result<Vec<Vec<i32>>, ErrorCode> {
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        let replicas = usize::try_from(replication_factor).unwrap_or(0);
        if replicas == 0 || replicas > live.len() {
            return Err(ErrorCode::INVALID_REPLICATION_FACTOR);
        }
        let partitions = usize::try_from(partitions).unwrap_or(0);
        let of = |partition: usize| {
            (0..replicas)
                .map(|r| live[(self.placed + partition + r) % live.len()])
                .collect()
        };
        Ok((0..partitions).map(of).collect())
    }

    /// Deletes a topic; whether it was there.
    pub(crate) fn delete_topic(&mut self, name: &str) -> bool {
        let Some(topic) = self.topics.remove(name) else {
            return false;
        };
        self.names.remove(&topic.id.0);
        true
    }

    /// Makes `node` the leader of a partition in a new leader epoch. A node that holds no replica takes the place of the
    /// old leader, as a reassignment would put it there.
    pub(crate) fn move_leader(&mut self, topic: &str, partition: i32, node: i32) -> bool {
        let alive = self.is_alive(node);
        let Some((_, partition)) = self.partition_mut(topic, partition) else {
            return false;
        };
        if !alive {
            return false;
        }
        partition.elect(node);
        true
    }

    /// A broker is gone: its partitions elect another live replica, or have no leader.
    pub(crate) fn node_down(&mut self, id: i32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.alive = false;
        }
        self.elect_where(|partition| partition.leader == id);
    }

    /// A broker is back: it leads what had no leader.
    pub(crate) fn node_up(&mut self, id: i32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.alive = true;
        }
        self.elect_where(|partition| partition.leader < 0 && partition.replicas.contains(&id));
    }

    fn elect_where(&mut self, needs_leader: impl Fn(&Partition) -> bool) {
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        for partition in self
            .topics
            .values_mut()
            .flat_map(Topic::partitions_mut)
            .filter(|it| needs_leader(it))
        {
            match partition
                .replicas
                .iter()
                .copied()
                .find(|replica| live.contains(replica))
            {
                Some(leader) => partition.elect(leader),
                None => partition.lose_leader(),
            }
        }
    }

    /// All partitions, to look at or change after an accident.
    pub(crate) fn partitions_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.topics.values_mut().flat_map(Topic::partitions_mut)
    }
}
