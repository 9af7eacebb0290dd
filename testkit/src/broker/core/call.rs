//! One request from its arrival to its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_wire::ErrorCode;

use crate::broker::api::Api;

/// Names one connection for as long as the broker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) u64);

/// Names one request that is being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// An instant on both clocks: the one timers run on and the one records are stamped with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_ms: i64,
}

/// A request being served.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) connection: ConnectionId,
    /// The broker that was asked.
    pub(crate) node: i32,
    pub(crate) api: Api,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    /// Arrival.
    pub(crate) now: Now,
    /// The error a fault wants the whole request answered with.
    pub(crate) injected: Option<ErrorCode>,
    /// The error a fault wants reported although the request is carried out.
    pub(crate) injected_after: Option<ErrorCode>,
    /// What becomes of the answer.
    pub(crate) fate: Fate,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Deliver,
    /// Delivered later.
    Delay(Duration),
    /// Never delivered; the connection stays open and silent.
    Swallow,
    /// Cut off after this many bytes, then the connection is closed.
    Cut(usize),
}

/// What a handler made of a request.
#[derive(Debug)]
pub(crate) enum Served<R> {
    /// The answer.
    Answer(R),
    /// The answer comes later, through [`super::State::complete`].
    Later,
    /// The client does not wait for an answer (Produce with acks = 0).
    Silent,
    /// The connection is closed instead of an answer.
    Hangup,
}

/// Bytes for a connection, and whether it ends with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Whom it is for.
    pub connection: ConnectionId,
    /// To be written in order; may be empty.
    pub bytes: Vec<Bytes>,
    /// The connection is to be closed after the bytes.
    pub close: bool,
}
