//! Which partitions are asked for next, of which broker, and what their answers mean.
//!
//! ```text
//!   added, resumed, room again ──┐                       ┌── Long: waits up to max_wait for records
//!   leaders (cluster image) ─────┤──> plan ──> request ──┤
//!   answers ─────────────────────┘                       └── Short: for partitions that must not wait behind a Long one
//!                      answers ──> Position, per partition ──> events
//! ```
//!
//! Each partition rides in one request at a time; a new leader is asked at once, and what the former one still has to say is not
//! heard. Each broker has one Long and one Short request under way at most. All that have room ride the Long one. Whoever becomes
//! ready while that one waits at the broker takes the Short one at once and comes back to the Long one when it has read up to the
//! end. A partition whose buffer is full, or that is paused, stays behind and holds nobody up. Partitions are asked for in the
//! order in which they were served longest ago, because brokers fill a response from the front.
//!
//! A broker sends a batch whole, however large it is. An answer that was refused for its size, and not read, does not say whose
//! batch that is: its partitions are then asked for one by one, and whose answer is refused again cannot be read.

mod answers;
mod plan;
mod slot;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use self::slot::{Node, Slot};
use super::position::{OffsetReset, Position, StartOffset};
use super::wire::{Answer, Request};
use super::{FetchError, FetchErrorKind, FetchedBatch, FetcherConfig, Watermarks};
use crate::cluster::ClusterImage;
use crate::connection::{CallError, Jitter};
use crate::protocol::{TopicId, TopicPartition};

/// What the driver has to do.
#[derive(Debug)]
pub(super) enum Event {
    /// The partition's topic has this id.
    TopicKnown { id: u64, topic_id: TopicId },
    /// The leader answered; there may be records.
    Answered {
        id: u64,
        watermarks: Watermarks,
        batch: Option<FetchedBatch>,
    },
    /// The partition's buffer has no room; its reader has to take so many bytes before it has.
    Full { id: u64, excess: usize },
    /// The partition cannot be read on, and is forgotten.
    Failed { id: u64, error: FetchError },
    /// The picture of this topic has to be renewed.
    LookUp { topic: Arc<str> },
    /// A broker told who leads now (KIP-951).
    LeaderHint {
        topic_partition: TopicPartition,
        leader: i32,
        epoch: i32,
        endpoint: Option<(i32, String, u16)>,
    },
}

/// The machine of one fetcher.
#[derive(Debug)]
pub(super) struct Schedule {
    config: FetcherConfig,
    /// Bytes of the largest batch that a response could hold.
    largest_batch: usize,
    image: Arc<ClusterImage>,
    slots: BTreeMap<u64, Slot>,
    nodes: BTreeMap<i32, Node>,
    under_way: HashMap<u64, Arc<Request>>,
    requests: VecDeque<Arc<Request>>,
    events: VecDeque<Event>,
    next_ticket: u64,
    turn: u64,
    changed: bool,
    /// Bytes that fetches may hold, and hold by now.
    memory: Memory,
    jitter: Jitter,
}

/// What the machine knows of the memory for fetches.
#[derive(Debug, Clone, Copy)]
struct Memory {
    limit: usize,
    used: usize,
    /// A request was not made for lack of it.
    is_short: bool,
}

impl Schedule {
    /// Without partitions. `largest_batch` is the most that a response may hold, in bytes, `limit` what fetches may hold in all.
    pub(super) fn new(
        config: FetcherConfig,
        (largest_batch, limit): (usize, usize),
        image: Arc<ClusterImage>,
        jitter: Jitter,
    ) -> Schedule {
        Schedule {
            config,
            largest_batch,
            image,
            slots: BTreeMap::new(),
            nodes: BTreeMap::new(),
            under_way: HashMap::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            next_ticket: 0,
            turn: 0,
            changed: false,
            memory: Memory {
                limit,
                used: 0,
                is_short: false,
            },
            jitter,
        }
    }

