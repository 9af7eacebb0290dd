//! What a fetch brings: the bytes of one partition out of one response.

use std::sync::Arc;

use bytes::Bytes;

use super::memory::Held;
use crate::protocol::TopicPartition;

/// Complete record batches of one partition, as the broker sent them; a slice of the response, not a copy.
///
/// The first batch may begin below [`fetch_offset`](FetchedBatch::fetch_offset), since brokers send whole batches;
/// [`RecordCursor`](super::RecordCursor) leaves those records out. `records` is empty in one case: when the reader is now at the
/// end of the log and was not told so with the last records, a batch that says just that is delivered.
#[derive(Debug, Clone)]
pub struct FetchedBatch {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// Record batches, raw, none of them cut off.
    pub records: Bytes,
    /// The offset that was asked for.
    pub fetch_offset: i64,
    /// The offset after the last one of `records`, which is where the next fetch begins.
    pub next_offset: i64,
    /// The high watermark at the time of the answer: every offset below it is replicated.
    pub high_watermark: i64,
    /// The last stable offset: every transaction below it is decided. -1 if the broker does not tell.
    pub last_stable_offset: i64,
    /// The first offset that the log still has. -1 if the broker does not tell.
    pub log_start_offset: i64,
    /// The leader epoch in which the last of these batches was written; -1 if there is none or it is not known.
    pub leader_epoch: i32,
    /// Whether the broker had no more records at the time: these are the last before the high watermark (the last stable offset if
    /// only committed records are read). Offsets up to it that hold no records, because compaction or transaction markers left
    /// them so, are none to wait for.
    pub at_end: bool,
    /// Aborted transactions that may have records in here; empty unless reading committed records only.
    pub aborted: Vec<AbortedTransaction>,
    /// Counts the response that `records` is a slice of.
    pub(super) held: Option<Arc<Held>>,
}

impl FetchedBatch {
    /// Keeps no more alive than its own bytes, where memory is short.
    pub(super) fn lighten(&mut self) {
        if let Some(held) = &mut self.held {
            Held::lighten(held, &mut self.records);
        }
    }

    /// A batch without records that stands before the first fetch, to make a [`RecordCursor`](super::RecordCursor) with.
    pub fn empty(topic_partition: TopicPartition, offset: i64) -> FetchedBatch {
        FetchedBatch {
            topic_partition,
            records: Bytes::new(),
            fetch_offset: offset,
            next_offset: offset,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            leader_epoch: -1,
            at_end: false,
            aborted: Vec::new(),
            held: None,
        }
    }
}

/// A transaction whose records do not count (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Offset of the transaction's first record.
    pub first_offset: i64,
}

/// Where a partition's log begins and ends, as of the last answer; -1 where nothing is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that the log still has.
    pub log_start: i64,
    /// The high watermark: the end of the log as readers of all records see it.
    pub high: i64,
    /// The last stable offset: the end of the log as readers of committed records see it.
    pub last_stable: i64,
}

impl Default for Watermarks {
    fn default() -> Watermarks {
        Watermarks {
            log_start: -1,
            high: -1,
            last_stable: -1,
        }
    }
}
