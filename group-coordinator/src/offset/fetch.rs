//! Reading the group's committed offsets back (KIP-447, KIP-709): a value that lives for one look-up.
//!
//! Only stable offsets are wanted: one that an open transaction may still move is waited for, without limit, since the
//! transaction's own timeout ends it. Trouble of any other kind has `offsets_timeout`. Guessing is worse than failing: a
//! partition left out of the answer is an error, not "nothing committed", for that would send its owner back to the start.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kafka_wire::{ErrorCode, TopicPartition};

use crate::backoff::Backoff;
use crate::config::GroupConfig;
use crate::error::{CommitError, CommitErrorKind, Failure};
use crate::membership::verdict::{Api, Verdict, verdict};
use crate::requests::{Answer, FetchedOffsets, Ticket, Tickets};

/// Next offsets by partition; none where nothing is committed.
pub(crate) type Committed = HashMap<TopicPartition, Option<i64>>;

/// How often a partition unknown to the broker is tried: its metadata may be behind.
const BRIEF_ATTEMPTS: u32 = 5;

/// What the machine wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum FetchRequest {
    /// In the order of their topics.
    Fetch {
        ticket: Ticket,
        partitions: Vec<TopicPartition>,
    },
    ForgetCoordinator {
        node: i32,
    },
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct CommittedFetch {
    config: Arc<GroupConfig>,
    missing: BTreeSet<TopicPartition>,
    found: Committed,
    in_flight: Option<Ticket>,
    ask_at: Instant,
    deadline: Instant,
    unknown_rounds: u32,
    backoff: Backoff,
    trouble: String,
    finished: bool,
    outcome: Option<Result<Committed, CommitError>>,
    tickets: Tickets,
    requests: VecDeque<FetchRequest>,
}

impl CommittedFetch {
    pub(crate) fn new(config: Arc<GroupConfig>, partitions: Vec<TopicPartition>, now: Instant, seed: u64) -> Self {
        let mut fetch = Self {
            backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max, seed),
            deadline: now + config.offsets_timeout,
            config,
            missing: partitions.into_iter().collect(),
            found: HashMap::new(),
            in_flight: None,
            ask_at: now,
            unknown_rounds: 0,
            trouble: "no answer yet".into(),
            finished: false,
            outcome: None,
            tickets: Tickets::default(),
            requests: VecDeque::new(),
        };
        fetch.finish_if_complete();
        fetch
    }

    /// The answer to a look-up.
    pub(crate) fn handle_answer(&mut self, now: Instant, ticket: Ticket, answer: Answer<FetchedOffsets>) {
        if self.finished || self.in_flight.take_if(|awaited| *awaited == ticket).is_none() {
            return;
        }
        match answer.result {
            Err(failure) => self.failed(now, &failure, answer.node),
            Ok(fetched) if fetched.code.is_ok() => self.fetched(now, fetched, answer.node),
            Ok(fetched) => self.refused(now, None, fetched.code, answer.node),
        }
    }

    /// Some deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline <= now && !self.finished {
            let first = self.missing.first().cloned();
            self.fail(first, CommitErrorKind::Timeout(self.trouble.clone()));
        }
    }

    /// What to do next.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<FetchRequest> {
        if !self.finished && self.in_flight.is_none() && self.ask_at <= now {
            let ticket = self.tickets.next();
            self.in_flight = Some(ticket);
            self.requests.push_back(FetchRequest::Fetch {
                ticket,
                partitions: self.missing.iter().cloned().collect(),
            });
        }
        self.requests.pop_front()
    }

    /// The result, once.
    pub(crate) fn poll_outcome(&mut self) -> Option<Result<Committed, CommitError>> {
        self.outcome.take()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_request`] if nothing else happens.
    pub(crate) fn next_timeout(&self) -> Instant {
        match self.in_flight {
            Some(_) => self.deadline,
            None => self.ask_at.min(self.deadline),
        }
    }

    fn fetched(&mut self, now: Instant, fetched: FetchedOffsets, node: Option<i32>) {
        let answered: HashMap<TopicPartition, (i64, ErrorCode)> = fetched
            .partitions
            .into_iter()
            .map(|(tp, offset, code)| (tp, (offset, code)))
            .collect();
        // Open transactions are waited for without limit: any other trouble goes first.
        let mut again: Option<(TopicPartition, ErrorCode)> = None;
        for tp in std::mem::take(&mut self.missing) {
            match answered.get(&tp) {
                None => {
                    let kind = CommitErrorKind::Protocol("the broker's answer leaves this partition out".into());
                    return self.fail(Some(tp), kind);
                }
                Some(&(offset, code)) if code.is_ok() => {
                    self.found.insert(tp, (offset >= 0).then_some(offset));
                }
                Some(&(_, code)) => {
                    if again
                        .as_ref()
                        .is_none_or(|(_, other)| *other == ErrorCode::UNSTABLE_OFFSET_COMMIT)
                    {
                        again = Some((tp.clone(), code));
                    }
                    self.missing.insert(tp);
                }
            }
        }
        match again {
            Some((tp, code)) => self.refused(now, Some(tp), code, node),
            None => self.finish_if_complete(),
        }
    }

    fn refused(&mut self, now: Instant, tp: Option<TopicPartition>, code: ErrorCode, node: Option<i32>) {
        match verdict(Api::OffsetFetch, code) {
            Verdict::AwaitTransaction => {
                self.deadline = now + self.config.offsets_timeout;
                self.again(now, &code);
            }
            Verdict::RetryBriefly if self.unknown_rounds + 1 < BRIEF_ATTEMPTS => {
                self.unknown_rounds += 1;
                self.again(now, &code);
            }
            Verdict::Retry => self.again(now, &code),
            Verdict::FindCoordinator => {
                self.forget(node);
                self.again(now, &code);
            }
            Verdict::NewMember | Verdict::NewGeneration | Verdict::Rebalance => {
                self.fail(tp, CommitErrorKind::Rebalanced(Some(code)));
            }
            _ => self.fail(tp, CommitErrorKind::Refused(code)),
        }
    }

    fn failed(&mut self, now: Instant, failure: &Failure, node: Option<i32>) {
        match failure {
            Failure::Unsupported(text) => self.fail(None, CommitErrorKind::Protocol(text.clone())),
            Failure::Closed => self.fail(None, CommitErrorKind::Closed),
            Failure::Refused(code, _) if verdict(Api::FindCoordinator, *code) == Verdict::Fatal => {
                self.fail(None, CommitErrorKind::Refused(*code));
            }
            Failure::Refused(..) | Failure::Transport(_) => {
                self.forget(node);
                self.again(now, failure);
            }
        }
    }

    fn again(&mut self, now: Instant, trouble: &dyn std::fmt::Display) {
        let wait = self.backoff.next();
        tracing::debug!(group = %self.config.group_id, %trouble, retry_in = ?wait, "committed offsets asked for again");
        self.trouble = trouble.to_string();
        self.ask_at = now + wait;
    }

    fn finish_if_complete(&mut self) {
        if self.missing.is_empty() {
            self.finished = true;
            self.outcome = Some(Ok(std::mem::take(&mut self.found)));
        }
    }

    fn fail(&mut self, topic_partition: Option<TopicPartition>, kind: CommitErrorKind) {
        let group = self.config.group_id.clone();
        self.finished = true;
        self.outcome = Some(Err(CommitError {
            group,
            topic_partition,
            kind,
        }));
    }

    fn forget(&mut self, node: Option<i32>) {
        if let Some(node) = node {
            self.requests.push_back(FetchRequest::ForgetCoordinator { node });
        }
    }
}
