//! DescribeGroups, v0-6: state, members and assignments of groups this node coordinates (KIP-1043: errors from v6).

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::membership::refusal;
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=6;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 5,
    fields: &[texts(), fixed(1).since(3)],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: DescribeGroupsRequest,
) -> Served<DescribeGroupsResponse> {
    let describe = |group: &GroupId| match refusal(state, call, group) {
        Some(code) => DescribedGroup::default()
            .with_group_id(group.clone())
            .with_error_code(code.0),
        None => state.groups.describe(call.version, group),
    };
    Served::Answer(DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect()))
}
