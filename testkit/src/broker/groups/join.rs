//! JoinGroup: who may join, and whether that means a rebalance.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_wire::ErrorCode;
use tracing::debug;

use super::group::{ClassicGroup, Member, Protocol, State};
use super::rebalance::{current_generation, refused};
use super::record::GroupRecord;
use super::shard::{Caller, GroupShard, GroupShardConfig, Outcome, Released, Ticket, Turn};

/// From this version on a dynamic member must come back with the id it was given (KIP-394).
const REQUIRES_KNOWN_MEMBER_ID: i16 = 4;

/// A JoinGroup in our own types.
#[derive(Debug)]
pub(super) struct Joining<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) member_id: String,
    pub(super) group_instance_id: Option<String>,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<Protocol>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) reason: String,
}

impl GroupShard {
    /// Handles JoinGroup. The answer is held until the join phase ends, unless there is a reason to answer at once.
    pub fn join(&mut self, now: Instant, caller: &Caller<'_>, request: JoinGroupRequest) -> Outcome {
        let group_id = request.group_id.to_string();
        let member_id = request.member_id.to_string();
        let joining = match Joining::check(*caller, &request, &self.config) {
            Ok(joining) => joining,
            Err(error) => return Outcome::answer(caller.ticket, refused(&member_id, error)),
        };
        let is_unknown = member_id.is_empty();
        let is_new_group = !self.groups.contains_key(&group_id);
        if is_new_group && !is_unknown {
            return Outcome::answer(caller.ticket, refused(&member_id, ErrorCode::UNKNOWN_MEMBER_ID));
        }
        let named_after = joining.group_instance_id.as_deref().unwrap_or(caller.client_id);
        let new_member_id = is_unknown.then(|| self.member_ids.next(named_after));
        if is_new_group {
            self.groups.insert(group_id.clone(), ClassicGroup::new(&group_id));
        }
        let Some(mut turn) = self.turn(now, &group_id) else {
            return Outcome::answer(caller.ticket, refused(&member_id, ErrorCode::COORDINATOR_NOT_AVAILABLE));
        };
        turn.join(joining, new_member_id);
        if is_new_group && turn.out.records.is_empty() {
            let value = Some(ClassicGroup::new(&group_id).to_metadata(|_| Default::default()));
            turn.out.records.push(GroupRecord::GroupMetadata {
                group: group_id.clone(),
                value,
            });
        }
        turn.out
    }
}

