//! The batches of one partition, in order: what may be sent, what an answer means, and in which order outcomes are told.
//!
//! ```text
//!   batches:  [settled][in flight][in flight]..[waiting][waiting]        front = oldest without a told outcome
//!                 |  told only from the front       |  sent only from the first waiting one on
//!
//!   Streaming --- a batch is refused or lost ---> Draining(what then) --- nothing in flight ---> Streaming
//!                                                   Resume    send the same bytes again
//!                                                   Split     the head was too large
//!                                                   Renumber  new epoch, all from sequence 0
//!                                                   Fail      the head, and whoever depends on it
//! ```
//!
//! Only the head, the first batch without an answer that stands, decides what happens: a batch behind a refused one is
//! refused too (its sequence does not follow), and simply comes again after it. Draining first makes every repair safe:
//! when nothing is in flight, each batch is known to be written, known not to be, or marked as possibly written.
//!
//! Sequences are never reused for other bytes unless the broker definitely refused the batch that had them and nothing
//! after it was numbered; otherwise the partition moves to a new epoch (KIP-360). A batch that may be written is never
//! renumbered: it is repeated as it is, or failed as possibly persisted.

mod answers;
mod repair;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::connection::Permit;
use crate::producer::causes::Hindrance;
use crate::producer::error::ProduceError;
use crate::producer::outcome::{Outcome, Part};
use crate::producer::pending_batch::{PendingBatch, Stage};
use crate::producer::response::NodeEndpoint;
use crate::producer::sequence::{ProducerIdentity, Sequence};
use crate::protocol::{ErrorCode, TopicPartition};

/// A broker knows a producer's last five batches of a partition; an older one that comes again is out of order to it.
const REMEMBERED_BY_BROKERS: usize = 5;

/// How soon a batch that lacks its permit is looked at again; nobody tells when a permit is given.
const LOOK_FOR_PERMIT: Duration = Duration::from_millis(100);

/// The broker that leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    pub(super) epoch: i32,
}

/// The queue of one partition.
#[derive(Debug)]
pub(super) struct PartitionQueue<T> {
    topic_partition: TopicPartition,
    batches: VecDeque<PendingBatch<T>>,
    in_flight: usize,
    /// The broker that has what is in flight.
    sending_to: i32,
    sequence: Sequence,
    phase: Phase,
    leader: Option<Leader>,
    /// Someone said that the leader is another one; metadata may replace it whatever its epoch.
    leader_doubted: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// Since when, and how often in a row, brokers have not known the partition.
    unknown: Option<(Instant, u32)>,
    /// What metadata says instead of naming a leader.
    no_leader: Option<ErrorCode>,
    hindrance: Option<Hindrance>,
    /// Outcomes of the parts told so far of a batch that was split.
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Phase {
    Streaming,
    Draining(AfterDrain),
}

/// What to do when nothing is in flight any more.
#[derive(Debug)]
enum AfterDrain {
    Resume,
    Split,
    Renumber,
    Fail(ProduceError),
}

/// What a queue asks of its surroundings; drained by the accumulator after each call.
#[derive(Debug)]
pub(super) struct Effects<T> {
    pub(super) finished: VecDeque<Finished<T>>,
    /// Identities that must not number anything new.
    pub(super) spent: Vec<ProducerIdentity>,
    /// Writers whose later batches fail unsent.
    pub(super) broken_chains: Vec<(u64, ProduceError)>,
    /// Leaders learnt from answers, for the rest of the client.
    pub(super) moved: VecDeque<LeaderHint>,
    /// Metadata is needed.
    pub(super) refresh: bool,
}

/// A submitted batch with its outcome.
#[derive(Debug)]
pub(super) struct Finished<T> {
    pub(super) tag: T,
    pub(super) round: u64,
    pub(super) outcome: Outcome,
    /// The batch's buffer, free again.
    pub(super) buffer: Bytes,
}

/// A leader named in a Produce answer (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaderHint {
    pub(super) topic_partition: TopicPartition,
    pub(super) leader: Leader,
    pub(super) endpoint: Option<NodeEndpoint>,
}

impl<T> Default for Effects<T> {
    fn default() -> Self {
        Effects {
            finished: VecDeque::new(),
            spent: Vec::new(),
            broken_chains: Vec::new(),
            moved: VecDeque::new(),
            refresh: false,
        }
    }
}

impl<T> PartitionQueue<T> {
    pub(super) fn new(topic_partition: TopicPartition) -> PartitionQueue<T> {
        PartitionQueue {
            topic_partition,
            batches: VecDeque::new(),
            in_flight: 0,
            sending_to: -1,
            sequence: Sequence::new(),
            phase: Phase::Streaming,
            leader: None,
            leader_doubted: false,
            failures: 0,
            not_before: None,
            unknown: None,
            no_leader: None,
            hindrance: None,
            parts: Vec::new(),
        }
    }

