//! Fetch, v4-17 (KIP-74 byte limits, KIP-227 sessions, KIP-320 epochs, KIP-516 topic ids, KIP-595 diverging epochs,
//! KIP-951 leader hints).
//!
//! ```text
//!  request --> session: what is wanted ---> read ---> enough, an error, or no time to wait? --> answer
//!                                            ^                    | no
//!                                            |                    v
//!                                            +--- appended? --- parked until max_wait
//! ```
//!
//! Answers are as long as Kafka's: the byte limit cuts the last batch in the middle, and the first batch of the first
//! partition that has any is sent whole however small the limits are.

mod park;
mod read;
mod respond;
mod session;

use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_wire::{ErrorCode, TopicId};

pub(crate) use park::ParkedFetches;
use read::Read;
pub(crate) use session::FetchSessions;
use session::{Context, Wanted};

use crate::broker::api::Api;
use crate::broker::core::{Call, CallId, Now, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, ints, structs, structure, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 4..=17;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 12,
    fields: &[
        fixed(4).until(14),
        fixed(4),
        fixed(4),
        fixed(4),
        fixed(1),
        fixed(4).since(7),
        fixed(4).since(7),
        structs::<FetchTopic>(&[
            text().until(12),
            fixed(16).since(13),
            structs::<FetchPartition>(&[
                fixed(4),
                fixed(4).since(9),
                fixed(8),
                fixed(4).since(12),
                fixed(8).since(5),
                fixed(4),
                fixed(16).tagged(0).since(17),
                fixed(8).tagged(1).since(18),
            ]),
        ]),
        structs::<ForgottenTopic>(&[text().until(12), fixed(16).since(13), ints()]).since(7),
        text().since(11),
        text().tagged(0),
        structure(&[fixed(4), fixed(8)]).tagged(1).since(15),
    ],
};

const SESSIONS_SINCE: i16 = 7;
/// From here on a follower may serve consumers (KIP-392).
const FROM_FOLLOWERS_SINCE: i16 = 11;
const TOPIC_IDS_SINCE: i16 = 13;
const LEADER_HINTS_SINCE: i16 = 16;

/// A partition as the request names it: by name, or by topic id from v13 on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    topic: TopicRef,
    partition: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicRef {
    Name(String),
    Id(TopicId),
}

/// A fetch with everything it needs to be answered later.
#[derive(Debug)]
struct Fetch {
    call: CallId,
    node: i32,
    version: i16,
    context: Context,
    wanted: Vec<(Target, Wanted)>,
    injected: Option<ErrorCode>,
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
}

pub(super) fn serve(
    state: &mut State,
    faults: &mut Faults,
    call: &Call,
    request: FetchRequest,
) -> Served<FetchResponse> {
    // Errors of sessions concern the whole answer, all others its partitions.
    let session_error = call
        .injected
        .filter(|code| call.since(SESSIONS_SINCE) && is_session_error(*code));
    let opened = match session_error {
        Some(code) => Err(code),
        None => state.sessions.open(call.node, call.version, &request),
    };
    let (context, wanted) = match opened {
        Ok(opened) => opened,
        Err(code) => return Served::Answer(FetchResponse::default().with_error_code(code.0)),
    };
    let most = usize::try_from(request.max_bytes.min(state.config.fetch_max_bytes)).unwrap_or(0);
    let fetch = Fetch {
        call: call.id,
        node: call.node,
        version: call.version,
        context,
        wanted,
        injected: call.injected,
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(most),
        max_bytes: most,
        read_committed: request.isolation_level == 1,
    };
    let mut read = fetch.read(state);
    for (target, partition) in &mut read.partitions {
        if let Some(name) = target.name(state)
            && let Some(code) = faults.take_error(call.node, Api::Fetch, &name, target.partition)
        {
            *partition = read::Partition::failed(code);
            read.urgent = true;
        }
    }
    if request.max_wait_ms <= 0 || fetch.is_satisfied_by(&read) {
        return Served::Answer(fetch.respond(state, read));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let watched = fetch.watched(state);
    state.parked.park(call.now.instant + wait, watched, fetch);
    Served::Later
}

fn is_session_error(code: ErrorCode) -> bool {
    let errors = [
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    ];
    errors.contains(&code)
}

impl Target {
    /// The topic's name; `None` if no topic has the id.
    fn name(&self, state: &State) -> Option<String> {
        match &self.topic {
            TopicRef::Name(name) => Some(name.clone()),
            TopicRef::Id(id) => state.cluster.topic_name(*id).map(|name| name.to_string()),
        }
    }
}

impl Fetch {
    /// The partitions whose change may be what the fetch waits for.
    fn watched(&self, state: &State) -> Vec<(String, i32)> {
        let named = |target: &Target| Some((target.name(state)?, target.partition));
        self.wanted.iter().filter_map(|(target, _)| named(target)).collect()
    }

    /// Whether the fetch is answered now, as `ReplicaManager.fetchMessages` decides it.
    fn is_satisfied_by(&self, read: &Read) -> bool {
        read.urgent || read.served == 0 || read.bytes >= self.min_bytes
    }
}

impl State {
    /// Answers every parked fetch that a change has satisfied.
    pub(crate) fn wake_fetches(&mut self, _now: Now) {
        for parked in self.parked.take_woken() {
            let read = parked.fetch.read(self);
            if parked.fetch.is_satisfied_by(&read) {
                self.answer_fetch(parked.fetch, read);
            } else {
                self.parked.put_back(parked);
            }
        }
    }

    /// Answers every parked fetch whose time has come with what there is.
    pub(crate) fn expire_fetches(&mut self, now: Now) {
        while let Some(fetch) = self.parked.take_expired(now.instant) {
            let read = fetch.read(self);
            self.answer_fetch(fetch, read);
        }
    }

    fn answer_fetch(&mut self, fetch: Fetch, read: Read) {
        let call = fetch.call;
        let response = fetch.respond(self, read);
        self.complete(call, crate::broker::core::LateAnswer::Fetch(response));
    }
}
