//! Committing offsets under a membership (KIP-62, KIP-447): a value without clock, socket or task.
//!
//! ```text
//!  commit(a: 7, b: 3)  commit(a: 9)           one request in flight
//!        |                  |                         |
//!        v                  v                         v
//!     pending: the highest offset per partition --> in flight --ok--> acknowledged, never undercut
//!        ^                                            |
//!        +------------- retriable trouble ------------+--refused, term over--> error to those who wait
//! ```
//! One commit is in flight per group: a second one, on another connection, could land first and be undone by the older. What
//! is asked meanwhile is coalesced. Nothing is committed outside a [`Term`]: not during JoinGroup and SyncGroup, not without a
//! lease, not for a partition of someone else, whoever asks and however late. An answer that outlives its term settles its
//! callers and changes nothing else.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::{ErrorCode, TopicPartition};

use crate::backoff::Backoff;
use crate::config::GroupConfig;
use crate::error::{CommitError, CommitErrorKind};
use crate::requests::{self, Answer, Ticket, Tickets};

/// The membership under which offsets can be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) generation: i32,
    pub(crate) member_id: StrBytes,
    pub(crate) owned: HashSet<TopicPartition>,
}

/// Whose commit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CommitId(pub(crate) u64);

/// What the machine wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum CommitterRequest {
    Commit {
        ticket: Ticket,
        request: OffsetCommitRequest,
    },
    ForgetCoordinator {
        node: i32,
    },
}

/// What others must hear.
#[derive(Debug, PartialEq)]
pub(crate) enum CommitterEvent {
    Settled {
        id: CommitId,
        result: Result<(), CommitError>,
    },
    /// A commit of `generation` was answered with a code that concerns the membership.
    Membership { generation: i32, code: ErrorCode },
}

#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    serial: u64,
    generation: i32,
    offsets: BTreeMap<TopicPartition, i64>,
}

/// A caller and what it still waits for.
#[derive(Debug)]
struct Waiter {
    id: CommitId,
    serial: u64,
    wants: BTreeMap<TopicPartition, i64>,
    deadline: Instant,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Committer {
    config: Arc<GroupConfig>,
    term: Option<Term>,
    /// Counts terms: generations start over when a group is deleted.
    serial: u64,
    /// In this term.
    acknowledged: HashMap<TopicPartition, i64>,
    /// In this term; the highest offset asked for. It may be stored even if no answer, or a refusal on the second try, says so,
    /// and it is no less true for that: whatever is sent later is at least this.
    asked: BTreeMap<TopicPartition, i64>,
    /// In this term; failures in a row of partitions the broker does not know.
    unknown: HashMap<TopicPartition, u32>,
    pending: BTreeMap<TopicPartition, i64>,
    in_flight: Option<InFlight>,
    waiters: Vec<Waiter>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// The last trouble, for whoever runs out of time.
    trouble: String,
    tickets: Tickets,
    requests: VecDeque<CommitterRequest>,
    events: VecDeque<CommitterEvent>,
}

impl Committer {
    pub(crate) fn new(config: Arc<GroupConfig>, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max, seed),
            config,
            term: None,
            serial: 0,
            acknowledged: HashMap::new(),
            asked: BTreeMap::new(),
            unknown: HashMap::new(),
            pending: BTreeMap::new(),
            in_flight: None,
            waiters: Vec::new(),
            retry_at: None,
            trouble: "no answer yet".into(),
            tickets: Tickets::default(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The present term, or none. What was asked in the one before and is not on its way fails.
    pub(crate) fn handle_term(&mut self, term: Option<Term>) {
        let same = matches!((&self.term, &term), (Some(old), Some(new)) if old.generation == new.generation);
        self.term = term;
        if same {
            return;
        }
        self.serial += 1;
        self.pending.clear();
        self.acknowledged.clear();
        self.asked.clear();
        self.unknown.clear();
        self.retry_at = None;
        self.backoff.reset();
        let on_its_way = |tp: &TopicPartition, offset: i64| {
            self.in_flight
                .as_ref()
                .is_some_and(|sent| sent.offsets.get(tp).is_some_and(|sent| *sent >= offset))
        };
        let (kept, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.wants.iter().all(|(tp, offset)| on_its_way(tp, *offset)));
        self.waiters = kept;
        for waiter in over {
            let first = waiter.wants.into_keys().next();
            self.settle(waiter.id, Err((first, CommitErrorKind::Rebalanced(None))));
        }
    }

    /// Someone wants these next offsets committed, worked off in `generation` if that is given. Lower ones than are committed already
    /// count as committed.
    pub(crate) fn handle_commit(
        &mut self,
        now: Instant,
        id: CommitId,
        generation: Option<i32>,
        offsets: Vec<(TopicPartition, i64)>,
    ) {
        let present = self.term.as_ref().map(|term| term.generation);
        if generation.is_some() && present.is_some() && generation != present {
            let first = offsets.into_iter().next().map(|(tp, _)| tp);
            return self.settle(id, Err((first, CommitErrorKind::Rebalanced(None))));
        }
        if let Err((tp, kind)) = self.check(&offsets) {
            return self.settle(id, Err((Some(tp), kind)));
        }
        let mut wants = BTreeMap::new();
        for (tp, offset) in offsets {
            if self
                .acknowledged
                .get(&tp)
                .is_none_or(|acknowledged| *acknowledged < offset)
            {
                raise(&mut wants, tp, offset);
            }
        }
        if wants.is_empty() {
            return self.settle(id, Ok(()));
        }
        for (tp, offset) in &wants {
            let offset = raise(&mut self.asked, tp.clone(), *offset);
            let sent = self.in_flight_in_this_term().and_then(|sent| sent.offsets.get(tp));
            if sent.is_none_or(|sent| *sent < offset) {
                raise(&mut self.pending, tp.clone(), offset);
            }
        }
        self.waiters.push(Waiter {
            id,
            serial: self.serial,
            wants,
            deadline: now + self.config.offsets_timeout,
        });
    }

    /// The answer to a commit.
    pub(crate) fn handle_answer(&mut self, now: Instant, ticket: Ticket, answer: Answer<OffsetCommitResponse>) {
        let Some(sent) = self.in_flight.take_if(|sent| sent.ticket == ticket) else {
            return;
        };
        match answer.result {
            Ok(response) => self.answered(now, sent, &response, answer.node),
            Err(failure) => self.failed(now, sent, &failure, answer.node),
        }
    }

    /// Some deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let (late, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.deadline <= now);
        self.waiters = waiting;
        for waiter in late {
            let first = waiter.wants.into_keys().next();
            self.settle(waiter.id, Err((first, CommitErrorKind::Timeout(self.trouble.clone()))));
        }
    }

