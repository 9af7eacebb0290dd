//! Out of the group: what is owned is given up first, then LeaveGroup tells the others at once.

use std::time::Instant;

use kafka_wire::ErrorCode;

use super::{ClassicMember, MemberRequest, NO_GENERATION};
use crate::error::MembershipErrorKind;
use crate::membership::state::State;
use crate::membership::verdict::{Api, Verdict, verdict};
use crate::requests::{Answer, Ticket};

/// How often `LeaveGroup` is tried; after that the broker will notice by the session timeout.
const LEAVE_ATTEMPTS: u32 = 3;

impl ClassicMember {
    /// The application wants out. What it owns is revoked first.
    pub(crate) fn handle_leave(&mut self, now: Instant) {
        match self.state {
            State::Leaving | State::Left | State::Fatal => {}
            State::PreparingRebalance => self.enter(State::Leaving),
            State::Stable if !self.owned.is_empty() => {
                self.enter(State::Leaving);
                self.revoke_by(now + self.config.rebalance_timeout);
            }
            // Its answer brings the member id to leave with; KIP-394 makes that a matter of one round trip.
            State::Joining if self.member_id.is_empty() => self.enter(State::Leaving),
            State::Unjoined | State::Joining | State::Syncing | State::Stable => {
                self.enter(State::Leaving);
                self.send_leave(now);
            }
        }
    }

    /// The answer to `LeaveGroup`: the first code other than none, of the request or of the member.
    pub(crate) fn handle_left(&mut self, now: Instant, ticket: Ticket, answer: Answer<ErrorCode>) {
        if self.take_awaited(ticket).is_none() || self.state != State::Leaving {
            return;
        }
        let trouble = match &answer.result {
            Err(failure) => failure.to_string(),
            Ok(code) => match verdict(Api::LeaveGroup, *code) {
                // Whoever is not in the group has left it.
                Verdict::Done | Verdict::NewMember | Verdict::NewGeneration | Verdict::Fenced => {
                    return self.finish(Ok(()));
                }
                Verdict::Fatal => return self.finish(Err(self.refused(Api::LeaveGroup, *code, answer.node))),
                _ => code.to_string(),
            },
        };
        self.forget(answer.node);
        if self.leave_attempts < LEAVE_ATTEMPTS {
            self.leave_at = Some(now + self.backoff.next());
        } else {
            let session = self.config.session_timeout;
            let text =
                format!("LeaveGroup failed {LEAVE_ATTEMPTS} times, the broker notices after {session:?}: {trouble}");
            self.finish(Err(MembershipErrorKind::Protocol(text)));
        }
    }

    pub(super) fn send_leave(&mut self, now: Instant) {
        self.pulse.stop();
        self.leave_at = None;
        self.awaited = None;
        // A static member keeps its place until its session times out (KIP-345).
        if self.member_id.is_empty() || self.config.instance_id.is_some() {
            return self.finish(Ok(()));
        }
        self.leave_attempts += 1;
        let ticket = self.await_ticket(now);
        self.requests.push_back(MemberRequest::Leave {
            ticket,
            member_id: self.member_id.clone(),
        });
    }

    fn finish(&mut self, outcome: Result<(), MembershipErrorKind>) {
        self.enter(State::Left);
        self.generation = NO_GENERATION;
        self.outcome = Some(outcome.map_err(|kind| self.error(kind)));
    }
}
