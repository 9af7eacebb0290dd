//! What tests ask and do without being a client: topics, logs, leaders, accidents.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::BytesMut;
use kafka_wire::protocol::batch::BatchBuilder;
use kafka_wire::{Compression, ErrorCode, TopicId};

use super::cluster::{Cluster, invalid_reason};
use super::core::BrokerCore;
use super::log::Tombstones;

pub use super::log::{RecordWriter, StoredRecord};

/// The Produce version that knows all there is.
const LATEST_PRODUCE: i16 = 13;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication_factor: Option<i16>,
    configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's default replication factor and settings.
    pub fn new(name: &str, partitions: i32) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            replication_factor: None,
            configs: Vec::new(),
        }
    }

    /// Replicas per partition.
    #[must_use]
    pub fn replication_factor(mut self, replicas: i16) -> Self {
        self.replication_factor = Some(replicas);
        self
    }

    /// A topic setting by Kafka's name, such as `cleanup.policy`.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The ends of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first offset that may be read.
    pub log_start: i64,
    /// The first offset consumers may not read yet.
    pub high_watermark: i64,
    /// The offset the next record gets.
    pub log_end: i64,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLeader {
    /// Node id; -1 if there is none.
    pub node: i32,
    /// Counts leaders.
    pub epoch: i32,
}

/// What a crash does to the partitions the broker led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTail {
    /// Every acknowledged record is still there.
    Nothing,
    /// The last batches of every partition are gone, as after an unclean leader election.
    Batches(usize),
}

/// Key and value of a record to append; `None` is null.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// An offset that a group coordinator accepted; kept if [`BrokerConfig::keep_commits`](super::BrokerConfig::keep_commits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedCommit {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Where the logs of this partition number ended at that moment, by topic.
    pub log_ends: BTreeMap<String, i64>,
}

/// A topic or partition that is not as the caller believes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TopicError {
    /// The topic, or topic-partition.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

impl TopicError {
    fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            reason: reason.into(),
        }
    }

    fn unknown(topic: &str, partition: i32) -> Self {
        Self::new(
            format!("{topic}-{partition}"),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.name(),
        )
    }
}

impl BrokerCore {
    /// Creates a topic.
    ///
    /// # Errors
    ///
    /// It exists, there are too few brokers, or a setting is wrong.
    pub fn create_topic(&mut self, topic: &NewTopic) -> Result<TopicId, TopicError> {
        let refuse = |reason: String| TopicError::new(&topic.name, reason);
        let cluster = &mut self.state.cluster;
        if cluster.topic(&topic.name).is_some() {
            return Err(refuse(ErrorCode::TOPIC_ALREADY_EXISTS.name().to_owned()));
        }
        if let Some(reason) = invalid_reason(&topic.name) {
            return Err(refuse(reason));
        }
        let mut config = cluster.topic_defaults();
        for (name, value) in &topic.configs {
            config.set(name, value).map_err(|error| refuse(error.0))?;
        }
        let replicas = topic
            .replication_factor
            .unwrap_or(self.state.config.default_replication_factor);
        let created = cluster.create_topic(&topic.name, topic.partitions.max(1), replicas, config);
        created
            .map(|topic| topic.id)
            .map_err(|code| refuse(code.name().to_owned()))
    }

    /// Deletes a topic; whether it was there.
    pub fn delete_topic(&mut self, now: Instant, topic: &str) -> bool {
        let deleted = self.state.cluster.delete_topic(topic);
        self.changed(now);
        deleted
    }