    /// Appends a batch. `broken` is why the writer it belongs to may not write any more.
    pub(super) fn push(&mut self, mut batch: PendingBatch<T>, broken: Option<&ProduceError>, effects: &mut Effects<T>) {
        if self.batches.is_empty() {
            // While the partition was idle the broker may have forgotten us: expiry, retention, a topic made anew.
            self.sequence.doubt();
        }
        if let Some(cause) = broken {
            batch.stage = Stage::Settled(Err(repair::after_earlier_failure(&self.topic_partition, cause, false)));
        }
        self.batches.push_back(batch);
        self.tell(effects);
    }

    /// The size of the batch that may be sent to the leader now, if any may.
    pub(super) fn sendable(
        &self,
        now: Instant,
        identity: Option<ProducerIdentity>,
        max_in_flight: usize,
    ) -> Option<(i32, usize)> {
        let leader = self.leader?;
        // A partition that moved first hears the old leader out.
        let elsewhere = self.in_flight > 0 && self.sending_to != leader.node;
        if elsewhere
            || matches!(self.phase, Phase::Draining(_))
            || self.not_before.is_some_and(|at| at > now)
            || self.in_flight >= self.sequence.window(leader.node, max_in_flight)
        {
            return None;
        }
        let next = self.batches.iter().position(PendingBatch::is_waiting)?;
        if self.batches[next].abandoned || self.batches[next].is_forbidden(now) {
            return None;
        }
        if self.batches[next].stamp.is_none() {
            let identity = identity?;
            // The head may be written already and has to be recognized when it comes again.
            let numbered = self.batches.range(..next).filter(|batch| batch.stamp.is_some()).count();
            if numbered >= REMEMBERED_BY_BROKERS {
                return None;
            }
            // Under a new identity sequences start from 0: not before everything numbered under the old one is settled.
            if numbered > 0 && self.sequence.identity() != Some(identity) {
                return None;
            }
        }
        Some((leader.node, self.batches[next].len()))
    }

    /// Numbers the batch that [`PartitionQueue::sendable`] found and hands out its bytes and its permit for `request`.
    pub(super) fn take(&mut self, request: u64, identity: Option<ProducerIdentity>) -> Option<(Bytes, Option<Permit>)> {
        let leader = self.leader?;
        let batch = self.batches.iter_mut().find(|batch| batch.is_waiting())?;
        let stamp = match batch.stamp {
            Some(stamp) => stamp,
            None => self.sequence.stamp(identity?, batch.record_count()),
        };
        batch.stage = Stage::InFlight(request);
        batch.attempts += 1;
        self.in_flight += 1;
        self.sending_to = leader.node;
        Some((batch.bytes(stamp), batch.permit.clone()))
    }

    /// Whether what was handed out for `request` may be sent still.
    pub(super) fn may_send(&self, now: Instant, request: u64) -> bool {
        let mut handed_out = self
            .batches
            .iter()
            .filter(|batch| matches!(batch.stage, Stage::InFlight(number) if number == request));
        !handed_out.any(|batch| batch.abandoned || batch.is_forbidden(now))
    }

    /// When [`PartitionQueue::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if matches!(self.phase, Phase::Draining(_)) {
            return None;
        }
        let head = self.batches.iter().find(|batch| !batch.is_settled())?;
        let deadline = head.is_waiting().then_some(head.deadline);
        let next = self.batches.iter().find(|batch| batch.is_waiting());
        let forbidden = next.is_some_and(|next| next.is_forbidden(now));
        let permit = forbidden.then(|| now + LOOK_FOR_PERMIT);
        [deadline, self.not_before, permit].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, effects: &mut Effects<T>) {
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
        }
        self.expire(now, effects);
    }

    /// What keeps the head from being sent; told if that lasts until its time is over.
    pub(super) fn hindered_by(&mut self, hindrance: Option<Hindrance>) {
        self.hindrance = hindrance;
    }

    pub(super) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether batches wait for a leader, or for proof that it is still the leader.
    pub(super) fn needs_leader(&self) -> bool {
        (self.leader.is_none() || self.leader_doubted) && !self.batches.is_empty()
    }

    /// Whether the next batch was never numbered.
    pub(super) fn waits_for_number(&self) -> bool {
        self.head()
            .is_some_and(|head| self.batches[head].is_waiting() && self.batches[head].stamp.is_none())
    }

    /// The first batch that is not settled.
    fn head(&self) -> Option<usize> {
        self.batches.iter().position(|batch| !batch.is_settled())
    }

    /// Reports settled batches from the front on.
    fn tell(&mut self, effects: &mut Effects<T>) {
        while self.batches.front().is_some_and(PendingBatch::is_settled) {
            let Some(mut batch) = self.batches.pop_front() else {
                return;
            };
            let Stage::Settled(result) = std::mem::replace(&mut batch.stage, Stage::Waiting) else {
                return;
            };
            let outcome = if batch.is_part {
                self.parts.push(Part {
                    first_record: batch.first_record,
                    result,
                });
                None
            } else {
                Some(Outcome::Whole(result))
            };
            let Some(tag) = batch.tag.take() else { continue };
            let outcome = outcome.unwrap_or_else(|| Outcome::Parts(std::mem::take(&mut self.parts)));
            effects.finished.push_back(Finished {
                tag,
                round: batch.round,
                outcome,
                buffer: batch.into_buffer(),
            });
        }
    }
}
