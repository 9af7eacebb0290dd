//! Committed offsets: OffsetCommit, TxnOffsetCommit, OffsetFetch.
//!
//! Offsets of an open transaction are pending: they count once the producer commits, and meanwhile a reader that
//! requires stable offsets is sent away with UNSTABLE_OFFSET_COMMIT (KIP-447). Offsets do not expire.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_wire::ErrorCode;

use super::group::{ClassicGroup, State};
use super::record::{CommittedOffset, GroupRecord};
use super::shard::{GroupShard, Outcome};

/// From this version on a commit to a group that does not exist is told so.
const KNOWS_GROUP_ID_NOT_FOUND: i16 = 9;

type ByPartition = BTreeMap<i32, CommittedOffset>;
type ByGroup = BTreeMap<String, BTreeMap<String, ByPartition>>;

/// Hard state: what counts, and what waits for a transaction to end.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: ByGroup,
    pending: BTreeMap<i64, ByGroup>,
}

impl Offsets {
    pub(super) fn replay(
        &mut self,
        producer_id: Option<i64>,
        group: String,
        topic: String,
        partition: i32,
        value: Option<CommittedOffset>,
    ) {
        match (value, producer_id) {
            (Some(value), None) => put(&mut self.committed, group, topic, partition, value),
            (Some(value), Some(id)) => put(self.pending.entry(id).or_default(), group, topic, partition, value),
            (None, _) => {
                for offsets in self.pending.values_mut().chain([&mut self.committed]) {
                    remove(offsets, &group, &topic, partition);
                }
            }
        }
    }

    pub(super) fn end(&mut self, producer_id: i64, committed: bool) {
        let pending = self
            .pending
            .remove(&producer_id)
            .filter(|_| committed)
            .unwrap_or_default();
        for (group, topics) in pending {
            for (topic, partitions) in topics {
                for (partition, value) in partitions {
                    put(&mut self.committed, group.clone(), topic.clone(), partition, value);
                }
            }
        }
    }

    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    pub(super) fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        let holds = |offsets: &ByGroup| offsets.get(group)?.get(topic)?.get(&partition).map(|_| ());
        self.pending.values().any(|offsets| holds(offsets).is_some())
    }

    pub(super) fn has_any(&self, group: &str) -> bool {
        self.committed.contains_key(group) || self.pending.values().any(|offsets| offsets.contains_key(group))
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = String> {
        self.committed
            .keys()
            .chain(self.pending.values().flat_map(|offsets| offsets.keys()))
            .cloned()
    }

    /// Every partition the group has committed, in order.
    pub(super) fn partitions(&self, group: &str) -> BTreeMap<String, Vec<i32>> {
        let topics = self.committed.get(group).into_iter().flatten();
        topics
            .map(|(topic, partitions)| (topic.clone(), partitions.keys().copied().collect()))
            .collect()
    }

    /// Tombstones for all a group has, pending or not.
    pub(super) fn tombstones(&self, group: &str) -> Vec<GroupRecord> {
        let mut all = self.partitions(group);
        for (topic, partitions) in self.pending.values().filter_map(|offsets| offsets.get(group)).flatten() {
            let known = all.entry(topic.clone()).or_default();
            known.extend(partitions.keys());
            known.sort_unstable();
            known.dedup();
        }
        let tombstone = |topic: &str, partition| GroupRecord::OffsetCommit {
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            value: None,
            producer_id: None,
        };
        all.iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(|p| tombstone(topic, *p)))
            .collect()
    }
}

fn put(offsets: &mut ByGroup, group: String, topic: String, partition: i32, value: CommittedOffset) {
    offsets
        .entry(group)
        .or_default()
        .entry(topic)
        .or_default()
        .insert(partition, value);
}

fn remove(offsets: &mut ByGroup, group: &str, topic: &str, partition: i32) {
    let Some(topics) = offsets.get_mut(group) else { return };
    if let Some(partitions) = topics.get_mut(topic) {
        partitions.remove(&partition);
    }
    topics.retain(|_, partitions| !partitions.is_empty());
    if topics.is_empty() {
        offsets.remove(group);
    }
}

