//! The task behind a [`GroupMember`](crate::GroupMember): moves requests, answers, events and time between the machines, the
//! client and the handles, and decides nothing about error codes.
//!
//! JoinGroup and SyncGroup travel on a connection of this member's own (`GroupLane`): the broker answers them when the group is
//! complete, and neither heartbeats and commits nor other members may queue behind them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

mod calls;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{JoinGroupResponse, OffsetCommitResponse, SyncGroupResponse};
use kafka_wire::rpc::{ConnectionClass, GroupLane};
use kafka_wire::{Client, ErrorCode, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::GroupConfig;
use crate::error::{CommitError, Failure, MembershipError};
use crate::membership::LeaseCell;
use crate::membership::classic::{ClassicMember, MemberRequest, NO_GENERATION, Notice};
use crate::offset::committer::{CommitId, Committer, CommitterEvent, CommitterRequest, Term};
use crate::offset::fetch::{Committed, CommittedFetch, FetchRequest};
use crate::requests::{self, Answer, FetchedOffsets, Ticket};
use calls::Coordinator;

/// What the handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    RevocationComplete {
        revocation: u64,
    },
    BeginLeave,
    Leave {
        done: oneshot::Sender<Result<(), MembershipError>>,
    },
    Commit {
        generation: Option<i32>,
        offsets: Vec<(TopicPartition, i64)>,
        done: oneshot::Sender<Result<(), CommitError>>,
    },
    Committed {
        partitions: Vec<TopicPartition>,
        done: oneshot::Sender<Result<Committed, CommitError>>,
    },
}

/// What the handles hold of a running task.
pub(crate) struct Started {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) lease: Arc<LeaseCell>,
    pub(crate) member_id: watch::Receiver<String>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn start(client: Client, config: GroupConfig) -> Started {
    let now = now();
    let config = Arc::new(config);
    let surroundings = client.clone();
    let (commands, commands_in) = mpsc::unbounded_channel();
    let (notices_out, notices) = mpsc::unbounded_channel();
    let (member_id_out, member_id) = watch::channel(String::new());
    let lease = Arc::new(LeaseCell::new(now));
    let driver = Driver {
        member: ClassicMember::new(config.clone(), now, client.seed()),
        committer: Committer::new(config.clone(), client.seed()),
        lookups: BTreeMap::new(),
        callers: HashMap::new(),
        last_id: 0,
        leaver: None,
        open_leaves: 0,
        lane: client.group_lane(),
        coordinator: Coordinator::new(client, config.clone()),
        config,
        calls: JoinSet::new(),
        commands: commands_in,
        notices: notices_out,
        member_id: member_id_out,
        lease: lease.clone(),
    };
    Started {
        commands,
        notices,
        lease,
        member_id,
        task: tokio::spawn(surroundings.task(driver.run())),
    }
}

struct Driver {
    member: ClassicMember,
    committer: Committer,
    lookups: BTreeMap<u64, Lookup>,
    /// Who waits for which commit.
    callers: HashMap<CommitId, oneshot::Sender<Result<(), CommitError>>>,
    last_id: u64,
    leaver: Option<oneshot::Sender<Result<(), MembershipError>>>,
    /// LeaveGroup requests on their way; the task waits for them even when the member is done.
    open_leaves: usize,
    /// For what waits at the broker.
    lane: GroupLane,
    coordinator: Coordinator,
    config: Arc<GroupConfig>,
    calls: JoinSet<Arrival>,
    commands: mpsc::UnboundedReceiver<Command>,
    notices: mpsc::UnboundedSender<Notice>,
    member_id: watch::Sender<String>,
    lease: Arc<LeaseCell>,
}

/// One look-up of committed offsets and its caller.
struct Lookup {
    machine: CommittedFetch,
    done: oneshot::Sender<Result<Committed, CommitError>>,
}

/// The answer to some request, with what it takes to find its machine again.
enum Arrival {
    Join(Ticket, Answer<JoinGroupResponse>),
    Sync(Ticket, Answer<SyncGroupResponse>),
    Heartbeat(Ticket, Answer<ErrorCode>),
    Left(Ticket, Answer<ErrorCode>),
    Partitions(Ticket, Result<BTreeMap<String, Vec<i32>>, Failure>),
    Committed(Ticket, Answer<OffsetCommitResponse>),
    Fetched(u64, Ticket, Answer<FetchedOffsets>),
}

