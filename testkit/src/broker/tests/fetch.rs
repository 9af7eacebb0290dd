//! Fetch: limits, long polls, leader epochs, followers, and what a waiting fetch learns.

use kafka_wire::ErrorCode;
use uuid::Uuid;

use super::*;
use crate::broker::LostTail;

fn code(data: &PartitionData) -> ErrorCode {
    ErrorCode(data.error_code)
}

fn patient(topic: &str, offset: i64, min_bytes: i32) -> FetchRequest {
    fetch_request(topic, offset)
        .with_max_wait_ms(500)
        .with_min_bytes(min_bytes)
}

#[test]
fn records_are_read_back_in_every_version() {
    let mut fixture = Fixture::new();
    let id = fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1"), ("b", "2")]));
    fixture.produce("t", batch(&[("c", "3")]));
    for version in 4..=17 {
        let mut request = fetch_request("t", 1).with_isolation_level(1);
        if version >= 13 {
            request.topics[0].topic_id = Uuid::from_bytes(id.0);
        }
        let data = only(fixture.call(version, &request));
        assert_eq!(data.error_code, 0, "version {version}");
        assert_eq!(
            offsets_in(&data),
            [0, 1, 2],
            "the batch that holds offset 1 is sent whole"
        );
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
        assert_eq!(data.aborted_transactions, Some(Vec::new()));
    }
    let data = only(fixture.call(12, &fetch_request("t", 3)));
    assert_eq!(
        (data.error_code, data.records, data.aborted_transactions),
        (0, Some(Bytes::new()), None)
    );
}

#[test]
fn an_offset_outside_the_log_is_out_of_range() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1"), ("b", "2")]));
    fixture.core.delete_records(fixture.now, "t", 0, 1).unwrap();
    for offset in [-1, 0, 3] {
        let data = fixture.fetch("t", offset);
        assert_eq!(code(&data), ErrorCode::OFFSET_OUT_OF_RANGE, "offset {offset}");
        assert_eq!((data.high_watermark, data.log_start_offset), (-1, -1));
    }
    assert_eq!(offsets_in(&fixture.fetch("t", 1)), [0, 1]);
}

#[test]
fn limits_cut_the_last_batch_and_never_withhold_the_first_one() {
    let mut fixture = Fixture::new();
    fixture.core.create_topic(&NewTopic::new("t", 2)).unwrap();
    let one = batch(&[("a", &"x".repeat(100))]);
    let length = i32::try_from(one.len()).unwrap();
    for partition in 0..2 {
        for _ in 0..3 {
            let mut request = produce_request("t", one.clone());
            request.topic_data[0].partition_data[0].index = partition;
            fixture.call(12, &request);
        }
    }
    let read = |fixture: &mut Fixture, max_bytes: i32, partition_max_bytes: i32| {
        let mut request = fetch_request("t", 0).with_max_bytes(max_bytes);
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let second = request.topics[0].partitions[0].clone().with_partition(1);
        request.topics[0].partitions.push(second);
        let response = fixture.call(12, &request);
        let sizes = response.responses[0]
            .partitions
            .iter()
            .map(|it| it.records.as_ref().unwrap().len() as i32);
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(read(&mut fixture, 1 << 20, 1 << 20), [3 * length, 3 * length]);
    assert_eq!(
        read(&mut fixture, 1 << 20, 2 * length + 5),
        [2 * length + 5, 2 * length + 5],
        "cut in the middle"
    );
    assert_eq!(read(&mut fixture, 4 * length, 1 << 20), [3 * length, length]);
    assert_eq!(
        read(&mut fixture, 1, 1),
        [length, 0],
        "one batch at least, and only one"
    );
    assert_eq!(read(&mut fixture, 0, 0), [length, 0]);
}

#[test]
fn a_fetch_waits_until_there_are_enough_bytes() {
    let mut fixture = Fixture::with(BrokerConfig {
        brokers: 1,
        ..BrokerConfig::default()
    });
    fixture.topic("t");
    let one = batch(&[("a", "1")]);
    let enough = i32::try_from(2 * one.len()).unwrap();
    fixture.send(1, 12, &patient("t", 0, enough));
    let waiting = fixture.correlation_id;
    assert_eq!(fixture.output(), None);
    fixture
        .core
        .append(fixture.now, "t", 0, &[(Some(b"a"), Some(b"1"))])
        .unwrap();
    assert_eq!(fixture.output(), None, "half is not enough");
    fixture.pass(Duration::from_millis(200));
    fixture
        .core
        .append(fixture.now, "t", 0, &[(Some(b"a"), Some(b"1"))])
        .unwrap();
    fixture.correlation_id = waiting;
    let data = only(
        fixture
            .answer::<FetchRequest>(12)
            .expect("enough bytes release the fetch"),
    );
    assert_eq!(offsets_in(&data), [0, 1]);
    assert_eq!(fixture.core.next_timeout(), None, "its timer is gone");
}

#[test]
fn a_fetch_is_answered_with_what_there_is_when_its_time_is_up() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1")]));
    fixture.send(1, 12, &patient("t", 0, 1 << 20));
    fixture.pass(Duration::from_millis(499));
    assert_eq!(fixture.output(), None);
    fixture.pass(Duration::from_millis(1));
    let data = only(fixture.answer::<FetchRequest>(12).unwrap());
    assert_eq!(offsets_in(&data), [0]);
}

