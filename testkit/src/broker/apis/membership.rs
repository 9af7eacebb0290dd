//! JoinGroup v0-9, SyncGroup v0-5, Heartbeat v0-4, LeaveGroup v0-5: handed to the group coordinator if this node is it.

use std::ops::RangeInclusive;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::ErrorCode;

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::groups::{Caller, Ticket};
use crate::broker::wire::{Shape, blob, fixed, structs, text};

pub(super) const JOIN_VERSIONS: RangeInclusive<i16> = 0..=9;
pub(super) const JOIN_SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        text(),
        fixed(4),
        fixed(4).since(1),
        text(),
        text().since(5),
        text(),
        structs::<JoinGroupRequestProtocol>(&[text(), blob()]),
        text().since(8),
    ],
};
pub(super) const SYNC_VERSIONS: RangeInclusive<i16> = 0..=5;
pub(super) const SYNC_SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        text(),
        fixed(4),
        text(),
        text().since(3),
        text().since(5),
        text().since(5),
        structs::<SyncGroupRequestAssignment>(&[text(), blob()]),
    ],
};
pub(super) const HEARTBEAT_VERSIONS: RangeInclusive<i16> = 0..=4;
pub(super) const HEARTBEAT_SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[text(), fixed(4), text(), text().since(3)],
};
pub(super) const LEAVE_VERSIONS: RangeInclusive<i16> = 0..=5;
pub(super) const LEAVE_SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        text(),
        text().until(2),
        structs::<MemberIdentity>(&[text(), text(), text().since(5)]).since(3),
    ],
};

const NULLABLE_PROTOCOL_SINCE: i16 = 7;

/// All clients are on this machine.
const CLIENT_HOST: &str = "/127.0.0.1";

pub(super) fn serve_join(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: JoinGroupRequest,
) -> Served<JoinGroupResponse> {
    if let Some(code) = refusal(state, call, &request.group_id) {
        let answer = JoinGroupResponse::default()
            .with_error_code(code.0)
            .with_generation_id(-1);
        let answer = answer.with_member_id(request.member_id);
        return Served::Answer(join_answer(answer, call.version));
    }
    let outcome = state.groups.join(call.now.instant, &caller(call), request);
    state.apply_groups(outcome);
    Served::Later
}

/// A refusal names no protocol: with null since version 7, with an empty name before.
pub(crate) fn join_answer(answer: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    if answer.error_code == 0 {
        return answer;
    }
    answer.with_protocol_name((version < NULLABLE_PROTOCOL_SINCE).then(StrBytes::new))
}

pub(super) fn serve_sync(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: SyncGroupRequest,
) -> Served<SyncGroupResponse> {
    if let Some(code) = refusal(state, call, &request.group_id) {
        return Served::Answer(SyncGroupResponse::default().with_error_code(code.0));
    }
    let outcome = state.groups.sync(call.now.instant, &caller(call), request);
    state.apply_groups(outcome);
    Served::Later
}

pub(super) fn serve_heartbeat(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: HeartbeatRequest,
) -> Served<HeartbeatResponse> {
    Served::Answer(match refusal(state, call, &request.group_id) {
        Some(code) => HeartbeatResponse::default().with_error_code(code.0),
        None => state.groups.heartbeat(call.now.instant, &request),
    })
}

pub(super) fn serve_leave(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: LeaveGroupRequest,
) -> Served<LeaveGroupResponse> {
    if let Some(code) = refusal(state, call, &request.group_id) {
        return Served::Answer(LeaveGroupResponse::default().with_error_code(code.0));
    }
    let (outcome, answer) = state.groups.leave(call.now.instant, &caller(call), request);
    state.apply_groups(outcome);
    Served::Answer(answer)
}

/// Why this node does not serve the group.
pub(super) fn refusal(state: &State, call: &Call, group: &str) -> Option<ErrorCode> {
    let elsewhere = state.coordinator(group) != Some(call.node);
    call.injected
        .or_else(|| elsewhere.then_some(ErrorCode::NOT_COORDINATOR))
}

fn caller(call: &Call) -> Caller<'_> {
    Caller {
        ticket: Ticket(call.id.0),
        api_version: call.version,
        client_id: &call.client_id,
        client_host: CLIENT_HOST,
    }
}
