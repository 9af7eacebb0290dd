//! What can go wrong, per operation: [`MembershipError`] ends a membership, [`CommitError`] one commit or look-up.
//!
//! `Failure` is the inside view: a request that brought no response. What a *response* says is an [`ErrorCode`], and what is
//! done about it is decided by the machines with [`crate::membership::verdict`] and nowhere else.

use kafka_wire::{ErrorCode, TopicPartition};

use crate::assignor::AssignError;

/// Why a membership is over for good. Anything that can heal is healed inside and never becomes one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group {group}: {kind}")]
pub struct MembershipError {
    /// `group.id`.
    pub group: String,
    /// What happened.
    pub kind: MembershipErrorKind,
}

/// What ended a membership.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipErrorKind {
    /// The coordinator refused us with a code that trying again does not change.
    #[error("{api} was refused by broker {}: {code}; {advice}", node_name(.broker))]
    Refused {
        /// `JoinGroup`, `SyncGroup`, `Heartbeat`, `OffsetCommit`, `LeaveGroup` or `FindCoordinator`.
        api: &'static str,
        /// The broker's code.
        code: ErrorCode,
        /// The node that answered, if it is known.
        broker: Option<i32>,
        /// What to do about it.
        advice: &'static str,
    },
    /// Another process joined with our `group.instance.id` (KIP-345); rejoining would only fight it.
    #[error("fenced: another process uses group.instance.id {instance_id}; give each process its own")]
    Fenced {
        /// Our `group.instance.id`.
        instance_id: String,
    },
    /// This member led the group and its assignor found no assignment.
    #[error("no assignment: {0}")]
    Assignment(#[from] AssignError),
    /// The broker cannot do what was asked of it, or answered with nonsense.
    #[error("{0}")]
    Protocol(String),
    /// The member has left the group or its client was closed.
    #[error("closed")]
    Closed,
}

/// Why offsets were not committed, or committed offsets not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group {group}{}: {kind}", about(.topic_partition))]
pub struct CommitError {
    /// `group.id`.
    pub group: String,
    /// The first partition concerned; none if the whole request was.
    pub topic_partition: Option<TopicPartition>,
    /// What happened.
    pub kind: CommitErrorKind,
}

/// What became of a commit or a look-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitErrorKind {
    /// The partition is not ours (any more): its offsets belong to its new owner. Nothing was sent.
    #[error("the partition is not assigned to this member")]
    NotAssigned,
    /// The group rebalanced or the membership was lost before the commit was acknowledged; work since the last acknowledged
    /// commit may be done again by the next owner.
    #[error("the group rebalanced before the commit was acknowledged{}", in_brackets(.0))]
    Rebalanced(Option<ErrorCode>),
    /// The coordinator refused it with a code that trying again does not change.
    #[error("refused by the coordinator: {0}")]
    Refused(ErrorCode),
    /// No answer within [`offsets_timeout`](crate::GroupConfig::offsets_timeout). A commit is possibly done.
    #[error("not acknowledged in time; last trouble: {0}")]
    Timeout(String),
    /// The broker answered without a word on this partition, or with nonsense.
    #[error("{0}")]
    Protocol(String),
    /// The member has stopped. A commit is possibly done.
    #[error("the member has stopped")]
    Closed,
}

/// A request that brought no response of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Not reached, not answered in time, or cut off: a retry may work.
    #[error("{0}")]
    Transport(String),
    /// The broker does not know the API in any version of ours, or its bytes are not Kafka's.
    #[error("{0}")]
    Unsupported(String),
    /// The coordinator look-up was refused.
    #[error("{1}")]
    Refused(ErrorCode, String),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

fn node_name(node: &Option<i32>) -> String {
    node.map_or_else(|| "(unknown)".into(), |node| node.to_string())
}

fn about(topic_partition: &Option<TopicPartition>) -> String {
    topic_partition
        .as_ref()
        .map_or_else(String::new, |tp| format!(", {tp}"))
}

fn in_brackets(code: &Option<ErrorCode>) -> String {
    code.map_or_else(String::new, |code| format!(" ({code})"))
}
