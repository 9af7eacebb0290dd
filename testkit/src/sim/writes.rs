//! Whose each record of the changelog is: which process sent it, in which of its ownerships, and whether it came too late.
//!
//! Read from the frames that reach brokers, so it says what happened, whatever the processes believe. With it the checker need not
//! guess which input a tombstone belongs to, and excuses no more than the records that the network held back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{OffsetCommitRequest, ProduceRequest};
use kafka_protocol::protocol::{Request, decode_request_header_from_buffer};
use kafka_wire::protocol::batch::{BatchHeader, Batches};

use super::owners::Ownership;
use super::world::{CHANGELOG, INPUT};
use crate::checker::Writer;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Writes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By partition, producer and epoch, and the first sequence number.
    batches: HashMap<(i32, i64, i16), BTreeMap<i32, Batch>>,
    /// What each process asked to commit, as it reached a broker.
    commits: HashMap<u64, Vec<Committing>>,
}

/// A request to commit one partition.
#[derive(Debug, Clone, Copy)]
struct Committing {
    partition: i32,
    offset: i64,
    sent_at: Duration,
    arrived_at: Duration,
}

/// A batch that reached a broker, maybe more than once.
#[derive(Debug, Clone, Copy)]
struct Batch {
    /// Tells it from another with the same numbers.
    crc: u32,
    records: i32,
    /// Its writer's, when it was first sent.
    ownership: Ownership,
    /// Where the changelog ended when a copy arrived that the network had held back, and whose the partition was then.
    held_back: Option<(i64, Ownership)>,
}

/// What is known of a changelog record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) ownership: Ownership,
    /// The ownership that had begun when it arrived at last.
    pub(super) held_back_until: Option<Ownership>,
}

impl Writes {
    /// A batch of the changelog reaches a broker. `held_back`: where the changelog ends, and whose the partition is by now.
    pub(super) fn arrived(&self, batch: &Produced, ownership: Ownership, held_back: Option<(i64, Ownership)>) {
        let mut state = self.lock();
        let of = (batch.partition, batch.header.producer_id, batch.header.producer_epoch);
        let batches = state.batches.entry(of).or_default();
        let new = Batch {
            crc: batch.header.crc,
            records: batch.header.last_offset_delta + 1,
            ownership,
            held_back,
        };
        let known = batches.entry(batch.header.base_sequence).or_insert(new);
        if known.crc == new.crc {
            known.held_back = known.held_back.or(held_back);
        } else {
            // The one before was refused for good, and its numbers are free again.
            *known = new;
        }
    }

    /// A request to commit, sent at `sent_at`, reaches a broker.
    pub(super) fn commit_arrived(&self, process: u64, (sent_at, arrived_at): (Duration, Duration), frame: &[u8]) {
        let committing = commits_of(frame).into_iter().map(|(partition, offset)| Committing {
            partition,
            offset,
            sent_at,
            arrived_at,
        });
        self.lock().commits.entry(process).or_default().extend(committing);
    }

    /// Whether the network let a commit of this offset be overtaken: a process sent it before one of a higher offset that arrived
    /// before it.
    pub(super) fn was_overtaken(&self, partition: i32, offset: i64) -> bool {
        let state = self.lock();
        state.commits.values().any(|of_process| {
            let of_partition = || of_process.iter().filter(move |commit| commit.partition == partition);
            let mut late = of_partition().filter(|commit| commit.offset == offset);
            late.any(|late| {
                let overtakes = |other: &Committing| {
                    other.offset > late.offset && other.sent_at > late.sent_at && other.arrived_at <= late.arrived_at
                };
                of_partition().any(overtakes)
            })
        })
    }

    /// Whether a request of the process to commit arrived after `began`.
    pub(super) fn commits_since(&self, process: u64, began: Duration) -> bool {
        let state = self.lock();
        let arrivals = state.commits.get(&process).into_iter().flatten();
        arrivals.into_iter().any(|commit| commit.arrived_at >= began)
    }

    /// Where the record at `offset` of the changelog comes from.
    pub(super) fn of(&self, partition: i32, offset: i64, writer: &Writer) -> Option<Written> {
        let state = self.lock();
        let batches = state.batches.get(&(partition, writer.producer_id, writer.epoch))?;
        let (first, batch) = batches.range(..=writer.sequence).next_back()?;
        if writer.sequence >= first.saturating_add(batch.records) {
            return None;
        }
        // Before that it was there already, and only its repetition came late.
        let held_back = batch.held_back.filter(|(end, _)| offset >= *end);
        Some(Written {
            ownership: batch.ownership,
            held_back_until: held_back.map(|(_, until)| until),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch of the changelog in a Produce request.
#[derive(Debug)]
pub(super) struct Produced {
    pub(super) partition: i32,
    header: BatchHeader,
}

/// What a frame commits of the input.
fn commits_of(frame: &[u8]) -> Vec<(i32, i64)> {
    let Some(request) = request::<OffsetCommitRequest>(frame) else {
        return Vec::new();
    };
    let input = request.topics.iter().filter(|topic| topic.name.as_str() == INPUT);
    let partitions = input.flat_map(|topic| &topic.partitions);
    partitions
        .map(|partition| (partition.partition_index, partition.committed_offset))
        .collect()
}

/// The request in a frame, if it is one of these.
fn request<R: Request>(frame: &[u8]) -> Option<R> {
    if frame.get(4..6)? != R::KEY.to_be_bytes() {
        return None;
    }
    let mut rest = Bytes::copy_from_slice(&frame[4..]);
    let header = decode_request_header_from_buffer(&mut rest).ok()?;
    R::decode(&mut rest, header.request_api_version).ok()
}

/// What a frame writes to the changelog.
pub(super) fn produced(frame: &[u8]) -> Vec<Produced> {
    let Some(request) = request::<ProduceRequest>(frame) else {
        return Vec::new();
    };
    let topics = request.topic_data.into_iter();
    let changelog = topics.filter(|topic| topic.name.as_str() == CHANGELOG);
    let mut produced = Vec::new();
    for partition in changelog.flat_map(|topic| topic.partition_data) {
        let records = partition.records.unwrap_or_default();
        let headers = Batches::new(&records).filter_map(|batch| Some(*batch.ok()?.header()));
        produced.extend(headers.map(|header| Produced {
            partition: partition.index,
            header,
        }));
    }
    produced
}
