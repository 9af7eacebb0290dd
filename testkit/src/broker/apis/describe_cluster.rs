//! DescribeCluster, v0-2 (KIP-700, KIP-919): the brokers, for clients that need no topics.

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_wire::ErrorCode;

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=2;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 0,
    fields: &[fixed(1), fixed(1).since(1), fixed(1).since(2)],
};

const BROKERS: i8 = 1;

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: DescribeClusterRequest,
) -> Served<DescribeClusterResponse> {
    let refusal = match call.injected {
        Some(code) => Some(code),
        None if call.since(1) && request.endpoint_type != BROKERS => Some(ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        None => None,
    };
    if let Some(code) = refusal {
        return Served::Answer(DescribeClusterResponse::default().with_error_code(code.0));
    }
    let brokers = state.cluster.live_nodes().map(|node| {
        let broker = DescribeClusterBroker::default().with_broker_id(BrokerId(node.id));
        broker
            .with_host(super::text(&node.host))
            .with_port(i32::from(node.port))
    });
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(super::text(&state.cluster.cluster_id))
        .with_controller_id(BrokerId(state.cluster.controller()))
        .with_brokers(brokers.collect());
    Served::Answer(answer)
}
