//! LeaveGroup: members go, one by one or in a batch (KIP-345).

use std::time::Instant;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use kafka_wire::ErrorCode;
use tracing::info;

use super::rebalance::refused;
use super::shard::{Caller, GroupShard, Outcome, Turn};

/// From this version on members are listed; before, one is named in the request itself.
const LISTS_MEMBERS: i16 = 3;

impl GroupShard {
    /// Handles LeaveGroup.
    pub fn leave(
        &mut self,
        now: Instant,
        caller: &Caller<'_>,
        request: LeaveGroupRequest,
    ) -> (Outcome, LeaveGroupResponse) {
        if request.group_id.is_empty() {
            let response = LeaveGroupResponse::default().with_error_code(ErrorCode::INVALID_GROUP_ID.0);
            return (Outcome::default(), response);
        }
        let single = MemberIdentity::default().with_member_id(request.member_id.clone());
        let leaving = if caller.api_version < LISTS_MEMBERS {
            vec![single]
        } else {
            request.members
        };
        let (outcome, errors) = match self.turn(now, &request.group_id) {
            None => (Outcome::default(), vec![ErrorCode::UNKNOWN_MEMBER_ID; leaving.len()]),
            Some(mut turn) => {
                let errors = turn.leave(&leaving);
                (turn.out, errors)
            }
        };
        (outcome, answer(caller.api_version, leaving, &errors))
    }
}

impl Turn<'_> {
    fn leave(&mut self, leaving: &[MemberIdentity]) -> Vec<ErrorCode> {
        let errors: Vec<ErrorCode> = leaving.iter().map(|member| self.take_out(member)).collect();
        if errors.contains(&ErrorCode::NONE) {
            self.rebalance_after_leave();
        }
        errors
    }

    /// Removes one member, or one member id that has been given out.
    fn take_out(&mut self, leaving: &MemberIdentity) -> ErrorCode {
        let instance = leaving.group_instance_id.as_deref();
        // An administrator names a static member by its instance id alone.
        let by_instance = instance.filter(|_| leaving.member_id.is_empty());
        let known_as = by_instance
            .and_then(|id| self.group.static_member_id(id))
            .map(str::to_owned);
        let member_id: &str = known_as.as_deref().unwrap_or(&leaving.member_id);
        if !self.group.pending_join.contains(member_id)
            && let Err(error) = self.group.validate_member(member_id, instance)
        {
            return error;
        }
        info!(group = %self.group.id, member = member_id, reason = ?leaving.reason, "a member leaves");
        self.timers.cancel(&self.heartbeat_key(member_id));
        self.release_join(member_id, refused("", ErrorCode::UNKNOWN_MEMBER_ID));
        self.release_sync(member_id, ErrorCode::UNKNOWN_MEMBER_ID);
        self.group.remove(member_id);
        ErrorCode::NONE
    }

    fn rebalance_after_leave(&mut self) {
        use super::group::State;
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance("a member left"),
            State::PreparingRebalance => self.complete_join_if_all_are_here(),
            State::Empty | State::Dead => {}
        }
    }
}

fn answer(version: i16, leaving: Vec<MemberIdentity>, errors: &[ErrorCode]) -> LeaveGroupResponse {
    if version < LISTS_MEMBERS {
        let error = errors.first().copied().unwrap_or(ErrorCode::NONE);
        return LeaveGroupResponse::default().with_error_code(error.0);
    }
    let member = |(member, error): (MemberIdentity, &ErrorCode)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(error.0)
    };
    LeaveGroupResponse::default().with_members(leaving.into_iter().zip(errors).map(member).collect())
}
