//! What answers, and changes of the cluster, mean for the partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, warn};

use super::slot::Node;
use super::{Event, Schedule};
use crate::connection::{CallError, CallErrorKind};
use crate::fetcher::memory::Held;
use crate::fetcher::position::{Leader, Outcome, Want};
use crate::fetcher::scan::{Scan, Trouble, scan};
use crate::fetcher::wire::{Answer, Asked, Fetched, Kind, Request, Told};
use crate::fetcher::{FetchError, FetchErrorKind, FetchedBatch, Watermarks};
use crate::protocol::{ErrorCode, IsolationLevel, TopicId};

impl Schedule {
    /// No answer came. `heard` are the places of partitions that still waited for one.
    pub(super) fn handle_call_error(
        &mut self,
        now: Instant,
        request: &Request,
        heard: &BTreeSet<usize>,
        error: &CallError,
    ) {
        let asked = heard.iter().filter_map(|place| request.partitions.get(*place));
        match (error.kind(), request.kind) {
            (CallErrorKind::Closed, _) => return self.handle_closed(error),
            (CallErrorKind::Unsupported, Kind::EpochEnds) => {
                for asked in asked {
                    if let Some(slot) = self.slots.get_mut(&asked.id) {
                        slot.position.handle_epochs_unsupported();
                    }
                }
                return;
            }
            (CallErrorKind::Unsupported, _) => {
                for asked in asked {
                    self.fail(asked.id, Some(request.node), FetchErrorKind::Call(error.clone()));
                }
                return;
            }
            (CallErrorKind::ResponseTooLarge { bytes, limit }, Kind::Fetch { .. }) => {
                let ids: Vec<u64> = asked.map(|asked| asked.id).collect();
                return self.handle_too_large(now, request, &ids, (bytes, limit));
            }
            _ => {}
        }
        let node = self.nodes.entry(request.node).or_insert_with(Node::new);
        node.backoff.handle_failure(now, &mut self.jitter);
        let pause = node.backoff.pause(now);
        node.paused_until = Some(now + pause);
        let partitions = request.partitions.len();
        warn!(broker = request.node, partitions, ?pause, %error, "cannot fetch, will try again");
        // Perhaps the broker is gone and others lead its partitions now.
        let topics: BTreeSet<_> = request
            .partitions
            .iter()
            .map(|asked| &asked.topic_partition.topic)
            .collect();
        self.events.extend(topics.into_iter().map(|topic| Event::LookUp {
            topic: Arc::clone(topic),
        }));
    }

    /// The answer was too large to be read. Asked twice: one partition is given up only if what its length claimed was no accident.
    fn handle_too_large(&mut self, now: Instant, request: &Request, ids: &[u64], (bytes, limit): (usize, usize)) {
        let node = self.nodes.entry(request.node).or_insert_with(Node::new);
        node.backoff.handle_failure(now, &mut self.jitter);
        node.paused_until = Some(now + node.backoff.pause(now));
        warn!(
            broker = request.node,
            partitions = ids.len(),
            bytes,
            limit,
            "an answer is too large to be read"
        );
        for &id in ids {
            match self.slots.get_mut(&id) {
                Some(slot) if slot.alone => {
                    let outcome = slot.position.fail(FetchErrorKind::BatchTooLarge { bytes, limit });
                    self.act(id, Some(request.node), outcome);
                }
                Some(slot) => slot.alone = true,
                None => {}
            }
        }
    }

