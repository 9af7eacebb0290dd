use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::protocol::Compression;
use crate::protocol::compression::CompressionError;

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn build(records: &[Owned], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        let before = builder.len();
        builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers);
        let bound = BatchBuilder::size_upper_bound(key.as_deref(), value.as_deref(), &headers);
        assert!(builder.len() - before <= bound);
    }
    builder.seal(compression).freeze().to_vec()
}

fn three() -> Vec<Owned> {
    let headers = vec![
        (b"h".to_vec(), Some(b"1".to_vec())),
        (b"h".to_vec(), None),
        (vec![0xff], Some(vec![])),
    ];
    vec![
        (1000, Some(b"a".to_vec()), Some(b"x".to_vec()), Vec::new()),
        (990, None, Some(Vec::new()), headers),
        (5_000_000_000, Some(Vec::new()), None, Vec::new()),
    ]
}

fn only_batch(bytes: &[u8]) -> Batch<'_> {
    let batches: Vec<_> = Batches::new(bytes).collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.len(), 1);
    batches[0]
}

fn read(batch: &Batch<'_>) -> Result<Vec<(i64, Owned)>, BatchError> {
    let mut scratch = Vec::new();
    let mut read = Vec::new();
    for record in batch.records(&mut scratch)? {
        let record = record?;
        let headers = record
            .headers
            .iter()
            .map(|header| header.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))));
        let headers = headers.collect::<Result<_, _>>()?;
        let owned = (
            record.timestamp,
            record.key.map(<[u8]>::to_vec),
            record.value.map(<[u8]>::to_vec),
            headers,
        );
        read.push((record.offset, owned));
    }
    Ok(read)
}

fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn headers_keep_their_order_duplicates_and_bytes() {
    let bytes = build(&three(), Compression::None);
    let batch = only_batch(&bytes);
    batch.verify_crc().unwrap();
    let read = read(&batch).unwrap();
    assert_eq!(
        read.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>(),
        three()
    );
    assert_eq!(read.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn the_broker_moves_a_batch_by_its_base_offset_alone() {
    let mut bytes = build(&three(), Compression::None);
    bytes[..8].copy_from_slice(&500i64.to_be_bytes());
    let batch = only_batch(&bytes);
    batch.verify_crc().unwrap();
    assert_eq!(batch.header().next_offset(), 503);
    assert_eq!(read(&batch).unwrap()[2].0, 502);
}

#[test]
fn log_append_time_overrides_the_records_own() {
    let mut bytes = build(&three(), Compression::None);
    bytes[22] |= 0x08;
    bytes[35..43].copy_from_slice(&999_999i64.to_be_bytes());
    let bytes = with_crc(bytes);
    assert!(
        read(&only_batch(&bytes))
            .unwrap()
            .iter()
            .all(|(_, record)| record.0 == 999_999)
    );
}

#[test]
fn a_batch_emptied_by_compaction_still_tells_its_last_offset() {
    let mut bytes = build(&[], Compression::None);
    bytes[..8].copy_from_slice(&40i64.to_be_bytes());
    bytes[23..27].copy_from_slice(&5i32.to_be_bytes());
    let bytes = with_crc(bytes);
    let batch = only_batch(&bytes);
    assert_eq!((batch.header().next_offset(), read(&batch).unwrap().len()), (46, 0));
}

#[test]
fn a_truncated_tail_ends_the_iteration_silently() {
    let whole = build(&three(), Compression::None);
    for cut in 0..whole.len() {
        let bytes = [&whole[..], &whole[..cut]].concat();
        let mut batches = Batches::new(&bytes);
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().is_none(), "cut at {cut}");
        assert_eq!(batches.is_truncated(), cut > 0);
    }
}

#[test]
fn older_formats_are_named() {
    let mut bytes = build(&three(), Compression::None);
    bytes[16] = 1;
    let error = Batches::new(&bytes).next().unwrap().unwrap_err();
    assert_eq!(error, BatchError::UnsupportedMagic { offset: 0, magic: 1 });
}

#[test]
fn a_damaged_byte_is_found_by_the_checksum() {
    let mut bytes = build(&three(), Compression::None);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(only_batch(&bytes).verify_crc(), Err(BatchError::Crc { .. })));
}

#[test]
fn a_record_count_that_lies_is_an_error_both_ways() {
    for count in [2i32, 4, i32::MAX] {
        let mut bytes = build(&three(), Compression::None);
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        assert!(read(&only_batch(&with_crc(bytes))).is_err(), "{count}");
    }
}

#[test]
fn codecs_that_are_not_ours_are_named() {
    for (number, codec) in [(1, "gzip"), (4, "zstd"), (7, "unknown")] {
        let mut bytes = build(&three(), Compression::None);
        bytes[22] |= number;
        let error = read(&only_batch(&bytes)).unwrap_err();
        let expected = CompressionError::Unsupported { codec, number };
        assert_eq!(
            error,
            BatchError::Compression {
                offset: 0,
                error: expected
            }
        );
    }
}

#[test]
fn control_batches_tell_how_the_transaction_ended() {
    for (kind, marker) in [
        (0u8, Some(ControlMarker::Abort)),
        (1, Some(ControlMarker::Commit)),
        (9, None),
    ] {
        let record = (0, Some(vec![0, 0, 0, kind]), Some(vec![0; 6]), Vec::new());
        let mut bytes = build(&[record], Compression::None);
        bytes[22] |= 0x30;
        assert_eq!(only_batch(&with_crc(bytes)).control_marker(), marker);
    }
    assert_eq!(only_batch(&build(&three(), Compression::None)).control_marker(), None);
}

#[test]
fn stamping_changes_producer_fields_and_checksum_only() {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.append(7, Some(b"k"), Some(b"v"), &[]);
    let mut sealed = builder.seal(Compression::None);
    sealed.stamp(4711, 3, i32::MAX);
    let bytes = sealed.freeze();
    let batch = only_batch(&bytes);
    batch.verify_crc().unwrap();
    let header = batch.header();
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (4711, 3, i32::MAX)
    );
    assert_eq!(
        (header.base_timestamp, header.max_timestamp, header.record_count),
        (7, 7, 1)
    );
}

#[test]
fn compression_that_does_not_pay_is_left_out() {
    let bytes = build(&[(0, None, Some(vec![1, 2, 3]), Vec::new())], Compression::Lz4);
    assert!(!only_batch(&bytes).is_compressed());
    let bytes = build(&[(0, None, Some(vec![1; 1000]), Vec::new())], Compression::Lz4);
    assert!(only_batch(&bytes).is_compressed());
}

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..8), bytes()), 0..3);
    (0i64..1 << 42, bytes(), bytes(), headers)
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Snappy),
        Just(Compression::Lz4)
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        records in proptest::collection::vec(owned(), 0..60),
        compression in compression(),
    ) {
        let bytes = build(&records, compression);
        let batch = only_batch(&bytes);
        batch.verify_crc().unwrap();
        let read: Vec<_> = read(&batch).unwrap().into_iter().map(|(_, record)| record).collect();
        prop_assert_eq!(read, records);
    }
}
