//! The way to one broker: a connection, the requests that wait for it, and those that wait for their answers.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Called, Driver, now};
use crate::client::ConnectionClass;
use crate::cluster::ClusterImage;
use crate::connection::{CallError, CallErrorKind, Connection, PendingResponse};
use crate::producer::accumulator::ProduceRequest;
use crate::producer::request::{PRODUCE, VERSIONS, encode};
use crate::producer::response::{Malformed, decode};

/// One broker's connection for Produce requests.
#[derive(Default)]
pub(super) struct Lane {
    link: Link,
    /// Requests that wait for the connection.
    pub(super) waiting: VecDeque<ProduceRequest>,
    /// Brokers answer in order.
    unanswered: VecDeque<Unanswered>,
}

/// A request on its way.
struct Unanswered {
    request: u64,
    version: i16,
    /// The connection it went to.
    connection: Connection,
    response: PendingResponse,
}

#[derive(Default)]
enum Link {
    #[default]
    None,
    Opening(Called<Result<Connection, CallError>>),
    Open(Connection),
}

impl Driver {
    /// Polls each broker's oldest unanswered request, and connections that are being opened.
    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        let nodes: Vec<i32> = self.lanes.keys().copied().collect();
        for node in nodes {
            while let Some(answered) = self.lanes.get_mut(&node).and_then(|lane| lane.poll_answer(cx)) {
                progress = true;
                match answered {
                    Answered::Connection(Ok(())) => self.send(node),
                    Answered::Connection(Err(error)) => self.lose_waiting(node, &error),
                    Answered::Request(sent, Ok(body)) => self.read(&sent, &body),
                    Answered::Request(sent, Err(error)) => {
                        let error = error.with_api(PRODUCE).with_broker(sent.connection.broker());
                        self.machine.handle_loss(now(), sent.request, &error);
                    }
                }
            }
        }
        progress
    }

    fn read(&mut self, sent: &Unanswered, body: &Bytes) {
        let broker = sent.connection.broker();
        match decode(sent.version, body) {
            Ok(answer) => self.machine.handle_response(now(), sent.request, broker, &answer),
            Err(Malformed) => {
                let text = format!("malformed response of version {}, {} bytes", sent.version, body.len());
                let error = CallError::new(CallErrorKind::Protocol, text);
                let error = error.with_api(PRODUCE).with_broker(broker);
                tracing::warn!(%error, "a Produce response cannot be read");
                self.machine.handle_loss(now(), sent.request, &error);
            }
        }
    }

    /// Writes what waits for the broker, or opens the connection first.
    pub(super) fn send(&mut self, node: i32) {
        let Some(lane) = self.lanes.get_mut(&node) else { return };
        if matches!(&lane.link, Link::Open(connection) if connection.is_closed()) {
            lane.link = Link::None;
        }
        match &lane.link {
            Link::Opening(_) => {}
            Link::None => {
                let client = self.client.clone();
                let opening = async move { client.connection(node, ConnectionClass::Produce).await };
                lane.link = Link::Opening(Box::pin(opening));
            }
            Link::Open(connection) => {
                let Some(version) = connection.version(PRODUCE, VERSIONS) else {
                    let text = format!("the broker speaks no version of {VERSIONS:?}");
                    let error = CallError::new(CallErrorKind::Unsupported, text).with_broker(connection.broker());
                    return self.lose_waiting(node, &error);
                };
                let timeout = self.commons.config.request_timeout;
                let mut late = Vec::new();
                for request in lane.waiting.drain(..) {
                    if !self.machine.may_send(now(), request.number) {
                        late.push(request.number);
                        continue;
                    }
                    let body = encode(version, timeout, &request.batches);
                    let response = connection.send(PRODUCE, version, body, timeout, request.permits);
                    lane.unanswered.push_back(Unanswered {
                        request: request.number,
                        version,
                        connection: connection.clone(),
                        response,
                    });
                }
                self.lose_late(&late);
            }
        }
    }

    /// While these waited for the connection, something in them lost its permit or its writer: they were not written.
    fn lose_late(&mut self, late: &[u64]) {
        for request in late {
            let text = "it may no longer be sent; it waited too long for its connection";
            let loss = CallError::new(CallErrorKind::Disconnected { written: false }, text).with_written(false);
            self.machine.handle_loss(now(), *request, &loss.with_api(PRODUCE));
        }
    }

    /// A broker that is silent lets a connection's opening take all its time. What waits for one, and is led by another broker by
    /// now, does not.
    pub(super) fn leave_unopened(&mut self, image: &ClusterImage) {
        let mut left = Vec::new();
        for (node, lane) in &mut self.lanes {
            if matches!(lane.link, Link::Opening(_)) {
                let elsewhere = |request: &ProduceRequest| {
                    let mut leaders = request.batches.iter().filter_map(|(of, _)| image.leader(of));
                    leaders.any(|(leader, _)| leader != *node)
                };
                let (leaving, staying) = lane.waiting.drain(..).partition::<VecDeque<_>, _>(elsewhere);
                lane.waiting = staying;
                left.extend(leaving);
            }
        }
        for request in left {
            let text = format!("broker {} was not connected to before another one led", request.node);
            let loss = CallError::new(CallErrorKind::Unreachable, text).with_api(PRODUCE);
            self.machine
                .handle_loss(now(), request.number, &loss.with_written(false));
        }
    }

    /// The connection could not be had: nothing that waits for it was written.
    fn lose_waiting(&mut self, node: i32, error: &CallError) {
        let waiting = self
            .lanes
            .get_mut(&node)
            .map(|lane| std::mem::take(&mut lane.waiting))
            .unwrap_or_default();
        let loss = error.clone().with_api(PRODUCE).with_written(false);
        for request in waiting {
            self.machine.handle_loss(now(), request.number, &loss);
        }
        self.tell_if_closed(error);
    }
}

enum Answered {
    Connection(Result<(), CallError>),
    Request(Unanswered, Result<Bytes, CallError>),
}

impl Lane {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<Answered> {
        if let Link::Opening(opening) = &mut self.link
            && let Poll::Ready(opened) = opening.as_mut().poll(cx)
        {
            let (link, outcome) = match opened {
                Ok(connection) => (Link::Open(connection), Ok(())),
                Err(error) => (Link::None, Err(error)),
            };
            self.link = link;
            return Some(Answered::Connection(outcome));
        }
        let Poll::Ready(answer) = Pin::new(&mut self.unanswered.front_mut()?.response).poll(cx) else {
            return None;
        };
        let sent = self.unanswered.pop_front()?;
        Some(Answered::Request(sent, answer))
    }
}