    /// An answer came. `silent` are the places of partitions that still waited for one.
    pub(super) fn handle_told(
        &mut self,
        now: Instant,
        request: &Request,
        mut silent: BTreeSet<usize>,
        mut answer: Answer,
    ) {
        let is_empty = answer.partitions.is_empty();
        let served = answer.partitions.iter().filter(|(_, told)| told.record_bytes() > 0);
        let first_served = served.map(|(place, _)| *place).min().unwrap_or(usize::MAX);
        for (place, told) in std::mem::take(&mut answer.partitions) {
            let Some(asked) = request.partitions.get(place).filter(|_| silent.remove(&place)) else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(&asked.id) else {
                continue;
            };
            let outcome = match told {
                Told::Records(fetched) => {
                    self.handle_fetched(now, (asked, place <= first_served), fetched, answer.held.as_ref())
                }
                Told::Offset(offset) => slot.position.handle_offset(now, offset, &mut self.jitter),
                Told::EpochEnd { epoch, end_offset } => slot.position.handle_epoch_end(epoch, end_offset),
                Told::Error { code, leader } => {
                    debug!(partition = %asked.topic_partition, broker = request.node, offset = slot.position.offset(), %code);
                    let outcome = slot.position.handle_error(now, code, &mut self.jitter);
                    self.hint(asked, leader, &answer);
                    outcome
                }
            };
            self.act(asked.id, Some(request.node), outcome);
        }
        if answer.code.is_ok() && is_empty && !answer.throttle.is_zero() {
            // A throttled fetch names no partition (KIP-219); all of them are asked for again after the pause.
            return;
        }
        for asked in silent.into_iter().filter_map(|place| request.partitions.get(place)) {
            let Some(slot) = self.slots.get_mut(&asked.id) else {
                continue;
            };
            let outcome = match answer.code.is_ok() {
                true => slot
                    .position
                    .handle_error(now, ErrorCode::UNKNOWN_SERVER_ERROR, &mut self.jitter),
                false => slot.position.handle_error(now, answer.code, &mut self.jitter),
            };
            self.act(asked.id, Some(request.node), outcome);
        }
    }

    fn hint(&mut self, asked: &Asked, leader: Option<(i32, i32)>, answer: &Answer) {
        let Some((leader, epoch)) = leader else { return };
        self.events.push_back(Event::LeaderHint {
            topic_partition: asked.topic_partition.clone(),
            leader,
            epoch,
            endpoint: answer.endpoints.iter().find(|(node, ..)| *node == leader).cloned(),
        });
    }

    fn handle_fetched(
        &mut self,
        now: Instant,
        (asked, had_room): (&Asked, bool),
        fetched: Fetched,
        held: Option<&Arc<Held>>,
    ) -> Outcome {
        let (Some(slot), Want::Records(offset)) = (self.slots.get_mut(&asked.id), asked.want) else {
            return Outcome::Go;
        };
        if slot.position.offset() != offset {
            return Outcome::Go;
        }
        slot.alone = false;
        let scan = scan(&fetched.records, offset);
        match scan.trouble {
            Some(Trouble::Corrupt(error)) => return slot.position.fail(FetchErrorKind::Corrupt(error)),
            Some(Trouble::TooShort(bytes)) if bytes > self.largest_batch => {
                let limit = self.largest_batch;
                return slot.position.fail(FetchErrorKind::BatchTooLarge { bytes, limit });
            }
            Some(Trouble::TooShort(bytes)) => {
                // Another partition's records took the room; this one is first in the next request, and gets enough.
                if asked.max_bytes >= bytes && had_room {
                    slot.position.pause(now, &mut self.jitter);
                }
                (slot.needs, slot.turn, slot.caught_up) = (Some(bytes), 0, false);
                self.note_room(asked.id);
                return Outcome::Go;
            }
            None => {}
        }
        if !scan.complete.is_empty() && scan.next_offset <= offset {
            warn!(partition = %asked.topic_partition, offset, "the broker sent only records below the offset asked for");
            slot.position.pause(now, &mut self.jitter);
            return Outcome::Go;
        }
        slot.position.handle_records(scan.next_offset, scan.leader_epoch);
        slot.caught_up = scan.complete.is_empty();
        slot.is_new = false;
        if !slot.caught_up {
            self.turn += 1;
            (slot.turn, slot.needs) = (self.turn, None);
        }
        let at_end = is_at_end(self.config.isolation, &scan, &fetched.watermarks, had_room);
        let deliver = !slot.caught_up || (at_end && !slot.end_told);
        slot.end_told = at_end;
        slot.buffered += scan.complete.len();
        let batch = deliver.then(|| FetchedBatch {
            topic_partition: asked.topic_partition.clone(),
            records: scan.complete,
            fetch_offset: offset,
            next_offset: scan.next_offset,
            high_watermark: fetched.watermarks.high,
            last_stable_offset: fetched.watermarks.last_stable,
            log_start_offset: fetched.watermarks.log_start,
            leader_epoch: scan.leader_epoch,
            at_end,
            aborted: fetched.aborted,
            held: held.cloned(),
        });
        let watermarks = fetched.watermarks;
        self.events.push_back(Event::Answered {
            id: asked.id,
            watermarks,
            batch,
        });
        self.note_room(asked.id);
        Outcome::Go
    }

