//! The member fed by hand: one test per sentence of the protocol and per row of the error table.

#![allow(clippy::disallowed_methods, reason = "the tests need some instant to count from")]

mod heartbeats;
mod joining;
mod leaving;
mod orders_of_events;
mod rebalancing;

use super::*;
use crate::assignor::wire;
use crate::error::Failure;
use crate::requests::Answer;
use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

const NODE: i32 = 1;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const GENERATION: i32 = 5;

/// A member, its clock, and a group around it that is played by the test.
struct Rig {
    member: ClassicMember,
    now: Instant,
}

impl Rig {
    fn with(config: GroupConfig) -> Self {
        config.validate().unwrap();
        let now = Instant::now();
        Self {
            member: ClassicMember::new(Arc::new(config), now, 42),
            now,
        }
    }

    fn new() -> Self {
        Self::with(GroupConfig::new("group", ["input"]))
    }

    /// In the group as a follower, owning input-0 and input-1.
    fn stable() -> Self {
        let mut rig = Self::new();
        rig.become_stable();
        rig
    }

    fn become_stable(&mut self) {
        self.become_syncing();
        let (ticket, _) = self.sync();
        self.assign(ticket, sync_response(&[0, 1]));
        assert_eq!(self.event(), Some(assigned(self.member.generation(), &[0, 1])));
    }

    /// The leader's plan, and the answer to the heartbeat that follows it.
    fn assign(&mut self, sync: Ticket, response: SyncGroupResponse) {
        self.member.handle_sync(self.now, sync, answer(response));
        assert_eq!(self.event(), None, "not proven yet");
        self.heartbeat_answered(ErrorCode::NONE);
    }

    fn become_syncing(&mut self) {
        let (ticket, _) = self.join();
        self.member.handle_join(self.now, ticket, answer(follower()));
        assert_eq!(self.member.state(), State::Syncing);
    }

    /// Owning, told to revoke.
    fn preparing() -> (Self, u64) {
        let mut rig = Self::stable();
        rig.pass(3 * SECOND);
        rig.heartbeat_answered(ErrorCode::REBALANCE_IN_PROGRESS);
        let revocation = rig.revoke();
        (rig, revocation)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.member.handle_timeout(self.now);
    }

    /// Lets the time pass that the member wants to pass.
    fn pass_to_next_timeout(&mut self) {
        let at = self.member.next_timeout().expect("the member waits for nothing");
        self.pass(at.saturating_duration_since(self.now));
    }

    fn request(&mut self) -> Option<MemberRequest> {
        self.member.poll_request(self.now)
    }

    fn join(&mut self) -> (Ticket, JoinGroupRequest) {
        match self.request() {
            Some(MemberRequest::Join { ticket, request, .. }) => (ticket, request),
            other => panic!("expected JoinGroup, got {other:?}"),
        }
    }

    /// After a back-off.
    fn join_later(&mut self) -> (Ticket, JoinGroupRequest) {
        assert_eq!(self.request(), None, "expected a back-off");
        self.pass_to_next_timeout();
        self.join()
    }

    fn sync(&mut self) -> (Ticket, SyncGroupRequest) {
        match self.request() {
            Some(MemberRequest::Sync { ticket, request, .. }) => (ticket, request),
            other => panic!("expected SyncGroup, got {other:?}"),
        }
    }

    fn heartbeat(&mut self) -> (Ticket, HeartbeatRequest) {
        match self.request() {
            Some(MemberRequest::Heartbeat { ticket, request }) => (ticket, request),
            other => panic!("expected Heartbeat, got {other:?}"),
        }
    }

    fn heartbeat_answered(&mut self, code: ErrorCode) {
        let (ticket, _) = self.heartbeat();
        self.member.handle_heartbeat(self.now, ticket, answer(code));
    }

    fn leave(&mut self) -> Ticket {
        match self.request() {
            Some(MemberRequest::Leave { ticket, member_id }) => {
                assert_eq!(&member_id, self.member.member_id());
                ticket
            }
            other => panic!("expected LeaveGroup, got {other:?}"),
        }
    }

    fn forgotten(&mut self) -> bool {
        self.request() == Some(MemberRequest::ForgetCoordinator { node: NODE })
    }

    fn event(&mut self) -> Option<MembershipEvent> {
        self.member.poll_event().map(|notice| notice.event)
    }

    fn revoke(&mut self) -> u64 {
        let notice = self.member.poll_event().expect("expected Revoke");
        assert_eq!(
            notice.event,
            MembershipEvent::Revoke {
                partitions: input(&[0, 1])
            }
        );
        notice.revocation.unwrap()
    }

    fn assert_lost(&mut self, why: &str) {
        match self.event() {
            Some(MembershipEvent::Lost { partitions, reason }) => {
                assert_eq!(partitions, input(&[0, 1]));
                assert!(reason.contains(why), "{reason}");
                assert_eq!(self.member.lease_deadline(), None);
            }
            other => panic!("expected Lost, got {other:?}"),
        }
    }

    fn assert_failed(&mut self) -> MembershipErrorKind {
        assert_eq!(self.member.state(), State::Fatal);
        assert_eq!(self.member.next_timeout(), None);
        match self.event() {
            Some(MembershipEvent::Failed(error)) => error.kind,
            other => panic!("expected Failed, got {other:?}"),
        }
    }
}

fn answer<T>(response: T) -> Answer<T> {
    Answer {
        node: Some(NODE),
        result: Ok(response),
    }
}

fn no_answer<T>() -> Answer<T> {
    Answer {
        node: Some(NODE),
        result: Err(Failure::Transport("cut off".into())),
    }
}

fn join_error(code: ErrorCode) -> Answer<JoinGroupResponse> {
    answer(JoinGroupResponse::default().with_error_code(code.0))
}

fn sync_error(code: ErrorCode) -> Answer<SyncGroupResponse> {
    answer(SyncGroupResponse::default().with_error_code(code.0))
}

/// Joined, and someone else leads.
fn follower() -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_generation_id(GENERATION)
        .with_protocol_name(Some(StrBytes::from_static_str("copartition")))
        .with_leader(StrBytes::from_static_str("m-0"))
        .with_member_id(StrBytes::from_static_str("m-1"))
}

/// Joined, and `m-1` leads itself and `m-2`.
fn leader() -> JoinGroupResponse {
    let metadata = wire::encode_subscription(&["input".into()], None);
    let member = |id| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_static_str(id))
            .with_metadata(metadata.clone())
    };
    follower()
        .with_leader(StrBytes::from_static_str("m-1"))
        .with_members(vec![member("m-1"), member("m-2")])
}

fn sync_response(partitions: &[i32]) -> SyncGroupResponse {
    let share = BTreeMap::from([("input".to_owned(), partitions.to_vec())]);
    SyncGroupResponse::default().with_assignment(wire::encode_assignment(&share))
}

fn input(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions
        .iter()
        .map(|partition| TopicPartition::new("input", *partition))
        .collect()
}

fn assigned(generation: i32, partitions: &[i32]) -> MembershipEvent {
    MembershipEvent::Assigned {
        generation,
        partitions: input(partitions),
    }
}

fn cluster(counts: &[(&str, i32)]) -> BTreeMap<String, Vec<i32>> {
    counts
        .iter()
        .map(|(topic, count)| ((*topic).to_owned(), (0..*count).collect()))
        .collect()
}
