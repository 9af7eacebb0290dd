//! Cursors over batches made by hand: compacted, compressed, transactional, damaged.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::fetcher::AbortedTransaction;
use crate::protocol::batch::BatchBuilder;
use crate::protocol::{Compression, TopicPartition};

/// A batch at `offset` whose values are the offsets in text, changed by `change` before its checksum is written.
fn batch(offset: i64, count: i64, compression: Compression, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for number in 0..count {
        builder.append(0, None, Some((offset + number).to_string().as_bytes()), &[]);
    }
    let mut bytes = builder.seal(compression).freeze().to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn plain(offset: i64, count: i64) -> Vec<u8> {
    batch(offset, count, Compression::None, |_| {})
}

/// A batch of a transaction of `producer`, or its marker.
fn transactional(offset: i64, producer: i64, attributes: u8) -> Vec<u8> {
    batch(offset, 2, Compression::None, |bytes| {
        bytes[22] |= attributes;
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    })
}

fn marker(offset: i64, producer: i64, kind: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.append(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]);
    let mut bytes = builder.seal(Compression::None).freeze().to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[22] |= 0x30;
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn fetched(fetch_offset: i64, batches: &[Vec<u8>]) -> FetchedBatch {
    FetchedBatch {
        records: Bytes::from(batches.concat()),
        ..FetchedBatch::empty(TopicPartition::new("clicks", 0), fetch_offset)
    }
}

fn offsets(cursor: &mut RecordCursor) -> Result<Vec<i64>, FetchError> {
    let mut offsets = Vec::new();
    while let Some(record) = cursor.next_record()? {
        assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
        offsets.push(record.offset);
    }
    Ok(offsets)
}

fn read(fetched: FetchedBatch, level: IsolationLevel) -> (Vec<i64>, i64) {
    let mut cursor = RecordCursor::new(fetched, level);
    (offsets(&mut cursor).unwrap(), cursor.next_offset())
}

#[test]
fn records_below_the_position_are_left_out_in_every_codec() {
    for compression in [Compression::None, Compression::Snappy, Compression::Lz4] {
        let first = batch(10, 100, compression, |_| {});
        let fetched = fetched(105, &[first, plain(110, 2)]);
        let (read, next) = read(fetched, IsolationLevel::ReadUncommitted);
        assert_eq!((read, next), ((105..112).collect(), 112), "{compression:?}");
    }
}

#[test]
fn batches_that_lie_below_the_position_altogether_are_left_out() {
    let (read, next) = read(
        fetched(20, &[plain(10, 5), plain(15, 5), plain(20, 1)]),
        IsolationLevel::default(),
    );
    assert_eq!((read, next), (vec![20], 21));
}

#[test]
fn the_position_moves_past_what_compaction_removed() {
    let tail_removed = batch(0, 2, Compression::None, |bytes| {
        bytes[23..27].copy_from_slice(&9i32.to_be_bytes())
    });
    let emptied = batch(10, 0, Compression::None, |bytes| {
        bytes[23..27].copy_from_slice(&4i32.to_be_bytes())
    });
    let mut cursor = RecordCursor::new(fetched(0, &[tail_removed, emptied]), IsolationLevel::default());
    cursor.next_record().unwrap();
    cursor.next_record().unwrap();
    assert_eq!(cursor.next_offset(), 2);
    assert!(cursor.next_record().unwrap().is_none());
    assert_eq!(cursor.next_offset(), 15);
}

#[test]
fn markers_are_never_lent_but_move_the_position() {
    for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        let (read, next) = read(fetched(0, &[plain(0, 1), marker(1, 7, 1)]), level);
        assert_eq!((read, next), (vec![0], 2), "{level:?}");
    }
}

#[test]
fn aborted_records_are_lent_only_when_reading_uncommitted() {
    let log = [
        transactional(0, 7, 0x10),
        transactional(2, 8, 0x10),
        marker(4, 7, 0),
        marker(5, 8, 1),
        transactional(6, 7, 0x10),
    ];
    let fetched = FetchedBatch {
        aborted: vec![AbortedTransaction {
            producer_id: 7,
            first_offset: 0,
        }],
        ..fetched(0, &log)
    };
    assert_eq!(
        read(fetched.clone(), IsolationLevel::ReadCommitted),
        (vec![2, 3, 6, 7], 8)
    );
    assert_eq!(
        read(fetched, IsolationLevel::ReadUncommitted),
        (vec![0, 1, 2, 3, 6, 7], 8)
    );
}

#[test]
fn a_damaged_batch_stops_the_cursor_for_good_and_names_the_place() {
    let mut damaged = plain(2, 3);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut cursor = RecordCursor::new(
        fetched(0, &[plain(0, 2), damaged, plain(5, 1)]),
        IsolationLevel::default(),
    );
    assert!(cursor.next_record().unwrap().is_some());
    assert!(cursor.next_record().unwrap().is_some());
    for _ in 0..3 {
        let error = cursor.next_record().unwrap_err();
        assert!(
            matches!(error.kind, FetchErrorKind::Corrupt(BatchError::Crc { offset: 2, .. })),
            "{error}"
        );
        assert_eq!((error.offset, cursor.next_offset()), (2, 2));
    }
}

#[test]
fn a_record_that_claims_an_earlier_offset_is_an_error() {
    // Both records get offset delta 0.
    let bytes = batch(0, 2, Compression::None, |bytes| {
        let second = 61 + (bytes.len() - 61) / 2;
        bytes[second + 3] = 0;
    });
    let mut cursor = RecordCursor::new(fetched(0, &[bytes]), IsolationLevel::default());
    assert!(cursor.next_record().unwrap().is_some());
    assert!(
        cursor
            .next_record()
            .unwrap_err()
            .to_string()
            .contains("offsets do not increase")
    );
    assert!(cursor.next_record().is_err());
}

#[test]
fn a_reused_cursor_starts_over() {
    let mut cursor = RecordCursor::new(fetched(0, &[plain(0, 3)]), IsolationLevel::default());
    assert_eq!(cursor.remaining_hint(), 3);
    cursor.next_record().unwrap();
    cursor.reset(fetched(3, &[batch(3, 50, Compression::Lz4, |_| {})]));
    assert_eq!(cursor.remaining_hint(), 50);
    assert_eq!(offsets(&mut cursor).unwrap(), (3..53).collect::<Vec<_>>());
    assert_eq!(cursor.remaining_hint(), 0);
}

#[test]
fn nothing_fetched_leaves_the_position_where_it_was() {
    assert_eq!(read(fetched(42, &[]), IsolationLevel::ReadCommitted), (vec![], 42));
}

#[test]
fn a_cursor_that_rests_between_batches_holds_no_decompressed_bytes() {
    let memory = crate::fetcher::memory::FetchMemory::new(1 << 20);
    let compressed = |offset| batch(offset, 100, Compression::Lz4, |_| {});
    let mut both = fetched(0, &[compressed(0), compressed(100)]);
    let response = both.records.len();
    both.held = Some(std::sync::Arc::new(Held::new(&memory, response)));
    let mut cursor = RecordCursor::new(both, IsolationLevel::ReadUncommitted);
    for left in (0..100).rev() {
        cursor.next_record().unwrap().unwrap();
        assert_eq!(cursor.is_in_scratch(), left > 0);
        cursor.rest();
        let held_beside = memory.used() > response;
        assert_eq!(held_beside, left > 0, "{left} records are left in the scratch buffer");
    }
    assert_eq!(
        offsets(&mut cursor).unwrap(),
        (100..200).collect::<Vec<_>>(),
        "it goes on"
    );
}
