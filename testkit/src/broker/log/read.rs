//! Reading: byte ranges for fetches, single records for everyone else.

use bytes::Bytes;
use kafka_wire::protocol::batch::Batches;

use super::{PartitionLog, StoredBatch};

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the broker's on a LogAppendTime topic.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<Bytes>,
    /// `None` is null: a tombstone on a compacted topic.
    pub value: Option<Bytes>,
    /// In the order the producer gave them; keys may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Who wrote it, if the producer was idempotent.
    pub writer: Option<RecordWriter>,
}

/// An idempotent producer and a place in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordWriter {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// The record's own sequence number.
    pub sequence: i32,
}

/// An offset found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl PartitionLog {
    /// At most `max_bytes` of the log from the batch that holds `offset` on. The last batch may be cut in the middle, as
    /// Kafka cuts it. A first batch that does not fit is sent whole if `at_least_one`, else nothing is sent.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Vec<Bytes> {
        let from = self.index_of(offset);
        let Some(first) = self.batches.get(from) else {
            return Vec::new();
        };
        let mut limit = if at_least_one {
            max_bytes.max(first.bytes.len())
        } else {
            max_bytes
        };
        if limit < first.bytes.len() {
            return Vec::new();
        }
        let mut pieces = Vec::new();
        for batch in &self.batches[from..] {
            if limit == 0 {
                break;
            }
            let length = batch.bytes.len().min(limit);
            pieces.push(batch.bytes.slice(..length));
            limit -= length;
        }
        pieces
    }

    /// The first record that is not older than the timestamp.
    pub(crate) fn find_by_timestamp(&self, timestamp: i64) -> Option<Found> {
        let candidates = self
            .batches
            .iter()
            .filter(|batch| batch.header.max_timestamp >= timestamp);
        candidates
            .filter_map(|batch| self.first_in(batch, |at| at >= timestamp))
            .next()
    }

    /// The first record with the largest timestamp.
    pub(crate) fn find_max_timestamp(&self) -> Option<Found> {
        let max = self.batches.iter().map(|batch| batch.header.max_timestamp).max()?;
        let batch = self.batches.iter().find(|batch| batch.header.max_timestamp == max)?;
        if batch.header.attributes.is_log_append_time() {
            let leader_epoch = batch.header.partition_leader_epoch;
            return Some(Found {
                offset: batch.last_offset(),
                timestamp: max,
                leader_epoch,
            });
        }
        self.first_in(batch, |at| at == max)
    }

    /// Every record from the log start on. Batches of a codec that kafka-wire does not read are left out.
    pub(crate) fn records(&self) -> Vec<StoredRecord> {
        let all = self.batches.iter().flat_map(records_of);
        all.filter(|record| record.offset >= self.start).collect()
    }

    fn first_in(&self, batch: &StoredBatch, wanted: impl Fn(i64) -> bool) -> Option<Found> {
        let leader_epoch = batch.header.partition_leader_epoch;
        let mut records = records_of(batch).into_iter();
        let found = records.find(|record| record.offset >= self.start && wanted(record.timestamp))?;
        Some(Found {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch,
        })
    }

    /// The first batch that reaches to `offset`.
    fn index_of(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset() < offset)
    }
}

/// The records of one batch; none if its codec is not read here.
pub(super) fn records_of(batch: &StoredBatch) -> Vec<StoredRecord> {
    let mut scratch = Vec::new();
    let Some(Ok(parsed)) = Batches::new(&batch.bytes).next() else {
        return Vec::new();
    };
    let Ok(records) = parsed.records(&mut scratch) else {
        return Vec::new();
    };
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let writer = |offset: i64| {
        let (header, delta) = (&batch.header, (offset - batch.header.base_offset) as i32);
        (header.producer_id >= 0).then(|| RecordWriter {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            // KIP-98: sequences go from 0 to 2^31 - 1 and begin again.
            sequence: header.base_sequence.wrapping_add(delta) & i32::MAX,
        })
    };
    let owned = records.flatten().map(|record| StoredRecord {
        writer: writer(record.offset),
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(copy),
        value: record.value.map(copy),
        headers: record
            .headers
            .iter()
            .flatten()
            .map(|header| (copy(header.key), header.value.map(copy)))
            .collect(),
    });
    owned.collect()
}
