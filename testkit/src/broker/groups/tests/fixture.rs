//! A coordinator, a clock, and members that speak the newest version.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_wire::ErrorCode;

use super::super::{Caller, GroupShard, GroupShardConfig, Outcome, Released, Ticket};

pub(super) const GROUP: &str = "clicks";
pub(super) const SESSION: Duration = Duration::from_secs(10);
pub(super) const REBALANCE: Duration = Duration::from_secs(60);
pub(super) const NEWEST_JOIN: i16 = 9;

pub(super) struct Coordinator {
    pub(super) shard: GroupShard,
    pub(super) now: Instant,
    tickets: u64,
    joins: HashMap<Ticket, JoinGroupResponse>,
    syncs: HashMap<Ticket, SyncGroupResponse>,
}

impl Coordinator {
    pub(super) fn new() -> Self {
        Self::with(GroupShardConfig::default())
    }

    pub(super) fn with(config: GroupShardConfig) -> Self {
        let shard = GroupShard::new(config, 42);
        Self {
            shard,
            now: Instant::now(),
            tickets: 0,
            joins: HashMap::new(),
            syncs: HashMap::new(),
        }
    }

    /// Lets time pass, firing each timer at its own moment.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.shard.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let outcome = self.shard.handle_timeout(self.now);
            self.take(outcome);
        }
        self.now = end;
    }

    pub(super) fn take(&mut self, outcome: Outcome) {
        for released in self.shard.apply(outcome) {
            let twice = match released {
                Released::Join(ticket, response) => self.joins.insert(ticket, response).is_some(),
                Released::Sync(ticket, response) => self.syncs.insert(ticket, response).is_some(),
            };
            assert!(!twice, "a request was answered twice");
        }
    }

    pub(super) fn send_join(&mut self, version: i16, request: JoinGroupRequest) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let caller = Caller {
            ticket,
            api_version: version,
            client_id: "app",
            client_host: "/127.0.0.1",
        };
        let outcome = self.shard.join(self.now, &caller, request);
        self.take(outcome);
        ticket
    }

    pub(super) fn join(&mut self, member_id: &str) -> Ticket {
        self.send_join(NEWEST_JOIN, join_request(member_id, &["range"]))
    }

    /// The first JoinGroup of a new member: leaves it with an id.
    pub(super) fn new_member_id(&mut self) -> String {
        let ticket = self.join("");
        let answer = self.joined(ticket);
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::MEMBER_ID_REQUIRED);
        answer.member_id.to_string()
    }

    pub(super) fn is_held(&self, ticket: Ticket) -> bool {
        !self.joins.contains_key(&ticket) && !self.syncs.contains_key(&ticket)
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> JoinGroupResponse {
        self.joins.remove(&ticket).expect("the JoinGroup is still held")
    }

    pub(super) fn join_error(&mut self, ticket: Ticket) -> ErrorCode {
        ErrorCode(self.joined(ticket).error_code)
    }

    pub(super) fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &'static str)]) -> Ticket {
        self.send_sync(sync_request(member, generation, assignments))
    }

    pub(super) fn send_sync(&mut self, request: SyncGroupRequest) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let caller = Caller {
            ticket,
            api_version: 5,
            client_id: "app",
            client_host: "/127.0.0.1",
        };
        let outcome = self.shard.sync(self.now, &caller, request);
        self.take(outcome);
        ticket
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> SyncGroupResponse {
        self.syncs.remove(&ticket).expect("the SyncGroup is still held")
    }

    pub(super) fn sync_error(&mut self, ticket: Ticket) -> ErrorCode {
        ErrorCode(self.synced(ticket).error_code)
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id())
            .with_member_id(member.to_owned().into())
            .with_generation_id(generation);
        ErrorCode(self.shard.heartbeat(self.now, &request).error_code)
    }

    pub(super) fn leave(&mut self, version: i16, members: &[&str]) -> LeaveGroupResponse {
        let identity = |m: &&str| MemberIdentity::default().with_member_id((*m).to_owned().into());
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id())
            .with_member_id(members[0].to_owned().into())
            .with_members(members.iter().map(identity).collect());
        let caller = Caller {
            ticket: Ticket(0),
            api_version: version,
            client_id: "app",
            client_host: "/127.0.0.1",
        };
        let (outcome, response) = self.shard.leave(self.now, &caller, request);
        self.take(outcome);
        response
    }

    /// Commits `offset` for partition 0 of `in`.
    pub(super) fn commit(&mut self, member: &str, generation: i32, offset: i64) -> ErrorCode {
        let response = self.send_commit(9, commit_request(member, generation, offset));
        ErrorCode(response.topics[0].partitions[0].error_code)
    }

    pub(super) fn send_commit(&mut self, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let (outcome, response) = self.shard.commit_offsets(self.now, version, request);
        self.take(outcome);
        response
    }

    /// A stable group of this many members; the first one leads and gives `part-0`, `part-1`, ...
    pub(super) fn stable(&mut self, members: usize) -> (i32, Vec<String>) {
        let ids: Vec<String> = (0..members).map(|_| self.new_member_id()).collect();
        self.rebalance(&ids)
    }

    /// Lets these members, and nobody else, go through a rebalance.
    pub(super) fn rebalance(&mut self, ids: &[String]) -> (i32, Vec<String>) {
        let joins: Vec<Ticket> = ids.iter().map(|id| self.join(id)).collect();
        self.advance(Duration::ZERO);
        let answers: Vec<JoinGroupResponse> = joins.into_iter().map(|ticket| self.joined(ticket)).collect();
        let (generation, leader) = (answers[0].generation_id, answers[0].leader.to_string());
        let parts = ["part-0", "part-1", "part-2", "part-3"];
        let assignments: Vec<(&str, &'static str)> = ids.iter().map(String::as_str).zip(parts).collect();
        let tickets: Vec<Ticket> = ids
            .iter()
            .map(|id| self.sync(id, generation, if *id == leader { &assignments } else { &[] }))
            .collect();
        for (ticket, (_, part)) in tickets.into_iter().zip(&assignments) {
            assert_eq!(self.synced(ticket).assignment, part.as_bytes());
        }
        (generation, ids.to_vec())
    }
}

