//! Whatever bytes arrive where record batches are expected: no panic, and memory bounded by what really came.

mod hostile;

use bytes::BytesMut;
use kafka_wire::protocol::Compression;
use kafka_wire::protocol::batch::{BatchBuilder, Batches, Header};
use proptest::prelude::*;

/// Reads everything there is to read; errors are fine.
fn read_all(bytes: &[u8]) {
    let mut scratch = Vec::new();
    for batch in Batches::new(bytes).flatten() {
        let _ = batch.verify_crc();
        let _ = batch.control_marker();
        let Ok(records) = batch.records(&mut scratch) else {
            continue;
        };
        for record in records.flatten() {
            assert!(record.headers.iter().flatten().count() <= record.headers.len());
        }
    }
}

/// The most bytes that reading `bytes` held at once.
fn peak(bytes: &[u8]) -> u64 {
    hostile::peak(|| read_all(bytes))
}

fn bound(bytes: &[u8]) -> u64 {
    hostile::bound(bytes.len())
}

fn valid(compression: Compression, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BytesMut::new());
    let headers = [
        Header {
            key: b"trace",
            value: Some(b"0123456789"),
        },
        Header {
            key: b"trace",
            value: None,
        },
    ];
    for number in 0..records {
        let key = format!("key-{number}");
        builder.append(
            number as i64,
            Some(key.as_bytes()),
            Some(b"some value some value"),
            &headers[..number % 3],
        );
    }
    builder.seal(compression).freeze().to_vec()
}

#[test]
fn a_count_of_two_billion_records_costs_nothing() {
    let mut bytes = valid(Compression::None, 3);
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(peak(&bytes) <= bound(&bytes));
}

#[test]
fn a_batch_length_of_two_billion_costs_nothing() {
    let mut bytes = valid(Compression::None, 3);
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(peak(&bytes) <= bound(&bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_are_refused_in_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(peak(&bytes) <= bound(&bytes));
    }

    #[test]
    fn mutated_batches_are_read_or_refused_in_bounded_memory(
        compression in prop_oneof![Just(Compression::None), Just(Compression::Snappy), Just(Compression::Lz4)],
        records in 0usize..40,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = valid(compression, records);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if value_is_even(bytes[60]) {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        prop_assert!(peak(&bytes) <= bound(&bytes));
    }
}

fn value_is_even(value: u8) -> bool {
    value.is_multiple_of(2)
}
