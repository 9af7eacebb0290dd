//! Answers, matched to what was asked.

use std::collections::HashSet;

use bytes::BytesMut;
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction as Aborted, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::protocol::Encodable;
use proptest::prelude::*;

use super::*;
use crate::connection::guard;

/// A topic of a response, by id or by name.
fn responded(topic: &str, by_id: bool, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    let response = FetchableTopicResponse::default().with_partitions(partitions);
    match by_id {
        true => response.with_topic_id([topic.len() as u8; 16].to_vec().try_into().unwrap()),
        false => response.with_topic(topic_name(topic)),
    }
}

fn data(partition: i32, records: &'static [u8]) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_log_start_offset(10)
        .with_records(Some(Bytes::from_static(records)))
}

/// The places in an answer, and the bytes of records there.
fn places(answer: &Answer) -> Vec<(usize, usize)> {
    let places = answer
        .partitions
        .iter()
        .map(|(place, told)| (*place, told.record_bytes()));
    places.collect()
}

#[test]
fn answers_are_matched_by_name_and_by_id_in_any_order() {
    for by_id in [true, false] {
        let response = FetchResponse::default().with_responses(vec![
            responded("views", by_id, vec![data(0, b"1")]),
            responded("clicks", by_id, vec![data(1, b"22")]),
            responded("clicks", by_id, vec![data(0, b"333")]),
        ]);
        assert_eq!(
            places(&fetch().fetched(response)),
            [(2, 1), (1, 2), (0, 3)],
            "by id: {by_id}"
        );
    }
}

#[test]
fn what_was_not_asked_for_or_comes_twice_is_left_out() {
    let response = FetchResponse::default().with_responses(vec![
        responded("strangers", true, vec![data(0, b"4444")]),
        responded("strangers", false, vec![data(0, b"4444")]),
        responded("clicks", true, vec![data(0, b"1"), data(7, b"4444"), data(-1, b"4444")]),
        responded("clicks", true, vec![data(0, b"4444")]),
        responded("clicks", false, vec![data(0, b"4444")]),
    ]);
    assert_eq!(places(&fetch().fetched(response)), [(0, 1)]);
}

#[test]
fn records_come_with_their_watermarks_and_aborted_transactions() {
    let aborted = Aborted::default().with_producer_id(ProducerId(4)).with_first_offset(71);
    let part = data(1, b"22").with_aborted_transactions(Some(vec![aborted]));
    let response = FetchResponse::default().with_responses(vec![responded("clicks", true, vec![part])]);
    let answer = fetch().fetched(response);
    let [(1, Told::Records(fetched))] = &answer.partitions[..] else {
        panic!("{answer:?}");
    };
    let watermarks = Watermarks {
        log_start: 10,
        high: 100,
        last_stable: 90,
    };
    let aborted = AbortedTransaction {
        producer_id: 4,
        first_offset: 71,
    };
    assert_eq!((fetched.watermarks, &fetched.aborted[..]), (watermarks, &[aborted][..]));
    assert_eq!(fetched.records, b"22"[..]);
}

#[test]
fn an_error_tells_the_new_leader_only_if_the_broker_knows_it() {
    let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    for (leader, epoch, expected) in [(9, 6, Some((9, 6))), (-1, -1, None), (9, -1, None)] {
        let current = LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch);
        let part = data(0, b"ignored").with_error_code(code.0).with_current_leader(current);
        let endpoints = [(9, 9093), (8, -1), (7, 70_000)].map(|(node, port)| {
            let host = StrBytes::from_static_str("kafka");
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(node));
            endpoint.with_host(host).with_port(port)
        });
        let response = FetchResponse::default()
            .with_responses(vec![responded("clicks", true, vec![part])])
            .with_node_endpoints(endpoints.to_vec());
        let answer = fetch().fetched(response);
        let [(0, Told::Error { code: told, leader })] = answer.partitions[..] else {
            panic!("{answer:?}");
        };
        assert_eq!((told, leader), (code, expected));
        assert_eq!(answer.endpoints, [(9, "kafka".to_owned(), 9093)], "others are no ports");
    }
}

#[test]
fn to_be_sent_to_a_follower_is_an_error_and_not_an_empty_answer() {
    let part = data(0, b"").with_preferred_read_replica(BrokerId(3));
    let response = FetchResponse::default().with_responses(vec![responded("clicks", true, vec![part])]);
    let answer = fetch().fetched(response);
    assert!(
        matches!(
            answer.partitions[..],
            [(
                0,
                Told::Error {
                    code: ErrorCode::REPLICA_NOT_AVAILABLE,
                    ..
                }
            )]
        ),
        "{answer:?}"
    );
}

