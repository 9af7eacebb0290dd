//! What a member is told about its partitions.

use kafka_wire::TopicPartition;

use crate::error::MembershipError;

/// A change of what this member owns. Events come in the order in which they must be obeyed.
///
/// A partition is owned from the `Assigned` that names it until the answer to the `Revoke`, or the `Lost`, that names it. Under
/// the classic protocol each rebalance revokes everything; cooperative protocols will name only what moves, so treat
/// `partitions` as a difference to what is owned and not as the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipEvent {
    /// These partitions are ours from now on. Possibly none: the group has more members than partitions.
    Assigned {
        /// The group's generation in which they are ours.
        generation: i32,
        /// Newly owned, ordered by topic and partition.
        partitions: Vec<TopicPartition>,
    },
    /// Stop working on these, commit, then call [`revocation_complete`](crate::GroupMember::revocation_complete). They are ours
    /// and can be committed until then; whoever takes longer than the rebalance timeout gets `Lost` for the same partitions.
    Revoke {
        /// Owned and to be given up.
        partitions: Vec<TopicPartition>,
    },
    /// These are not ours any more, possibly another's already: write nothing, commit nothing, forget them. Needs no answer.
    Lost {
        /// Owned until a moment ago.
        partitions: Vec<TopicPartition>,
        /// Why, for the log.
        reason: String,
    },
    /// The membership is over for good; a `Lost` for everything owned came before. Nothing follows.
    Failed(MembershipError),
}