    /// As last told by [`Self::handle_term`].
    pub(crate) fn term(&self) -> Option<&Term> {
        self.term.as_ref()
    }

    /// What to do next.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<CommitterRequest> {
        if let Some(term) = &self.term
            && self.in_flight.is_none()
            && !self.pending.is_empty()
            && self.retry_at.is_none_or(|at| at <= now)
        {
            let offsets = std::mem::take(&mut self.pending);
            let request =
                requests::offset_commit(&self.config, term.generation, term.member_id.clone(), offsets.iter());
            let ticket = self.tickets.next();
            self.in_flight = Some(InFlight {
                ticket,
                serial: self.serial,
                generation: term.generation,
                offsets,
            });
            self.retry_at = None;
            self.requests.push_back(CommitterRequest::Commit { ticket, request });
        }
        self.requests.pop_front()
    }

    /// What others must hear next.
    pub(crate) fn poll_event(&mut self) -> Option<CommitterEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_request`] if nothing else happens.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let retry = self
            .retry_at
            .filter(|_| self.in_flight.is_none() && !self.pending.is_empty());
        self.waiters.iter().map(|waiter| waiter.deadline).chain(retry).min()
    }

    fn check(&self, offsets: &[(TopicPartition, i64)]) -> Result<(), (TopicPartition, CommitErrorKind)> {
        for (tp, offset) in offsets {
            if !self.term.as_ref().is_some_and(|term| term.owned.contains(tp)) {
                return Err((tp.clone(), CommitErrorKind::NotAssigned));
            }
            if *offset < 0 {
                return Err((
                    tp.clone(),
                    CommitErrorKind::Protocol(format!("offset {offset} cannot be committed")),
                ));
            }
        }
        Ok(())
    }

    fn in_flight_in_this_term(&self) -> Option<&InFlight> {
        self.in_flight.as_ref().filter(|sent| sent.serial == self.serial)
    }

    fn acknowledge(&mut self, serial: u64, tp: TopicPartition, offset: i64) {
        self.resolve(serial, &tp, offset, None);
        if serial == self.serial {
            self.unknown.remove(&tp);
            let acknowledged = self.acknowledged.entry(tp).or_insert(offset);
            *acknowledged = offset.max(*acknowledged);
        }
    }

    fn refuse(&mut self, serial: u64, tp: &TopicPartition, offset: i64, kind: &CommitErrorKind) {
        tracing::warn!(group = %self.config.group_id, topic_partition = %tp, offset, %kind, "not committed");
        self.resolve(serial, tp, offset, Some(kind));
    }

    /// Tells everyone of term `serial` who waits for `offset` of `tp` or less.
    fn resolve(&mut self, serial: u64, tp: &TopicPartition, offset: i64, error: Option<&CommitErrorKind>) {
        let mut settled = Vec::new();
        self.waiters.retain_mut(|waiter| {
            if waiter.serial != serial || waiter.wants.get(tp).is_none_or(|wanted| *wanted > offset) {
                return true;
            }
            waiter.wants.remove(tp);
            match error {
                Some(kind) => settled.push((waiter.id, Err((Some(tp.clone()), kind.clone())))),
                None if waiter.wants.is_empty() => settled.push((waiter.id, Ok(()))),
                None => return true,
            }
            false
        });
        for (id, result) in settled {
            self.settle(id, result);
        }
    }

    fn settle(&mut self, id: CommitId, result: Result<(), (Option<TopicPartition>, CommitErrorKind)>) {
        let group = || self.config.group_id.clone();
        let result = result.map_err(|(topic_partition, kind)| CommitError {
            group: group(),
            topic_partition,
            kind,
        });
        self.events.push_back(CommitterEvent::Settled { id, result });
    }
}

/// Keeps the highest offset of a partition, and tells it.
fn raise(offsets: &mut BTreeMap<TopicPartition, i64>, tp: TopicPartition, offset: i64) -> i64 {
    let present = offsets.entry(tp).or_insert(offset);
    *present = offset.max(*present);
    *present
}
