//! Which requests to make now: of whom, for which partitions, on which lane, with how much room.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Schedule;
use super::slot::Node;
use crate::fetcher::config::PartitionRoom;
use crate::fetcher::position::Want;
use crate::fetcher::wire::{Asked, Kind, Lane, Request};
use crate::protocol::IsolationLevel;

/// The partitions that want something of one broker.
#[derive(Debug, Default)]
struct Wanted {
    records: Vec<u64>,
    offsets: Vec<(IsolationLevel, u64)>,
    epochs: Vec<u64>,
}

impl Schedule {
    pub(super) fn plan(&mut self, now: Instant) {
        let room = self.partition_room();
        let mut wanted = BTreeMap::<i32, Wanted>::new();
        for (&id, slot) in self.slots.iter().filter(|(_, slot)| slot.asked_in.is_none()) {
            let Some((leader, want)) = slot.position.want(now) else {
                continue;
            };
            let wanted = wanted.entry(leader.node).or_default();
            match want {
                Want::Records(_) if slot.paused || !slot.has_room(room) => {}
                Want::Records(_) => wanted.records.push(id),
                Want::Offset(_, isolation) => wanted.offsets.push((isolation, id)),
                Want::EpochEnd(_) => wanted.epochs.push(id),
            }
        }
        for (node, wanted) in wanted {
            self.plan_node(now, node, wanted);
        }
    }

    fn plan_node(&mut self, now: Instant, id: i32, mut wanted: Wanted) {
        let node = self.nodes.entry(id).or_insert_with(Node::new);
        if node.is_quiet(now) {
            return;
        }
        if !node.asking {
            if !wanted.epochs.is_empty() {
                node.asking = true;
                self.request(now, id, (Kind::EpochEnds, 0), wanted.epochs);
            } else if let Some(&(level, _)) = wanted.offsets.first() {
                node.asking = true;
                let same = wanted.offsets.iter().filter(|(other, _)| *other == level);
                let ids = same.map(|(_, id)| *id).collect();
                self.request(now, id, (Kind::Offsets(level), 0), ids);
            }
        }
        if wanted.records.is_empty() {
            return;
        }
        let backlog = wanted
            .records
            .iter()
            .any(|id| self.slots.get(id).is_some_and(|slot| !slot.caught_up));
        let node = self.nodes.entry(id).or_insert_with(Node::new);
        let Some((lane, wait)) = node.lane(now, self.config.max_wait, backlog) else {
            return;
        };
        // Stable, so that partitions of a topic stay together as long as they are served alike.
        wanted
            .records
            .sort_by_key(|id| self.slots.get(id).map_or(0, |slot| slot.turn));
        if let Some(alone) = wanted
            .records
            .iter()
            .position(|id| self.slots.get(id).is_some_and(|slot| slot.alone))
        {
            self.changed |= wanted.records.len() > 1;
            wanted.records = vec![wanted.records[alone]];
        }
        let is_new = |id: &u64| self.slots.get(id).is_some_and(|slot| slot.is_new || slot.alone);
        let wait = match wanted.records.iter().any(is_new) {
            true => Duration::ZERO,
            false => wait,
        };
        let Some(max_bytes) = self.reserve(&wanted.records) else {
            self.memory.is_short = true;
            return;
        };
        let node = self.nodes.entry(id).or_insert_with(Node::new);
        match lane {
            Lane::Long => node.long = Some(now + wait),
            Lane::Short => node.short = Some(now + wait),
        }
        self.request(now, id, (Kind::Fetch { lane, wait }, max_bytes), wanted.records);
    }

    /// What each partition may take of the memory, now that there are so many.
    pub(super) fn partition_room(&self) -> PartitionRoom {
        let room = self.config.partition_room(self.memory.limit, self.slots.len());
        PartitionRoom {
            max_bytes: room.max_bytes.min(self.response_room()),
            ..room
        }
    }

    /// Bytes of records that fit into an answer that is accepted, with all that surrounds them.
    fn response_room(&self) -> usize {
        self.largest_batch - self.largest_batch / 8
    }

    /// Takes memory for an answer about those partitions: as much as they may send, as far as there is; at least what the first
    /// of them needs, or nothing. A batch that is larger than a request's usual part is asked for as long as the limit is kept
    /// without it, so that it comes through although others hold memory; the limit may be exceeded by that one batch.
    fn reserve(&mut self, ids: &[u64]) -> Option<usize> {
        let room = self.partition_room();
        let mut wanted = ids
            .iter()
            .filter_map(|id| self.slots.get(id))
            .map(|slot| slot.max_bytes(room));
        let first = wanted.next()?;
        let all = wanted.fold(first, usize::saturating_add);
        // Both lanes of every broker have a part, and as much is left for what readers hold.
        let part = self.memory.limit / (4 * self.nodes.len().max(1));
        let usual = self.config.max_bytes.min(part).min(self.response_room());
        let left = self.memory.limit.saturating_sub(self.memory.used);
        let most = all.min(usual).min(left).max(first);
        if first > left && (first <= usual || left == 0) {
            return None;
        }
        self.memory.used += most;
        Some(most)
    }

    /// Makes one request of those partitions; one that is being read twice can be asked for once at a time.
    fn request(&mut self, now: Instant, node: i32, (kind, max_bytes): (Kind, usize), ids: Vec<u64>) {
        let room = self.partition_room();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let mut seen = HashSet::new();
        let mut partitions = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let Some((leader, want)) = slot.position.want(now) else {
                continue;
            };
            if !seen.insert(slot.topic_partition.clone()) {
                self.changed = true;
                continue;
            }
            slot.asked_in = Some(ticket);
            partitions.push(Asked {
                id,
                topic_partition: slot.topic_partition.clone(),
                topic_id: slot.topic_id,
                leader,
                want,
                max_bytes: slot.max_bytes(room),
            });
        }
        let request = Arc::new(Request {
            ticket,
            node,
            kind,
            partitions,
            max_bytes,
        });
        self.under_way.insert(ticket, Arc::clone(&request));
        self.requests.push_back(request);
    }
}
