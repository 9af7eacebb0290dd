//! [`GroupShard`]: all groups, their hard state, their timers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use kafka_wire::ErrorCode;

use super::group::{ClassicGroup, Member};
use super::member_id::MemberIds;
use super::offsets::Offsets;
use super::record::{GroupMetadata, GroupRecord};
use super::timers::{Due, TimerKey, Timers};

/// Names a request whose answer may come later. The broker chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who is asking.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Where the answer goes.
    pub ticket: Ticket,
    /// Version of the request.
    pub api_version: i16,
    /// From the request header; empty if absent.
    pub client_id: &'a str,
    /// Peer address, as Kafka prints it: `/127.0.0.1`.
    pub client_host: &'a str,
}

/// The coordinator's settings.
#[derive(Clone, Debug)]
pub struct GroupShardConfig {
    /// Shorter session timeouts are refused (`group.min.session.timeout.ms`, 6 s).
    pub min_session_timeout: Duration,
    /// Longer session timeouts are refused (`group.max.session.timeout.ms`, 30 min).
    pub max_session_timeout: Duration,
    /// How long the first rebalance of an empty group waits for more members, again for each that comes
    /// (`group.initial.rebalance.delay.ms`). Kafka's default is 3 s; 0 here, so that tests do not wait.
    pub initial_rebalance_delay: Duration,
    /// How long a member that has never been answered is kept (Kafka: 5 min, fixed).
    pub new_member_join_timeout: Duration,
    /// More members are refused (`group.max.size`, unlimited).
    pub max_size: usize,
    /// Longer commit metadata is refused (`offset.metadata.max.bytes`, 4096).
    pub offset_metadata_max_bytes: usize,
}

impl Default for GroupShardConfig {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
            new_member_join_timeout: Duration::from_secs(5 * 60),
            max_size: usize::MAX,
            offset_metadata_max_bytes: 4096,
        }
    }
}

/// What came of one input.
#[must_use = "records must be replayed and released answers sent"]
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be replayed in this order, before the shard is given anything else.
    pub records: Vec<GroupRecord>,
    /// To be sent once the records are replayed.
    pub released: Vec<Released>,
}

/// The answer to a request that could have been held.
#[derive(Debug)]
pub enum Released {
    /// Answers a JoinGroup.
    Join(Ticket, JoinGroupResponse),
    /// Answers a SyncGroup.
    Sync(Ticket, SyncGroupResponse),
}

/// Every classic group of a broker, and the offsets they committed.
#[derive(Debug)]
pub struct GroupShard {
    pub(super) config: GroupShardConfig,
    pub(super) groups: BTreeMap<String, ClassicGroup>,
    pub(super) timers: Timers,
    pub(super) member_ids: MemberIds,
    /// Hard state: changed by `replay` only.
    pub(super) metadata: BTreeMap<String, GroupMetadata>,
    /// Hard state: changed by `replay` only.
    pub(super) offsets: Offsets,
}

