//! Moves bytes and time for one connection: one task writes, one reads, both around one [`InFlight`].
//!
//! The writer (`writer.rs`) drains the queue and hands as many frames as fit to one vectored write; a small request may be written
//! by its sender. The reader cuts frames, gives
//! each to its waiter and keeps the deadlines. Whoever meets trouble first closes the connection for both and tells every waiter.
//! Neither is ever cancelled halfway through a frame: dropping a response future drops an interest, nothing else.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, ReadHalf};
use tokio::sync::{Notify, oneshot};
use tracing::{debug, warn};

use super::error::{CallError, CallErrorKind};
use super::frame_reader::{BadFrame, FrameReader};
use super::handshake::Handshake;
use super::in_flight::{Event, Expected, InFlight, Unanswered, Unsent};
use super::pending_response::PendingResponse;
use super::read_buffer::ReadBuffers;
use super::request::bytes_of;
use super::versions::BrokerVersions;
use super::writer::{Writing, write};
use super::{BrokerAddress, Connection};
use crate::config::ConnectionConfig;
use crate::transport::{BoxedStream, Connector};

/// Longest answer accepted before the peer has proven to be a broker.
const HANDSHAKE_ALLOWED: usize = 64 << 10;

type Waiter = oneshot::Sender<Result<Bytes, CallError>>;

/// What every connection of a client is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) client_id: Arc<str>,
    pub(crate) config: ConnectionConfig,
    pub(crate) buffers: ReadBuffers,
}

impl Opening {
    /// Connects, shakes hands and starts the two tasks; all within the connect timeout.
    pub(crate) async fn open(&self, broker: Arc<BrokerAddress>) -> Result<Connection, CallError> {
        let limit = self.config.connect_timeout;
        let opened = match tokio::time::timeout(limit, self.establish(&broker)).await {
            Ok(opened) => opened,
            Err(_) => Err(CallError::new(
                CallErrorKind::Unreachable,
                format!("no connection within {limit:?}"),
            )),
        };
        let Established {
            stream,
            frames,
            versions,
            first_correlation,
        } = opened.map_err(|error| error.with_broker(&broker))?;
        debug!(%broker, "connected");
        let in_flight = InFlight::new(now(), first_correlation, self.config.idle_timeout);
        let (reading, writing) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            broker,
            versions,
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                in_flight,
                closed: None,
                released: false,
                armed: now(),
            }),
            writing: Writing::to(writing),
            to_write: Notify::new(),
            to_read: Notify::new(),
        });
        tokio::spawn(read(Guard(Arc::clone(&shared)), reading, frames));
        tokio::spawn(write(Guard(Arc::clone(&shared))));
        Ok(Connection::new(shared, Arc::clone(&self.client_id)))
    }

    async fn establish(&self, broker: &BrokerAddress) -> Result<Established, CallError> {
        let unreachable = |error: io::Error| CallError::new(CallErrorKind::Unreachable, error.to_string());
        let mut stream = self
            .connector
            .connect(&broker.host, broker.port)
            .await
            .map_err(unreachable)?;
        let mut handshake = Handshake::new(&self.client_id);
        let mut frames = FrameReader::new(HANDSHAKE_ALLOWED, self.buffers.clone());
        while let Some(request) = handshake.poll_request() {
            stream.write_all(&request?).await.map_err(unreachable)?;
            stream.flush().await.map_err(unreachable)?;
            handshake.handle_frame(first_answer(&mut stream, &mut frames).await?)?;
        }
        let (versions, first_correlation) = handshake
            .poll_event()
            .ok_or_else(|| CallError::new(CallErrorKind::Protocol, "the handshake ended without an agreement"))?;
        frames.allow(self.config.max_response_bytes);
        Ok(Established {
            stream,
            frames,
            versions,
            first_correlation,
        })
    }
}

struct Established {
    stream: BoxedStream,
    frames: FrameReader,
    versions: BrokerVersions,
    first_correlation: i32,
}