impl Driver {
    async fn run(mut self) {
        let mut cluster = self.coordinator.client().subscribe();
        loop {
            self.look_at_cluster();
            self.settle(now());
            if self.member.outcome().is_some() && self.open_leaves == 0 {
                return;
            }
            let deadline = self.next_timeout();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(now(), command),
                    None => return,
                },
                Some(arrival) = self.calls.join_next() => match arrival {
                    Ok(arrival) => self.deliver(now(), arrival),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                Ok(()) = cluster.changed() => {
                    cluster.mark_unchanged();
                }
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Compares the picture of the cluster with the plan. Not only when the picture changes: one that came while the plan was on
    /// its way to the members counts as soon as they have it.
    fn look_at_cluster(&mut self) {
        let image = self.coordinator.client().cluster();
        let count = |topic: &str| {
            image
                .partition_count(topic)
                .and_then(|count| usize::try_from(count).ok())
        };
        self.member.handle_cluster(now(), count);
    }

    /// Drains the machines until all are waiting.
    fn settle(&mut self, now: Instant) {
        self.member.handle_timeout(now);
        self.committer.handle_timeout(now);
        loop {
            self.settle_member(now);
            self.settle_commits(now);
            // A refused commit may have changed the member.
            if !self.pass_on_commit_events(now) {
                break;
            }
        }
        self.settle_lookups(now);
    }

    fn settle_member(&mut self, now: Instant) {
        while let Some(request) = self.member.poll_request(now) {
            self.perform(request);
        }
        // First the lease, then the event: nobody who heard `Assigned` finds it missing, nobody who heard `Lost` finds it held.
        let deadline = self.member.lease_deadline();
        self.lease.publish(deadline, self.member.generation());
        self.member_id.send_if_modified(|known| {
            let changed = **self.member.member_id() != **known;
            if changed {
                *known = self.member.member_id().to_string();
            }
            changed
        });
        let owning = deadline.map(|_| self.member.generation());
        if self.committer.term().map(|term| term.generation) != owning {
            self.committer.handle_term(owning.map(|generation| Term {
                generation,
                member_id: self.member.member_id().clone(),
                owned: self.member.owned().iter().cloned().collect(),
            }));
        }
        while let Some(notice) = self.member.poll_event() {
            let _ = self.notices.send(notice);
        }
        if let Some(outcome) = self.member.outcome()
            && let Some(leaver) = self.leaver.take()
        {
            let _ = leaver.send(outcome.clone());
        }
    }

    fn settle_commits(&mut self, now: Instant) {
        while let Some(request) = self.committer.poll_request(now) {
            self.perform_commit(request);
        }
    }

    fn pass_on_commit_events(&mut self, now: Instant) -> bool {
        let mut member_changed = false;
        while let Some(event) = self.committer.poll_event() {
            match event {
                CommitterEvent::Settled { id, result } => {
                    if let Some(done) = self.callers.remove(&id) {
                        let _ = done.send(result);
                    }
                }
                CommitterEvent::Membership { generation, code } => {
                    self.member.handle_commit_refused(now, generation, code);
                    member_changed = true;
                }
            }
        }
        member_changed
    }

    fn settle_lookups(&mut self, now: Instant) {
        let ids: Vec<u64> = self.lookups.keys().copied().collect();
        for id in ids {
            let Some(lookup) = self.lookups.get_mut(&id) else {
                continue;
            };
            lookup.machine.handle_timeout(now);
            let outcome = lookup.machine.poll_outcome();
            if outcome.is_none() && !lookup.done.is_closed() {
                while let Some(request) = self
                    .lookups
                    .get_mut(&id)
                    .and_then(|lookup| lookup.machine.poll_request(now))
                {
                    self.look_up(id, request);
                }
            } else if let (Some(lookup), Some(outcome)) = (self.lookups.remove(&id), outcome) {
                let _ = lookup.done.send(outcome);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let lookups = self.lookups.values().map(|lookup| lookup.machine.next_timeout());
        lookups
            .chain(self.member.next_timeout())
            .chain(self.committer.next_timeout())
            .min()
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::RevocationComplete { revocation } => self.member.revocation_complete(now, revocation),
            Command::BeginLeave => self.member.handle_leave(now),
            Command::Leave { done } => {
                self.leaver = Some(done);
                self.member.handle_leave(now);
            }
            Command::Commit {
                generation,
                offsets,
                done,
            } => {
                let id = CommitId(self.next_id());
                self.callers.insert(id, done);
                self.committer.handle_commit(now, id, generation, offsets);
            }
            Command::Committed { partitions, done } => {
                let id = self.next_id();
                let machine =
                    CommittedFetch::new(self.config.clone(), partitions, now, self.coordinator.client().seed());
                self.lookups.insert(id, Lookup { machine, done });
            }
        }
    }

    fn deliver(&mut self, now: Instant, arrival: Arrival) {
        match arrival {
            Arrival::Join(ticket, answer) => self.member.handle_join(now, ticket, answer),
            Arrival::Sync(ticket, answer) => self.member.handle_sync(now, ticket, answer),
            Arrival::Heartbeat(ticket, answer) => self.member.handle_heartbeat(now, ticket, answer),
            Arrival::Partitions(ticket, result) => self.member.handle_partitions(now, ticket, result),
            Arrival::Committed(ticket, answer) => self.committer.handle_answer(now, ticket, answer),
            Arrival::Left(ticket, answer) => {
                self.open_leaves -= 1;
                self.member.handle_left(now, ticket, answer);
            }
            Arrival::Fetched(id, ticket, answer) => {
                if let Some(lookup) = self.lookups.get_mut(&id) {
                    lookup.machine.handle_answer(now, ticket, answer);
                }
            }
        }
    }

    fn perform(&mut self, request: MemberRequest) {
        let coordinator = self.coordinator.clone();
        match request {
            MemberRequest::ForgetCoordinator { node } => coordinator.forget(node),
            MemberRequest::Join { ticket, request, wait } => {
                let call = coordinator.ask(self.lane.class(), request, None, wait);
                self.calls.spawn(async move { Arrival::Join(ticket, call.await) });
            }
            MemberRequest::Sync { ticket, request, wait } => {
                let call = coordinator.ask(self.lane.class(), request, None, wait);
                self.calls.spawn(async move { Arrival::Sync(ticket, call.await) });
            }
            MemberRequest::Heartbeat { ticket, request } => {
                self.calls
                    .spawn(async move { Arrival::Heartbeat(ticket, coordinator.heartbeat(request).await) });
            }
            MemberRequest::Leave { ticket, member_id } => {
                self.open_leaves += 1;
                self.calls
                    .spawn(async move { Arrival::Left(ticket, coordinator.leave(member_id).await) });
            }
            MemberRequest::Partitions { ticket, topics } => {
                self.calls
                    .spawn(async move { Arrival::Partitions(ticket, coordinator.partitions(topics).await) });
            }
        }
    }

    fn perform_commit(&mut self, request: CommitterRequest) {
        let coordinator = self.coordinator.clone();
        match request {
            CommitterRequest::ForgetCoordinator { node } => coordinator.forget(node),
            CommitterRequest::Commit { ticket, request } => {
                let cap = Some(requests::OFFSET_COMMIT_MAX_VERSION);
                let call = coordinator.ask(ConnectionClass::General, request, cap, Duration::ZERO);
                self.calls.spawn(async move { Arrival::Committed(ticket, call.await) });
            }
        }
    }

    fn look_up(&mut self, id: u64, request: FetchRequest) {
        let coordinator = self.coordinator.clone();
        match request {
            FetchRequest::ForgetCoordinator { node } => coordinator.forget(node),
            FetchRequest::Fetch { ticket, partitions } => {
                self.calls
                    .spawn(async move { Arrival::Fetched(id, ticket, coordinator.fetch_offsets(partitions).await) });
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// However the task ends: nothing may be written under its lease any more.
impl Drop for Driver {
    fn drop(&mut self) {
        self.lease.publish(None, NO_GENERATION);
    }
}

/// Through tokio, so that a paused clock in tests is obeyed.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
