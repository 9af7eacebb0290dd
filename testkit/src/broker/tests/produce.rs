use kafka_protocol::messages::ProduceResponse;
use kafka_wire::ErrorCode;
use uuid::Uuid;

use super::*;

/// Rewrites the checksum after a change to a batch.
fn resealed(batch: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn code(response: &PartitionProduceResponse) -> ErrorCode {
    ErrorCode(response.error_code)
}

#[test]
fn records_get_consecutive_offsets_in_every_version() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    for (version, expected) in (3..=12).zip((0..).step_by(2)) {
        let response = fixture.produce_to(1, version, "t", batch(&[("a", "1"), ("b", "2")]));
        assert_eq!(
            (response.error_code, response.base_offset),
            (0, expected),
            "version {version}"
        );
        assert_eq!(response.log_append_time_ms, -1);
    }
    let records = fixture.core.records("t", 0).unwrap();
    assert_eq!(records.len(), 20);
    assert_eq!(records[3].offset, 3);
    assert_eq!(records[3].timestamp, START_MS + 1001);
    assert_eq!(records[3].key.as_deref(), Some(b"b".as_slice()));
}

#[test]
fn version_13_names_topics_by_id() {
    let mut fixture = Fixture::new();
    let id = fixture.topic("t");
    let mut request = produce_request("", batch(&[("a", "1")]));
    request.topic_data[0].topic_id = Uuid::from_bytes(id.0);
    let response: ProduceResponse = fixture.call(13, &request);
    assert_eq!(response.responses[0].topic_id, Uuid::from_bytes(id.0));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    request.topic_data[0].topic_id = Uuid::from_bytes([7; 16]);
    let response = fixture.call(13, &request);
    assert_eq!(
        response.responses[0].partition_responses[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_ID.0
    );
}

#[test]
fn acks_0_is_never_answered_and_an_error_closes_the_connection() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.send(1, 9, &produce_request("t", batch(&[("a", "1")])).with_acks(0));
    let output = fixture.output().unwrap();
    assert_eq!((output.bytes.len(), output.close), (0, false));
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 1);
    fixture.send(1, 9, &produce_request("nowhere", batch(&[("a", "1")])).with_acks(0));
    assert!(fixture.output().unwrap().close);
}

#[test]
fn acks_must_be_minus_1_0_or_1() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    let response = fixture.call(9, &produce_request("t", batch(&[("a", "1")])).with_acks(2));
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(code(partition), ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(partition.base_offset, -1);
}

#[test]
fn a_missing_topic_and_a_missing_partition_are_unknown() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    assert_eq!(
        code(&fixture.produce("nowhere", batch(&[("a", "1")]))),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    let mut request = produce_request("t", batch(&[("a", "1")]));
    request.topic_data[0].partition_data[0].index = 1;
    let response = fixture.call(9, &request);
    assert_eq!(
        code(&response.responses[0].partition_responses[0]),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
}

#[test]
fn a_flipped_bit_is_a_corrupt_message() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    let good = batch(&[("a", "1")]);
    for at in 21..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        let response = fixture.produce("t", bad.into());
        assert_eq!(code(&response), ErrorCode::CORRUPT_MESSAGE, "byte {at}");
    }
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 0);
}

#[test]
fn a_batch_that_contradicts_itself_is_an_invalid_record() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    let good = batch(&[("a", "1"), ("b", "2")]);
    let two = [good.clone(), good.clone()].concat().into();
    let cases: [(&str, Bytes); 8] = [
        ("no batch", Bytes::new()),
        ("two batches", two),
        ("a cut-off batch", good.slice(..good.len() - 1)),
        ("base offset 5", resealed(&good, |batch| batch[7] = 5)),
        ("magic 1", resealed(&good, |batch| batch[16] = 1)),
        ("a control batch", resealed(&good, |batch| batch[22] |= 0x20)),
        (
            "3 records said, 2 there",
            resealed(&good, |batch| (batch[26], batch[60]) = (2, 3)),
        ),
        ("offsets and count disagree", resealed(&good, |batch| batch[60] = 1)),
    ];
    for (what, records) in cases {
        assert_eq!(
            code(&fixture.produce("t", records)),
            ErrorCode::INVALID_RECORD,
            "{what}"
        );
    }
    let short = resealed(&good, |batch| batch[8..12].copy_from_slice(&10_i32.to_be_bytes()));
    assert_eq!(code(&fixture.produce("t", short)), ErrorCode::CORRUPT_MESSAGE);
    let transactional = resealed(&good, |batch| batch[22] |= 0x10);
    assert_eq!(code(&fixture.produce("t", transactional)), ErrorCode::INVALID_TXN_STATE);
}

