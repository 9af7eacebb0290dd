//! Heartbeats and the lease they renew (I3).
//!
//! A heartbeat goes out every interval from `Syncing` on, whatever the application does, also while it gives partitions up.
//! The broker restarts its session timeout when a heartbeat *arrives*, so a lease counted from the *sending* of one that was
//! answered ends before the broker's patience does. Nothing is owned before the first such answer of a generation. When the lease
//! ends, everything is lost: no answer can bring it back, only joining again.
//!
//! A rebalance ends it, too: a member that has not come back within the rebalance timeout is put out, be its session as fresh as
//! it may. The broker may have begun to count right after it last said that no rebalance was going on.

use std::time::Instant;

use kafka_protocol::messages::HeartbeatRequest;
use kafka_wire::ErrorCode;

use super::{ClassicMember, MemberRequest, Pace};
use crate::backoff::Backoff;
use crate::error::{Failure, MembershipErrorKind};
use crate::membership::state::State;
use crate::membership::verdict::{Api, Verdict, verdict};
use crate::requests::{self, Answer, Ticket};

/// The rhythm of heartbeats and what they proved.
#[derive(Debug)]
pub(super) struct Pulse {
    /// When to send the next one; none while there is no generation to report on.
    next_at: Option<Instant>,
    in_flight: Option<(Ticket, Instant)>,
    /// The latest sending of a request that the broker answered as to a living member.
    confirmed: Option<Instant>,
    /// The latest sending of a request whose answer said that no rebalance was going on.
    settled: Option<Instant>,
    backoff: Backoff,
}

impl Pulse {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            next_at: None,
            in_flight: None,
            confirmed: None,
            settled: None,
            backoff,
        }
    }

    pub(super) fn start(&mut self, first: Instant) {
        self.stop();
        self.next_at = Some(first);
    }

    /// Forgets everything: the answer to a heartbeat still open belongs to a generation that is over.
    pub(super) fn stop(&mut self) {
        (self.next_at, self.in_flight, self.confirmed, self.settled) = (None, None, None, None);
        self.backoff.reset();
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.next_at.filter(|_| self.in_flight.is_none())
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn settled(&self) -> Option<Instant> {
        self.settled
    }

    /// Whether a heartbeat of this generation was answered as to a living member.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed.is_some()
    }

    /// Makes the next one due, unless one is on its way.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_at = Some(now);
    }

    fn confirm(&mut self, sent: Instant) {
        self.confirmed = self.confirmed.max(Some(sent));
    }

    /// A request sent then was answered as in a group that does not rebalance.
    pub(super) fn settle(&mut self, sent: Instant) {
        self.settled = self.settled.max(Some(sent));
    }
}

impl ClassicMember {
    /// Until when what is owned may be trusted to be ours; none while nothing can be.
    pub(crate) fn lease_deadline(&self) -> Option<Instant> {
        let released = self.state == State::Leaving && self.release_by.is_none();
        if !self.state.may_own() || released {
            return None;
        }
        self.lease_from_last_proof()
    }

    /// The answer to a heartbeat.
    pub(crate) fn handle_heartbeat(&mut self, now: Instant, ticket: Ticket, answer: Answer<ErrorCode>) {
        self.check_lease(now);
        let Some((_, sent)) = self.pulse.in_flight.take_if(|(awaited, _)| *awaited == ticket) else {
            return;
        };
        match answer.result {
            Ok(code) => self.heartbeat_answered(now, sent, code, answer.node),
            Err(failure) => self.heartbeat_failed(now, failure, answer.node),
        }
    }