#[test]
fn an_error_of_an_existing_partition_is_told_at_once_and_a_missing_one_waits_with_the_others() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1")]));
    let data = only(fixture.call(12, &patient("t", 9, 1)));
    assert_eq!(code(&data), ErrorCode::OFFSET_OUT_OF_RANGE);
    let data = only(fixture.call(12, &patient("gone", 0, 1)));
    assert_eq!(
        code(&data),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        "nothing to wait for"
    );
    let mut both = patient("t", 1, 1);
    let missing = both.topics[0].partitions[0].clone().with_partition(7);
    both.topics[0].partitions.push(missing);
    fixture.send(1, 12, &both);
    assert_eq!(
        fixture.output(),
        None,
        "the missing partition does not hurry the answer"
    );
    fixture.pass(Duration::from_millis(500));
    let response = fixture.answer::<FetchRequest>(12).unwrap();
    let codes: Vec<_> = response.responses[0].partitions.iter().map(code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
}

#[test]
fn a_waiting_fetch_learns_of_a_new_leader_and_of_a_deleted_topic() {
    let mut fixture = Fixture::with(BrokerConfig {
        brokers: 2,
        ..BrokerConfig::default()
    });
    fixture.topic("t");
    let node = fixture.core.leader("t", 0).unwrap().node;
    fixture.send(node, 16, &by_id(&fixture, 0));
    assert_eq!(fixture.output(), None);
    fixture.core.move_leader(fixture.now, "t", 0, 3 - node).unwrap();
    let response = fixture.answer::<FetchRequest>(16).unwrap();
    assert_eq!(response.node_endpoints[0].node_id.0, 3 - node);
    let data = only(response);
    assert_eq!(code(&data), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(
        (data.current_leader.leader_id.0, data.current_leader.leader_epoch),
        (3 - node, 1)
    );
    fixture.send(3 - node, 16, &by_id(&fixture, 0));
    fixture.core.delete_topic(fixture.now, "t");
    let data = only(fixture.answer::<FetchRequest>(16).unwrap());
    assert_eq!(code(&data), ErrorCode::UNKNOWN_TOPIC_ID);
}

fn by_id(fixture: &Fixture, offset: i64) -> FetchRequest {
    let mut request = patient("", offset, 1);
    request.topics[0].topic_id = Uuid::from_bytes(fixture.core.topic_id("t").unwrap().0);
    request
}

#[test]
fn a_stale_reader_is_fenced_and_an_early_one_must_wait() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.core.move_leader(fixture.now, "t", 0, 1).unwrap();
    let mut with_epoch = |epoch: i32| {
        let mut request = fetch_request("t", 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        code(&only(fixture.call(12, &request)))
    };
    assert_eq!(with_epoch(0), ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(with_epoch(1), ErrorCode::NONE);
    assert_eq!(with_epoch(-1), ErrorCode::NONE);
    assert_eq!(with_epoch(2), ErrorCode::UNKNOWN_LEADER_EPOCH);
}

#[test]
fn a_follower_serves_consumers_from_version_11_on() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture.topic("t");
    let leader = fixture.core.leader("t", 0).unwrap().node;
    fixture.produce_to(leader, 12, "t", batch(&[("a", "1")]));
    let data = only(fixture.call_node(3 - leader, 10, &fetch_request("t", 0)));
    assert_eq!(code(&data), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let data = only(fixture.call_node(3 - leader, 11, &fetch_request("t", 0)));
    assert_eq!(offsets_in(&data), [0]);
}

#[test]
fn a_reader_of_a_lost_tail_learns_where_the_logs_part() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    for value in ["1", "2", "3"] {
        fixture.produce("t", batch(&[("a", value)]));
    }
    fixture.core.crash(fixture.now, 1, LostTail::Batches(2));
    fixture.core.restart(fixture.now, 1);
    fixture.connections[0] = fixture.core.handle_connected(1).unwrap();
    drop(fixture.output());
    fixture.produce("t", batch(&[("b", "1")]));
    fixture.produce("t", batch(&[("b", "2")]));
    let mut request = fetch_request("t", 3);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let data = only(fixture.call(12, &request));
    assert_eq!(data.error_code, 0);
    assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 1));
    assert_eq!(data.records, Some(Bytes::new()));
}

#[test]
fn a_fetch_whose_connection_is_gone_is_forgotten() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.send(1, 12, &patient("t", 0, 1));
    fixture.core.handle_disconnected(fixture.now, fixture.connection(1));
    assert_eq!(fixture.core.next_timeout(), None);
    fixture.core.append(fixture.now, "t", 0, &[(Some(b"a"), None)]).unwrap();
    assert_eq!(fixture.output(), None);
}

#[test]
fn a_second_request_waits_until_the_first_is_answered() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.send(1, 12, &patient("t", 0, 1));
    fixture.send(1, 12, &produce_request("t", batch(&[("a", "1")])));
    assert_eq!(
        fixture.core.offsets("t", 0).unwrap().log_end,
        0,
        "a Kafka broker reads one request at a time"
    );
    fixture.pass(Duration::from_millis(500));
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 1);
    assert_eq!(std::iter::from_fn(|| fixture.output()).count(), 2);
}
