//! A member of a group under the classic protocol, eager: a value without clock, socket or task.
//!
//! ```text
//!                 back-off over          joined         assigned, heartbeat answered
//!   +-> Unjoined ---------------> Joining ------> Syncing -----------> Stable
//!   |      ^                         |  MEMBER_ID_   |                   | heartbeat or commit says
//!   |      |                         |  REQUIRED,    | REBALANCE_IN_     | REBALANCE_IN_PROGRESS:
//!   |      +-------------------------+  any trouble  | PROGRESS, trouble | Revoke(everything)
//!   |      +-----------------------------------------+                   v
//!   |      |                                                    PreparingRebalance
//!   |      +-- revocation_complete, or Lost after the rebalance timeout --+
//!   +-- Lost: expelled (UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION) or lease over, from Stable and PreparingRebalance
//!
//!   any state --leave--> Leaving --(Revoke, revocation_complete, LeaveGroup)--> Left
//!   any state --fenced, refused for good--> Fatal
//! ```
//! Use as every machine here: feed one `handle_*`, drain `poll_request`, then `poll_event`, then arm `next_timeout`.
//!
//! Kept: at most one JoinGroup is open and none is sent on a timer alone; each request carries a ticket, and an answer whose
//! ticket is no longer awaited belongs to an older generation and changes nothing; each owned partition is taken back by
//! exactly one of `Revoke` (answered) and `Lost`; nothing is owned without a lease (I3, see `heartbeat`).
//!
//! Not here: which partition goes where (`assignor`), offsets (`offset`), which broker coordinates (`kafka_wire::Client`).
//! Specification: KIP-62, KIP-345, KIP-394, KIP-800, KIP-814; AbstractCoordinator.java.

mod heartbeat;
mod leaving;
mod rebalance;
mod revocation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::{ErrorCode, TopicPartition};

use crate::assignor::{MemberSubscription, wire};
use crate::backoff::Backoff;
use crate::config::GroupConfig;
use crate::error::{MembershipError, MembershipErrorKind};
use crate::membership::MembershipEvent;
use crate::membership::state::State;
use crate::membership::verdict::{Api, Verdict, advice, verdict};
use crate::requests::{Ticket, Tickets};
use heartbeat::Pulse;

/// The generation of a member that is in none.
pub(crate) const NO_GENERATION: i32 = -1;

/// What the machine wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum MemberRequest {
    /// `wait` is how long the broker may think about it, on top of an ordinary request's time.
    Join {
        ticket: Ticket,
        request: JoinGroupRequest,
        wait: Duration,
    },
    Sync {
        ticket: Ticket,
        request: SyncGroupRequest,
        wait: Duration,
    },
    Heartbeat {
        ticket: Ticket,
        request: HeartbeatRequest,
    },
    Leave {
        ticket: Ticket,
        member_id: StrBytes,
    },
    /// The partitions of these topics, fresh from the cluster; unknown topics left out.
    Partitions {
        ticket: Ticket,
        topics: Vec<String>,
    },
    /// `node` does not coordinate the group any more, or is not reached.
    ForgetCoordinator {
        node: i32,
    },
}

/// An event for the application. A `Revoke` carries a number that its answer repeats, so that a late answer is not taken for
/// that of the next one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notice {
    pub(crate) revocation: Option<u64>,
    pub(crate) event: MembershipEvent,
}

/// The request whose answer the present state waits for.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    ticket: Ticket,
    sent: Instant,
}

/// What the leader of a generation has to plan.
#[derive(Debug)]
struct Plan {
    members: Vec<MemberSubscription>,
    topics: Vec<String>,
    /// When to ask for the partitions again; none while asking.
    retry_at: Option<Instant>,
}

/// How soon to join again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// At once: the ordinary course of things.
    Now,
    /// At once unless it did not help the last time.
    Soon,
    /// After the back-off.
    Later,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct ClassicMember {
    config: Arc<GroupConfig>,
    state: State,
    member_id: StrBytes,
    generation: i32,
    /// Told to the application by `Assigned` and not yet taken back.
    owned: Vec<TopicPartition>,
    awaited: Option<Awaited>,
    tickets: Tickets,
    backoff: Backoff,
    /// Unjoined: when to join.
    join_at: Option<Instant>,
    /// Why the next JoinGroup is sent (KIP-800).
    join_reason: String,
    plan: Option<Plan>,
    /// Syncing: what the leader gave us and when it came, to be ours with the next answered heartbeat.
    share: Option<(wire::Share, Instant)>,
    /// As leader of this generation: the partition counts the plan was made with.
    planned_counts: BTreeMap<String, usize>,
    /// PreparingRebalance and Leaving: until when the application may keep what it owns.
    release_by: Option<Instant>,
    revocation: u64,
    pulse: Pulse,
    leave_attempts: u32,
    /// Leaving: when to try `LeaveGroup` again.
    leave_at: Option<Instant>,
    outcome: Option<Result<(), MembershipError>>,
    requests: VecDeque<MemberRequest>,
    notices: VecDeque<Notice>,
}