    /// Asks to be told when a full partition has room again.
    pub(super) fn note_room(&mut self, id: u64) {
        let room = self.partition_room();
        if let Some(slot) = self.slots.get(&id).filter(|slot| !slot.has_room(room)) {
            let excess = slot.excess(room);
            self.events.push_back(Event::Full { id, excess });
        }
    }

    /// Compares a partition with the picture of the cluster.
    pub(super) fn follow_image(&mut self, now: Instant, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let topic = self.image.topic(&slot.topic_partition.topic);
        let found = topic.map_or(TopicId::ZERO, |topic| topic.id);
        if !found.is_zero() && slot.topic_id != found {
            if !slot.topic_id.is_zero() {
                let expected = slot.topic_id;
                return self.fail(id, None, FetchErrorKind::TopicRecreated { expected, found });
            }
            slot.topic_id = found;
            self.events.push_back(Event::TopicKnown { id, topic_id: found });
        }
        let leader = self.image.leader(&slot.topic_partition);
        let (former, leader) = (
            slot.position.leader(),
            leader.map(|(node, epoch)| Leader { node, epoch }),
        );
        if leader != former {
            // Whoever does not lead any more has no say, and may be long in saying so.
            (slot.asked_in, slot.alone) = (None, false);
            slot.position.handle_leader(leader);
        }
        if leader.is_some() || slot.position.next_timeout().is_some() {
            return;
        }
        let code = match topic {
            None => ErrorCode::LEADER_NOT_AVAILABLE,
            Some(topic) if !topic.error.is_ok() => topic.error,
            Some(topic) if slot.topic_partition.partition as usize >= topic.partitions.len() => {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            }
            Some(_) => ErrorCode::LEADER_NOT_AVAILABLE,
        };
        let outcome = slot.position.handle_error(now, code, &mut self.jitter);
        self.act(id, None, outcome);
    }

    pub(super) fn act(&mut self, id: u64, node: Option<i32>, outcome: Outcome) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match outcome {
            Outcome::Go => {}
            Outcome::Refresh => {
                let topic = Arc::clone(&slot.topic_partition.topic);
                self.events.push_back(Event::LookUp { topic });
            }
            Outcome::Jumped(from) => {
                // What was known of the place it left, and told to its reader, says nothing about the new one.
                (slot.caught_up, slot.end_told, slot.needs, slot.alone) = (false, false, None, false);
                slot.is_new = true;
                let (partition, to) = (&slot.topic_partition, slot.position.offset());
                warn!(%partition, from, to, "the log does not have the offset; jumped, as the reset policy says");
            }
            Outcome::Fail(kind) => self.fail(id, node, kind),
        }
    }

    pub(super) fn fail(&mut self, id: u64, node: Option<i32>, kind: FetchErrorKind) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let broker = node.map(|node| match self.image.broker(node) {
            Some(address) => address.to_string(),
            None => format!("broker {node}"),
        });
        let error = FetchError::new(kind, slot.topic_partition, slot.position.offset()).with_broker(broker);
        warn!(%error, "stopped reading a partition");
        self.events.push_back(Event::Failed { id, error });
    }
}

/// Whether the reader now has all there is. An empty part of a response alone does not say so: the partitions before it may have
/// taken all the room. As long as nobody took any, a partition gets something if there is something (KIP-74), so that its word
/// counts even when the offsets up to the watermark hold no records any more.
fn is_at_end(isolation: IsolationLevel, scan: &Scan, watermarks: &Watermarks, had_room: bool) -> bool {
    let end = match isolation {
        IsolationLevel::ReadCommitted => watermarks.last_stable,
        IsolationLevel::ReadUncommitted => watermarks.high,
    };
    scan.next_offset >= end || (had_room && scan.complete.is_empty())
}