/// Reads one frame during the handshake.
async fn first_answer(stream: &mut BoxedStream, frames: &mut FrameReader) -> Result<Bytes, CallError> {
    loop {
        if let Some(frame) = frames.next_frame().map_err(|bad| bad_frame(&bad))? {
            return Ok(frame);
        }
        let hint = "the peer closed the connection at the first request; \
                    does the listener expect TLS or SASL, or is the broker just restarting?";
        match frames.read_from(stream).await {
            Ok(0) => return Err(CallError::new(CallErrorKind::Unreachable, hint)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(CallError::new(CallErrorKind::Unreachable, format!("{error}: {hint}")));
            }
            Err(error) => return Err(CallError::new(CallErrorKind::Unreachable, error.to_string())),
        }
    }
}

/// What the two tasks and the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker: Arc<BrokerAddress>,
    pub(super) versions: BrokerVersions,
    closed: AtomicBool,
    state: Mutex<State>,
    pub(super) writing: Writing,
    pub(super) to_write: Notify,
    to_read: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) in_flight: InFlight<Waiter>,
    closed: Option<CallError>,
    /// Every handle is gone: close once the last answer is in.
    released: bool,
    /// When the reader will look at the clock next.
    armed: Instant,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be our bug; the Guard of the panicking task then closes the connection anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Enqueues one request, at once and in order.
    pub(super) fn send(&self, (expected, version): (Expected, i16), unsent: Unsent) -> PendingResponse {
        let (waiter, answer) = oneshot::channel();
        let bytes = unsent.head.len() + bytes_of(&unsent.body);
        let mut state = self.lock();
        if let Some(error) = &state.closed {
            return PendingResponse::failed(disconnected(error, false).with_api(expected.api_key));
        }
        let deadline = state.in_flight.handle_request(now(), expected, unsent, waiter);
        let sooner = deadline < state.armed;
        drop(state);
        if !self.writing.at_once(self, bytes) {
            self.to_write.notify_one();
        }
        if sooner {
            self.to_read.notify_one();
        }
        PendingResponse::waiting(answer, (expected.api_key, version), Arc::clone(&self.broker))
    }

    /// Ends the connection: the first reason stays, every waiter hears it.
    pub(super) fn close(&self, reason: CallError) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        let reason = reason.with_broker(&self.broker);
        state.closed = Some(reason.clone());
        self.closed.store(true, Ordering::Release);
        let unanswered = state.in_flight.handle_disconnect();
        drop(state);
        for Unanswered {
            waiter,
            api_key,
            written,
        } in unanswered
        {
            let _ = waiter.send(Err(disconnected(&reason, written).with_api(api_key)));
        }
        self.to_write.notify_one();
        self.to_read.notify_one();
    }

    /// No handle is left: finishes what was asked, then closes.
    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.released = true;
        let done = state.in_flight.is_empty();
        drop(state);
        if done {
            self.close(unused());
        }
    }
}

/// Whatever ends a task, a panic or the runtime's shutdown included, ends the connection: no waiter waits for a dead task.
pub(super) struct Guard(pub(super) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        let kind = CallErrorKind::Disconnected { written: true };
        self.0.close(CallError::new(kind, "the connection's task has ended"));
    }
}

/// The reader task: frames, deadlines, the end.
async fn read(guard: Guard, mut stream: ReadHalf<BoxedStream>, mut frames: FrameReader) {
    let shared = &guard.0;
    let mut timer = pin!(tokio::time::sleep_until(arm(shared).into()));
    while !shared.is_closed() {
        if let Err(reason) = deliver(shared, &mut frames) {
            shared.close(reason);
            break;
        }
        let due = arm(shared);
        if timer.deadline().into_std() != due {
            timer.as_mut().reset(due.into());
        } else if timer.is_elapsed() {
            on_timer(shared);
            continue;
        }
        tokio::select! {
            biased;
            () = shared.to_read.notified() => {}
            // Before the timer: an answer that is here is not late. The timer has its turn above, however much there is to read.
            read = frames.read_from(&mut stream) => match read {
                Ok(0) => shared.close(ended(&frames)),
                Ok(_) => {}
                Err(error) => shared.close(lost(&error)),
            },
            () = timer.as_mut() => {}
        }
    }
}