impl ClassicMember {
    /// A member that will join as soon as it is polled. `seed` sets its back-offs apart from those of other members.
    pub(crate) fn new(config: Arc<GroupConfig>, now: Instant, seed: u64) -> Self {
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, seed);
        Self {
            pulse: Pulse::new(backoff.clone()),
            config,
            state: State::Unjoined,
            member_id: StrBytes::default(),
            generation: NO_GENERATION,
            owned: Vec::new(),
            awaited: None,
            tickets: Tickets::default(),
            backoff,
            join_at: Some(now),
            join_reason: "first join".into(),
            plan: None,
            share: None,
            planned_counts: BTreeMap::new(),
            release_by: None,
            revocation: 0,
            leave_attempts: 0,
            leave_at: None,
            outcome: None,
            requests: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// A commit of `generation` was answered with a code that concerns the membership.
    pub(crate) fn handle_commit_refused(&mut self, now: Instant, generation: i32, code: ErrorCode) {
        if generation != self.generation || self.lease_deadline().is_none() {
            return;
        }
        match verdict(Api::OffsetCommit, code) {
            Verdict::NewMember | Verdict::NewGeneration => self.expelled(now, Api::OffsetCommit, code),
            Verdict::Rebalance if self.state == State::Stable => self.begin_revocation(now, "a commit met a rebalance"),
            Verdict::Fenced => self.fail(self.fenced()),
            Verdict::Fatal => self.fail(self.refused(Api::OffsetCommit, code, None)),
            _ => {}
        }
    }

    /// Some deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.check_lease(now);
        if self.release_by.is_some_and(|deadline| deadline <= now) {
            self.release_by = None;
            let limit = self.config.rebalance_timeout;
            self.lose(&format!(
                "they were not given up within the rebalance timeout ({limit:?})"
            ));
            self.released(now);
        }
    }

    /// What to do next.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<MemberRequest> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.state == State::Unjoined && due(self.join_at) {
            self.send_join(now);
        }
        if self.state == State::Syncing && due(self.plan.as_ref().and_then(|plan| plan.retry_at)) {
            self.ask_for_partitions(now);
        }
        if self.state == State::Leaving && due(self.leave_at) {
            self.send_leave(now);
        }
        self.send_due_heartbeat(now);
        self.requests.pop_front()
    }

    /// What the application must hear next.
    pub(crate) fn poll_event(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_request`] if nothing else happens.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let retry_plan = self.plan.as_ref().and_then(|plan| plan.retry_at);
        [
            self.join_at,
            retry_plan,
            self.release_by,
            self.leave_at,
            self.pulse.due_at(),
            self.lease_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn member_id(&self) -> &StrBytes {
        &self.member_id
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// What is ours, as long as [`Self::lease_deadline`] says so.
    pub(crate) fn owned(&self) -> &[TopicPartition] {
        &self.owned
    }

    /// How it ended; none while it goes on.
    pub(crate) fn outcome(&self) -> Option<&Result<(), MembershipError>> {
        self.outcome.as_ref()
    }

    fn rejoin(&mut self, now: Instant, pace: Pace) {
        self.enter(State::Unjoined);
        self.generation = NO_GENERATION;
        self.awaited = None;
        self.planned_counts.clear();
        self.pulse.stop();
        let at_once = pace == Pace::Now || (pace == Pace::Soon && self.backoff.failures() == 0);
        let wait = if pace == Pace::Now {
            Duration::ZERO
        } else {
            self.backoff.next()
        };
        self.join_at = Some(if at_once { now } else { now + wait });
    }

    fn fail(&mut self, kind: MembershipErrorKind) {
        let error = self.error(kind);
        self.lose(&error.kind.to_string());
        let still_member = matches!(
            error.kind,
            MembershipErrorKind::Assignment(_) | MembershipErrorKind::Protocol(_)
        );
        if still_member && self.config.instance_id.is_none() && !self.member_id.is_empty() {
            // Nobody waits for the answer, but the group need not wait for us.
            let ticket = self.tickets.next();
            self.requests.push_back(MemberRequest::Leave {
                ticket,
                member_id: self.member_id.clone(),
            });
        }
        self.enter(State::Fatal);
        self.awaited = None;
        self.join_at = None;
        self.leave_at = None;
        self.release_by = None;
        self.generation = NO_GENERATION;
        self.pulse.stop();
        self.outcome = Some(Err(error.clone()));
        self.notices.push_back(Notice {
            revocation: None,
            event: MembershipEvent::Failed(error),
        });
    }

    fn error(&self, kind: MembershipErrorKind) -> MembershipError {
        MembershipError {
            group: self.config.group_id.clone(),
            kind,
        }
    }

    fn fenced(&self) -> MembershipErrorKind {
        MembershipErrorKind::Fenced {
            instance_id: self.config.instance_id.clone().unwrap_or_default(),
        }
    }

    fn refused(&self, api: Api, code: ErrorCode, broker: Option<i32>) -> MembershipErrorKind {
        MembershipErrorKind::Refused {
            api: api.name(),
            code,
            broker,
            advice: advice(code),
        }
    }

    fn forget(&mut self, node: Option<i32>) {
        if let Some(node) = node {
            self.requests.push_back(MemberRequest::ForgetCoordinator { node });
        }
    }

    fn enter(&mut self, next: State) {
        debug_assert!(
            self.state == next || self.state.successors().contains(&next),
            "{:?} must not follow {:?}",
            next,
            self.state
        );
        tracing::debug!(group = %self.config.group_id, from = ?self.state, to = ?next, "member state");
        self.state = next;
        // A deadline that the state does not act on would wake the driver again and again.
        if next != State::Unjoined {
            self.join_at = None;
        }
        if next != State::Syncing {
            self.plan = None;
            self.share = None;
        }
    }

    fn await_ticket(&mut self, now: Instant) -> Ticket {
        let ticket = self.tickets.next();
        self.awaited = Some(Awaited { ticket, sent: now });
        ticket
    }

    fn take_awaited(&mut self, ticket: Ticket) -> Option<Awaited> {
        self.awaited.take_if(|awaited| awaited.ticket == ticket)
    }
}
