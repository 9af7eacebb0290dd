//! [`State`]: everything the brokers of the cluster know, apart from who is connected.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::{FetchResponse, JoinGroupResponse, SyncGroupResponse};

use super::{Call, CallId, Now};
use crate::broker::api::Api;
use crate::broker::apis::fetch::{FetchSessions, ParkedFetches};
use crate::broker::apis::membership::join_answer;
use crate::broker::cluster::Cluster;
use crate::broker::config::BrokerConfig;
use crate::broker::groups::{GroupRecord, GroupShard, Outcome, Placement, Released};
use crate::broker::inspect::AcceptedCommit;
use crate::broker::wire::{Malformed, encode_body};

/// The answer to a request that was served with [`super::Served::Later`].
#[derive(Debug)]
pub(crate) enum LateAnswer {
    Fetch(FetchResponse),
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

impl LateAnswer {
    pub(super) fn encode(&self, version: i16) -> Result<Bytes, Malformed> {
        match self {
            Self::Fetch(response) => encode_body(response, version),
            Self::Join(response) => encode_body(&join_answer(response.clone(), version), version),
            Self::Sync(response) => encode_body(response, version),
        }
    }
}

/// Topics, logs, groups, producer ids and requests whose answer is due later.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: BrokerConfig,
    pub(crate) cluster: Cluster,
    /// Consumer groups and committed offsets, all coordinators' together.
    pub(crate) groups: GroupShard,
    /// Which node coordinates which group.
    pub(crate) placement: Placement,
    /// Fetches that wait for more bytes.
    pub(crate) parked: ParkedFetches,
    pub(crate) sessions: FetchSessions,
    /// The next producer id to give out (`ProducerIdManager`).
    pub(crate) next_producer_id: i64,
    /// If `keep_commits`.
    pub(crate) commits: Vec<AcceptedCommit>,
    served: BTreeMap<Api, u64>,
    completed: VecDeque<(CallId, LateAnswer)>,
}

impl State {
    pub(super) fn new(config: BrokerConfig, seed: u64) -> Self {
        Self {
            cluster: Cluster::new(&config, seed),
            groups: GroupShard::new(config.groups.clone(), seed),
            placement: Placement::default(),
            parked: ParkedFetches::default(),
            sessions: FetchSessions::new(config.fetch_sessions, seed),
            next_producer_id: 1000,
            commits: Vec::new(),
            served: BTreeMap::new(),
            completed: VecDeque::new(),
            config,
        }
    }

    /// Answers a call that was served with [`super::Served::Later`].
    pub(crate) fn complete(&mut self, call: CallId, answer: LateAnswer) {
        self.completed.push_back((call, answer));
    }

    /// Writes down what the group coordinator decided, then answers whom it released.
    pub(crate) fn apply_groups(&mut self, outcome: Outcome) {
        if self.config.keep_commits {
            self.note_commits(&outcome);
        }
        for released in self.groups.apply(outcome) {
            match released {
                Released::Join(ticket, response) => self.complete(CallId(ticket.0), LateAnswer::Join(response)),
                Released::Sync(ticket, response) => self.complete(CallId(ticket.0), LateAnswer::Sync(response)),
            }
        }
    }

    fn note_commits(&mut self, outcome: &Outcome) {
        for record in &outcome.records {
            if let GroupRecord::OffsetCommit {
                group,
                topic,
                partition,
                value: Some(value),
                producer_id: None,
            } = record
            {
                self.commits.push(AcceptedCommit {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    offset: value.offset,
                    log_ends: self.cluster.log_ends(*partition),
                });
            }
        }
    }

    /// The node that coordinates a group; `None` when no broker is alive.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        let nodes: Vec<i32> = self.cluster.nodes().map(|node| node.id).collect();
        self.placement
            .coordinator(group, &nodes, |node| self.cluster.is_alive(node))
    }

    /// Requests of an API that were served so far.
    pub(crate) fn served(&self, api: Api) -> u64 {
        self.served.get(&api).copied().unwrap_or(0)
    }

    pub(super) fn count(&mut self, api: Api) {
        *self.served.entry(api).or_default() += 1;
    }

    pub(super) fn pop_completed(&mut self) -> Option<(CallId, LateAnswer)> {
        self.completed.pop_front()
    }

    /// Forgets a call whose connection is gone.
    pub(super) fn abandon(&mut self, call: CallId) {
        self.parked.abandon(call);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.parked
            .next_timeout()
            .into_iter()
            .chain(self.groups.next_timeout())
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.expire_fetches(now);
        while self.groups.next_timeout().is_some_and(|due| due <= now.instant) {
            let outcome = self.groups.handle_timeout(now.instant);
            self.apply_groups(outcome);
        }
    }

    /// Looks at what was parked and may go on; whether anything was completed.
    pub(super) fn wake_parked(&mut self, now: Now) -> bool {
        self.wake_fetches(now);
        !self.completed.is_empty()
    }
}

impl Call {
    /// Whether the request was sent in a version that has this feature.
    pub(crate) fn since(&self, version: i16) -> bool {
        self.version >= version
    }
}
