//! InitProducerId, v0-5: a producer id for an idempotent producer (KIP-98, KIP-360).
//!
//! Without a transactional id every request gets a new id with epoch 0, whatever id the producer had
//! (`TransactionCoordinator.handleInitProducerId`). Transactional ids are refused: this broker coordinates no
//! transactions.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use kafka_wire::ErrorCode;

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=5;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 2,
    fields: &[text(), fixed(4), fixed(8).since(3), fixed(2).since(3)],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: InitProducerIdRequest,
) -> Served<InitProducerIdResponse> {
    let refused = |code: ErrorCode| {
        let answer = InitProducerIdResponse::default().with_error_code(code.0);
        Served::Answer(answer.with_producer_id(ProducerId(-1)).with_producer_epoch(-1))
    };
    if let Some(code) = call.injected {
        return refused(code);
    }
    // Both or neither must be given.
    if call.since(3) && (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::INVALID_REQUEST);
    }
    match request.transactional_id {
        Some(id) if id.is_empty() => refused(ErrorCode::INVALID_REQUEST),
        Some(_) => refused(ErrorCode::UNSUPPORTED_VERSION),
        None => {
            let id = state.next_producer_id;
            state.next_producer_id += 1;
            Served::Answer(
                InitProducerIdResponse::default()
                    .with_producer_id(ProducerId(id))
                    .with_producer_epoch(0),
            )
        }
    }
}
