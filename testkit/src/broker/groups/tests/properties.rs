//! Any order of requests, failures and time.

use std::time::Duration;

use kafka_wire::ErrorCode;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{GroupShardConfig, Ticket};
use super::fixture::{Coordinator, GROUP, join_request};

/// Members are numbered; number 3 and 4 are static.
const MEMBERS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Join { member: usize, sticky: bool },
    Sync { member: usize, stale: bool },
    Heartbeat(usize),
    Leave(usize),
    Commit(usize),
    Restart(usize),
    FailOver,
    Advance(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let member = || 0..MEMBERS;
    prop_oneof![
        6 => (member(), any::<bool>()).prop_map(|(member, sticky)| Step::Join { member, sticky }),
        6 => (member(), prop::bool::weighted(0.1)).prop_map(|(member, stale)| Step::Sync { member, stale }),
        3 => member().prop_map(Step::Heartbeat),
        1 => member().prop_map(Step::Leave),
        2 => member().prop_map(Step::Commit),
        1 => member().prop_map(Step::Restart),
        1 => Just(Step::FailOver),
        4 => (0_u64..20_000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
    ]
}

/// What a member believes of itself, and what it waits for.
#[derive(Clone, Default)]
struct Member {
    id: String,
    generation: i32,
    leader: bool,
    join: Option<Ticket>,
    syncs: Vec<Ticket>,
}

struct Run {
    c: Coordinator,
    members: Vec<Member>,
    committed: i64,
}

impl Run {
    fn take(&mut self, step: Step) {
        match step {
            Step::Join { member, sticky } => self.join(member, sticky),
            Step::Sync { member, stale } => self.sync(member, stale),
            Step::Heartbeat(member) => {
                let member = &self.members[member];
                self.c.heartbeat(&member.id, member.generation);
            }
            Step::Leave(member) => {
                let id = self.members[member].id.clone();
                self.c.leave(5, &[&id]);
            }
            Step::Commit(member) => self.commit(member),
            Step::Restart(member) => self.members[member] = Member::default(),
            Step::FailOver => {
                let outcome = self.c.shard.fail_over(self.c.now, GROUP);
                self.c.take(outcome);
            }
            Step::Advance(by) => self.c.advance(by),
        }
        self.hear();
    }

    fn join(&mut self, member: usize, sticky: bool) {
        if self.members[member].join.is_some() {
            return;
        }
        let protocols: &[&str] = if sticky { &["sticky", "range"] } else { &["range"] };
        let instance = (member >= 3).then(|| format!("static-{member}").into());
        let request = join_request(&self.members[member].id, protocols).with_group_instance_id(instance);
        self.members[member].join = Some(self.c.send_join(9, request));
    }

    fn sync(&mut self, member: usize, stale: bool) {
        let Member {
            id, generation, leader, ..
        } = self.members[member].clone();
        let assignments: Vec<(&str, &'static str)> = if leader { vec![(&id, "all")] } else { Vec::new() };
        let ticket = self.c.sync(&id, generation - i32::from(stale), &assignments);
        self.members[member].syncs.push(ticket);
    }

    /// An accepted commit is found again.
    fn commit(&mut self, member: usize) {
        let Member { id, generation, .. } = self.members[member].clone();
        self.committed += 1;
        if self.c.commit(&id, generation, self.committed) == ErrorCode::NONE {
            let found = self
                .c
                .shard
                .offsets
                .get(GROUP, "in", 0)
                .map(|committed| committed.offset);
            assert_eq!(found, Some(self.committed));
        }
    }

    /// Hands the members what the coordinator answered.
    fn hear(&mut self) {
        for member in &mut self.members {
            if let Some(ticket) = member.join.filter(|ticket| !self.c.is_held(*ticket)) {
                member.join = None;
                let answer = self.c.joined(ticket);
                match ErrorCode(answer.error_code) {
                    ErrorCode::NONE => {
                        assert!(answer.generation_id > 0 && !answer.leader.is_empty());
                        member.id = answer.member_id.to_string();
                        member.generation = answer.generation_id;
                        member.leader = answer.leader == answer.member_id;
                        assert_eq!(member.leader, !answer.members.is_empty());
                    }
                    ErrorCode::MEMBER_ID_REQUIRED => member.id = answer.member_id.to_string(),
                    ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => member.id.clear(),
                    _ => {}
                }
            }
            let (held, answered): (Vec<Ticket>, Vec<Ticket>) =
                member.syncs.drain(..).partition(|ticket| self.c.is_held(*ticket));
            member.syncs = held;
            for ticket in answered {
                self.c.synced(ticket);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_held_request_is_answered_once_and_a_group_nobody_speaks_to_falls_asleep(
        steps in vec(step(), 1..120),
        delay in prop_oneof![Just(0_u64), Just(3_000)],
    ) {
        let config =
            GroupShardConfig { initial_rebalance_delay: Duration::from_millis(delay), ..Default::default() };
        let c = Coordinator::with(config);
        let mut run = Run { c, members: vec![Member::default(); MEMBERS], committed: 0 };
        for step in steps {
            run.take(step);
        }
        run.take(Step::Advance(Duration::from_secs(3_600)));
        for member in &run.members {
            prop_assert!(member.join.is_none() && member.syncs.is_empty());
        }
        prop_assert_eq!(run.c.shard.next_timeout(), None);
        let state = run.c.shard.describe(5, &super::fixture::group_id()).group_state;
        prop_assert!(matches!(state.as_str(), "Empty" | "Dead"), "{}", state);
    }
}
