//! [`BrokerCore`]: the one owner of all state of the embedded cluster, without sockets, clock or chance.
//!
//! ```text
//!  handle_connected / handle_request / handle_disconnected / handle_timeout
//!        |
//!        v
//!   connections --- one request at a time each, as a Kafka broker reads its sockets
//!        |  frame
//!        v
//!   faults ------- cut, stall, delay, error?
//!        |  Call + body (checked, decoded)
//!        v
//!   apis/* ------- one file per API, working on State: cluster (topics, logs), groups, parked fetches
//!        |  Served::{Answer, Later, Silent, Hangup}
//!        v
//!   fate --------- deliver, delay, swallow, cut
//!        v
//!   poll_response
//! ```
//!
//! All brokers of the cluster share one log per partition: replication is taken as done the moment a record is appended,
//! so the high watermark is the log end offset. What the nodes do not share is connections, leadership and liveness.
//! Equal seeds and equal inputs give equal outputs.

mod call;
mod connections;
mod fate;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::protocol::Request;

pub(crate) use call::{Call, CallId, Fate, Now, Served};
pub use call::{ConnectionId, Output};
pub(crate) use state::{LateAnswer, State};

use self::connections::{Connection, Timers};
use super::apis;
use super::config::BrokerConfig;
use super::faults::Faults;
use super::wire::{Header, Malformed, decode_body, encode_body};

/// A cluster of one to three brokers, as a value.
#[derive(Debug)]
pub struct BrokerCore {
    pub(crate) state: State,
    pub(crate) faults: Faults,
    connections: BTreeMap<ConnectionId, Connection>,
    calls: BTreeMap<CallId, Call>,
    timers: Timers,
    outputs: VecDeque<Output>,
    /// Connections that have a frame waiting and no request under way.
    ready: VecDeque<ConnectionId>,
    start: Now,
    next_id: u64,
}

impl BrokerCore {
    /// A cluster without topics. `unix_ms` is what records are stamped with at `now`; equal seeds give equal topic ids,
    /// member ids and fetch session ids.
    pub fn new(config: BrokerConfig, now: Instant, unix_ms: i64, seed: u64) -> Self {
        Self {
            state: State::new(config, seed),
            faults: Faults::default(),
            connections: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            ready: VecDeque::new(),
            start: Now { instant: now, unix_ms },
            next_id: 0,
        }
    }

    /// Opens a connection to a node, or refuses it as a machine without a listener does.
    pub fn handle_connected(&mut self, node: i32) -> Option<ConnectionId> {
        if !self.accepts_connections(node) {
            return None;
        }
        let connection = ConnectionId(self.fresh_id());
        self.connections.insert(connection, Connection::new(node));
        Some(connection)
    }

    /// Whether a new connection to the node would be taken.
    pub fn accepts_connections(&self, node: i32) -> bool {
        self.state.cluster.is_alive(node) && !self.faults.refuses(node)
    }

    /// Takes a request frame (without its length). It waits its turn if the connection has a request under way.
    pub fn handle_request(&mut self, now: Instant, connection: ConnectionId, frame: Bytes) {
        let Some(open) = self.connections.get_mut(&connection) else {
            return;
        };
        open.waiting.push_back(frame);
        if open.is_ready() {
            self.ready.push_back(connection);
        }
        self.settle(now);
    }

    /// Forgets a connection and what it asked for.
    pub fn handle_disconnected(&mut self, now: Instant, connection: ConnectionId) {
        self.forget(connection);
        self.settle(now);
    }

    /// Does what is due. Call until [`BrokerCore::next_timeout`] lies ahead.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            self.fire(now, timer);
        }
        self.state.handle_timeout(self.moment(now));
        self.settle(now);
    }

    /// When [`BrokerCore::handle_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.state.next_timeout()).min()
    }

    /// What is to be written next. Drain after every input.
    pub fn poll_response(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Both clocks at `now`.
    pub(crate) fn moment(&self, now: Instant) -> Now {
        let elapsed = now.saturating_duration_since(self.start.instant).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        Now {
            instant: now,
            unix_ms: self.start.unix_ms.saturating_add(elapsed),
        }
    }

    /// Serves what has become servable: waiting frames, parked fetches, held group requests.
    pub(crate) fn settle(&mut self, now: Instant) {
        loop {
            let now = self.moment(now);
            while let Some((call, answer)) = self.state.pop_completed() {
                self.answer_late(now, call, &answer);
            }
            if let Some(connection) = self.ready.pop_front() {
                self.serve_next(now, connection);
            } else if !self.state.wake_parked(now) {
                return;
            }
        }
    }

    fn serve_next(&mut self, now: Now, connection: ConnectionId) {
        let Some(open) = self.connections.get_mut(&connection).filter(|open| open.is_ready()) else {
            return;
        };
        let Some(frame) = open.waiting.pop_front() else { return };
        open.busy = true;
        let node = open.node;
        match Header::decode(frame.clone()) {
            Ok((header, body)) => self.meet_fault(now, connection, node, header, body),
            Err(error) => self.hang_up(connection, &error),
        }
    }

    fn serve(&mut self, call: Call, body: Bytes) {
        let (id, connection) = (call.id, call.connection);
        self.state.count(call.api);
        self.calls.insert(id, call.clone());
        if let Err(error) = apis::serve(self, &call, body) {
            self.calls.remove(&id);
            self.hang_up(connection, &error);
        }
    }

    /// Decodes a request, lets `handler` serve it and does what it says.
    pub(crate) fn run<R: Request>(
        &mut self,
        call: &Call,
        body: Bytes,
        handler: impl FnOnce(&mut State, &mut Faults, &Call, R) -> Served<R::Response>,
    ) -> Result<(), Malformed> {
        let request = decode_body::<R>(apis::shape(call.api), body, call.version)?;
        match handler(&mut self.state, &mut self.faults, call, request) {
            Served::Answer(response) => self.answer(call.now, call.id, &encode_body(&response, call.version)?),
            Served::Later => {}
            Served::Silent => self.finish_silently(call.id),
            Served::Hangup => {
                self.calls.remove(&call.id);
                self.close(call.connection);
            }
        }
        Ok(())
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
