//! Fetch sessions (KIP-227, `FetchManager`): the broker remembers what a client fetches, so that a request names only
//! what has changed and an answer only what is new.
//!
//! ```text
//!   id 0, epoch 0   ---> full: everything wanted; the answer carries a new session id, or 0 if no slot is free
//!   id n, epoch k   ---> incremental: the session's partitions, changed by the request; epochs count 1, 2, 3 ..
//!   epoch -1        ---> full, and session n is closed
//! ```

use std::collections::BTreeMap;

use kafka_protocol::messages::FetchRequest;
use kafka_wire::{ErrorCode, TopicId};

use super::read::Partition;
use super::{SESSIONS_SINCE, TOPIC_IDS_SINCE, Target, TopicRef};

const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// What a client wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) offset: i64,
    /// -1: unchecked.
    pub(super) current_leader_epoch: i32,
    /// -1: unchecked.
    pub(super) last_fetched_epoch: i32,
    pub(super) max_bytes: i32,
}

/// How an answer relates to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// No session: everything is told.
    Sessionless,
    /// A session may begin: everything is told.
    Full,
    /// Only news is told.
    Incremental { session: i32 },
}

#[derive(Debug)]
struct Session {
    node: i32,
    /// The epoch the next request must carry.
    epoch: i32,
    uses_topic_ids: bool,
    /// In the order they are read; those that had records go to the end.
    partitions: Vec<Tracked>,
}

#[derive(Debug)]
struct Tracked {
    target: Target,
    wanted: Wanted,
    /// As last told to the client; -1 for never, or if an error was told.
    high_watermark: i64,
    log_start_offset: i64,
}

/// The sessions of all brokers.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    sessions: BTreeMap<i32, Session>,
    last_id: i32,
}

impl FetchSessions {
    pub(crate) fn new(slots: usize, seed: u64) -> Self {
        // Ids of a broker started again should not look like those of the one before.
        let last_id = i32::try_from(seed % 1_000_000).unwrap_or(0);
        Self {
            slots,
            sessions: BTreeMap::new(),
            last_id,
        }
    }

    /// Forgets a node's sessions, as its restart does.
    pub(crate) fn forget_node(&mut self, node: i32) {
        self.sessions.retain(|_, session| session.node != node);
    }

