//! Where the reading of one partition stands, and what has to be asked next.
//!
//! ```text
//!               +--------- in range after all, or reset to the log start ----------+
//!               v                                                                  |
//!  Locate --> Fetch --OFFSET_OUT_OF_RANGE--> Bounds (log start, then log end) -----+--reset to the end--> Locate
//!               |  ^                            \--policy: error--> Failed
//!               v  |
//!             Validate --truncated--> Fetch where the logs part, or Failed
//! ```
//!
//! A new leader epoch leads through `Validate` (KIP-320): did the new leader keep what was read from the old one? An offset
//! counts as out of range only when the leader's own bounds confirm it, so that no passing trouble triggers the reset policy.
//! Troubles with a leader are waited out with growing pauses; only what repetition cannot heal ends in `Failed`.

use std::time::{Duration, Instant};

use super::FetchErrorKind;
use crate::connection::{Backoff, Jitter};
use crate::protocol::{ErrorCode, IsolationLevel, Recovery};

/// Pauses after errors, Kafka's `retry.backoff.ms` and `retry.backoff.max.ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a topic may be unknown: brokers learn of a new one one after the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOffset {
    /// At this offset.
    Offset(i64),
    /// At this offset, after a record of this leader epoch: checks first that the log still has what was read (KIP-320).
    Resume {
        /// The offset after the last record read.
        offset: i64,
        /// The leader epoch of that record; -1 if unknown, then nothing is checked.
        leader_epoch: i32,
    },
    /// At the first offset that the log has.
    Earliest,
    /// At the end of the log, as the isolation level sees it.
    Latest,
}

/// What to do when the log does not have the offset (Kafka's `auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// Report it and stop. The default: a table must not skip part of its changelog unnoticed.
    #[default]
    Error,
    /// Go on at the first offset that the log has.
    Earliest,
    /// Go on at the end of the log.
    Latest,
}

/// An end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Earliest,
    Latest,
}

/// Who leads the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    pub(super) epoch: i32,
}

/// What is to be asked of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Fetch from here.
    Records(i64),
    /// ListOffsets.
    Offset(Bound, IsolationLevel),
    /// OffsetForLeaderEpoch.
    EpochEnd(i32),
}

/// What an answer leads to, beyond the position itself.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing.
    Go,
    /// The picture of the cluster has to be renewed.
    Refresh,
    /// The policy moved the position away from this offset.
    Jumped(i64),
    /// Reading has ended.
    Fail(FetchErrorKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Locate(Bound),
    Bounds { log_start: Option<i64> },
    Validate,
    Fetch,
    Failed,
}

/// The machine of one partition.
#[derive(Debug)]
pub(super) struct Position {
    goal: Goal,
    reset: OffsetReset,
    isolation: IsolationLevel,
    /// The next offset to fetch; -1 before it is located.
    offset: i64,
    /// Leader epoch of the last record read, -1 if unknown.
    epoch: i32,
    /// The leader epoch for which `Validate` was passed last.
    validated: i32,
    leader: Option<Leader>,
    backoff: Backoff,
    not_before: Option<Instant>,
    /// Since when, and how, the topic or partition has been unknown.
    missing: Option<(Instant, ErrorCode)>,
}

impl Position {
    pub(super) fn new(start: StartOffset, reset: OffsetReset, isolation: IsolationLevel) -> Position {
        let (goal, offset, epoch) = match start {
            StartOffset::Offset(offset) => (Goal::Fetch, offset, -1),
            StartOffset::Resume { offset, leader_epoch } => (Goal::Fetch, offset, leader_epoch),
            StartOffset::Earliest => (Goal::Locate(Bound::Earliest), -1, -1),
            StartOffset::Latest => (Goal::Locate(Bound::Latest), -1, -1),
        };
        Position {
            goal,
            reset,
            isolation,
            offset,
            epoch,
            validated: -1,
            leader: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            not_before: None,
            missing: None,
        }
    }

    /// The next offset to fetch; -1 before it is located.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    /// Who leads, as far as is known.
    pub(super) fn leader(&self) -> Option<Leader> {
        self.leader
    }

    /// The picture of the cluster names this leader.
    pub(super) fn handle_leader(&mut self, leader: Option<Leader>) {
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        let Some(leader) = leader else { return };
        // Whatever the former leader made us wait for does not concern the new one.
        self.not_before = None;
        self.check_against(leader);
    }

    fn check_against(&mut self, leader: Leader) {
        let known = self.epoch.max(self.validated);
        if self.goal == Goal::Fetch && self.epoch >= 0 && leader.epoch > known {
            self.goal = Goal::Validate;
        }
    }

    /// What to ask whom, now.
    pub(super) fn want(&self, now: Instant) -> Option<(Leader, Want)> {
        if self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let want = match self.goal {
            Goal::Fetch => Want::Records(self.offset),
            Goal::Validate => Want::EpochEnd(self.epoch),
            Goal::Locate(bound) => Want::Offset(bound, self.isolation),
            Goal::Bounds { log_start: None } => Want::Offset(Bound::Earliest, IsolationLevel::ReadUncommitted),
            Goal::Bounds { log_start: Some(_) } => Want::Offset(Bound::Latest, IsolationLevel::ReadUncommitted),
            Goal::Failed => return None,
        };
        Some((self.leader?, want))
    }

    /// Records up to `next_offset` came, the last of them of leader epoch `epoch`; or none, and nothing changes.
    pub(super) fn handle_records(&mut self, next_offset: i64, epoch: i32) {
        self.handle_success();
        if next_offset > self.offset {
            self.offset = next_offset;
            self.epoch = epoch;
        }
    }