    /// Reads another partition from now on, under a new `id`.
    pub(super) fn handle_added(
        &mut self,
        now: Instant,
        id: u64,
        topic_partition: TopicPartition,
        (start, reset): (StartOffset, OffsetReset),
    ) {
        let slot = Slot {
            topic_partition,
            topic_id: TopicId::ZERO,
            position: Position::new(start, reset, self.config.isolation),
            paused: false,
            buffered: 0,
            asked_in: None,
            caught_up: false,
            turn: 0,
            needs: None,
            alone: false,
            is_new: true,
            end_told: false,
        };
        self.slots.insert(id, slot);
        // The others have less room now; whose bytes no longer leave any has to hear when they are taken.
        let waiting = self.slots.iter().filter(|(_, slot)| slot.buffered > 0);
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.note_room(id);
        }
        self.follow_image(now, id);
        self.changed = true;
    }

    /// Forgets a partition; what is under way for it will be dropped.
    pub(super) fn handle_removed(&mut self, id: u64) {
        self.slots.remove(&id);
        // The others have more room now.
        self.changed = true;
    }

    /// Stops fetching a partition, or starts again.
    pub(super) fn handle_paused(&mut self, id: u64, paused: bool) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.paused = paused;
            self.changed = true;
        }
    }

    /// The reader took so many bytes.
    pub(super) fn handle_taken(&mut self, id: u64, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.buffered = slot.buffered.saturating_sub(bytes);
            self.note_room(id);
            self.changed = true;
        }
    }

    /// So many bytes are reserved and held by now, whoever holds them.
    pub(super) fn handle_memory(&mut self, used: usize) {
        self.memory.used = used;
        self.changed |= std::mem::take(&mut self.memory.is_short);
    }

    /// Whether something could be asked for if there were memory for it; to be told by
    /// [`handle_memory`](Schedule::handle_memory).
    pub(super) fn wants_memory(&self) -> bool {
        self.memory.is_short
    }

    /// The picture of the cluster has changed.
    pub(super) fn handle_image(&mut self, now: Instant, image: Arc<ClusterImage>) {
        self.image = image;
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        for id in ids {
            self.follow_image(now, id);
        }
        self.changed = true;
    }

    /// The client was closed: nothing can be asked any more.
    pub(super) fn handle_closed(&mut self, error: &CallError) {
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        for id in ids {
            self.fail(id, None, FetchErrorKind::Call(error.clone()));
        }
    }

    /// The answer to the request with `ticket` came, or did not.
    pub(super) fn handle_answer(&mut self, now: Instant, ticket: u64, answer: Result<Answer, CallError>) {
        let Some(request) = self.under_way.remove(&ticket) else {
            return;
        };
        self.changed = true;
        let mut heard = BTreeSet::new();
        for (place, asked) in request.partitions.iter().enumerate() {
            let slot = self.slots.get_mut(&asked.id);
            if slot.is_some_and(|slot| slot.asked_in.take_if(|asked_in| *asked_in == ticket).is_some()) {
                heard.insert(place);
            }
        }
        let node = self.nodes.entry(request.node).or_insert_with(Node::new);
        node.finished(request.kind);
        match answer {
            Err(error) => self.handle_call_error(now, &request, &heard, &error),
            Ok(answer) => {
                node.backoff.handle_success();
                node.paused_until = None;
                let throttled = (!answer.throttle.is_zero()).then(|| now + answer.throttle);
                node.throttled_until = node.throttled_until.max(throttled);
                self.handle_told(now, &request, heard, answer);
            }
        }
    }

    /// A pause may be over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for node in self.nodes.values_mut() {
            node.handle_timeout(now);
        }
        let ids: Vec<u64> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.asked_in.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(slot) = self.slots.get_mut(&id) {
                let outcome = slot.position.handle_timeout(now, &mut self.jitter);
                self.act(id, None, outcome);
            }
        }
        self.changed = true;
    }

    /// When a pause is over next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let slots = self
            .slots
            .values()
            .filter(|slot| slot.asked_in.is_none())
            .filter_map(|slot| slot.position.next_timeout());
        let nodes = self.nodes.values().filter_map(Node::quiet_until);
        slots.chain(nodes).min()
    }

    /// The next request to send.
    pub(super) fn poll_request(&mut self, now: Instant) -> Option<Arc<Request>> {
        while self.requests.is_empty() && std::mem::take(&mut self.changed) {
            self.plan(now);
        }
        self.requests.pop_front()
    }

    /// The next thing that happened.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
