//! One group's membership: who is in, who is awaited, what they agreed on. Decides nothing about time.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::record::{GroupMetadata, MemberMetadata};
use super::shard::Ticket;

/// Kafka's `ClassicGroupState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    /// Only reported, for groups that do not exist: a deleted group is removed at once.
    Dead,
}

impl State {
    /// Spelled as DescribeGroups and ListGroups answer it.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }

    /// The legal transitions.
    pub(super) fn may_follow(self, previous: State) -> bool {
        use State::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        match self {
            Empty | CompletingRebalance => previous == PreparingRebalance,
            PreparingRebalance => matches!(previous, Empty | CompletingRebalance | Stable),
            Stable => previous == CompletingRebalance,
            Dead => true,
        }
    }
}

/// One assignor a member can work with, and what it tells the leader under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: String,
    pub(super) metadata: Bytes,
}

/// A member of the live group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: String,
    /// Names a static member (KIP-345): it keeps its place while its process restarts under a new member id.
    pub(super) group_instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    /// In the member's order of preference.
    pub(super) protocols: Vec<Protocol>,
    /// Has not seen the answer to its first JoinGroup: it may be gone without anybody having noticed.
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<Ticket>,
    pub(super) awaiting_sync: Option<Ticket>,
}

impl Member {
    /// A member whose request is held cannot send heartbeats; a new one may have given up waiting.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Its metadata under `protocol`: empty if it does not know the protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|p| Some(p.name.as_str()) == protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }
}

/// Kafka's `ClassicGroup`.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: String,
    pub(super) state: State,
    /// An initial rebalance (previous state Empty) ends by its delay only.
    pub(super) previous_state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    /// In joining order: the first one leads.
    pub(super) members: Vec<Member>,
    /// Member ids given out by MEMBER_ID_REQUIRED and not yet used.
    pub(super) pending_join: BTreeSet<String>,
    /// Members of this generation that have not sent SyncGroup.
    pub(super) pending_sync: BTreeSet<String>,
    /// Somebody joined during the initial delay.
    pub(super) new_member_added: bool,
}

impl ClassicGroup {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: State::Empty,
            previous_state: State::Dead,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            new_member_added: false,
        }
    }

    /// What a new coordinator makes of a group it finds written down: all members are believed to be alive.
    pub(super) fn restore(id: &str, metadata: &GroupMetadata) -> Self {
        let protocol_name = metadata.protocol.clone().unwrap_or_default();
        let members = metadata.members.iter().map(|m| Member {
            id: m.member_id.clone(),
            group_instance_id: m.group_instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout,
            session_timeout: m.session_timeout,
            protocols: vec![Protocol {
                name: protocol_name.clone(),
                metadata: m.subscription.clone(),
            }],
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        });
        Self {
            state: if metadata.members.is_empty() {
                State::Empty
            } else {
                State::Stable
            },
            generation: metadata.generation,
            protocol_type: metadata.protocol_type.clone(),
            protocol: metadata.protocol.clone(),
            leader: metadata.leader.clone(),
            members: members.collect(),
            ..Self::new(id)
        }
    }

    /// The group as it is written down. `assignment` says what the leader gave to whom.
    pub(super) fn to_metadata(&self, assignment: impl Fn(&str) -> Bytes) -> GroupMetadata {
        let member = |m: &Member| MemberMetadata {
            member_id: m.id.clone(),
            group_instance_id: m.group_instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout,
            session_timeout: m.session_timeout,
            subscription: m.metadata(self.protocol.as_deref()),
            assignment: assignment(&m.id),
        };
        GroupMetadata {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.iter().map(member).collect(),
        }
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_join.remove(&member.id);
        self.members.push(member);
    }

    /// Takes a member, or a pending member id, out. A leaving leader is followed by the next member.
    pub(super) fn remove(&mut self, member_id: &str) {
        self.members.retain(|m| m.id != member_id);
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.first().map(|m| m.id.clone());
        }
    }

    pub(super) fn transition_to(&mut self, state: State) {
        debug_assert!(
            state.may_follow(self.state),
            "{} may not follow {}",
            state.name(),
            self.state.name()
        );
        self.previous_state = self.state;
        self.state = state;
    }

    /// Begins the generation that follows a join phase.
    pub(super) fn begin_next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.pending_sync.clear();
        self.protocol = self.select_protocol();
        self.transition_to(if self.members.is_empty() {
            State::Empty
        } else {
            State::CompletingRebalance
        });
    }

    pub(super) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.id == member_id)
    }

    pub(super) fn member_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|m| m.id == member_id)
    }

    /// The member id under which a static member is known.
    pub(super) fn static_member_id(&self, group_instance_id: &str) -> Option<&str> {
        let found = self
            .members
            .iter()
            .find(|m| m.group_instance_id.as_deref() == Some(group_instance_id));
        found.map(|m| m.id.as_str())
    }

    /// Whether this is a member, and the one process that may speak for its instance id.
    pub(super) fn validate_member(&self, member_id: &str, group_instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = group_instance_id {
            let known = self.static_member_id(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if known != member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        self.member(member_id).map(|_| ()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// Lets a member that has joined lead if the leader has not. Whether anybody leads.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let joined = |m: &&Member| m.awaiting_join.is_some();
        if self.members.iter().filter(joined).any(|m| self.is_leader(&m.id)) {
            return true;
        }
        let Some(first) = self.members.iter().find(joined) else {
            return false;
        };
        self.leader = Some(first.id.clone());
        true
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn can_rebalance(&self) -> bool {
        State::PreparingRebalance.may_follow(self.state)
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.iter().all(|m| m.awaiting_join.is_some())
    }

    /// A rebalance waits as long as its slowest member asked for.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members
            .iter()
            .map(|m| m.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    /// Whether a member with these protocols can share a generation with all present ones.
    pub(super) fn supports_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|p| self.all_know(&p.name))
    }

    /// Each member votes for the first of its protocols that all know; most votes win. A tie goes to the first
    /// member's preference (Kafka leaves it to the order of a hash map).
    pub(super) fn select_protocol(&self) -> Option<String> {
        let vote = |m: &Member| {
            m.protocols
                .iter()
                .find(|p| self.all_know(&p.name))
                .map(|p| p.name.clone())
        };
        let votes: Vec<String> = self.members.iter().filter_map(vote).collect();
        let count = |name: &str| votes.iter().filter(|vote| *vote == name).count();
        let candidates = self.members.first()?.protocols.iter().map(|p| p.name.as_str());
        candidates.rev().max_by_key(|name| count(name)).map(str::to_owned)
    }

    fn all_know(&self, name: &str) -> bool {
        self.members.iter().all(|m| m.protocols.iter().any(|p| p.name == name))
    }

    /// Whether a commit with this identity is accepted now.
    pub(super) fn validate_offset_commit(
        &self,
        (member_id, group_instance_id): (&str, Option<&str>),
        generation: i32,
        transactional: bool,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(()); // a consumer that manages its partitions itself, or an admin tool
        }
        if generation >= 0 || !member_id.is_empty() || group_instance_id.is_some() {
            self.validate_member(member_id, group_instance_id)?;
            if generation != self.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if !transactional {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }
}
