//! The states of a classic member and how they may follow each other, as data.

/// Where a member is in its life. Kafka's names (AbstractCoordinator.java, ClassicGroupState.java).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not in the group and owning nothing; joins when its back-off is over.
    Unjoined,
    /// `JoinGroup` sent. The broker answers when all members have joined.
    Joining,
    /// Joined; the leader plans, then `SyncGroup` is sent. The broker answers when it has the leader's plan;
    /// then a heartbeat proves that we still are a member.
    Syncing,
    /// In the group and owning what was assigned.
    Stable,
    /// The group rebalances; waiting for the application to give up what it owns (eager: everything).
    PreparingRebalance,
    /// Asked to leave: first gives up what it owns, then `LeaveGroup`.
    Leaving,
    /// Out of the group.
    Left,
    /// Failed for good.
    Fatal,
}

impl State {
    /// Every legal step from this state to another.
    pub(crate) const fn successors(self) -> &'static [State] {
        use State::*;
        match self {
            Unjoined => &[Joining, Leaving, Left, Fatal],
            Joining => &[Syncing, Unjoined, Leaving, Left, Fatal],
            Syncing => &[Stable, Unjoined, Leaving, Fatal],
            Stable => &[PreparingRebalance, Unjoined, Leaving, Fatal],
            PreparingRebalance => &[Unjoined, Leaving, Fatal],
            Leaving => &[Left, Fatal],
            Left | Fatal => &[],
        }
    }

    /// Whether what was assigned in the present generation is still ours.
    pub(crate) const fn may_own(self) -> bool {
        matches!(self, State::Stable | State::PreparingRebalance | State::Leaving)
    }
}