impl GroupShard {
    /// An empty shard. Equal seeds give equal member ids.
    pub fn new(config: GroupShardConfig, seed: u64) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            member_ids: MemberIds::new(seed),
            metadata: BTreeMap::new(),
            offsets: Offsets::default(),
        }
    }

    /// When [`GroupShard::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Fires the timer that is due first. Call until [`GroupShard::next_timeout`] lies ahead.
    pub fn handle_timeout(&mut self, now: Instant) -> Outcome {
        let Some((key, due)) = self.timers.pop(now) else {
            return Outcome::default();
        };
        let (TimerKey::Heartbeat { group, .. } | TimerKey::Join { group } | TimerKey::Sync { group }) = &key;
        let Some(mut turn) = self.turn(now, group) else {
            return Outcome::default();
        };
        match (due, &key) {
            (Due::ExpireHeartbeat, TimerKey::Heartbeat { member, .. }) => turn.expire_heartbeat(member),
            (Due::CompleteJoin, _) => turn.complete_join(),
            (Due::EndInitialDelay { delay, remaining }, _) => turn.end_initial_delay(delay, remaining),
            (Due::ExpireSync { generation }, _) => turn.expire_sync(generation),
            (Due::ExpireHeartbeat, _) => {}
        }
        turn.out
    }

    /// Applies one record: the only way hard state changes, in live traffic and after a fail-over alike.
    pub fn replay(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::GroupMetadata {
                group,
                value: Some(value),
            } => {
                self.metadata.insert(group, value);
            }
            GroupRecord::GroupMetadata { group, value: None } => {
                self.metadata.remove(&group);
            }
            GroupRecord::OffsetCommit {
                group,
                topic,
                partition,
                value,
                producer_id,
            } => {
                self.offsets.replay(producer_id, group, topic, partition, value);
            }
            GroupRecord::TransactionEnded { producer_id, committed } => self.offsets.end(producer_id, committed),
        }
    }

    /// Replays an outcome's records and hands over the answers to send.
    pub fn apply(&mut self, outcome: Outcome) -> Vec<Released> {
        for record in outcome.records {
            self.replay(record);
        }
        outcome.released
    }

    /// Every group that is live or written down.
    pub fn group_ids(&self) -> BTreeSet<String> {
        let mut groups: BTreeSet<String> = self.groups.keys().chain(self.metadata.keys()).cloned().collect();
        groups.extend(self.offsets.groups());
        groups
    }

    /// The coordinator of a group moves: [`GroupShard::unload`], then [`GroupShard::load`].
    pub fn fail_over(&mut self, now: Instant, group: &str) -> Outcome {
        let out = self.unload(group);
        self.load(now, group);
        out
    }

    /// The coordinator of a group gives it up: what it held is answered with NOT_COORDINATOR, and nobody is watched.
    pub fn unload(&mut self, group: &str) -> Outcome {
        let mut out = Outcome::default();
        self.timers.cancel_group(group);
        for member in self.groups.remove(group).map(|old| old.members).unwrap_or_default() {
            release_both(&mut out, member, ErrorCode::NOT_COORDINATOR);
        }
        out
    }

    /// A coordinator takes a group over: it knows what was written down, and believes every member it finds there to be
    /// alive for a session timeout.
    pub fn load(&mut self, now: Instant, group: &str) {
        if let Some(metadata) = self.metadata.get(group) {
            self.groups
                .insert(group.to_owned(), ClassicGroup::restore(group, metadata));
        } else if self.offsets.has_any(group) {
            self.groups.insert(group.to_owned(), ClassicGroup::new(group));
        }
        if let Some(mut turn) = self.turn(now, group) {
            turn.expect_heartbeats_of_all();
        }
    }

    pub(super) fn turn(&mut self, now: Instant, group: &str) -> Option<Turn<'_>> {
        let written = self.metadata.get(group);
        let group = self.groups.get_mut(group)?;
        Some(Turn {
            now,
            group,
            written,
            timers: &mut self.timers,
            config: &self.config,
            out: Outcome::default(),
        })
    }
}

/// One group at one moment: what every step of the membership protocol works on.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) group: &'a mut ClassicGroup,
    /// The group in hard state.
    pub(super) written: Option<&'a GroupMetadata>,
    pub(super) timers: &'a mut Timers,
    pub(super) config: &'a GroupShardConfig,
    pub(super) out: Outcome,
}

/// Answers whatever a member's former coordinator held for it.
fn release_both(out: &mut Outcome, member: Member, error: ErrorCode) {
    if let Some(ticket) = member.awaiting_join {
        let response = JoinGroupResponse::default()
            .with_error_code(error.0)
            .with_generation_id(-1);
        out.released.push(Released::Join(
            ticket,
            response.with_member_id(member.id.clone().into()),
        ));
    }
    if let Some(ticket) = member.awaiting_sync {
        out.released.push(Released::Sync(
            ticket,
            SyncGroupResponse::default().with_error_code(error.0),
        ));
    }
}