    /// The id of a topic.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.state.cluster.topic(topic).map(|topic| topic.id)
    }

    /// Every record of a partition from the log start on.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn records(&self, topic: &str, partition: i32) -> Result<Vec<StoredRecord>, TopicError> {
        let found = self.state.cluster.partition(topic, partition);
        found
            .map(|partition| partition.log.records())
            .ok_or_else(|| TopicError::unknown(topic, partition))
    }

    /// Appends records in one batch past all clients; the offset of the first.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the log refuses the batch.
    pub fn append(
        &mut self,
        now: Instant,
        topic: &str,
        partition: i32,
        records: &[KeyValue<'_>],
    ) -> Result<i64, TopicError> {
        let unix_ms = self.moment(now).unix_ms;
        let mut batch = BatchBuilder::new(BytesMut::new());
        for (key, value) in records {
            batch.append(unix_ms, *key, *value, &[]);
        }
        let batch = batch.seal(Compression::None).freeze();
        let found = self.state.cluster.partition_mut(topic, partition);
        let (config, found) = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        let appended = found
            .log
            .append(&batch, config, found.leader_epoch, unix_ms, LATEST_PRODUCE);
        let appended = appended.map_err(|error| TopicError::new(format!("{topic}-{partition}"), error.message))?;
        self.state.parked.note_change(topic, partition);
        self.settle(now);
        Ok(appended.base_offset)
    }

    /// Says where a node is reached.
    pub fn set_address(&mut self, node: i32, host: &str, port: u16) {
        self.state.cluster.set_address(node, host, port);
    }

    /// `host:port` of every node.
    pub fn addresses(&self) -> Vec<String> {
        self.state
            .cluster
            .nodes()
            .map(|node| format!("{}:{}", node.host, node.port))
            .collect()
    }

    /// The node that is reached at this address.
    pub fn node_at(&self, host: &str, port: u16) -> Option<i32> {
        let mut nodes = self.state.cluster.nodes();
        nodes
            .find(|node| node.host == host && node.port == port)
            .map(|node| node.id)
    }

    /// The ends of a partition's log.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Result<PartitionOffsets, TopicError> {
        let found = self.state.cluster.partition(topic, partition);
        let found = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        let log = &found.log;
        let (log_start, log_end) = (log.start_offset(), log.end_offset());
        Ok(PartitionOffsets {
            log_start,
            high_watermark: found.high_watermark(),
            log_end,
        })
    }

    /// Who leads a partition.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<PartitionLeader, TopicError> {
        let found = self.state.cluster.partition(topic, partition);
        let found = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        Ok(PartitionLeader {
            node: found.leader,
            epoch: found.leader_epoch,
        })
    }

    /// Compacts a partition now, whatever its settings; how many records went.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn compact(&mut self, topic: &str, partition: i32, tombstones: Tombstones) -> Result<usize, TopicError> {
        let found = self.state.cluster.partition_mut(topic, partition);
        let (_, found) = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        Ok(found.log.compact(tombstones))
    }

    /// Deletes the records before an offset, as retention does.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn delete_records(&mut self, now: Instant, topic: &str, partition: i32, before: i64) -> Result<(), TopicError> {
        let found = self.state.cluster.partition_mut(topic, partition);
        let (_, found) = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        found.log.delete_before(before);
        self.changed(now);
        Ok(())
    }

    /// Moves leadership of a partition to a node, in a new leader epoch.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the node is down.
    pub fn move_leader(&mut self, now: Instant, topic: &str, partition: i32, node: i32) -> Result<(), TopicError> {
        if self.state.cluster.partition(topic, partition).is_none() {
            return Err(TopicError::unknown(topic, partition));
        }
        if !self.state.cluster.move_leader(topic, partition, node) {
            return Err(TopicError::new(
                format!("{topic}-{partition}"),
                format!("node {node} is not there to lead"),
            ));
        }
        self.changed(now);
        Ok(())
    }

    /// The offset a group has committed.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.state.groups.committed(group, topic, partition)
    }

    /// Every commit of a group, in the order the coordinator accepted them.
    pub fn commits(&self, group: &str) -> Vec<AcceptedCommit> {
        let accepted = self.state.commits.iter();
        accepted.filter(|commit| commit.group == group).cloned().collect()
    }

    /// Makes a partition forget its idempotent producers, as `producer.id.expiration.ms` does.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn expire_producers(&mut self, topic: &str, partition: i32) -> Result<usize, TopicError> {
        let found = self.state.cluster.partition_mut(topic, partition);
        let (_, found) = found.ok_or_else(|| TopicError::unknown(topic, partition))?;
        Ok(found.log.producers.expire_all())
    }

    /// A broker dies: connections are cut, what it led elects another leader, groups it coordinated move.
    pub fn crash(&mut self, now: Instant, node: i32, lost: LostTail) {
        if let LostTail::Batches(batches) = lost {
            for partition in self
                .state
                .cluster
                .partitions_mut()
                .filter(|partition| partition.leader == node)
            {
                partition.log.lose_tail(batches);
            }
        }
        self.close_all(Some(node));
        self.with_moving_groups(now, |cluster| cluster.node_down(node));
        self.state.sessions.forget_node(node);
        self.changed(now);
    }

    /// A dead broker comes back with its logs. It leads what has no leader.
    pub fn restart(&mut self, now: Instant, node: i32) {
        self.with_moving_groups(now, |cluster| cluster.node_up(node));
        self.changed(now);
    }

    /// Moves the coordinator of a group to a node.
    pub fn move_coordinator(&mut self, now: Instant, group: &str, node: i32) {
        self.state.placement.move_to(group, node);
        let outcome = self.state.groups.fail_over(now, group);
        self.state.apply_groups(outcome);
        self.settle(now);
    }

    /// Lets groups fail over whose coordinator a change in the cluster moves.
    fn with_moving_groups(&mut self, now: Instant, change: impl FnOnce(&mut Cluster)) {
        let groups = self.state.groups.group_ids();
        let before: Vec<_> = groups.into_iter().map(|id| (self.state.coordinator(&id), id)).collect();
        change(&mut self.state.cluster);
        for (old, group) in before {
            let new = self.state.coordinator(&group);
            if new == old {
                continue;
            }
            let outcome = self.state.groups.unload(&group);
            self.state.apply_groups(outcome);
            // Without a coordinator nobody watches sessions.
            if new.is_some() {
                self.state.groups.load(now, &group);
            }
        }
    }

    fn changed(&mut self, now: Instant) {
        self.state.parked.note_everything();
        self.settle(now);
    }
}