    /// The leader told an end of its log.
    pub(super) fn handle_offset(&mut self, now: Instant, offset: i64, jitter: &mut Jitter) -> Outcome {
        if offset < 0 {
            return self.handle_error(now, ErrorCode::OFFSET_NOT_AVAILABLE, jitter);
        }
        match self.goal {
            Goal::Locate(_) => {
                self.handle_success();
                self.offset = offset;
                self.goal = Goal::Fetch;
                Outcome::Go
            }
            Goal::Bounds { log_start: None } => {
                self.goal = Goal::Bounds {
                    log_start: Some(offset),
                };
                Outcome::Go
            }
            Goal::Bounds {
                log_start: Some(log_start),
            } => self.judge_bounds(now, log_start, offset, jitter),
            Goal::Fetch | Goal::Validate | Goal::Failed => Outcome::Go,
        }
    }

    fn judge_bounds(&mut self, now: Instant, log_start: i64, log_end: i64, jitter: &mut Jitter) -> Outcome {
        let lost = self.offset;
        self.goal = Goal::Fetch;
        if (log_start..=log_end).contains(&lost) {
            // A follower's or a lagging leader's mistake; its next answer will be another one.
            self.pause(now, jitter);
            // There may be another leader since, and it may have kept less.
            if let Some(leader) = self.leader {
                self.check_against(leader);
            }
            return Outcome::Go;
        }
        match self.reset {
            OffsetReset::Error => return self.fail(FetchErrorKind::OffsetOutOfRange { log_start, log_end }),
            OffsetReset::Earliest => self.offset = log_start,
            // The end depends on the isolation level, the bound just learned does not.
            OffsetReset::Latest => self.goal = Goal::Locate(Bound::Latest),
        }
        self.epoch = -1;
        Outcome::Jumped(lost)
    }

    /// The leader told up to which offset it has records of leader epochs up to ours. Both are -1 if it cannot tell, which is
    /// the case for logs without epochs and no sign of a loss.
    pub(super) fn handle_epoch_end(&mut self, epoch: i32, end_offset: i64) -> Outcome {
        if self.goal != Goal::Validate {
            return Outcome::Go;
        }
        self.handle_success();
        self.goal = Goal::Fetch;
        self.validated = self.leader.map_or(-1, |leader| leader.epoch);
        if epoch < 0 || end_offset < 0 || end_offset >= self.offset {
            return Outcome::Go;
        }
        let (lost, leader_epoch) = (self.offset, self.epoch);
        match self.reset {
            OffsetReset::Error => self.fail(FetchErrorKind::Truncated {
                end_offset,
                leader_epoch,
            }),
            OffsetReset::Earliest | OffsetReset::Latest => {
                (self.offset, self.epoch) = (end_offset, epoch);
                Outcome::Jumped(lost)
            }
        }
    }

    /// The leader cannot check epochs (too old, or it does not allow it): the position counts as confirmed.
    pub(super) fn handle_epochs_unsupported(&mut self) {
        if self.goal == Goal::Validate {
            self.goal = Goal::Fetch;
            self.validated = self.leader.map_or(-1, |leader| leader.epoch);
        }
    }

    /// An answer, or the picture of the cluster, names an error for the partition.
    pub(super) fn handle_error(&mut self, now: Instant, code: ErrorCode, jitter: &mut Jitter) -> Outcome {
        if self.goal == Goal::Validate && code == ErrorCode::TOPIC_AUTHORIZATION_FAILED {
            self.handle_epochs_unsupported();
            return Outcome::Go;
        }
        match (code, code.recovery()) {
            (_, Recovery::ResetPosition) if self.goal == Goal::Fetch => {
                self.goal = Goal::Bounds { log_start: None };
                Outcome::Go
            }
            // The broker found its own log damaged; Java gives up here as well.
            (ErrorCode::CORRUPT_MESSAGE, _) => self.fail(FetchErrorKind::Refused(code)),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID, _) => {
                let (since, _) = *self.missing.get_or_insert((now, code));
                if now >= since + PATIENCE {
                    return self.fail(FetchErrorKind::NotFound(code));
                }
                self.pause(now, jitter);
                Outcome::Refresh
            }
            (_, Recovery::RefreshMetadata) | (ErrorCode::UNKNOWN_SERVER_ERROR, _) => {
                self.pause(now, jitter);
                Outcome::Refresh
            }
            (_, Recovery::Retry | Recovery::ResetPosition | Recovery::None) => {
                self.pause(now, jitter);
                Outcome::Go
            }
            _ => self.fail(FetchErrorKind::Refused(code)),
        }
    }

    /// The answer made no sense, or none came; the same is asked again after a pause.
    pub(super) fn pause(&mut self, now: Instant, jitter: &mut Jitter) {
        self.backoff.handle_failure(now, jitter);
        self.not_before = Some(now + self.backoff.pause(now));
    }

    /// Ends the reading.
    pub(super) fn fail(&mut self, kind: FetchErrorKind) -> Outcome {
        self.goal = Goal::Failed;
        Outcome::Fail(kind)
    }

    fn handle_success(&mut self) {
        self.backoff.handle_success();
        self.not_before = None;
        self.missing = None;
    }

    /// A pause may be over. Without a leader the picture of the cluster has to be renewed, again and again.
    pub(super) fn handle_timeout(&mut self, now: Instant, jitter: &mut Jitter) -> Outcome {
        if self.not_before.is_some_and(|at| now < at) || self.goal == Goal::Failed {
            return Outcome::Go;
        }
        self.not_before = None;
        match (self.leader, self.missing) {
            (None, Some((_, code))) => self.handle_error(now, code, jitter),
            (None, None) => self.handle_error(now, ErrorCode::LEADER_NOT_AVAILABLE, jitter),
            (Some(_), _) => Outcome::Go,
        }
    }

    /// When the present pause is over.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.not_before
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests;