    /// Finds out what a request wants.
    ///
    /// # Errors
    ///
    /// The session is not known, or the request is not the next one of it.
    pub(super) fn open(
        &mut self,
        node: i32,
        version: i16,
        request: &FetchRequest,
    ) -> Result<(Context, Vec<(Target, Wanted)>), ErrorCode> {
        let asked = wanted(request, version);
        if version < SESSIONS_SINCE {
            return Ok((Context::Sessionless, asked));
        }
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if self
                    .sessions
                    .get(&request.session_id)
                    .is_some_and(|session| session.node == node)
                {
                    self.sessions.remove(&request.session_id);
                }
                let ends = request.session_epoch == FINAL_EPOCH;
                Ok((if ends { Context::Sessionless } else { Context::Full }, asked))
            }
            epoch => self.resume(node, version, epoch, request, asked),
        }
    }

    fn resume(
        &mut self,
        node: i32,
        version: i16,
        epoch: i32,
        request: &FetchRequest,
        asked: Vec<(Target, Wanted)>,
    ) -> Result<(Context, Vec<(Target, Wanted)>), ErrorCode> {
        let id = request.session_id;
        let found = self.sessions.get_mut(&id).filter(|session| session.node == node);
        let session = found.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != (version >= TOPIC_IDS_SINCE) {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        for (target, wanted) in &asked {
            session.update(target, *wanted);
        }
        let forgotten = forgotten(request, version);
        session
            .partitions
            .retain(|tracked| !forgotten.contains(&tracked.target));
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok((Context::Sessionless, asked));
        }
        // Epochs skip 0 and the negative ones when they wrap around.
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        let wanted = session
            .partitions
            .iter()
            .map(|tracked| (tracked.target.clone(), tracked.wanted))
            .collect();
        Ok((Context::Incremental { session: id }, wanted))
    }

    /// Begins a session with what a full fetch was told; 0 if there is no slot.
    pub(super) fn begin(
        &mut self,
        node: i32,
        version: i16,
        told: &[(Target, Partition)],
        wanted: &[(Target, Wanted)],
    ) -> i32 {
        if self.sessions.len() >= self.slots || wanted.is_empty() || version < SESSIONS_SINCE {
            return 0;
        }
        let tracked = wanted.iter().zip(told).map(|((target, wanted), (_, partition))| {
            let mut tracked = Tracked::new(target.clone(), *wanted);
            tracked.remember(partition);
            tracked
        });
        let uses_topic_ids = version >= TOPIC_IDS_SINCE;
        let session = Session {
            node,
            epoch: 1,
            uses_topic_ids,
            partitions: tracked.collect(),
        };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Keeps of an incremental answer what is news to the client.
    pub(super) fn only_news(&mut self, id: i32, told: Vec<(Target, Partition)>) -> Vec<(Target, Partition)> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return told;
        };
        let (mut news, mut with_records) = (Vec::new(), Vec::new());
        for (target, partition) in told {
            let Some(tracked) = session.partitions.iter_mut().find(|tracked| tracked.target == target) else {
                continue;
            };
            if partition.size() > 0 {
                with_records.push(target.clone());
            }
            if tracked.is_news(&partition) {
                tracked.remember(&partition);
                news.push((target, partition));
            }
        }
        // Partitions that had records are read last next time, so that none starves.
        session
            .partitions
            .sort_by_key(|tracked| with_records.contains(&tracked.target));
        news
    }
}

impl Session {
    fn update(&mut self, target: &Target, wanted: Wanted) {
        match self.partitions.iter_mut().find(|tracked| tracked.target == *target) {
            Some(tracked) => tracked.wanted = wanted,
            None => self.partitions.push(Tracked::new(target.clone(), wanted)),
        }
    }
}

impl Tracked {
    fn new(target: Target, wanted: Wanted) -> Self {
        Self {
            target,
            wanted,
            high_watermark: -1,
            log_start_offset: -1,
        }
    }

    fn is_news(&self, partition: &Partition) -> bool {
        partition.size() > 0
            || !partition.error.is_ok()
            || partition.diverging.is_some()
            || partition.high_watermark != self.high_watermark
            || partition.log_start_offset != self.log_start_offset
    }

    fn remember(&mut self, partition: &Partition) {
        // After an error the next good answer is news whatever it says.
        self.high_watermark = if partition.error.is_ok() {
            partition.high_watermark
        } else {
            -1
        };
        self.log_start_offset = partition.log_start_offset;
    }
}

fn wanted(request: &FetchRequest, version: i16) -> Vec<(Target, Wanted)> {
    let mut all = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let name = topic_ref(version, topic.topic.to_string(), TopicId(*topic.topic_id.as_bytes()));
            let wanted = Wanted {
                offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                max_bytes: partition.partition_max_bytes,
            };
            all.push((
                Target {
                    topic: name,
                    partition: partition.partition,
                },
                wanted,
            ));
        }
    }
    all
}

fn forgotten(request: &FetchRequest, version: i16) -> Vec<Target> {
    let mut all = Vec::new();
    for topic in &request.forgotten_topics_data {
        for partition in &topic.partitions {
            let name = topic_ref(version, topic.topic.to_string(), TopicId(*topic.topic_id.as_bytes()));
            all.push(Target {
                topic: name,
                partition: *partition,
            });
        }
    }
    all
}

fn topic_ref(version: i16, name: String, id: TopicId) -> TopicRef {
    if version >= TOPIC_IDS_SINCE {
        TopicRef::Id(id)
    } else {
        TopicRef::Name(name)
    }
}
