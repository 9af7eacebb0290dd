use bytes::BytesMut;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint as WireEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::connection::guard;
use crate::producer::request::PRODUCE;

fn wire(version: i16) -> Vec<u8> {
    let mut refused = PartitionProduceResponse::default()
        .with_index(3)
        .with_error_code(ErrorCode::NOT_LEADER_OR_FOLLOWER.0)
        .with_base_offset(-1);
    if version >= 8 {
        refused = refused
            .with_record_errors(vec![
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(4)
                    .with_batch_index_error_message(Some(StrBytes::from_static_str("no key"))),
            ])
            .with_error_message(Some(StrBytes::from_static_str("refused")));
    }
    if version >= 10 {
        refused = refused.with_current_leader(
            LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(2))
                .with_leader_epoch(9),
        );
    }
    let written = PartitionProduceResponse::default()
        .with_index(0)
        .with_base_offset(77)
        .with_log_append_time_ms(5);
    let written = if version >= 5 {
        written.with_log_start_offset(11)
    } else {
        written
    };
    let mut response = ProduceResponse::default()
        .with_responses(vec![
            TopicProduceResponse::default()
                .with_name(TopicName(StrBytes::from_static_str("orders")))
                .with_partition_responses(vec![written, refused]),
        ])
        .with_throttle_time_ms(250);
    if version >= 10 {
        response = response.with_node_endpoints(vec![
            WireEndpoint::default()
                .with_node_id(BrokerId(2))
                .with_host(StrBytes::from_static_str("b2"))
                .with_port(9092),
        ]);
    }
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

#[test]
fn every_version_of_an_independent_encoder_is_read() {
    for version in 3..=12 {
        let answer = decode(version, &wire(version)).unwrap();
        assert_eq!(answer.throttle, Duration::from_millis(250));
        assert_eq!(answer.topics[0].name, "orders");
        let [written, refused] = &answer.topics[0].partitions[..] else {
            panic!("two partitions")
        };
        assert_eq!(
            (written.partition, written.code, written.base_offset),
            (0, ErrorCode::NONE, 77)
        );
        assert_eq!(written.log_append_time, Some(5));
        assert_eq!(written.log_start_offset, if version >= 5 { 11 } else { -1 });
        assert_eq!(
            (refused.partition, refused.code),
            (3, ErrorCode::NOT_LEADER_OR_FOLLOWER)
        );
        if version >= 8 {
            assert_eq!(refused.text.as_deref(), Some("refused (record 4 of the batch: no key)"));
        }
        assert_eq!(refused.current_leader, (version >= 10).then_some((2, 9)));
        let endpoint = NodeEndpoint {
            node: 2,
            host: "b2".into(),
            port: 9092,
        };
        assert_eq!(answer.endpoints, if version >= 10 { vec![endpoint] } else { vec![] });
    }
}

#[test]
fn every_cut_off_response_is_malformed() {
    for version in 3..=12 {
        let whole = wire(version);
        for len in 0..whole.len() {
            assert_eq!(
                decode(version, &whole[..len]),
                Err(Malformed),
                "version {version}, {len} bytes"
            );
        }
    }
}

#[test]
fn a_count_without_bytes_behind_it_reserves_nothing() {
    let hostile = i32::MAX.to_be_bytes();
    let allocated = allocation_counter::measure(|| assert_eq!(decode(3, &hostile), Err(Malformed)));
    assert!(allocated.bytes_max < 1024);
}

/// `topics` topics with names of `letters` letters and `partitions` partitions each.
fn crowded(version: i16, topics: usize, partitions: usize, letters: usize) -> Vec<u8> {
    let partition = PartitionProduceResponse::default();
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_string("n".repeat(letters))))
        .with_partition_responses(vec![partition; partitions]);
    let mut bytes = BytesMut::new();
    let response = ProduceResponse::default().with_responses(vec![topic; topics]);
    response.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

/// Reads what the guard lets through, and holds it to the guard's bound; whether it was read.
fn read_in_bounds(version: i16, body: &[u8]) -> bool {
    let shape = guard::response_shape(PRODUCE).unwrap();
    if shape.check(body, version).is_err() {
        return false;
    }
    let mut read = false;
    let used = allocation_counter::measure(|| read = decode(version, body).is_ok()).bytes_max;
    let allowed = guard::allowed_memory(body.len()) as u64;
    assert!(used <= allowed, "version {version}: {used} bytes for {}", body.len());
    read
}

#[test]
fn three_thousand_topics_of_one_partition_are_read_in_bounded_memory() {
    for version in 3..=12 {
        assert!(
            read_in_bounds(version, &crowded(version, 3_000, 1, 10)),
            "version {version}"
        );
    }
}

proptest! {
    #[test]
    fn crowds_are_read_or_refused_in_bounded_memory(
        version in 3i16..=12, topics in 0usize..600, partitions in 0usize..20, letters in 0usize..20,
        at: prop::sample::Index, byte: u8,
    ) {
        let mut body = crowded(version, topics, partitions, letters);
        read_in_bounds(version, &body);
        let at = at.index(body.len());
        body[at] = byte;
        read_in_bounds(version, &body);
    }

    #[test]
    fn any_bytes_are_read_or_refused(version in 3i16..=12, bytes: Vec<u8>) {
        let _ = decode(version, &bytes);
    }

    #[test]
    fn any_damaged_response_is_read_or_refused(version in 3i16..=12, at: prop::sample::Index, byte: u8) {
        let mut bytes = wire(version);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(version, &bytes);
    }
}
