//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: the ends of a log and what lies between.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};
use kafka_wire::ErrorCode;

use super::*;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

fn list_request(timestamp: i64, epoch: i32) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_timestamp(timestamp)
        .with_current_leader_epoch(epoch);
    let topic = ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_topics(vec![topic])
}

fn list(fixture: &mut Fixture, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
    fixture
        .call(version, &list_request(timestamp, -1))
        .topics
        .remove(0)
        .partitions
        .remove(0)
}

/// Two batches of two records, stamped 1000, 1001, 1000, 1001 ms after the start.
fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1"), ("b", "1")]));
    fixture.produce("t", batch_of(&[(Some("a"), None), (Some("b"), None)], Compression::Lz4));
    fixture
}

#[test]
fn the_ends_of_the_log_are_listed_in_every_version() {
    let mut fixture = filled();
    for version in 1..=10 {
        let (first, last) = (
            list(&mut fixture, version, EARLIEST),
            list(&mut fixture, version, LATEST),
        );
        assert_eq!(
            (first.error_code, first.offset, first.timestamp),
            (0, 0, -1),
            "version {version}"
        );
        assert_eq!(
            (last.error_code, last.offset, last.timestamp),
            (0, 4, -1),
            "version {version}"
        );
        if version >= 4 {
            assert_eq!((first.leader_epoch, last.leader_epoch), (0, 0));
        }
    }
}

#[test]
fn the_first_record_not_older_than_a_time_is_found_inside_its_batch() {
    let mut fixture = filled();
    let cases = [
        (0, 0, START_MS + 1000),
        (START_MS + 1000, 0, START_MS + 1000),
        (START_MS + 1001, 1, START_MS + 1001),
    ];
    for (asked, offset, timestamp) in cases {
        let found = list(&mut fixture, 10, asked);
        assert_eq!(
            (found.offset, found.timestamp, found.leader_epoch),
            (offset, timestamp, 0)
        );
    }
    let nothing = list(&mut fixture, 10, START_MS + 1002);
    assert_eq!((nothing.error_code, nothing.offset, nothing.timestamp), (0, -1, -1));
    fixture.core.delete_records(fixture.now, "t", 0, 1).unwrap();
    assert_eq!(list(&mut fixture, 10, 0).offset, 1, "not before the log start");
}

#[test]
fn the_largest_timestamp_is_found_from_version_7_on() {
    let mut fixture = filled();
    let found = list(&mut fixture, 7, MAX_TIMESTAMP);
    assert_eq!((found.offset, found.timestamp), (1, START_MS + 1001));
    assert_eq!(
        list(&mut fixture, 6, MAX_TIMESTAMP).error_code,
        ErrorCode::UNSUPPORTED_VERSION.0
    );
    assert_eq!(list(&mut fixture, 10, -77).error_code, ErrorCode::UNSUPPORTED_VERSION.0);
}

#[test]
fn a_partition_asked_for_twice_is_an_invalid_request_the_second_time() {
    let mut fixture = filled();
    let mut request = list_request(LATEST, -1);
    let again = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(again);
    let partitions = fixture.call(5, &request).topics.remove(0).partitions;
    assert_eq!(
        (partitions[0].error_code, partitions[1].error_code),
        (0, ErrorCode::INVALID_REQUEST.0)
    );
}

#[test]
fn a_stale_and_a_future_leader_epoch_are_told_apart() {
    let mut fixture = filled();
    fixture.core.move_leader(fixture.now, "t", 0, 1).unwrap();
    let code =
        |fixture: &mut Fixture, epoch| fixture.call(5, &list_request(LATEST, epoch)).topics[0].partitions[0].error_code;
    assert_eq!(code(&mut fixture, 0), ErrorCode::FENCED_LEADER_EPOCH.0);
    assert_eq!(code(&mut fixture, 1), 0);
    assert_eq!(code(&mut fixture, 2), ErrorCode::UNKNOWN_LEADER_EPOCH.0);
}

#[test]
fn leader_epochs_end_where_the_next_one_wrote() {
    let mut fixture = filled();
    fixture.core.move_leader(fixture.now, "t", 0, 1).unwrap();
    fixture.core.move_leader(fixture.now, "t", 0, 1).unwrap();
    fixture.produce("t", batch(&[("c", "1")]));
    let end = |fixture: &mut Fixture, version: i16, current: i32, epoch: i32| {
        let asked = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(name("t"))
            .with_partitions(vec![asked]);
        let response = fixture.call(
            version,
            &OffsetForLeaderEpochRequest::default().with_topics(vec![topic]),
        );
        let end = &response.topics[0].partitions[0];
        (ErrorCode(end.error_code), end.leader_epoch, end.end_offset)
    };
    for version in 2..=4 {
        assert_eq!(end(&mut fixture, version, 2, 0), (ErrorCode::NONE, 0, 4));
        assert_eq!(
            end(&mut fixture, version, 2, 1),
            (ErrorCode::NONE, 0, 4),
            "epoch 1 wrote nothing"
        );
        assert_eq!(end(&mut fixture, version, 2, 2), (ErrorCode::NONE, 2, 5));
        assert_eq!(end(&mut fixture, version, 2, 3), (ErrorCode::NONE, -1, -1));
        assert_eq!(
            end(&mut fixture, version, 1, 0),
            (ErrorCode::FENCED_LEADER_EPOCH, -1, -1)
        );
    }
}

#[test]
fn deleted_records_move_the_log_start_and_nothing_moves_it_back() {
    let mut fixture = filled();
    let delete = |fixture: &mut Fixture, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let response = fixture.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic]));
        let result = &response.topics[0].partitions[0];
        (ErrorCode(result.error_code), result.low_watermark)
    };
    assert_eq!(delete(&mut fixture, 3), (ErrorCode::NONE, 3));
    assert_eq!(list(&mut fixture, 5, EARLIEST).offset, 3);
    assert_eq!(delete(&mut fixture, 1), (ErrorCode::NONE, 3));
    assert_eq!(delete(&mut fixture, 5), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(&mut fixture, -1), (ErrorCode::NONE, 4));
    assert_eq!(fixture.produce("t", batch(&[("a", "1")])).base_offset, 4);
}
