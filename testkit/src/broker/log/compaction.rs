//! Compaction: the last value of every key, in place (`Cleaner`, `MemoryRecords.filterTo`).
//!
//! Offsets stay, so gaps appear between and inside batches. A batch that loses records keeps its base offset and
//! `lastOffsetDelta`. A batch that loses all of them goes, unless it is the last one of an idempotent producer, whose
//! sequence must be remembered, or the last one of the log, which Kafka never cleans because its segment is active: these
//! stay as batches without records.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::protocol::batch::{BatchHeader, HEADER_LEN};

use super::append::seal;
use super::read::records_of;
use super::{PartitionLog, StoredBatch, StoredRecord};

/// What compaction does with tombstones, which Kafka keeps for `delete.retention.ms` after the first cleaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tombstones {
    /// They stay: `delete.retention.ms` has not passed.
    Keep,
    /// They go: `delete.retention.ms` has passed.
    Drop,
}

const LENGTH_AT: std::ops::Range<usize> = 8..12;
const ATTRIBUTES_AT: std::ops::Range<usize> = 21..23;
const MAX_TIMESTAMP_AT: std::ops::Range<usize> = 35..43;
const COUNT_AT: std::ops::Range<usize> = 57..61;
const CODEC_BITS: i16 = 0x07;

impl PartitionLog {
    /// Keeps the last record of every key; how many records were dropped. Records without a key are dropped too.
    pub(crate) fn compact(&mut self, tombstones: Tombstones) -> usize {
        let mut last: BTreeMap<Bytes, i64> = BTreeMap::new();
        for record in self.batches.iter().flat_map(records_of) {
            if let Some(key) = record.key {
                last.insert(key, record.offset);
            }
        }
        let keep = |record: &StoredRecord| {
            let newest = record
                .key
                .as_ref()
                .is_some_and(|key| last.get(key) == Some(&record.offset));
            newest && (record.value.is_some() || tombstones == Tombstones::Keep)
        };
        let count = self.batches.len();
        let mut kept = Vec::with_capacity(count);
        let mut dropped = 0;
        for (index, batch) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            let records = records_of(&batch);
            let retained: Vec<_> = records.iter().filter(|record| keep(record)).cloned().collect();
            dropped += records.len() - retained.len();
            let must_stay = index + 1 == count || self.is_last_of_producer(&batch);
            if retained.len() == records.len() {
                kept.push(batch);
            } else if !retained.is_empty() || must_stay {
                kept.push(rewrite(&batch, &retained));
            }
        }
        self.batches = kept;
        dropped
    }

    fn is_last_of_producer(&self, batch: &StoredBatch) -> bool {
        let producer = batch.header.producer_id;
        producer >= 0 && self.producers.last_offset(producer) == Some(batch.last_offset())
    }
}

/// The batch with these records only, uncompressed.
fn rewrite(batch: &StoredBatch, records: &[StoredRecord]) -> StoredBatch {
    let mut header = batch.header;
    let mut bytes = BytesMut::from(&batch.bytes[..HEADER_LEN]);
    for record in records {
        put_record(&mut bytes, &header, record);
    }
    header.attributes.0 &= !CODEC_BITS;
    header.record_count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    header.batch_length = i32::try_from(bytes.len() - LENGTH_AT.end).unwrap_or(i32::MAX);
    if !header.attributes.is_log_append_time() {
        header.max_timestamp = records
            .iter()
            .map(|record| record.timestamp)
            .max()
            .unwrap_or(header.max_timestamp);
    }
    bytes[LENGTH_AT].copy_from_slice(&header.batch_length.to_be_bytes());
    bytes[ATTRIBUTES_AT].copy_from_slice(&header.attributes.0.to_be_bytes());
    bytes[MAX_TIMESTAMP_AT].copy_from_slice(&header.max_timestamp.to_be_bytes());
    bytes[COUNT_AT].copy_from_slice(&header.record_count.to_be_bytes());
    seal(&mut bytes);
    StoredBatch {
        header,
        bytes: bytes.freeze(),
    }
}

fn put_record(buffer: &mut BytesMut, header: &BatchHeader, record: &StoredRecord) {
    let mut body = BytesMut::new();
    body.put_u8(0);
    put_varint(&mut body, record.timestamp.wrapping_sub(header.base_timestamp));
    put_varint(&mut body, record.offset - header.base_offset);
    put_bytes(&mut body, record.key.as_ref());
    put_bytes(&mut body, record.value.as_ref());
    put_varint(&mut body, record.headers.len() as i64);
    for (key, value) in &record.headers {
        put_bytes(&mut body, Some(key));
        put_bytes(&mut body, value.as_ref());
    }
    put_varint(buffer, body.len() as i64);
    buffer.extend_from_slice(&body);
}

fn put_bytes(buffer: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        None => put_varint(buffer, -1),
        Some(bytes) => {
            put_varint(buffer, bytes.len() as i64);
            buffer.extend_from_slice(bytes);
        }
    }
}

/// Zigzag, seven bits a byte, least significant first.
fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        buffer.put_u8((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(rest as u8);
}
