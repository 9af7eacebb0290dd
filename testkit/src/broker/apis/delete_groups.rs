//! DeleteGroups, v0-2: empty groups and their offsets go.

use std::ops::RangeInclusive;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::membership::refusal;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=2;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 2,
    fields: &[texts()],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: DeleteGroupsRequest,
) -> Served<DeleteGroupsResponse> {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in &request.groups_names {
        if let Some(code) = refusal(state, call, group) {
            let refused = DeletableGroupResult::default().with_group_id(group.clone());
            results.push(refused.with_error_code(code.0));
            continue;
        }
        let (outcome, result) = state.groups.delete(group);
        state.apply_groups(outcome);
        results.push(result);
    }
    Served::Answer(DeleteGroupsResponse::default().with_results(results))
}
