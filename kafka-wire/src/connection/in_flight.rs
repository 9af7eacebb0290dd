//! Whose answer is it? The requests of one connection between enqueueing and answer.
//!
//! Kafka answers in the order of the requests, so this is a queue and the correlation id only proves that both sides still agree;
//! a mismatch means the stream is no longer understood and the connection must die.
//!
//! ```text
//!  handle_request --> queued --poll_request--> awaiting --handle_frame--> answer to the waiter
//!                       |                         |
//!                deadline: removed         deadline: waiter told, place in the queue kept;
//!                (certainly not sent)      the head overdue: Event::Stalled, close
//! ```
//!
//! A waiter that lost interest changes nothing here: its request is written, its answer read and thrown away. `W` is whatever
//! the driver wants back with the answer (a channel end); the machine never looks at it.
//!
//! Invariants: correlation ids rise by one and wrap to 0; a request handed out by `poll_request` counts as possibly written until
//! `handle_write_failure` says otherwise.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::permit::Permit;

/// Where the correlation id stands in a frame: after length, API key and API version.
const CORRELATION_AT: usize = 8;

/// One request as it is handed in: its `head` has room for the correlation id.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) head: BytesMut,
    pub(crate) body: Vec<Bytes>,
    pub(crate) permits: Vec<Permit>,
}

/// One request as it goes over the wire: the header (and for small requests the body) and further pieces that are not copied.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Length, API key, version, correlation id, client id, and as much of the body as was encoded behind it.
    pub(crate) head: Bytes,
    /// The rest of the body.
    pub(crate) body: Vec<Bytes>,
    /// All of them must be given whenever some of it is written.
    pub(crate) permits: Vec<Permit>,
}

/// What the machine must know about a request to place its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) api_key: i16,
    /// Version of the response *header*: 0 is the bare correlation id, 1 adds tagged fields (KIP-482).
    pub(crate) response_header: i16,
    /// How long the answer may take.
    pub(crate) timeout: Duration,
}

/// An answer and who waits for it.
#[derive(Debug)]
pub(crate) struct Answer<W> {
    pub(crate) waiter: Option<W>,
    /// The response body, behind the response header.
    pub(crate) body: Bytes,
}

/// A request that ends without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered<W> {
    pub(crate) waiter: W,
    pub(crate) api_key: i16,
    /// At least one byte may have left.
    pub(crate) written: bool,
}

/// What the driver must do.
#[derive(Debug)]
pub(crate) enum Event<W> {
    /// The deadline passed: tell the waiter. The connection lives on.
    Expired(Unanswered<W>),
    /// The broker owes the oldest answer for too long: close the connection.
    Stalled { api_key: i16 },
    /// Nothing was asked or answered for the idle timeout and nothing is pending: close the connection.
    Idle,
}

/// The peer's answer cannot be placed; the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    #[error("an answer with correlation id {got} arrived where {expected} was due")]
    Correlation { expected: i32, got: i32 },
    #[error("an answer with correlation id {0} arrived although nothing was asked")]
    Unasked(i32),
    #[error("an answer of {0} bytes is too short for its header")]
    Short(usize),
}

#[derive(Debug)]
struct Pending<W> {
    correlation: i32,
    expected: Expected,
    deadline: Instant,
    written: bool,
    /// Gone once the deadline has passed.
    waiter: Option<W>,
}

/// The requests of one connection that have no answer yet.
#[derive(Debug)]
pub(crate) struct InFlight<W> {
    next_correlation: i32,
    queued: VecDeque<(Pending<W>, Frame)>,
    awaiting: VecDeque<Pending<W>>,
    /// When the present head of `awaiting` became the one the broker owes next.
    head_since: Instant,
    last_activity: Instant,
    idle_timeout: Duration,
    /// No deadline lies before this. May be too early after answers, never too late.
    earliest_deadline: Option<Instant>,
    events: VecDeque<Event<W>>,
}

impl<W> InFlight<W> {
    /// Starts after a handshake that used correlation ids below `first_correlation`.
    pub(crate) fn new(now: Instant, first_correlation: i32, idle_timeout: Duration) -> Self {
        Self {
            next_correlation: first_correlation,
            queued: VecDeque::new(),
            awaiting: VecDeque::new(),
            head_since: now,
            last_activity: now,
            idle_timeout,
            earliest_deadline: None,
            events: VecDeque::new(),
        }
    }

