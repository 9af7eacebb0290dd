//! Connections and timers of [`BrokerCore`]: whose turn it is, and who is cut.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::{BrokerCore, Call, CallId, ConnectionId, Output};
use crate::broker::wire::Malformed;

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: i32,
    /// Frames that arrived while a request was under way.
    pub(super) waiting: VecDeque<Bytes>,
    /// A request is under way; a Kafka broker reads no further until it has answered.
    pub(super) busy: bool,
}

impl Connection {
    pub(super) fn new(node: i32) -> Self {
        Self {
            node,
            waiting: VecDeque::new(),
            busy: false,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.busy && !self.waiting.is_empty()
    }
}

/// Something that waits for its time.
#[derive(Debug)]
pub(super) enum Timer {
    /// A delayed request is served.
    Serve(Call, Bytes),
    /// A delayed answer is sent.
    Release(Output),
}

/// Timers by due time; equal times fire in the order they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Instant, u64), Timer>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.set += 1;
        self.due.insert((at, self.set), timer);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}

impl BrokerCore {
    pub(super) fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Serve(mut call, body) => {
                call.now = self.moment(now);
                if self.connections.contains_key(&call.connection) {
                    self.serve(call, body);
                }
            }
            Timer::Release(output) => self.send(output),
        }
    }

    /// Queues bytes for a connection that is still open, and lets its next request in.
    pub(super) fn send(&mut self, output: Output) {
        let Some(open) = self.connections.get_mut(&output.connection) else {
            return;
        };
        if output.close {
            self.forget(output.connection);
        } else {
            open.busy = false;
            if open.is_ready() {
                self.ready.push_back(output.connection);
            }
        }
        self.outputs.push_back(output);
    }

    pub(super) fn finish_silently(&mut self, call: CallId) {
        if let Some(call) = self.calls.remove(&call) {
            self.send(Output {
                connection: call.connection,
                bytes: Vec::new(),
                close: false,
            });
        }
    }

    pub(super) fn hang_up(&mut self, connection: ConnectionId, error: &Malformed) {
        debug!(?connection, %error, "closing a connection that sent a request the broker does not understand");
        self.close(connection);
    }

    /// Closes a connection from the broker's side.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        self.send(Output {
            connection,
            bytes: Vec::new(),
            close: true,
        });
    }

    /// Closes the connections of a node, or of all nodes.
    pub(crate) fn close_all(&mut self, node: Option<i32>) -> usize {
        let wanted = |open: &Connection| node.is_none_or(|node| open.node == node);
        let victims: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, open)| wanted(open))
            .map(|(id, _)| *id)
            .collect();
        for connection in &victims {
            self.close(*connection);
        }
        victims.len()
    }

    /// Open connections of a node.
    pub(crate) fn connection_count(&self, node: i32) -> usize {
        self.connections.values().filter(|open| open.node == node).count()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        let asked: Vec<_> = self
            .calls
            .values()
            .filter(|call| call.connection == connection)
            .map(|call| call.id)
            .collect();
        for call in asked {
            self.calls.remove(&call);
            self.state.abandon(call);
        }
    }
}
