//! Who gets which partition: decided by the group's leader, one of its members, with an [`Assignor`].
//!
//! The broker picks the protocol name that all members offer and hands the leader every member's subscription; the leader's
//! plan travels back through `SyncGroup`. Both are bytes to the broker; `wire` has their layout.

mod copartition;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

pub use copartition::Copartition;

/// Partitions by topic, by member id.
pub type GroupAssignment = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Distributes the partitions of a group's topics over its members. Pure: the same input gives the same plan.
pub trait Assignor: fmt::Debug + Send + Sync + 'static {
    /// The protocol name that all members of a group must share, e.g. `copartition`.
    fn name(&self) -> &str;

    /// What this member tells the leader besides its topics. Default nothing.
    fn subscription_user_data(&self) -> Option<Bytes> {
        None
    }

    /// The plan. `partitions` holds every topic that any member subscribed and the cluster knows, with ascending partition
    /// numbers. Members left out get nothing.
    ///
    /// # Errors
    /// No plan exists; the leader then leaves the group with
    /// [`MembershipErrorKind::Assignment`](crate::MembershipErrorKind::Assignment).
    fn assign(
        &self,
        members: &[MemberSubscription],
        partitions: &BTreeMap<String, Vec<i32>>,
    ) -> Result<GroupAssignment, AssignError>;
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSubscription {
    /// Chosen by the coordinator.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The topics it wants, in its own order.
    pub topics: Vec<String>,
    /// What its assignor added.
    pub user_data: Option<Bytes>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// Inputs that must be copartitioned are not.
    #[error(
        "topics are not copartitioned: {topic} has {partitions} partitions, {other} has {other_partitions}; \
         all topics of a group need the same partitions"
    )]
    NotCopartitioned {
        /// A topic.
        topic: String,
        /// Its partition count.
        partitions: usize,
        /// The topic that differs from it.
        other: String,
        /// Its partition count.
        other_partitions: usize,
    },
    /// A member subscribes to other topics than the group (strict variants only).
    #[error("member {member_id} does not subscribe to the same topics as the rest; is the group id used twice?")]
    DifferentTopics {
        /// The member.
        member_id: String,
    },
    /// Anything an assignor of your own has to say.
    #[error("{0}")]
    Other(String),
}
