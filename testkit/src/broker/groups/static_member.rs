//! A static member that comes back (KIP-345): the same instance id, a new process, a new member id.

use bytes::Bytes;
use kafka_protocol::messages::JoinGroupResponse;
use kafka_wire::ErrorCode;
use tracing::info;

use super::group::State;
use super::join::Joining;
use super::rebalance::{current_generation, refused};
use super::record::GroupRecord;
use super::shard::Turn;

/// From this version on the leader can be told that the assignment stands (KIP-814).
const SKIPS_ASSIGNMENT: i16 = 9;

impl Turn<'_> {
    /// Lets the new process take the old one's place, and fences the old one.
    pub(super) fn replace_static_member(&mut self, old_id: &str, new_id: String, mut joining: Joining<'_>) {
        info!(group = %self.group.id, old = old_id, new = %new_id, "a static member came back");
        let old_leader = self.group.leader.clone().unwrap_or_default();
        self.fence(old_id);
        if let Some(member) = self.group.member_mut(old_id) {
            member.id.clone_from(&new_id);
        }
        if self.group.is_leader(old_id) {
            self.group.leader = Some(new_id.clone());
        }
        let version = joining.caller.api_version;
        joining.member_id.clone_from(&new_id);
        self.take_over(joining);
        self.expect_heartbeat(&new_id);
        match self.group.state {
            State::Stable if self.group.select_protocol() == self.group.protocol => {
                self.keep_assignment(old_id, &new_id);
                let response = self.present_generation(&new_id, old_leader, version);
                self.release_join(&new_id, response);
            }
            State::Stable => self.prepare_rebalance("a static member came back with other protocols"),
            // The leader may already be assigning to the old member id.
            State::CompletingRebalance => self.prepare_rebalance("a static member came back"),
            State::PreparingRebalance | State::Empty | State::Dead => self.complete_join_if_all_are_here(),
        }
    }

    /// Whatever the old process waits for, it learns that it has been replaced.
    fn fence(&mut self, old_id: &str) {
        self.timers.cancel(&self.heartbeat_key(old_id));
        self.group.pending_sync.remove(old_id);
        self.release_join(old_id, refused(old_id, ErrorCode::FENCED_INSTANCE_ID));
        self.release_sync(old_id, ErrorCode::FENCED_INSTANCE_ID);
    }

    /// Writes the group down with the new member id where the old one was.
    fn keep_assignment(&mut self, old_id: &str, new_id: &str) {
        let of = |member_id: &str| -> Bytes {
            let written_as = if member_id == new_id { old_id } else { member_id };
            self.written
                .map(|written| written.assignment(written_as))
                .unwrap_or_default()
        };
        let value = Some(self.group.to_metadata(of));
        self.out.records.push(GroupRecord::GroupMetadata {
            group: self.group.id.clone(),
            value,
        });
    }

    /// An old client that finds itself named as the leader would assign, so it is told the leader's former id.
    fn present_generation(&self, new_id: &str, old_leader: String, version: i16) -> JoinGroupResponse {
        let response = current_generation(self.group, new_id);
        if version >= SKIPS_ASSIGNMENT {
            return response.with_skip_assignment(self.group.is_leader(new_id));
        }
        response.with_leader(old_leader.into()).with_members(Vec::new())
    }
}
