//! Whose each record of the changelog is: which process sent it, in which of its ownerships, and whether it came too late.
//!
//! Read from the frames that reach brokers, so it says what happened, whatever the processes believe. With it the checker need not
//! guess which input a tombstone belongs to, and excuses no more than the records that the network held back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::protocol::Decodable;
use kafka_wire::protocol::batch::{BatchHeader, Batches};

use super::owners::Ownership;
use super::world::CHANGELOG;
use crate::broker::Api;
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
    /// When requests of each process to commit reached a broker.
    commits: HashMap<u64, Vec<Duration>>,
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

    /// A request to commit reaches a broker.
    pub(super) fn commit_arrived(&self, process: u64, now: Duration) {
        self.lock().commits.entry(process).or_default().push(now);
    }

    /// Whether a request of the process to commit arrived after `began`.
    pub(super) fn commits_since(&self, process: u64, began: Duration) -> bool {
        let state = self.lock();
        let arrivals = state.commits.get(&process).into_iter().flatten();
        arrivals.into_iter().any(|arrival| *arrival >= began)
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

/// What a frame writes to the changelog.
pub(super) fn produced(frame: &[u8]) -> Vec<Produced> {
    const FLEXIBLE_SINCE: i16 = 9;
    if frame.get(4..6) != Some(&Api::Produce.key().to_be_bytes()) || frame.len() < 14 {
        return Vec::new();
    }
    let mut rest = Bytes::copy_from_slice(frame);
    // Length, API.
    rest.advance(6);
    let version = rest.get_i16();
    rest.advance(4);
    let client_id = rest.get_i16().max(0);
    rest.advance(client_id as usize + usize::from(version >= FLEXIBLE_SINCE));
    let Ok(request) = ProduceRequest::decode(&mut rest, version) else {
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