#[test]
fn throttling_is_believed_up_to_five_minutes() {
    for (told, believed) in [(-5, 0), (0, 0), (1500, 1500), (i32::MAX, 300_000)] {
        let answer = fetch().fetched(FetchResponse::default().with_throttle_time_ms(told));
        assert_eq!(answer.throttle, Duration::from_millis(believed));
    }
}

#[test]
fn offsets_and_epochs_are_matched_and_doubles_left_out() {
    let request = fetch();
    let listed = |partition, code: ErrorCode, offset| {
        let answer = ListOffsetsPartitionResponse::default().with_partition_index(partition);
        answer.with_error_code(code.0).with_offset(offset)
    };
    let topic = ListOffsetsTopicResponse::default()
        .with_name(topic_name("clicks"))
        .with_partitions(vec![
            listed(1, ErrorCode::NONE, 80),
            listed(1, ErrorCode::NONE, 81),
            listed(0, ErrorCode::FENCED_LEADER_EPOCH, -1),
            listed(4, ErrorCode::NONE, 82),
        ]);
    let answer = request.listed(&ListOffsetsResponse::default().with_topics(vec![topic]));
    assert!(
        matches!(
            answer.partitions[..],
            [
                (1, Told::Offset(80)),
                (
                    0,
                    Told::Error {
                        code: ErrorCode::FENCED_LEADER_EPOCH,
                        ..
                    }
                )
            ]
        ),
        "{answer:?}"
    );
    let ended = |partition, end| {
        let answer = EpochEndOffset::default().with_partition(partition);
        answer.with_leader_epoch(3).with_end_offset(end)
    };
    let topic = OffsetForLeaderTopicResult::default()
        .with_topic(topic_name("views"))
        .with_partitions(vec![ended(0, 60), ended(0, 61), ended(1, 62)]);
    let answer = request.epochs_ended(&OffsetForLeaderEpochResponse::default().with_topics(vec![topic]));
    assert!(
        matches!(
            answer.partitions[..],
            [(
                2,
                Told::EpochEnd {
                    epoch: 3,
                    end_offset: 60
                }
            )]
        ),
        "{answer:?}"
    );
}

/// A response about some partitions, asked for or not, in `version`.
fn response(version: i16, partitions: &[(bool, i32, i16, usize)]) -> Vec<u8> {
    let by_id = version > FETCH_BY_NAME;
    let topics = partitions.iter().map(|(is_clicks, partition, code, length)| {
        let topic = if *is_clicks { "clicks" } else { "views" };
        let part = data(*partition, &[7; 64][..*length]).with_error_code(*code);
        responded(topic, by_id, vec![part])
    });
    let response = FetchResponse::default().with_responses(topics.collect());
    let mut buffer = BytesMut::new();
    response.encode(&mut buffer, version).unwrap();
    buffer.to_vec()
}

proptest! {
    #[test]
    fn whatever_a_broker_answers_only_asked_places_are_told_and_each_once(
        version in 4..=FETCH_MAX,
        partitions in proptest::collection::vec((any::<bool>(), -1..4i32, -1..8i16, 0..64usize), 0..8),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        kept in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = response(version, &partitions);
        for (place, byte) in &mutations {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        if is_cut {
            bytes.truncate(kept.index(bytes.len()));
        }
        // As the connection decodes it; what it refuses never comes here.
        let Ok(response) = guard::decode::<FetchResponse>(ApiKey::Fetch as i16, version, bytes.into()) else {
            prop_assert!(is_cut || !mutations.is_empty(), "what was written can be read");
            return Ok(());
        };
        let request = fetch();
        let answer = request.fetched(response);
        let places: HashSet<_> = answer.partitions.iter().map(|(place, _)| *place).collect();
        prop_assert_eq!(places.len(), answer.partitions.len(), "doubled");
        prop_assert!(places.iter().all(|place| *place < request.partitions.len()));
        prop_assert!(answer.throttle <= Duration::from_secs(300));
        if mutations.is_empty() && !is_cut {
            let expected: HashSet<_> = partitions
                .iter()
                .filter_map(|part| match part {
                    (true, partition @ 0..=1, ..) => Some(*partition as usize),
                    (false, 0, ..) => Some(2),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(places, expected);
        }
    }
}