    fn heartbeat_answered(&mut self, now: Instant, sent: Instant, code: ErrorCode, node: Option<i32>) {
        self.pulse.next_at = Some(sent + self.config.heartbeat_interval);
        match verdict(Api::Heartbeat, code) {
            Verdict::Done => {
                self.pulse.confirm(sent);
                self.pulse.settle(sent);
                self.pulse.backoff.reset();
                if self.state == State::Syncing {
                    self.take_share(now);
                }
                if self.state == State::Stable {
                    self.backoff.reset();
                }
            }
            Verdict::Rebalance => match self.state {
                State::Syncing => self.rebalance_while_syncing(now, sent),
                State::Stable => {
                    self.pulse.confirm(sent);
                    self.begin_revocation(now, "the group rebalances");
                }
                _ => self.pulse.confirm(sent),
            },
            Verdict::NewMember | Verdict::NewGeneration => self.expelled(now, Api::Heartbeat, code),
            Verdict::Fenced => self.fail(self.fenced()),
            Verdict::Fatal => self.fail(self.refused(Api::Heartbeat, code, node)),
            Verdict::FindCoordinator => {
                self.forget(node);
                self.pulse_again(now, code);
            }
            _ => self.pulse_again(now, code),
        }
    }

    /// Brokers before 2.7 say this to whoever waits for the leader's plan, and do not count the heartbeat. One that was sent after
    /// the plan came tells of another rebalance.
    fn rebalance_while_syncing(&mut self, now: Instant, sent: Instant) {
        match &self.share {
            None => {}
            Some((_, since)) if sent < *since => self.pulse.hurry(now),
            Some(_) => {
                self.join_reason = "the group rebalances".into();
                self.rejoin(now, Pace::Now);
            }
        }
    }

    fn heartbeat_failed(&mut self, now: Instant, failure: Failure, node: Option<i32>) {
        match self.failure_is_fatal(&failure, node) {
            Some(kind) => self.fail(kind),
            None => {
                self.forget(node);
                self.pulse_again(now, failure);
            }
        }
    }

    fn pulse_again(&mut self, now: Instant, trouble: impl std::fmt::Display) {
        let wait = self.pulse.backoff.next();
        tracing::warn!(group = %self.config.group_id, %trouble, retry_in = ?wait, "a heartbeat failed");
        self.pulse.next_at = Some(now + wait.min(self.config.heartbeat_interval));
    }

    /// Sends a heartbeat if its time has come and none is open.
    pub(super) fn send_due_heartbeat(&mut self, now: Instant) {
        if self.pulse.due_at().is_none_or(|at| at > now) {
            return;
        }
        let ticket = self.tickets.next();
        self.pulse.in_flight = Some((ticket, now));
        let request = HeartbeatRequest::default()
            .with_group_id(requests::group_id(&self.config))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(requests::instance_id(&self.config));
        self.requests.push_back(MemberRequest::Heartbeat { ticket, request });
    }

    /// Gives everything up once the lease is over. Called before any answer is looked at: others may have seen it end.
    pub(super) fn check_lease(&mut self, now: Instant) {
        if self.lease_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let (session, rebalance) = (self.config.session_timeout, self.config.rebalance_timeout);
        self.lose(&format!(
            "no heartbeat succeeded within the session timeout ({session:?}) or the shorter rebalance timeout ({rebalance:?})"
        ));
        self.join_reason = "the session timed out on the member's side".into();
        self.release_by = None;
        match self.state {
            State::Leaving => self.send_leave(now),
            _ => self.rejoin(now, Pace::Soon),
        }
    }

    pub(super) fn lease_from_last_proof(&self) -> Option<Instant> {
        let session = self.pulse.confirmed? + self.config.session_timeout;
        // Within a revocation its own deadline counts.
        let settled = self.pulse.settled.filter(|_| self.release_by.is_none());
        Some(settled.map_or(session, |sent| session.min(sent + self.config.rebalance_timeout)))
    }

    /// What a failure to get any answer means; none if trying again may help.
    pub(super) fn failure_is_fatal(&self, failure: &Failure, node: Option<i32>) -> Option<MembershipErrorKind> {
        match failure {
            Failure::Transport(_) => None,
            Failure::Unsupported(text) => Some(MembershipErrorKind::Protocol(text.clone())),
            Failure::Closed => Some(MembershipErrorKind::Closed),
            Failure::Refused(code, _) => match verdict(Api::FindCoordinator, *code) {
                Verdict::Fatal | Verdict::Fenced => Some(self.refused(Api::FindCoordinator, *code, node)),
                _ => None,
            },
        }
    }
}