impl GroupShard {
    /// The offset that counts for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.offsets
            .get(group, topic, partition)
            .map(|committed| committed.offset)
    }

    /// Handles OffsetCommit. A commit of a member counts as a heartbeat.
    pub fn commit_offsets(
        &mut self,
        now: Instant,
        version: i16,
        request: OffsetCommitRequest,
    ) -> (Outcome, OffsetCommitResponse) {
        let group = request.group_id.to_string();
        let member_id = request.member_id.to_string();
        let member = (member_id.as_str(), request.group_instance_id.as_deref());
        if let Err(error) = self.accept_commit(&group, member, request.generation_id_or_member_epoch, version) {
            return (Outcome::default(), refuse_commit(&request.topics, error));
        }
        if let Some(mut turn) = self.turn(now, &group)
            && matches!(turn.group.state, State::Stable | State::PreparingRebalance)
        {
            turn.expect_heartbeat(&member_id);
        }
        let mut outcome = Outcome::default();
        let mut response = OffsetCommitResponse::default();
        for topic in request.topics {
            let mut answered = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
            for partition in topic.partitions {
                let value = CommittedOffset {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.map(|m| m.to_string()).unwrap_or_default(),
                };
                let key = (group.as_str(), topic.name.as_str(), partition.partition_index);
                let error = self.commit_one(&mut outcome, key, value, None);
                let partition = OffsetCommitResponsePartition::default().with_partition_index(key.2);
                answered.partitions.push(partition.with_error_code(error.0));
            }
            response.topics.push(answered);
        }
        (outcome, response)
    }

    /// Handles TxnOffsetCommit: the offsets wait for [`GroupShard::end_transaction`].
    pub fn commit_transactional_offsets(
        &mut self,
        request: TxnOffsetCommitRequest,
    ) -> (Outcome, TxnOffsetCommitResponse) {
        let group = request.group_id.to_string();
        let member = (request.member_id.as_str(), request.group_instance_id.as_deref());
        let refusal = self
            .accept_transactional_commit(&group, member, request.generation_id)
            .err();
        let mut outcome = Outcome::default();
        let mut response = TxnOffsetCommitResponse::default();
        for topic in request.topics {
            let mut answered = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
            for partition in topic.partitions {
                let value = CommittedOffset {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.map(|m| m.to_string()).unwrap_or_default(),
                };
                let key = (group.as_str(), topic.name.as_str(), partition.partition_index);
                let error = match refusal {
                    Some(error) => error,
                    None => self.commit_one(&mut outcome, key, value, Some(request.producer_id.0)),
                };
                let partition = TxnOffsetCommitResponsePartition::default().with_partition_index(key.2);
                answered.partitions.push(partition.with_error_code(error.0));
            }
            response.topics.push(answered);
        }
        (outcome, response)
    }

    /// A producer's transaction ended: its pending offsets count from now on, or are dropped.
    pub fn end_transaction(&mut self, producer_id: i64, committed: bool) -> Outcome {
        Outcome {
            records: vec![GroupRecord::TransactionEnded { producer_id, committed }],
            released: Vec::new(),
        }
    }

    fn commit_one(
        &self,
        outcome: &mut Outcome,
        (group, topic, partition): (&str, &str, i32),
        value: CommittedOffset,
        producer_id: Option<i64>,
    ) -> ErrorCode {
        if value.metadata.len() > self.config.offset_metadata_max_bytes {
            return ErrorCode::OFFSET_METADATA_TOO_LARGE;
        }
        let (group, topic) = (group.to_owned(), topic.to_owned());
        let value = Some(value);
        outcome.records.push(GroupRecord::OffsetCommit {
            group,
            topic,
            partition,
            value,
            producer_id,
        });
        ErrorCode::NONE
    }

    fn accept_commit(
        &mut self,
        group: &str,
        member: (&str, Option<&str>),
        generation: i32,
        version: i16,
    ) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if generation >= 0 && !self.groups.contains_key(group) {
            let told = version >= KNOWS_GROUP_ID_NOT_FOUND;
            return Err(if told {
                ErrorCode::GROUP_ID_NOT_FOUND
            } else {
                ErrorCode::ILLEGAL_GENERATION
            });
        }
        self.group_or_simple(group)
            .validate_offset_commit(member, generation, false)
    }

    fn accept_transactional_commit(
        &mut self,
        group: &str,
        member: (&str, Option<&str>),
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if generation >= 0 && !self.groups.contains_key(group) {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.group_or_simple(group)
            .validate_offset_commit(member, generation, true)
    }

    /// A commit without membership makes a simple group: empty, without a protocol type.
    fn group_or_simple(&mut self, group: &str) -> &ClassicGroup {
        self.groups
            .entry(group.to_owned())
            .or_insert_with(|| ClassicGroup::new(group))
    }
}

fn refuse_commit(topics: &[OffsetCommitRequestTopic], error: ErrorCode) -> OffsetCommitResponse {
    let partition = |index| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(error.0)
    };
    let topic = |t: &OffsetCommitRequestTopic| {
        let partitions = t.partitions.iter().map(|p| partition(p.partition_index)).collect();
        OffsetCommitResponseTopic::default()
            .with_name(t.name.clone())
            .with_partitions(partitions)
    };
    OffsetCommitResponse::default().with_topics(topics.iter().map(topic).collect())
}