/// Notes when the reader will look at the clock, so that `send` need not wake it for later deadlines.
fn arm(shared: &Shared) -> Instant {
    let mut state = shared.lock();
    state.armed = state.in_flight.next_timeout();
    state.armed
}

/// Gives every complete frame to its waiter.
fn deliver(shared: &Shared, frames: &mut FrameReader) -> Result<(), CallError> {
    while let Some(frame) = frames.next_frame().map_err(|bad| refused(&bad))? {
        let mut state = shared.lock();
        let answer = state.in_flight.handle_frame(now(), frame);
        let finished = state.released && state.in_flight.is_empty();
        drop(state);
        let answer = answer.map_err(|misplaced| CallError::new(CallErrorKind::Protocol, misplaced.to_string()))?;
        if let Some(waiter) = answer.waiter {
            // A waiter that lost interest is no trouble.
            let _ = waiter.send(Ok(answer.body));
        }
        if finished {
            return Err(unused());
        }
    }
    Ok(())
}

fn on_timer(shared: &Shared) {
    let mut state = shared.lock();
    state.in_flight.handle_timeout(now());
    let events: Vec<_> = std::iter::from_fn(|| state.in_flight.poll_event()).collect();
    drop(state);
    for event in events {
        match event {
            Event::Expired(Unanswered {
                waiter,
                api_key,
                written,
            }) => {
                let error = CallError::new(CallErrorKind::Timeout, "")
                    .with_written(written)
                    .with_api(api_key);
                let _ = waiter.send(Err(error.with_broker(&shared.broker)));
            }
            Event::Stalled { api_key } => {
                warn!(broker = %shared.broker, api_key, "no answer in time, closing the connection");
                shared.close(CallError::new(
                    CallErrorKind::Timeout,
                    "an earlier request got no answer in time",
                ));
            }
            Event::Idle => {
                debug!(broker = %shared.broker, "closing the idle connection");
                let kind = CallErrorKind::Disconnected { written: false };
                shared.close(CallError::new(kind, "the connection was idle"));
            }
        }
    }
}

/// The error of one request when the connection ended for `reason`.
fn disconnected(reason: &CallError, written: bool) -> CallError {
    let kind = match reason.kind {
        CallErrorKind::Protocol | CallErrorKind::NotKafka(_) | CallErrorKind::Closed => reason.kind,
        CallErrorKind::ResponseTooLarge { .. } if written => reason.kind,
        _ => CallErrorKind::Disconnected { written },
    };
    let error = CallError::new(kind, reason.text()).with_written(written);
    match reason.broker() {
        Some(broker) => error.with_broker(&broker),
        None => error,
    }
}

fn unused() -> CallError {
    CallError::new(CallErrorKind::Disconnected { written: false }, "no longer used")
}

fn bad_frame(bad: &BadFrame) -> CallError {
    match bad {
        BadFrame::NotKafka(what) => CallError::new(CallErrorKind::NotKafka(what), ""),
        BadFrame::Length { .. } => CallError::new(CallErrorKind::Protocol, bad.to_string()),
    }
}

/// As above, once the handshake has shown that the peer is a broker.
fn refused(bad: &BadFrame) -> CallError {
    match *bad {
        BadFrame::Length { claimed, allowed } if claimed >= 0 => {
            let (bytes, limit) = (claimed as usize, allowed);
            CallError::new(CallErrorKind::ResponseTooLarge { bytes, limit }, "")
        }
        _ => bad_frame(bad),
    }
}

fn ended(frames: &FrameReader) -> CallError {
    let text = if frames.at_boundary() {
        "the broker closed the connection"
    } else {
        "the broker closed the connection in the middle of a response"
    };
    CallError::new(CallErrorKind::Disconnected { written: true }, text)
}

pub(super) fn lost(error: &io::Error) -> CallError {
    CallError::new(CallErrorKind::Disconnected { written: true }, error.to_string())
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
