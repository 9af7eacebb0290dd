//! Any order of events: what must always hold, with a world that plays broker and application.

use super::*;
use proptest::prelude::*;

/// What the world may do next; `pick` chooses the code, the ticket or the time.
#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u16),
    AnswerNewest(u8),
    AnswerAny(u8, u8),
    Released,
    Leave,
    CommitRefused(u8),
    Cluster,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u16..20_000).prop_map(Step::Pass),
        8 => any::<u8>().prop_map(Step::AnswerNewest),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(pick, code)| Step::AnswerAny(pick, code)),
        3 => Just(Step::Released),
        1 => any::<u8>().prop_map(Step::CommitRefused),
        1 => Just(Step::Cluster),
        1 => prop_oneof![9 => Just(Step::Cluster), 1 => Just(Step::Leave)],
    ]
}

const CODES: [ErrorCode; 12] = [
    ErrorCode::NONE,
    ErrorCode::NONE,
    ErrorCode::NONE,
    ErrorCode::NONE,
    ErrorCode::REBALANCE_IN_PROGRESS,
    ErrorCode::REBALANCE_IN_PROGRESS,
    ErrorCode::UNKNOWN_MEMBER_ID,
    ErrorCode::ILLEGAL_GENERATION,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::MEMBER_ID_REQUIRED,
    ErrorCode::FENCED_INSTANCE_ID,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Partitions,
}

/// Plays broker and application, and watches what must always hold (P03).
struct World {
    rig: Rig,
    sent: Vec<(Kind, Ticket)>,
    open: Vec<(Kind, Ticket)>,
    owned: bool,
    revoking: Option<u64>,
    generation: i32,
}

impl World {
    fn new() -> Self {
        Self {
            rig: Rig::new(),
            sent: vec![],
            open: vec![],
            owned: false,
            revoking: None,
            generation: 0,
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.rig.now;
        match step {
            Step::Pass(millis) => self.rig.pass(u32::from(millis) * MS),
            Step::AnswerNewest(code) => {
                if let Some((kind, ticket)) = self.open.pop() {
                    self.answer(kind, ticket, CODES[usize::from(code) % CODES.len()]);
                }
            }
            Step::AnswerAny(pick, code) if !self.sent.is_empty() => {
                let (kind, ticket) = self.sent[usize::from(pick) % self.sent.len()];
                self.open.retain(|(_, open)| *open != ticket);
                self.answer(kind, ticket, CODES[usize::from(code) % CODES.len()]);
            }
            Step::AnswerAny(..) => {}
            Step::Released => {
                if let Some(revocation) = self.revoking.take() {
                    self.owned = false;
                    self.rig.member.revocation_complete(now, revocation);
                }
            }
            Step::Leave => self.rig.member.handle_leave(now),
            Step::CommitRefused(code) => {
                let generation = self.rig.member.generation();
                let code = CODES[usize::from(code) % CODES.len()];
                self.rig.member.handle_commit_refused(now, generation, code);
            }
            Step::Cluster => self.rig.member.handle_cluster(now, |_| Some(3)),
        }
    }

    fn answer(&mut self, kind: Kind, ticket: Ticket, code: ErrorCode) {
        let (member, now) = (&mut self.rig.member, self.rig.now);
        match kind {
            Kind::Join => {
                self.generation += 1;
                let response = if code.is_ok() {
                    leader().with_generation_id(self.generation)
                } else {
                    JoinGroupResponse::default()
                        .with_error_code(code.0)
                        .with_member_id(StrBytes::from_static_str("m-1"))
                };
                member.handle_join(now, ticket, answer(response));
            }
            Kind::Sync => member.handle_sync(now, ticket, answer(sync_response(&[0, 1]).with_error_code(code.0))),
            Kind::Heartbeat => member.handle_heartbeat(now, ticket, answer(code)),
            Kind::Leave => member.handle_left(now, ticket, answer(code)),
            Kind::Partitions if code.is_ok() => member.handle_partitions(now, ticket, Ok(cluster(&[("input", 2)]))),
            Kind::Partitions => {
                member.handle_partitions(now, ticket, Err(Failure::Transport("no broker".into())));
            }
        }
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        while let Some(request) = self.rig.request() {
            let (kind, ticket) = match request {
                MemberRequest::Join { ticket, .. } => (Kind::Join, ticket),
                MemberRequest::Sync { ticket, .. } => (Kind::Sync, ticket),
                MemberRequest::Heartbeat { ticket, .. } => (Kind::Heartbeat, ticket),
                MemberRequest::Leave { ticket, .. } => (Kind::Leave, ticket),
                MemberRequest::Partitions { ticket, .. } => (Kind::Partitions, ticket),
                MemberRequest::ForgetCoordinator { .. } => continue,
            };
            if kind == Kind::Join {
                prop_assert!(!self.owned || self.pending_loss(), "joined while owning");
            }
            self.sent.push((kind, ticket));
            self.open.push((kind, ticket));
        }
        while let Some(notice) = self.rig.member.poll_event() {
            match notice.event {
                MembershipEvent::Assigned { .. } => {
                    prop_assert!(!self.owned, "assigned twice");
                    self.owned = true;
                }
                MembershipEvent::Revoke { .. } => {
                    prop_assert!(self.owned && self.revoking.is_none(), "revoked what is not owned");
                    self.revoking = notice.revocation;
                }
                MembershipEvent::Lost { .. } => {
                    prop_assert!(self.owned, "lost what is not owned");
                    (self.owned, self.revoking) = (false, None);
                }
                MembershipEvent::Failed(_) => prop_assert!(!self.owned, "failed while owning"),
            }
        }
        prop_assert_eq!(
            self.owned,
            self.rig.member.lease_deadline().is_some(),
            "lease and ownership differ"
        );
        if let Some(deadline) = self.rig.member.lease_deadline() {
            prop_assert!(deadline > self.rig.now, "owning without a lease");
        }
        let waits = self.rig.member.next_timeout();
        prop_assert!(
            waits.is_none_or(|at| at > self.rig.now),
            "a due timeout was not acted upon"
        );
        let asking = self.rig.member.awaited.is_some() || self.rig.member.pulse.is_open();
        let idle = !asking && waits.is_none();
        prop_assert!(
            !idle || self.rig.member.outcome().is_some(),
            "stuck in {:?}",
            self.rig.member.state()
        );
        Ok(())
    }

    /// Requests go before events: a loss may be queued behind the join that follows it.
    fn pending_loss(&self) -> bool {
        self.rig.member.owned().is_empty()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_ownership_alternates_and_never_outlives_its_lease(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        world.drain()?;
        for step in steps {
            world.step(step);
            world.drain()?;
        }
    }
}
