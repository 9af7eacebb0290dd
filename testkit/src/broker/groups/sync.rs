//! SyncGroup and Heartbeat: the assignment travels, and the members stay alive.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::ErrorCode;
use tracing::info;

use super::group::{ClassicGroup, State};
use super::record::GroupRecord;
use super::shard::{Caller, GroupShard, Outcome, Released, Ticket, Turn};

/// From this version on the protocol's type and name must be given (KIP-559).
const NAMES_THE_PROTOCOL: i16 = 5;

impl GroupShard {
    /// Handles SyncGroup. Followers are held until the leader brings the assignment.
    pub fn sync(&mut self, now: Instant, caller: &Caller<'_>, request: SyncGroupRequest) -> Outcome {
        let group_id = request.group_id.to_string();
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if caller.api_version >= NAMES_THE_PROTOCOL && !names_protocol {
            return Outcome::refuse_sync(caller.ticket, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if group_id.is_empty() {
            return Outcome::refuse_sync(caller.ticket, ErrorCode::INVALID_GROUP_ID);
        }
        let Some(mut turn) = self.turn(now, &group_id) else {
            return Outcome::refuse_sync(caller.ticket, ErrorCode::UNKNOWN_MEMBER_ID);
        };
        match validate(turn.group, &request) {
            Err(error) => turn.answer_sync(caller.ticket, refusal(error)),
            Ok(()) => turn.sync(caller.ticket, request),
        }
        turn.out
    }

    /// Handles Heartbeat.
    pub fn heartbeat(&mut self, now: Instant, request: &HeartbeatRequest) -> HeartbeatResponse {
        let error = match self.turn(now, &request.group_id) {
            _ if request.group_id.is_empty() => ErrorCode::INVALID_GROUP_ID,
            None => ErrorCode::UNKNOWN_MEMBER_ID,
            Some(mut turn) => turn.heartbeat(request),
        };
        HeartbeatResponse::default().with_error_code(error.0)
    }
}

impl Turn<'_> {
    /// A valid SyncGroup.
    fn sync(&mut self, ticket: Ticket, request: SyncGroupRequest) {
        let member_id: &str = &request.member_id;
        match self.group.state {
            State::PreparingRebalance => self.answer_sync(ticket, refusal(ErrorCode::REBALANCE_IN_PROGRESS)),
            State::CompletingRebalance => {
                // As with JoinGroup: an earlier request of the same member is answered, not forgotten.
                self.release_sync(member_id, ErrorCode::REBALANCE_IN_PROGRESS);
                if let Some(member) = self.group.member_mut(member_id) {
                    member.awaiting_sync = Some(ticket);
                }
                self.sync_received(member_id);
                if self.group.is_leader(member_id) {
                    self.assign(request);
                }
            }
            State::Stable => {
                self.sync_received(member_id);
                let assignment = self
                    .written
                    .map(|written| written.assignment(member_id))
                    .unwrap_or_default();
                let response = assigned(self.group, assignment);
                self.answer_sync(ticket, response);
            }
            State::Empty | State::Dead => self.answer_sync(ticket, refusal(ErrorCode::UNKNOWN_MEMBER_ID)),
        }
    }

    /// The leader's assignment: write it down, tell everybody, be stable.
    fn assign(&mut self, request: SyncGroupRequest) {
        let assignment: HashMap<StrBytes, Bytes> = request
            .assignments
            .into_iter()
            .map(|a| (a.member_id, a.assignment))
            .collect();
        let of = |member_id: &str| {
            assignment
                .get(&StrBytes::from(member_id.to_owned()))
                .cloned()
                .unwrap_or_default()
        };
        let value = Some(self.group.to_metadata(of));
        self.out.records.push(GroupRecord::GroupMetadata {
            group: self.group.id.clone(),
            value,
        });
        self.release_syncs(ErrorCode::NONE, of);
        self.group.transition_to(State::Stable);
        info!(group = %self.group.id, generation = self.group.generation, members = self.group.members.len(), "stable");
    }

    /// Answers every held SyncGroup and restarts the sessions of those who had to wait.
    pub(super) fn release_syncs(&mut self, error: ErrorCode, of: impl Fn(&str) -> Bytes) {
        for member_id in self.members_where(|m| m.awaiting_sync.is_some()) {
            let response = if error == ErrorCode::NONE {
                assigned(self.group, of(&member_id))
            } else {
                refusal(error)
            };
            let held = self.group.member_mut(&member_id).and_then(|m| m.awaiting_sync.take());
            if let Some(ticket) = held {
                self.answer_sync(ticket, response);
                self.expect_heartbeat(&member_id);
            }
        }
    }

    /// Refuses a held SyncGroup; does nothing if none is held.
    pub(super) fn release_sync(&mut self, member_id: &str, error: ErrorCode) {
        let held = self.group.member_mut(member_id).and_then(|m| m.awaiting_sync.take());
        if let Some(ticket) = held {
            self.answer_sync(ticket, refusal(error));
        }
    }

    fn sync_received(&mut self, member_id: &str) {
        self.group.pending_sync.remove(member_id);
        if self.group.pending_sync.is_empty() {
            self.timers.cancel(&self.sync_key());
        }
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(error) = self
            .group
            .validate_member(&request.member_id, request.group_instance_id.as_deref())
        {
            return error;
        }
        if request.generation_id != self.group.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        self.expect_heartbeat(&request.member_id);
        if self.group.state == State::PreparingRebalance {
            ErrorCode::REBALANCE_IN_PROGRESS
        } else {
            ErrorCode::NONE
        }
    }

    fn answer_sync(&mut self, ticket: Ticket, response: SyncGroupResponse) {
        self.out.released.push(Released::Sync(ticket, response));
    }
}

fn validate(group: &ClassicGroup, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation {
        return Err(ErrorCode::ILLEGAL_GENERATION);
    }
    let differs = |given: &Option<StrBytes>, ours: &Option<String>| {
        given
            .as_ref()
            .zip(ours.as_ref())
            .is_some_and(|(given, ours)| given.as_str() != ours)
    };
    if differs(&request.protocol_type, &group.protocol_type) || differs(&request.protocol_name, &group.protocol) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    Ok(())
}

fn assigned(group: &ClassicGroup, assignment: Bytes) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_protocol_type(group.protocol_type.clone().map(Into::into))
        .with_protocol_name(group.protocol.clone().map(Into::into))
        .with_assignment(assignment)
}

fn refusal(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.0)
}

impl Outcome {
    fn refuse_sync(ticket: Ticket, error: ErrorCode) -> Self {
        Outcome {
            records: Vec::new(),
            released: vec![Released::Sync(ticket, refusal(error))],
        }
    }
}
