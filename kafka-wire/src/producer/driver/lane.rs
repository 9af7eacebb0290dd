//! The way to one broker: a connection, the requests that wait for it, and those that wait for their answers.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Called, Driver, now};
use crate::client::ConnectionClass;
use crate::connection::{CallError, CallErrorKind, Connection, PendingResponse};
use crate::producer::accumulator::ProduceRequest;
use crate::producer::partition_queue::Loss;
use crate::producer::request::{PRODUCE, VERSIONS, encode};
use crate::producer::response::decode;

/// One broker's connection for Produce requests.
#[derive(Default)]
pub(super) struct Lane {
    link: Link,
    /// Requests that wait for the connection.
    pub(super) waiting: VecDeque<ProduceRequest>,
    /// Requests without an answer, with the version they were written in. Brokers answer in order.
    unanswered: VecDeque<(u64, i16, PendingResponse)>,
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
                    Answered::Request(request, version, Ok(body)) => self.read(request, version, &body),
                    Answered::Request(request, _, Err(error)) => {
                        self.machine.handle_loss(now(), request, &loss(&error));
                    }
                }
            }
        }
        progress
    }

    fn read(&mut self, request: u64, version: i16, body: &Bytes) {
        match decode(version, body) {
            Ok(answer) => self.machine.handle_response(now(), request, &answer),
            Err(malformed) => {
                tracing::warn!(
                    version,
                    bytes = body.len(),
                    "the broker sent a malformed Produce response"
                );
                let text = format!("malformed Produce response of version {version}: {malformed:?}");
                self.machine.handle_loss(
                    now(),
                    request,
                    &Loss {
                        possibly_written: true,
                        hopeless: false,
                        text,
                    },
                );
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
                    let text = format!("the broker speaks no Produce version of {VERSIONS:?}");
                    let error = CallError::new(CallErrorKind::Unsupported, text);
                    return self.lose_waiting(node, &error);
                };
                let timeout = self.commons.config.request_timeout;
                for request in lane.waiting.drain(..) {
                    let body = encode(version, timeout, &request.batches);
                    let response = connection.send(PRODUCE, version, body, timeout);
                    lane.unanswered.push_back((request.number, version, response));
                }
            }
        }
    }

    /// The connection could not be had: nothing that waits for it was written.
    fn lose_waiting(&mut self, node: i32, error: &CallError) {
        let waiting = self
            .lanes
            .get_mut(&node)
            .map(|lane| std::mem::take(&mut lane.waiting))
            .unwrap_or_default();
        for request in waiting {
            let loss = Loss {
                possibly_written: false,
                ..loss(error)
            };
            self.machine.handle_loss(now(), request.number, &loss);
        }
        self.tell_if_closed(error);
    }
}

enum Answered {
    Connection(Result<(), CallError>),
    Request(u64, i16, Result<Bytes, CallError>),
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
        let (_, _, response) = self.unanswered.front_mut()?;
        let Poll::Ready(answer) = Pin::new(response).poll(cx) else {
            return None;
        };
        let (request, version, _) = self.unanswered.pop_front()?;
        Some(Answered::Request(request, version, answer))
    }
}

fn loss(error: &CallError) -> Loss {
    Loss {
        possibly_written: error.possibly_written(),
        hopeless: error.kind == CallErrorKind::Unsupported,
        text: error.to_string(),
    }
}
