//! What a coordinator writes down: Kafka keeps these in `__consumer_offsets`.

use std::time::Duration;

use bytes::Bytes;

/// One change of hard state. Replaying all records in order restores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// The group as of its latest finished rebalance; `None` deletes it.
    GroupMetadata {
        /// Group id.
        group: String,
        /// The new value.
        value: Option<GroupMetadata>,
    },
    /// A committed offset; `None` deletes it.
    OffsetCommit {
        /// Group id.
        group: String,
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
        /// The new value.
        value: Option<CommittedOffset>,
        /// The transaction it waits for: it counts only once that producer commits.
        producer_id: Option<i64>,
    },
    /// A transaction marker: the pending offsets of this producer count, or are dropped.
    TransactionEnded {
        /// The producer.
        producer_id: i64,
        /// Commit, or abort.
        committed: bool,
    },
}

/// A group between two rebalances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Counts finished rebalances.
    pub generation: i32,
    /// `consumer` for consumers; `None` for a group that only commits offsets.
    pub protocol_type: Option<String>,
    /// The assignor all members agreed on.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// Members in joining order.
    pub members: Vec<MemberMetadata>,
}

impl GroupMetadata {
    /// The assignment of one member: empty when the leader gave it none.
    pub fn assignment(&self, member_id: &str) -> Bytes {
        self.members
            .iter()
            .find(|m| m.member_id == member_id)
            .map(|m| m.assignment.clone())
            .unwrap_or_default()
    }
}

/// A member of a finished rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Given by the coordinator: client id, a dash, a UUID.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address, as Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    /// How long a rebalance waits for this member.
    pub rebalance_timeout: Duration,
    /// How long the member may be silent.
    pub session_timeout: Duration,
    /// Its metadata under the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 if not given (KIP-320).
    pub leader_epoch: i32,
    /// The committer's words.
    pub metadata: String,
}
