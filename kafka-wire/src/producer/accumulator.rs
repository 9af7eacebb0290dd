//! Everything that is submitted and not finished: who may be sent now, in which requests, and what became of it.
//!
//! ```text
//!   handle_submission --> PartitionQueue (per partition, in order) --> lane (per broker) --> poll_request: Produce
//!   handle_response / handle_loss ----^                                                  --> poll_event: Finished
//! ```
//!
//! The accumulator knows brokers and requests, the [queue](super::partition_queue) knows order and errors, the
//! [identity](super::identity) numbers. A request takes one batch of each partition that its broker leads and that may
//! send, up to `max_request_bytes`; a broker has at most `max_in_flight` requests, and the partitions take turns.
//!
//! After every `handle_*` drain [`Accumulator::poll_request`] and [`Accumulator::poll_event`] until `None`, then arm one
//! timer for [`Accumulator::next_timeout`].

mod lanes;
mod messages;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{CallError, CallErrorKind};
use crate::producer::causes::Hindrance;
use crate::producer::error::ProduceError;
use crate::producer::flush_rounds::FlushRounds;
use crate::producer::identity::Identity;
use crate::producer::leader_search::{LeaderSearch, Leadership};
use crate::producer::partition_queue::{Effects, PartitionQueue};
use crate::producer::pending_batch::{PendingBatch, Submission};
use crate::producer::request::PRODUCE;
use crate::producer::response::ProduceAnswer;
use crate::producer::sequence::ProducerIdentity;
use crate::protocol::TopicPartition;

pub(super) use messages::{Event, Limits, ProduceRequest, Request};

use lanes::{Lane, Sent};

/// The machine. `T` is whatever the caller wants back with a batch's outcome.
#[derive(Debug)]
pub(super) struct Accumulator<T> {
    limits: Limits,
    identity: Identity,
    leader_search: LeaderSearch,
    rounds: FlushRounds,
    queues: Vec<PartitionQueue<T>>,
    by_topic: HashMap<Arc<str>, BTreeMap<i32, usize>>,
    lanes: BTreeMap<i32, Lane>,
    requests: HashMap<u64, Sent>,
    next_request: u64,
    /// Wake-ups of queues; one that turns out to be early does nothing.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    armed: Vec<Option<Instant>>,
    enlisted: Vec<bool>,
    /// Writers that have submitted something, with the failure that ended them.
    chains: HashMap<u64, Option<ProduceError>>,
    effects: Effects<T>,
}

impl<T> Accumulator<T> {
    pub(super) fn new(limits: Limits) -> Accumulator<T> {
        Accumulator {
            limits,
            identity: Identity::new(),
            leader_search: LeaderSearch::default(),
            rounds: FlushRounds::default(),
            queues: Vec::new(),
            by_topic: HashMap::new(),
            lanes: BTreeMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            timers: BinaryHeap::new(),
            armed: Vec::new(),
            enlisted: Vec::new(),
            chains: HashMap::new(),
            effects: Effects::default(),
        }
    }

    /// Takes a batch. `leadership` is what is known about its partition, asked for when the partition is new.
    pub(super) fn handle_submission(
        &mut self,
        now: Instant,
        submission: Submission<T>,
        leadership: impl Fn(&TopicPartition) -> Leadership,
    ) {
        let Submission {
            topic_partition,
            batch,
            chain,
            permit,
            tag,
        } = submission;
        let deadline = now + self.limits.delivery_timeout;
        let mut pending = PendingBatch::new(batch, tag, chain, self.rounds.submitted(), deadline);
        pending.permit = permit;
        let queue = self.queue_of(now, topic_partition, leadership);
        let broken = chain.and_then(|chain| self.chains.entry(chain).or_default().as_ref());
        self.queues[queue].push(pending, broken, &mut self.effects);
        self.follow_up(now, queue);
    }

