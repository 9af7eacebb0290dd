//! The window of five batches, through the whole broker; the rules themselves are tested in `log/producers.rs`.

use kafka_protocol::messages::InitProducerIdRequest;
use kafka_wire::ErrorCode;

use super::*;
use crate::broker::LostTail;

fn send(fixture: &mut Fixture, epoch: i16, sequence: i32) -> (ErrorCode, i64) {
    let response = fixture.produce("t", idempotent_batch(1000, epoch, sequence, &[("a", "1"), ("b", "2")]));
    (ErrorCode(response.error_code), response.base_offset)
}

#[test]
fn a_resent_batch_is_answered_with_its_first_position_and_not_written_again() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    for batch in 0..6 {
        assert_eq!(
            send(&mut fixture, 0, batch * 2),
            (ErrorCode::NONE, i64::from(batch * 2))
        );
    }
    for batch in 1..6 {
        assert_eq!(
            send(&mut fixture, 0, batch * 2),
            (ErrorCode::NONE, i64::from(batch * 2)),
            "batch {batch}"
        );
    }
    assert_eq!(
        send(&mut fixture, 0, 0).0,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        "older than the window"
    );
    assert_eq!(
        send(&mut fixture, 0, 14).0,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        "a gap"
    );
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 12);
}

#[test]
fn a_newer_epoch_fences_the_older_one() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    send(&mut fixture, 0, 0);
    assert_eq!(send(&mut fixture, 1, 0), (ErrorCode::NONE, 2));
    assert_eq!(send(&mut fixture, 0, 2).0, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[test]
fn partitions_remember_producers_apart() {
    let mut fixture = Fixture::new();
    fixture.core.create_topic(&NewTopic::new("t", 2)).unwrap();
    send(&mut fixture, 0, 0);
    let mut request = produce_request("t", idempotent_batch(1000, 0, 0, &[("a", "1")]));
    request.topic_data[0].partition_data[0].index = 1;
    let response = fixture.call(12, &request);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(fixture.core.offsets("t", 1).unwrap().log_end, 1);
}

#[test]
fn a_lost_tail_is_forgotten_by_the_producer_state_too() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    for batch in 0..3 {
        send(&mut fixture, 0, batch * 2);
    }
    fixture.core.crash(fixture.now, 1, LostTail::Batches(1));
    fixture.core.restart(fixture.now, 1);
    fixture.connections[0] = fixture.core.handle_connected(1).unwrap();
    drop(fixture.output());
    assert_eq!(
        send(&mut fixture, 0, 4),
        (ErrorCode::NONE, 4),
        "the lost batch is taken again"
    );
    assert_eq!(
        send(&mut fixture, 0, 2),
        (ErrorCode::NONE, 2),
        "the kept one is a duplicate"
    );
}

#[test]
fn every_producer_gets_an_id_of_its_own_and_epoch_0() {
    let mut fixture = Fixture::new();
    let mut ids = Vec::new();
    for version in 0..=5 {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let response = fixture.call(version, &request);
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id.0);
    }
    // Without a transactional id the old id is not continued (KIP-360).
    let again = InitProducerIdRequest::default().with_transactional_id(None);
    let response = fixture.call(5, &again.with_producer_id(ids[0].into()).with_producer_epoch(3));
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    ids.push(response.producer_id.0);
    ids.dedup();
    assert_eq!(ids.len(), 7);
}

#[test]
fn half_a_producer_identity_is_an_invalid_request() {
    let mut fixture = Fixture::new();
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(7.into());
    assert_eq!(fixture.call(4, &request).error_code, ErrorCode::INVALID_REQUEST.0);
}
