//! Turns at the brokers: which partitions go into the next request, and how many requests a broker has.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Accumulator, ProduceRequest};

/// A broker that asks for more silence than this is not believed.
const LONGEST_THROTTLE: Duration = Duration::from_secs(300);

/// What waits for one broker.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) in_flight: usize,
    pub(super) ready: VecDeque<usize>,
    pub(super) muted_until: Option<Instant>,
}

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) node: i32,
    pub(super) queues: Vec<usize>,
}

impl<T> Accumulator<T> {
    /// Takes the request out of its broker's lane; the queues whose answer it carries.
    pub(super) fn close_request(&mut self, now: Instant, request: u64, throttle: Duration) -> Option<Vec<usize>> {
        let sent = self.requests.remove(&request)?;
        let lane = self.lanes.entry(sent.node).or_default();
        lane.in_flight -= 1;
        if !throttle.is_zero() {
            lane.muted_until = Some(now + throttle.min(LONGEST_THROTTLE));
        }
        Some(sent.queues)
    }

    fn sendable(&self, now: Instant, queue: usize) -> Option<(i32, usize)> {
        self.queues[queue].sendable(now, self.identity.current(), self.limits.max_in_flight)
    }

    pub(super) fn enlist(&mut self, now: Instant, queue: usize) {
        if !self.enlisted[queue]
            && let Some((node, _)) = self.sendable(now, queue)
        {
            self.enlisted[queue] = true;
            self.lanes.entry(node).or_default().ready.push_back(queue);
        }
    }

    pub(super) fn poll_produce(&mut self, now: Instant) -> Option<ProduceRequest> {
        loop {
            let max_in_flight = self.limits.max_in_flight;
            let (node, _) = self.lanes.iter().find(|(_, lane)| {
                lane.in_flight < max_in_flight
                    && !lane.ready.is_empty()
                    && lane.muted_until.is_none_or(|until| until <= now)
            })?;
            let node = *node;
            if let Some(request) = self.assemble(now, node) {
                return Some(request);
            }
        }
    }

    /// Fills one request from the broker's lane; `None` if none of the partitions in it may send to it any more.
    fn assemble(&mut self, now: Instant, node: i32) -> Option<ProduceRequest> {
        let number = self.next_request;
        let mut batches = Vec::new();
        let mut permits = Vec::new();
        let mut queues = Vec::new();
        let mut bytes = 0;
        let mut lane = std::mem::take(&mut self.lanes.entry(node).or_default().ready);
        while let Some(queue) = lane.pop_front() {
            self.enlisted[queue] = false;
            match self.sendable(now, queue) {
                Some((leader, len)) if leader == node => {
                    if bytes > 0 && bytes + len > self.limits.max_request_bytes {
                        self.enlisted[queue] = true;
                        lane.push_front(queue);
                        break;
                    }
                    if let Some((batch, permit)) = self.queues[queue].take(number, self.identity.current()) {
                        bytes += batch.len();
                        batches.push((self.queues[queue].topic_partition().clone(), batch));
                        permits.extend(permit);
                        queues.push(queue);
                    }
                }
                Some(_) => self.enlist(now, queue),
                // Until another answer comes, or a permit that it lacks.
                None => self.wake_in_time(now, queue),
            }
        }
        self.lanes.entry(node).or_default().ready = lane;
        // Partitions that may have more in flight come again, behind those that wait.
        for queue in &queues {
            self.enlist(now, *queue);
        }
        if queues.is_empty() {
            return None;
        }
        self.next_request += 1;
        self.lanes.entry(node).or_default().in_flight += 1;
        self.requests.insert(number, Sent { node, queues });
        batches.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(ProduceRequest {
            number,
            node,
            batches,
            permits,
        })
    }
}