    /// Takes the answer to a Produce request, `from` that address. A partition it leaves out counts as not answered.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        request: u64,
        from: &dyn fmt::Display,
        answer: &ProduceAnswer,
    ) {
        let Some(mut unanswered) = self.close_request(now, request, answer.throttle) else {
            return;
        };
        for topic in &answer.topics {
            let Some(partitions) = self.by_topic.get(topic.name.as_str()) else {
                continue;
            };
            let answers: Vec<_> = topic
                .partitions
                .iter()
                .filter_map(|answer| partitions.get(&answer.partition).map(|queue| (*queue, answer)))
                .collect();
            for (queue, partition) in answers {
                unanswered.retain(|open| *open != queue);
                self.queues[queue].handle_answer(now, request, from, partition, &answer.endpoints, &mut self.effects);
                self.follow_up(now, queue);
            }
        }
        if !unanswered.is_empty() {
            let left_out = CallError::new(CallErrorKind::Protocol, "the answer leaves the partition out");
            let left_out = left_out.with_api(PRODUCE).with_broker(from);
            self.lose(now, request, &unanswered, &left_out);
        }
    }

    /// A Produce request got no usable answer.
    pub(super) fn handle_loss(&mut self, now: Instant, request: u64, loss: &CallError) {
        if let Some(queues) = self.close_request(now, request, Duration::ZERO) {
            self.lose(now, request, &queues, loss);
        }
    }

    /// Whether all that is in a request may be sent still: it may have waited long for its connection.
    pub(super) fn may_send(&self, now: Instant, request: u64) -> bool {
        let Some(sent) = self.requests.get(&request) else {
            return false;
        };
        sent.queues
            .iter()
            .all(|queue| self.queues[*queue].may_send(now, request))
    }

    /// Takes the answer to `InitProducerId`. A refusal for good fails what waits for a number.
    pub(super) fn handle_producer_id(&mut self, now: Instant, answer: Result<ProducerIdentity, CallError>) {
        let refused = self.identity.handle_answer(now, answer).err();
        for queue in 0..self.queues.len() {
            if let Some(error) = &refused {
                self.queues[queue].fail_unnumbered(now, error, &mut self.effects);
            }
            self.follow_up(now, queue);
        }
    }

    /// The client was closed: nothing can be sent any more.
    pub(super) fn handle_client_closed(&mut self, now: Instant, error: &ProduceError) {
        for queue in 0..self.queues.len() {
            self.queues[queue].fail_all(now, error, &mut self.effects);
            self.follow_up(now, queue);
        }
    }

    /// Takes a new picture of the cluster.
    pub(super) fn handle_metadata(&mut self, now: Instant, leadership: impl Fn(&TopicPartition) -> Leadership) {
        for queue in 0..self.queues.len() {
            let news = leadership(self.queues[queue].topic_partition());
            self.queues[queue].handle_leadership(now, news, &mut self.effects);
            self.follow_up(now, queue);
        }
    }

    /// The refresh that was asked for has ended, well or in trouble.
    pub(super) fn handle_refreshed(&mut self, now: Instant, trouble: Option<&CallError>) {
        let found = !self.queues.iter().any(PartitionQueue::needs_leader);
        self.leader_search.handle_refreshed(now, found, trouble);
        for queue in 0..self.queues.len() {
            let hindrance = self.hindrance(queue);
            self.queues[queue].hindered_by(hindrance);
        }
    }

    /// Starts a flush; [`Event::Flushed`] carries the returned number.
    pub(super) fn handle_flush(&mut self) -> u64 {
        self.rounds.flush()
    }

    /// The writer with that chain takes back what is not in flight, and will send nothing more.
    pub(super) fn handle_abandoned(&mut self, now: Instant, of: &TopicPartition, chain: u64) {
        self.chains
            .entry(chain)
            .or_default()
            .get_or_insert_with(ProduceError::abandoned);
        let queue = self
            .by_topic
            .get(&of.topic)
            .and_then(|topic| topic.get(&of.partition))
            .copied();
        if let Some(queue) = queue {
            self.queues[queue].abandon(now, chain, &mut self.effects);
            self.follow_up(now, queue);
        }
    }

    /// The writer with that chain will submit nothing more.
    pub(super) fn handle_chain_closed(&mut self, chain: u64) {
        self.chains.remove(&chain);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, queue))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if self.armed[queue] == Some(at) {
                self.armed[queue] = None;
                self.queues[queue].handle_timeout(now, &mut self.effects);
                self.follow_up(now, queue);
            }
        }
        for lane in self.lanes.values_mut() {
            lane.muted_until.take_if(|until| *until <= now);
        }
    }

    /// The next thing to do.
    pub(super) fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.identity.poll_request(now) {
            return Some(Request::InitProducerId);
        }
        if self.leader_search.poll_request(now) {
            return Some(Request::RefreshMetadata(self.topics_without_leader()));
        }
        self.poll_produce(now).map(Request::Produce)
    }

    /// The next thing that happened.
    pub(super) fn poll_event(&mut self) -> Option<Event<T>> {
        if let Some(finished) = self.effects.finished.pop_front() {
            self.rounds.finished(finished.round, finished.outcome.error());
            return Some(Event::Finished {
                tag: finished.tag,
                outcome: finished.outcome,
                buffer: finished.buffer,
            });
        }
        if let Some(hint) = self.effects.moved.pop_front() {
            return Some(Event::LeaderMoved(hint));
        }
        self.rounds
            .poll_flushed()
            .map(|(flush, result)| Event::Flushed { flush, result })
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let queues = self.timers.peek().map(|Reverse((at, _))| *at);
        let lanes = self
            .lanes
            .values()
            .filter(|lane| !lane.ready.is_empty())
            .filter_map(|lane| lane.muted_until)
            .min();
        [
            queues,
            lanes,
            self.identity.next_timeout(),
            self.leader_search.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether everything submitted has its outcome.
    pub(super) fn is_idle(&self) -> bool {
        self.rounds.is_empty()
    }

    fn queue_of(
        &mut self,
        now: Instant,
        topic_partition: TopicPartition,
        leadership: impl Fn(&TopicPartition) -> Leadership,
    ) -> usize {
        let known = self
            .by_topic
            .get(&topic_partition.topic)
            .and_then(|topic| topic.get(&topic_partition.partition));
        if let Some(queue) = known {
            return *queue;
        }
        let index = self.queues.len();
        self.by_topic
            .entry(Arc::clone(&topic_partition.topic))
            .or_default()
            .insert(topic_partition.partition, index);
        let news = leadership(&topic_partition);
        let mut queue = PartitionQueue::new(topic_partition);
        queue.handle_leadership(now, news, &mut self.effects);
        self.queues.push(queue);
        self.armed.push(None);
        self.enlisted.push(false);
        index
    }

    fn lose(&mut self, now: Instant, request: u64, queues: &[usize], loss: &CallError) {
        for queue in queues {
            self.queues[*queue].handle_loss(now, request, loss, &mut self.effects);
            self.follow_up(now, *queue);
        }
    }

    /// After any change to a queue: passes on what it asked for, lets it send, wakes it in time.
    fn follow_up(&mut self, now: Instant, queue: usize) {
        for spent in self.effects.spent.drain(..) {
            self.identity.bump(spent);
        }
        for (chain, error) in self.effects.broken_chains.drain(..) {
            if let Some(broken) = self.chains.get_mut(&chain) {
                broken.get_or_insert(error);
            }
        }
        if std::mem::take(&mut self.effects.refresh) || self.queues[queue].needs_leader() {
            self.leader_search.want();
        }
        if self.queues[queue].is_empty() {
            return;
        }
        if self.queues[queue].waits_for_number() {
            self.identity.want();
        }
        let hindrance = self.hindrance(queue);
        self.queues[queue].hindered_by(hindrance);
        self.enlist(now, queue);
        self.wake_in_time(now, queue);
    }

    pub(super) fn wake_in_time(&mut self, now: Instant, queue: usize) {
        if let Some(at) = self.queues[queue].next_timeout(now)
            && self.armed[queue].is_none_or(|armed| at < armed)
        {
            self.armed[queue] = Some(at);
            self.timers.push(Reverse((at, queue)));
        }
    }

    /// What the queue's head waits for, beside its turn.
    fn hindrance(&self, queue: usize) -> Option<Hindrance> {
        let queue = &self.queues[queue];
        if queue.needs_leader() {
            Some(Hindrance::Leader(self.leader_search.trouble().cloned()))
        } else if self.identity.current().is_none() && queue.waits_for_number() {
            Some(Hindrance::ProducerId(self.identity.trouble().cloned()))
        } else {
            None
        }
    }

    fn topics_without_leader(&self) -> Vec<Arc<str>> {
        let searching = self.queues.iter().filter(|queue| queue.needs_leader());
        let mut topics: Vec<_> = searching
            .map(|queue| Arc::clone(&queue.topic_partition().topic))
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }
}

#[cfg(test)]
mod tests;
