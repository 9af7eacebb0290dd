//! ListGroups, v0-5: the groups this node coordinates (KIP-518: by state from v4, KIP-848: by type from v5).

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=5;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 3,
    fields: &[texts().since(4), texts().since(5)],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: ListGroupsRequest,
) -> Served<ListGroupsResponse> {
    if let Some(code) = call.injected {
        return Served::Answer(ListGroupsResponse::default().with_error_code(code.0));
    }
    let mut groups = state.groups.list(&request);
    groups.retain(|group| state.coordinator(&group.group_id) == Some(call.node));
    Served::Answer(ListGroupsResponse::default().with_groups(groups))
}
