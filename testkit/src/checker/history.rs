//! [`History`]: everything that is known about a run once it is over.
//!
//! All of it is plain records and numbers, so that it can be filled from the logs of a broker in memory, from topics read over
//! the wire, or by hand. What is not known stays empty, and the checker then asks less of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::workload::Place;

/// A run of one consumer group with one group table.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What belongs to each partition number: its inputs, its changelog, its stores.
    pub partitions: BTreeMap<i32, PartitionHistory>,
    /// The logs of the topics that callbacks emitted to.
    pub outputs: Vec<OutputLog>,
    /// What those who wrote the inputs were told about it.
    pub sent: Vec<Sent>,
    /// What is known of how the run went, and may be asked of it.
    pub expected: Expected,
}

/// What may be asked of a run beyond what always holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Everything was worked off and committed when the run ended.
    pub at_rest: bool,
    /// How many owners ended without warning. Each lets each partition be worked off again from its committed offset, once.
    /// `None` if nobody counted them; then replays are counted and not judged.
    pub unclean_ends: Option<u64>,
    /// How many inputs may have been applied more than once, over all partitions, each repetition counted. `None` if not known.
    pub surplus: Option<u64>,
}

/// One partition number of the group.
#[derive(Debug, Clone, Default)]
pub struct PartitionHistory {
    /// Its input topics.
    pub inputs: BTreeMap<String, InputHistory>,
    /// Its partition of the group table's changelog.
    pub changelog: Log,
    /// Its stores and views, as they were found.
    pub stores: Vec<StoreImage>,
    /// The callbacks, in the order in which they were called by each instance.
    pub callbacks: Vec<Callback>,
}

/// One partition of an input topic.
#[derive(Debug, Clone, Default)]
pub struct InputHistory {
    /// What the topic holds.
    pub log: Log,
    /// The offset committed at the end of the run.
    pub committed: Option<i64>,
    /// Every commit that the coordinator accepted, in its order; `None` if only the last one is known.
    pub commits: Option<Vec<Commit>>,
}

/// A commit that the coordinator accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The committed offset: the next input to read.
    pub offset: i64,
    /// Where the changelog ended when the commit was accepted, which orders the two; `None` if that is not known.
    pub changelog_end: Option<i64>,
}

/// A partition's log, as read from its start to its end.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Log start offset.
    pub start: i64,
    /// The offset after the last record.
    pub end: i64,
    /// Whether records may be missing because compaction took them.
    pub compacted: bool,
    /// The records in the order of their offsets.
    pub records: Vec<LogRecord>,
}

/// A record in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Who wrote it; `None` if that is not known.
    pub writer: Option<Writer>,
    /// What is known of it from elsewhere, as a simulation does that sees every request.
    pub origin: Option<Origin>,
}

/// Where a changelog record comes from, as somebody saw who is neither its log nor its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The ownership of the partition in which it was written; each has a number of its own.
    pub ownership: u64,
    /// The input that made it, which a tombstone cannot say.
    pub made_by: Option<Place>,
    /// The network held it back until this ownership had begun, while its writer could not know. Without transactions nobody can
    /// refuse it: it counts for no input, the present owner need not know of it, and the next one must.
    pub held_back_until: Option<u64>,
}

/// An idempotent producer and a place in its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// The record's own sequence number.
    pub sequence: i32,
}

/// The rows of a store or view as they were found, for instance after a crash.
#[derive(Debug, Clone, Default)]
pub struct StoreImage {
    /// Whose it is, for the findings.
    pub name: String,
    /// Its checkpoint: the next changelog offset to read. `None` for a store that was never written.
    pub checkpoint: Option<i64>,
    /// Its rows.
    pub rows: BTreeMap<Bytes, Bytes>,
}

/// A partition of an output topic.
#[derive(Debug, Clone, Default)]
pub struct OutputLog {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What it holds.
    pub log: Log,
}

/// A call of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The instance that made it.
    pub instance: u64,
    /// The group's generation at the time; -1 if not known.
    pub generation: i32,
    /// The input topic.
    pub topic: String,
    /// The input's offset.
    pub offset: i64,
}

/// A record that was sent to an input topic, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Bytes,
    /// The value, which no other record of the run has.
    pub value: Bytes,
    /// What the producer said.
    pub outcome: Outcome,
}

/// What a producer said about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log of this partition at this offset.
    Acked {
        /// The partition.
        partition: i32,
        /// The offset; `None` if the broker did not tell.
        offset: Option<i64>,
    },
    /// It is certainly not in the log.
    Failed,
    /// It may be in the log.
    Possible,
}

impl Log {
    /// The record at an offset.
    pub fn at(&self, offset: i64) -> Option<&LogRecord> {
        let index = self.records.partition_point(|record| record.offset < offset);
        self.records.get(index).filter(|record| record.offset == offset)
    }

    /// The rows that the records below `end` make: the last value of each key, without the deleted.
    pub fn fold(&self, end: i64) -> BTreeMap<Bytes, Bytes> {
        let mut rows = BTreeMap::new();
        for record in self.records.iter().take_while(|record| record.offset < end) {
            let key = record.key.clone().unwrap_or_default();
            match &record.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        rows
    }
}