impl Turn<'_> {
    fn join(&mut self, joining: Joining<'_>, new_member_id: Option<String>) {
        let caller = joining.caller;
        if !self.accepts_one_more(&joining.member_id) {
            self.group.remove(&joining.member_id);
            return self.answer_join(caller.ticket, refused("", ErrorCode::GROUP_MAX_SIZE_REACHED));
        }
        if !self
            .group
            .supports_protocols(&joining.protocol_type, &joining.protocols)
        {
            let refusal = refused(&joining.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
            return self.answer_join(caller.ticket, refusal);
        }
        let known_as = joining
            .group_instance_id
            .as_deref()
            .and_then(|id| self.group.static_member_id(id));
        match (new_member_id, known_as.map(str::to_owned)) {
            (Some(id), Some(old_id)) => self.replace_static_member(&old_id, id, joining),
            (Some(id), None) if joining.group_instance_id.is_some() => self.add_member(id, joining),
            (Some(id), None) if caller.api_version >= REQUIRES_KNOWN_MEMBER_ID => {
                self.group.pending_join.insert(id.clone());
                self.expect_heartbeat_within(&id, joining.session_timeout);
                self.answer_join(caller.ticket, refused(&id, ErrorCode::MEMBER_ID_REQUIRED));
            }
            (Some(id), None) => self.add_member(id, joining),
            (None, None) if self.group.pending_join.contains(&joining.member_id) => {
                self.add_member(joining.member_id.clone(), joining);
            }
            (None, _) => {
                match self
                    .group
                    .validate_member(&joining.member_id, joining.group_instance_id.as_deref())
                {
                    Ok(()) => self.rejoin(joining),
                    Err(error) => self.answer_join(caller.ticket, refused(&joining.member_id, error)),
                }
            }
        }
    }

    /// A known member joins again: the state of the group says what that means.
    fn rejoin(&mut self, joining: Joining<'_>) {
        let id = joining.member_id.clone();
        let unchanged = self.group.member(&id).is_some_and(|m| m.protocols == joining.protocols);
        match self.group.state {
            State::PreparingRebalance => self.update_member(joining, "a member rejoined"),
            // It may have missed the answer to its JoinGroup: the generation goes on.
            State::CompletingRebalance if unchanged => {
                let response = current_generation(self.group, &id);
                self.answer_join(joining.caller.ticket, response);
            }
            // The leader rejoins when the assignment must change for a reason that no member's metadata shows.
            State::Stable if self.group.is_leader(&id) => self.update_member(joining, "the leader rejoined"),
            State::Stable if unchanged => {
                let response = current_generation(self.group, &id);
                self.answer_join(joining.caller.ticket, response);
            }
            State::CompletingRebalance | State::Stable => self.update_member(joining, "a member's metadata changed"),
            State::Empty | State::Dead => {
                self.answer_join(joining.caller.ticket, refused(&id, ErrorCode::UNKNOWN_MEMBER_ID));
            }
        }
    }

    fn add_member(&mut self, id: String, joining: Joining<'_>) {
        let initial = self.group.state == State::PreparingRebalance && self.group.previous_state == State::Empty;
        self.group.new_member_added |= initial;
        debug!(group = %self.group.id, member = %id, reason = %joining.reason, "a new member joins");
        let member = Member {
            id: id.clone(),
            group_instance_id: joining.group_instance_id,
            client_id: joining.caller.client_id.to_owned(),
            client_host: joining.caller.client_host.to_owned(),
            rebalance_timeout: joining.rebalance_timeout,
            session_timeout: joining.session_timeout,
            protocols: joining.protocols,
            is_new: true,
            awaiting_join: Some(joining.caller.ticket),
            awaiting_sync: None,
        };
        self.group.add(member, &joining.protocol_type);
        // Its connection is busy waiting for us, so nothing tells whether it is still there.
        self.expect_heartbeat_within(&id, self.config.new_member_join_timeout);
        self.rebalance_or_complete_join("a new member joined");
    }

    fn update_member(&mut self, joining: Joining<'_>, why: &str) {
        debug!(group = %self.group.id, member = %joining.member_id, reason = %joining.reason, "a member rejoins");
        self.take_over(joining);
        self.rebalance_or_complete_join(why);
    }

    /// The member is from now on what its latest JoinGroup says, and waits for the answer to it.
    pub(super) fn take_over(&mut self, joining: Joining<'_>) {
        // Kafka forgets an earlier request of the same member; answered, it cannot block a connection.
        self.release_join(
            &joining.member_id,
            refused(&joining.member_id, ErrorCode::REBALANCE_IN_PROGRESS),
        );
        if let Some(member) = self.group.member_mut(&joining.member_id) {
            member.protocols = joining.protocols;
            member.rebalance_timeout = joining.rebalance_timeout;
            member.session_timeout = joining.session_timeout;
            member.awaiting_join = Some(joining.caller.ticket);
        }
    }

    /// KIP-389. While a rebalance is prepared only those who wait count: the last to rejoin a full group are out.
    fn accepts_one_more(&self, member_id: &str) -> bool {
        let known = self.group.member(member_id);
        match self.group.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                let waiting = self.group.members.iter().filter(|m| m.awaiting_join.is_some()).count();
                known.is_some_and(|m| m.awaiting_join.is_some()) || waiting < self.config.max_size
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.group.members.len() < self.config.max_size
            }
        }
    }

    fn answer_join(&mut self, ticket: Ticket, response: JoinGroupResponse) {
        self.out.released.push(Released::Join(ticket, response));
    }
}

impl<'a> Joining<'a> {
    /// Refuses what Kafka refuses before it looks at the group.
    fn check(
        caller: Caller<'a>,
        request: &JoinGroupRequest,
        config: &GroupShardConfig,
    ) -> Result<Joining<'a>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let session_timeout = millis(request.session_timeout_ms);
        if session_timeout < config.min_session_timeout || session_timeout > config.max_session_timeout {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        // Version 0 has no rebalance timeout of its own (KIP-62).
        let rebalance_timeout = if caller.api_version == 0 {
            session_timeout
        } else {
            millis(request.rebalance_timeout_ms)
        };
        let protocol = |p: &kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
            name: p.name.to_string(),
            metadata: p.metadata.clone(),
        };
        Ok(Joining {
            caller,
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
            protocol_type: request.protocol_type.to_string(),
            protocols: request.protocols.iter().map(protocol).collect(),
            session_timeout,
            rebalance_timeout,
            reason: request.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        })
    }
}

impl Outcome {
    /// An answer to JoinGroup, and nothing else.
    fn answer(ticket: Ticket, response: JoinGroupResponse) -> Self {
        Outcome {
            records: Vec::new(),
            released: vec![Released::Join(ticket, response)],
        }
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}