    /// Whether every request was answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.awaiting.is_empty()
    }

    /// Enqueues a request; returns its deadline.
    pub(crate) fn handle_request(&mut self, now: Instant, expected: Expected, unsent: Unsent, waiter: W) -> Instant {
        let Unsent {
            mut head,
            body,
            permits,
        } = unsent;
        let correlation = self.next_correlation;
        self.next_correlation = correlation.checked_add(1).unwrap_or(0);
        head[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation.to_be_bytes());
        let deadline = now + expected.timeout;
        self.last_activity = now;
        self.earliest_deadline = Some(
            self.earliest_deadline
                .map_or(deadline, |earliest| earliest.min(deadline)),
        );
        let pending = Pending {
            correlation,
            expected,
            deadline,
            written: false,
            waiter: Some(waiter),
        };
        self.queued.push_back((
            pending,
            Frame {
                head: head.freeze(),
                body,
                permits,
            },
        ));
        deadline
    }

    /// The next request to write. From here on it counts as possibly written.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<Frame> {
        let (mut pending, frame) = self.queued.pop_front()?;
        pending.written = true;
        if self.awaiting.is_empty() {
            self.head_since = now;
        }
        self.awaiting.push_back(pending);
        Some(frame)
    }

    /// Writing failed before a single byte of the last `not_started` polled requests left.
    pub(crate) fn handle_write_failure(&mut self, not_started: usize) {
        for pending in self.awaiting.iter_mut().rev().take(not_started) {
            pending.written = false;
        }
    }

    /// One response frame, without its length.
    pub(crate) fn handle_frame(&mut self, now: Instant, mut frame: Bytes) -> Result<Answer<W>, Misplaced> {
        let length = frame.len();
        let got = frame.try_get_i32().map_err(|_| Misplaced::Short(length))?;
        let head = self.awaiting.front().ok_or(Misplaced::Unasked(got))?;
        if head.correlation != got {
            return Err(Misplaced::Correlation {
                expected: head.correlation,
                got,
            });
        }
        if head.expected.response_header >= 1 {
            skip_tagged_fields(&mut frame).ok_or(Misplaced::Short(length))?;
        }
        let waiter = self.awaiting.pop_front().and_then(|pending| pending.waiter);
        self.head_since = now;
        self.last_activity = now;
        Ok(Answer { waiter, body: frame })
    }

    /// Deadlines: of requests, of the broker, of idleness.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.expire_queued(now);
        for pending in &mut self.awaiting {
            if pending.deadline <= now
                && let Some(waiter) = pending.waiter.take()
            {
                let unanswered = Unanswered {
                    waiter,
                    api_key: pending.expected.api_key,
                    written: pending.written,
                };
                self.events.push_back(Event::Expired(unanswered));
            }
        }
        if let Some(head) = self.awaiting.front()
            && self.owed_at(head) <= now
        {
            self.events.push_back(Event::Stalled {
                api_key: head.expected.api_key,
            });
        }
        if self.is_empty() && self.last_activity + self.idle_timeout <= now {
            self.events.push_back(Event::Idle);
        }
        let queued = self.queued.iter().map(|(pending, _)| pending);
        let waited_for = self.awaiting.iter().filter(|pending| pending.waiter.is_some());
        self.earliest_deadline = queued.chain(waited_for).map(|pending| pending.deadline).min();
    }

    /// The next thing to do after `handle_timeout`.
    pub(crate) fn poll_event(&mut self) -> Option<Event<W>> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is due.
    pub(crate) fn next_timeout(&self) -> Instant {
        let broker = match self.awaiting.front() {
            Some(head) => self.owed_at(head),
            None => self.last_activity + self.idle_timeout,
        };
        self.earliest_deadline.map_or(broker, |deadline| deadline.min(broker))
    }

    /// The connection is gone: everyone still waiting, oldest first.
    pub(crate) fn handle_disconnect(&mut self) -> Vec<Unanswered<W>> {
        let awaiting = self.awaiting.drain(..);
        let queued = self.queued.drain(..).map(|(pending, _)| pending);
        awaiting
            .chain(queued)
            .filter_map(|pending| {
                let Pending {
                    waiter,
                    expected,
                    written,
                    ..
                } = pending;
                waiter.map(|waiter| Unanswered {
                    waiter,
                    api_key: expected.api_key,
                    written,
                })
            })
            .collect()
    }

    /// A request that was never handed out can be taken back: it certainly was not sent.
    fn expire_queued(&mut self, now: Instant) {
        if self.queued.iter().all(|(pending, _)| pending.deadline > now) {
            return;
        }
        for (mut pending, frame) in std::mem::take(&mut self.queued) {
            if pending.deadline > now {
                self.queued.push_back((pending, frame));
            } else if let Some(waiter) = pending.waiter.take() {
                let unanswered = Unanswered {
                    waiter,
                    api_key: pending.expected.api_key,
                    written: false,
                };
                self.events.push_back(Event::Expired(unanswered));
            }
        }
    }

    /// When the broker's silence about the head becomes intolerable: a request that waited behind a slow one gets its full time
    /// from the moment its turn came.
    fn owed_at(&self, head: &Pending<W>) -> Instant {
        head.deadline.max(self.head_since + head.expected.timeout)
    }
}

/// Steps over the tagged fields of a response header (v1). `None` when they are cut short or overlong.
fn skip_tagged_fields(frame: &mut Bytes) -> Option<()> {
    let fields = unsigned_varint(frame)?;
    for _ in 0..fields {
        let _tag = unsigned_varint(frame)?;
        let length = usize::try_from(unsigned_varint(frame)?).ok()?;
        if length > frame.len() {
            return None;
        }
        frame.advance(length);
    }
    Some(())
}

/// An unsigned varint of at most five bytes.
fn unsigned_varint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = frame.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
