//! Giving partitions up: in good order (`Revoke`, answered) or not (`Lost`).
//!
//! The classic protocol is eager: whoever joins again has given up everything before. How long the application may take is
//! bounded by what the broker grants: it waits the rebalance timeout from the start of the rebalance, of which we hear later.
//! So the bound counts from the sending of the last request whose answer knew of no rebalance.

use std::time::Instant;

use kafka_protocol::protocol::StrBytes;
use kafka_wire::ErrorCode;

use super::{ClassicMember, Notice, Pace};
use crate::membership::MembershipEvent;
use crate::membership::state::State;
use crate::membership::verdict::{Api, Verdict, verdict};

impl ClassicMember {
    /// The application gave up what `Revoke` number `revocation` named.
    pub(crate) fn revocation_complete(&mut self, now: Instant, revocation: u64) {
        if revocation != self.revocation || self.release_by.is_none() {
            tracing::debug!(group = %self.config.group_id, "an answer to a revocation that is over already");
            return;
        }
        self.release_by = None;
        self.owned.clear();
        self.released(now);
    }

    /// The cluster changed. The leader of a group answers for its topics: if their partitions are not those it planned with,
    /// it joins again, which makes the group rebalance.
    pub(crate) fn handle_cluster(&mut self, now: Instant, count: impl Fn(&str) -> Option<usize>) {
        if self.state != State::Stable {
            return;
        }
        let changed = self.planned_counts.iter().find_map(|(topic, planned)| {
            let present = count(topic).filter(|present| present != planned)?;
            Some(format!("topic {topic} has {present} partitions instead of {planned}"))
        });
        if let Some(reason) = changed {
            self.begin_revocation(now, &reason);
        }
    }

    pub(super) fn begin_revocation(&mut self, now: Instant, reason: &str) {
        tracing::info!(group = %self.config.group_id, generation = self.generation, reason, "the group rebalances");
        self.join_reason = reason.to_owned();
        if self.owned.is_empty() {
            return self.rejoin(now, Pace::Now);
        }
        self.enter(State::PreparingRebalance);
        // The broker may have begun to count right after it last told us that nothing was going on.
        self.revoke_by(self.pulse.settled().unwrap_or(now) + self.config.rebalance_timeout);
    }

    pub(super) fn revoke_by(&mut self, deadline: Instant) {
        self.release_by = Some(deadline);
        self.revocation += 1;
        let event = MembershipEvent::Revoke {
            partitions: self.owned.clone(),
        };
        self.notices.push_back(Notice {
            revocation: Some(self.revocation),
            event,
        });
    }

    /// Nothing is owned any more: on with what that was for.
    pub(super) fn released(&mut self, now: Instant) {
        match self.state {
            State::Leaving => self.send_leave(now),
            _ => self.rejoin(now, Pace::Now),
        }
    }

    /// The group goes on without us.
    pub(super) fn expelled(&mut self, now: Instant, api: Api, code: ErrorCode) {
        self.lose(&format!("{} was answered with {code}", api.name()));
        self.join_reason = format!("expelled: {code}");
        self.release_by = None;
        if verdict(api, code) == Verdict::NewMember {
            self.member_id = StrBytes::default();
        }
        match self.state {
            State::Leaving => self.send_leave(now),
            _ => self.rejoin(now, Pace::Soon),
        }
    }

    pub(super) fn lose(&mut self, reason: &str) {
        let partitions = std::mem::take(&mut self.owned);
        if partitions.is_empty() {
            return;
        }
        tracing::warn!(group = %self.config.group_id, generation = self.generation, reason, "lost all partitions");
        self.notices.push_back(Notice {
            revocation: None,
            event: MembershipEvent::Lost {
                partitions,
                reason: reason.to_owned(),
            },
        });
    }
}
