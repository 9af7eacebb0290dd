//! Where faults take hold: before a request is served, and on its answer.

use bytes::Bytes;
use tracing::{debug, warn};

use super::connections::Timer;
use super::{BrokerCore, Call, CallId, ConnectionId, Fate, LateAnswer, Now, Output};
use crate::broker::faults::Action;
use crate::broker::wire::{Header, encode_answer};

impl BrokerCore {
    /// Serves a request, unless a fault has other plans for it.
    pub(super) fn meet_fault(&mut self, now: Now, connection: ConnectionId, node: i32, header: Header, body: Bytes) {
        let mut call = self.call(now, connection, node, header);
        if self.faults.stalls(node) {
            return;
        }
        let Some(action) = self.faults.take(node, call.api) else {
            return self.serve(call, body);
        };
        debug!(api = ?call.api, node, ?action, "a fault meets a request");
        match action {
            Action::Error(code) => call.injected = Some(code),
            Action::ErrorAfter(code) => call.injected_after = Some(code),
            Action::DelayAnswer(delay) => call.fate = Fate::Delay(delay),
            Action::Swallow => call.fate = Fate::Swallow,
            Action::CutAnswer { after_bytes } => call.fate = Fate::Cut(after_bytes),
            Action::Cut => return self.close(connection),
            Action::Stall => return,
            Action::DelayRequest(delay) => return self.timers.set(now.instant + delay, Timer::Serve(call, body)),
        }
        self.serve(call, body);
    }

    /// Sends a call's answer, or what its fate leaves of it.
    pub(crate) fn answer(&mut self, now: Now, call: CallId, body: &Bytes) {
        let Some(call) = self.calls.remove(&call) else { return };
        let head = match encode_answer(call.api, call.version, call.correlation_id, body) {
            Ok(head) => head,
            Err(error) => {
                warn!(api = ?call.api, version = call.version, %error, "an answer could not be encoded");
                return self.close(call.connection);
            }
        };
        let mut output = Output {
            connection: call.connection,
            bytes: vec![head, body.clone()],
            close: false,
        };
        match call.fate {
            Fate::Deliver => self.send(output),
            Fate::Delay(delay) => self.timers.set(now.instant + delay, Timer::Release(output)),
            Fate::Swallow => {}
            Fate::Cut(bytes) => {
                output.bytes = first_bytes(&output.bytes, bytes);
                output.close = true;
                self.send(output);
            }
        }
    }

    /// Encodes and sends an answer that was held back; nobody may be waiting for it any more.
    pub(super) fn answer_late(&mut self, now: Now, id: CallId, answer: &LateAnswer) {
        let Some(call) = self.calls.get(&id) else { return };
        match answer.encode(call.version) {
            Ok(body) => self.answer(now, id, &body),
            Err(error) => {
                warn!(api = ?call.api, version = call.version, %error, "a late answer could not be encoded");
                let connection = call.connection;
                self.close(connection);
            }
        }
    }

    fn call(&mut self, now: Now, connection: ConnectionId, node: i32, header: Header) -> Call {
        Call {
            id: CallId(self.fresh_id()),
            connection,
            node,
            api: header.api,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            now,
            injected: None,
            injected_after: None,
            fate: Fate::Deliver,
        }
    }
}

fn first_bytes(pieces: &[Bytes], mut limit: usize) -> Vec<Bytes> {
    let mut kept = Vec::new();
    for piece in pieces {
        let length = piece.len().min(limit);
        kept.push(piece.slice(..length));
        limit -= length;
    }
    kept
}
