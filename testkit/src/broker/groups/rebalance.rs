//! The course of a rebalance: prepare, wait for the members, begin the next generation; and what expires meanwhile.

use std::time::Duration;

use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_wire::ErrorCode;
use tracing::{debug, info};

use super::group::{ClassicGroup, State};
use super::record::GroupRecord;
use super::shard::{Released, Turn};
use super::timers::{Due, TimerKey};

impl Turn<'_> {
    /// The membership changed: rebalance, or if one is under way see whether it can go on.
    pub(super) fn rebalance_or_complete_join(&mut self, reason: &str) {
        if self.group.can_rebalance() {
            self.prepare_rebalance(reason);
        } else {
            self.complete_join_if_all_are_here();
        }
    }

    /// Goes on once everybody has joined; an initial rebalance waits out its delay regardless.
    pub(super) fn complete_join_if_all_are_here(&mut self) {
        let group = &self.group;
        let preparing = group.state == State::PreparingRebalance && group.previous_state != State::Empty;
        if preparing && group.has_all_members_joined() {
            self.complete_join();
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: &str) {
        info!(group = %self.group.id, generation = self.group.generation, reason, "rebalancing");
        if self.group.state == State::CompletingRebalance {
            self.release_syncs(ErrorCode::REBALANCE_IN_PROGRESS, |_| Default::default());
        }
        self.group.pending_sync.clear();
        self.timers.cancel(&self.sync_key());

        let initial = self.group.state == State::Empty;
        self.group.transition_to(State::PreparingRebalance);
        if initial {
            let delay = self.config.initial_rebalance_delay;
            let remaining = self.group.rebalance_timeout().saturating_sub(delay);
            self.timers.schedule(
                self.join_key(),
                self.now + delay,
                Due::EndInitialDelay { delay, remaining },
            );
        } else if self.group.has_all_members_joined() {
            self.complete_join();
        } else {
            let deadline = self.now + self.group.rebalance_timeout();
            self.timers.schedule(self.join_key(), deadline, Due::CompleteJoin);
        }
    }

    /// The initial delay is over: wait again if somebody came, as long as the rebalance timeout lasts (KIP-134).
    pub(super) fn end_initial_delay(&mut self, delay: Duration, remaining: Duration) {
        if self.group.new_member_added && !remaining.is_zero() {
            self.group.new_member_added = false;
            let next = self.config.initial_rebalance_delay.min(remaining);
            let due = Due::EndInitialDelay {
                delay: next,
                remaining: remaining.saturating_sub(delay),
            };
            self.timers.schedule(self.join_key(), self.now + next, due);
        } else {
            self.complete_join();
        }
    }

    /// Ends the join phase: whoever has not rejoined is out, everybody else learns the new generation.
    pub(super) fn complete_join(&mut self) {
        self.timers.cancel(&self.join_key());
        let late = self.members_where(|m| m.awaiting_join.is_none() && m.group_instance_id.is_none());
        for member_id in &late {
            info!(group = %self.group.id, member = %member_id, "did not rejoin in time");
            self.group.remove(member_id);
            self.timers.cancel(&self.heartbeat_key(member_id));
        }
        if !self.group.elect_joined_leader() && !self.group.members.is_empty() {
            // Static members only, and none came back: wait until they do or their sessions expire.
            let deadline = self.now + self.group.rebalance_timeout();
            return self.timers.schedule(self.join_key(), deadline, Due::CompleteJoin);
        }
        self.group.new_member_added = false;
        self.group.begin_next_generation();
        if self.group.state == State::Empty {
            let value = Some(self.group.to_metadata(|_| Default::default()));
            self.out.records.push(GroupRecord::GroupMetadata {
                group: self.group.id.clone(),
                value,
            });
            return;
        }
        debug!(group = %self.group.id, generation = self.group.generation, "awaiting the leader's assignment");
        for member_id in self.members_where(|_| true) {
            let response = current_generation(self.group, &member_id);
            self.release_join(&member_id, response);
            self.expect_heartbeat(&member_id);
            if let Some(member) = self.group.member_mut(&member_id) {
                member.is_new = false;
            }
            self.group.pending_sync.insert(member_id);
        }
        self.arm_sync_timer();
    }

    /// A member has been silent for too long.
    pub(super) fn expire_heartbeat(&mut self, member_id: &str) {
        if self.group.pending_join.contains(member_id) {
            info!(group = %self.group.id, member = member_id, "never came back with its member id");
            self.group.remove(member_id);
            if self.group.state == State::PreparingRebalance && self.group.has_all_members_joined() {
                self.complete_join();
            }
            return;
        }
        if self.group.member(member_id).is_none_or(|m| m.has_satisfied_heartbeat()) {
            return;
        }
        info!(group = %self.group.id, member = member_id, "session expired");
        self.release_join(member_id, refused("", ErrorCode::UNKNOWN_MEMBER_ID));
        self.group.remove(member_id);
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance("a member's session expired"),
            State::PreparingRebalance if self.group.has_all_members_joined() => self.complete_join(),
            _ => {}
        }
    }

    /// Members that joined a generation and never sent SyncGroup are out.
    pub(super) fn expire_sync(&mut self, generation: i32) {
        let waiting = matches!(self.group.state, State::CompletingRebalance | State::Stable);
        if generation != self.group.generation || !waiting || self.group.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.group.pending_sync) {
            info!(group = %self.group.id, member = %member_id, "did not send SyncGroup in time");
            self.group.remove(&member_id);
            self.timers.cancel(&self.heartbeat_key(&member_id));
        }
        self.prepare_rebalance("members did not send SyncGroup in time");
    }

    /// Answers a held JoinGroup; does nothing if none is held.
    pub(super) fn release_join(&mut self, member_id: &str, response: JoinGroupResponse) {
        let held = self.group.member_mut(member_id).and_then(|m| m.awaiting_join.take());
        if let Some(ticket) = held {
            self.out.released.push(Released::Join(ticket, response));
        }
    }

    /// (Re)starts a member's session timeout.
    pub(super) fn expect_heartbeat(&mut self, member_id: &str) {
        if let Some(timeout) = self.group.member(member_id).map(|m| m.session_timeout) {
            self.expect_heartbeat_within(member_id, timeout);
        }
    }

    pub(super) fn expect_heartbeat_within(&mut self, member_id: &str, timeout: Duration) {
        self.timers
            .schedule(self.heartbeat_key(member_id), self.now + timeout, Due::ExpireHeartbeat);
    }

    pub(super) fn expect_heartbeats_of_all(&mut self) {
        for member_id in self.members_where(|_| true) {
            self.expect_heartbeat(&member_id);
        }
    }

    pub(super) fn arm_sync_timer(&mut self) {
        let deadline = self.now + self.group.rebalance_timeout();
        self.timers.schedule(
            self.sync_key(),
            deadline,
            Due::ExpireSync {
                generation: self.group.generation,
            },
        );
    }

    pub(super) fn members_where(&self, keep: impl Fn(&super::group::Member) -> bool) -> Vec<String> {
        self.group
            .members
            .iter()
            .filter(|m| keep(m))
            .map(|m| m.id.clone())
            .collect()
    }

    pub(super) fn heartbeat_key(&self, member_id: &str) -> TimerKey {
        TimerKey::Heartbeat {
            group: self.group.id.clone(),
            member: member_id.to_owned(),
        }
    }

    pub(super) fn join_key(&self) -> TimerKey {
        TimerKey::Join {
            group: self.group.id.clone(),
        }
    }

    pub(super) fn sync_key(&self) -> TimerKey {
        TimerKey::Sync {
            group: self.group.id.clone(),
        }
    }
}

/// What a member is told of the present generation. Only the leader learns the members.
pub(super) fn current_generation(group: &ClassicGroup, member_id: &str) -> JoinGroupResponse {
    let member = |m: &super::group::Member| {
        let metadata = m.metadata(group.protocol.as_deref());
        JoinGroupResponseMember::default()
            .with_member_id(m.id.clone().into())
            .with_group_instance_id(m.group_instance_id.clone().map(Into::into))
            .with_metadata(metadata)
    };
    let members = if group.is_leader(member_id) {
        group.members.iter().map(member).collect()
    } else {
        Vec::new()
    };
    JoinGroupResponse::default()
        .with_generation_id(group.generation)
        .with_protocol_type(group.protocol_type.clone().map(Into::into))
        .with_protocol_name(group.protocol.clone().map(Into::into))
        .with_leader(group.leader.clone().unwrap_or_default().into())
        .with_member_id(member_id.to_owned().into())
        .with_members(members)
}

/// A JoinGroup answer that only says why not.
pub(super) fn refused(member_id: &str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.0)
        .with_generation_id(-1)
        .with_member_id(member_id.to_owned().into())
}
