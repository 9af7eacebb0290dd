//! FindCoordinator, v0-6: which broker coordinates a group (KIP-699: many keys from v4). Transactional ids are refused.

use std::ops::RangeInclusive;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::ErrorCode;

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, text, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=6;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 3,
    fields: &[text().until(3), fixed(1).since(1), texts().since(4)],
};

const GROUP: i8 = 0;
const MANY_KEYS_SINCE: i16 = 4;

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: FindCoordinatorRequest,
) -> Served<FindCoordinatorResponse> {
    let key_type = if call.since(1) { request.key_type } else { GROUP };
    if call.since(MANY_KEYS_SINCE) {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| find(state, call, key_type, key)).collect();
        return Served::Answer(FindCoordinatorResponse::default().with_coordinators(coordinators));
    }
    let found = find(state, call, key_type, request.key);
    // Only the old answer says in words what the code says; the new one leaves the message empty.
    let answer = FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(Some(super::text(ErrorCode(found.error_code).name())))
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    Served::Answer(answer)
}

fn find(state: &State, call: &Call, key_type: i8, key: StrBytes) -> Coordinator {
    let answer = Coordinator::default().with_key(key.clone());
    match look_up(state, call, key_type, &key) {
        Ok(node) => {
            let address = state.address(node);
            let (host, port) = address.map_or((StrBytes::new(), -1), |address| (address.host, address.port));
            answer.with_node_id(BrokerId(node)).with_host(host).with_port(port)
        }
        Err(code) => {
            let nowhere = answer.with_node_id(BrokerId(-1)).with_port(-1);
            nowhere.with_error_code(code.0)
        }
    }
}

fn look_up(state: &State, call: &Call, key_type: i8, key: &str) -> Result<i32, ErrorCode> {
    match call.injected {
        Some(code) => Err(code),
        None if key_type != GROUP => Err(ErrorCode::INVALID_REQUEST),
        None => state.coordinator(key).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
}