pub(super) fn group_id() -> GroupId {
    GroupId(GROUP.into())
}

pub(super) fn join_request(member_id: &str, protocols: &[&str]) -> JoinGroupRequest {
    let protocol = |name: &&str| {
        let metadata = Bytes::from(format!("topics of {name}"));
        JoinGroupRequestProtocol::default()
            .with_name((*name).to_owned().into())
            .with_metadata(metadata)
    };
    JoinGroupRequest::default()
        .with_group_id(group_id())
        .with_member_id(member_id.to_owned().into())
        .with_session_timeout_ms(SESSION.as_millis() as i32)
        .with_rebalance_timeout_ms(REBALANCE.as_millis() as i32)
        .with_protocol_type("consumer".into())
        .with_protocols(protocols.iter().map(protocol).collect())
}

pub(super) fn sync_request(member: &str, generation: i32, given: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignment = |(member, part): &(&str, &'static str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member).to_owned().into())
            .with_assignment(Bytes::from_static(part.as_bytes()))
    };
    SyncGroupRequest::default()
        .with_group_id(group_id())
        .with_generation_id(generation)
        .with_member_id(member.to_owned().into())
        .with_protocol_type(Some("consumer".into()))
        .with_protocol_name(Some("range".into()))
        .with_assignments(given.iter().map(assignment).collect())
}

pub(super) fn commit_request(member: &str, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(3)
        .with_committed_metadata(Some("note".into()));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName("in".into()))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.to_owned().into())
        .with_topics(vec![topic])
}