#[test]
fn a_batch_larger_than_max_message_bytes_is_too_large() {
    let mut fixture = Fixture::new();
    fixture
        .core
        .create_topic(&NewTopic::new("t", 1).config("max.message.bytes", "100"))
        .unwrap();
    assert_eq!(fixture.produce("t", batch(&[("a", &"x".repeat(20))])).error_code, 0);
    let response = fixture.produce("t", batch(&[("a", &"x".repeat(100))]));
    assert_eq!(code(&response), ErrorCode::MESSAGE_TOO_LARGE);
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let mut fixture = Fixture::new();
    fixture
        .core
        .create_topic(&NewTopic::new("t", 1).config("cleanup.policy", "compact"))
        .unwrap();
    let records = batch_of(
        &[(Some("a"), None), (None, Some("2")), (None, Some("3"))],
        Compression::Lz4,
    );
    for version in 3..=12 {
        let response = fixture.produce_to(1, version, "t", records.clone());
        assert_eq!(code(&response), ErrorCode::INVALID_RECORD, "version {version}");
    }
    let response = fixture.produce("t", records);
    assert_eq!(
        response
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(response.log_start_offset, 0);
    assert!(response.error_message.is_some());
}

#[test]
fn timestamps_more_than_an_hour_ahead_are_invalid() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.append(START_MS + 3_600_001, Some(b"a"), None, &[]);
    let response = fixture.produce("t", builder.seal(Compression::None).freeze());
    assert_eq!(code(&response), ErrorCode::INVALID_TIMESTAMP);
}

#[test]
fn a_log_append_time_topic_stamps_the_broker_s_time_under_a_new_checksum() {
    let mut fixture = Fixture::new();
    fixture
        .core
        .create_topic(&NewTopic::new("t", 1).config("message.timestamp.type", "LogAppendTime"))
        .unwrap();
    fixture.pass(Duration::from_millis(1500));
    let response = fixture.produce("t", batch(&[("a", "1"), ("b", "2")]));
    assert_eq!(response.log_append_time_ms, START_MS + 1500);
    let times: Vec<_> = fixture
        .core
        .records("t", 0)
        .unwrap()
        .iter()
        .map(|record| record.timestamp)
        .collect();
    assert_eq!(times, [START_MS + 1500, START_MS + 1500]);
    let stored = fixture.fetch("t", 0).records.unwrap();
    let stored = kafka_wire::protocol::batch::Batches::new(&stored)
        .next()
        .unwrap()
        .unwrap();
    stored.verify_crc().unwrap();
}

#[test]
fn another_node_than_the_leader_says_who_leads_from_version_10_on() {
    let mut fixture = Fixture::with(BrokerConfig {
        brokers: 2,
        ..BrokerConfig::default()
    });
    fixture.topic("t");
    let leader = fixture.core.leader("t", 0).unwrap();
    let other = 3 - leader.node;
    let response = fixture.call_node(other, 9, &produce_request("t", batch(&[("a", "1")])));
    assert_eq!(
        response.responses[0].partition_responses[0].current_leader.leader_id.0,
        -1
    );
    let response = fixture.call_node(other, 10, &produce_request("t", batch(&[("a", "1")])));
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(code(partition), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(
        (
            partition.current_leader.leader_id.0,
            partition.current_leader.leader_epoch
        ),
        (leader.node, 0)
    );
    assert_eq!(response.node_endpoints[0].node_id.0, leader.node);
    assert_eq!(
        fixture
            .produce_to(leader.node, 10, "t", batch(&[("a", "1")]))
            .error_code,
        0
    );
}

#[test]
fn too_few_live_replicas_refuse_acks_all_only() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture
        .core
        .create_topic(&NewTopic::new("t", 1).config("min.insync.replicas", "2"))
        .unwrap();
    let leader = fixture.core.leader("t", 0).unwrap().node;
    fixture
        .core
        .crash(fixture.now, 3 - leader, crate::broker::LostTail::Nothing);
    drop(fixture.output());
    let refused = fixture.produce_to(leader, 12, "t", batch(&[("a", "1")]));
    assert_eq!(code(&refused), ErrorCode::NOT_ENOUGH_REPLICAS);
    let response = fixture.call_node(leader, 12, &produce_request("t", batch(&[("a", "1")])).with_acks(1));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn clients_do_not_write_to_internal_topics() {
    let mut fixture = Fixture::new();
    fixture.topic("__consumer_offsets");
    let response = fixture.produce("__consumer_offsets", batch(&[("a", "1")]));
    assert_eq!(code(&response), ErrorCode::INVALID_TOPIC_EXCEPTION);
}
