//! Compaction on demand: what stays, at which offset, and which batches outlive their records.

use kafka_wire::protocol::batch::Batches;

use super::*;
use crate::broker::Tombstones;

fn kept(fixture: &Fixture) -> Vec<(i64, String, Option<String>)> {
    let string = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let records = fixture.core.records("t", 0).unwrap();
    let told = records.iter().map(|record| {
        (
            record.offset,
            string(record.key.as_ref().unwrap()),
            record.value.as_ref().map(string),
        )
    });
    told.collect()
}

fn row(offset: i64, key: &str, value: Option<&str>) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), value.map(str::to_owned))
}

#[test]
fn the_last_value_of_every_key_stays_at_its_offset() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1"), ("b", "1"), ("a", "2")]));
    fixture.produce(
        "t",
        batch_of(&[(Some("c"), Some("1")), (Some("b"), Some("2"))], Compression::Lz4),
    );
    fixture.produce("t", batch(&[("a", "3"), ("d", "1")]));
    assert_eq!(fixture.core.compact("t", 0, Tombstones::Keep).unwrap(), 3);
    let expected = [
        row(3, "c", Some("1")),
        row(4, "b", Some("2")),
        row(5, "a", Some("3")),
        row(6, "d", Some("1")),
    ];
    assert_eq!(kept(&fixture), expected);
    let data = fixture.fetch("t", 0);
    assert_eq!(offsets_in(&data), [3, 4, 5, 6], "a reader at 0 goes on behind the gap");
    assert_eq!(data.log_start_offset, 0);
}

#[test]
fn a_batch_that_loses_some_records_keeps_its_offsets_and_timestamps() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    let compressed = batch_of(
        &[(Some("a"), Some("1")), (Some("b"), Some("1")), (Some("c"), Some("1"))],
        Compression::Snappy,
    );
    fixture.produce("t", compressed);
    fixture.produce("t", batch(&[("a", "2"), ("c", "2")]));
    fixture.core.compact("t", 0, Tombstones::Keep).unwrap();
    let data = fixture.fetch("t", 0).records.unwrap();
    let first = Batches::new(&data).next().unwrap().unwrap();
    let header = first.header();
    assert_eq!(
        (header.base_offset, header.last_offset_delta, header.record_count),
        (0, 2, 1)
    );
    assert_eq!(header.max_timestamp, START_MS + 1001);
    let record = &fixture.core.records("t", 0).unwrap()[0];
    assert_eq!((record.offset, record.timestamp), (1, START_MS + 1001));
}

#[test]
fn tombstones_stay_until_they_are_dropped() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1"), ("b", "1")]));
    fixture.produce("t", batch_of(&[(Some("a"), None)], Compression::None));
    fixture.produce("t", batch(&[("z", "1")]));
    fixture.core.compact("t", 0, Tombstones::Keep).unwrap();
    assert_eq!(
        kept(&fixture),
        [row(1, "b", Some("1")), row(2, "a", None), row(3, "z", Some("1"))]
    );
    fixture.core.compact("t", 0, Tombstones::Drop).unwrap();
    assert_eq!(kept(&fixture), [row(1, "b", Some("1")), row(3, "z", Some("1"))]);
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 4);
}

#[test]
fn the_last_batch_of_a_producer_and_of_the_log_stay_as_batches_without_records() {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.produce("t", idempotent_batch(7, 0, 0, &[("a", "1")]));
    fixture.produce("t", idempotent_batch(7, 0, 1, &[("a", "2"), ("b", "1")]));
    fixture.produce("t", batch(&[("a", "3"), ("b", "2")]));
    fixture.produce(
        "t",
        batch_of(&[(Some("a"), None), (Some("b"), None)], Compression::None),
    );
    fixture.core.compact("t", 0, Tombstones::Drop).unwrap();
    assert_eq!(kept(&fixture), []);
    let bytes = fixture.fetch("t", 0).records.unwrap();
    let headers: Vec<_> = Batches::new(&bytes).map(|batch| *batch.unwrap().header()).collect();
    let told: Vec<_> = headers
        .iter()
        .map(|it| (it.base_offset, it.next_offset(), it.record_count))
        .collect();
    assert_eq!(told, [(1, 3, 0), (5, 7, 0)]);
    assert_eq!((headers[0].producer_id, headers[0].base_sequence), (7, 1));
    let duplicate = fixture.produce("t", idempotent_batch(7, 0, 1, &[("a", "2"), ("b", "1")]));
    assert_eq!(
        (duplicate.error_code, duplicate.base_offset),
        (0, 1),
        "the window outlives compaction"
    );
}
