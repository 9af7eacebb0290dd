//! Moves the bytes of one process's connections, frame by frame, as the network decides.
//!
//! ```text
//!   client ── duplex ── up:   read, cut into frames, wait, deliver ──> broker's in-memory stream
//!          <─────────── down: deliver, wait, cut into frames, read ───
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns streams and time"
)]

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::life::Life;
use super::network::{Asked, Connection, End, Network, Way};
use super::stamped::{Stamped, Stamps};
use super::watch::Watch;
use super::writes::{Produced, produced};
use crate::broker::Api;

/// Bytes in flight each way before a writer waits.
const PIPE_BYTES: usize = 64 * 1024;
/// More requests than this in a virtual second on one connection: something goes round in circles (V25).
const MOST_REQUESTS: u32 = 1500;

/// Connects one process with the brokers.
pub(super) struct Link {
    pub(super) life: Arc<Life>,
    pub(super) network: Arc<Network>,
    pub(super) watch: Arc<Watch>,
    pub(super) brokers: Arc<dyn Connector>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.life.name)
    }
}

#[async_trait]
impl Connector for Link {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        if self.life.is_dead() {
            return std::future::pending().await;
        }
        // Nodes listen on the ports from 9092 on.
        let (who, node) = (self.life.who, i32::from(port) - 9091);
        tokio::time::sleep(self.network.connect_delay()).await;
        self.network.passable(who, node, Way::Up).await;
        self.network.passable(who, node, Way::Down).await;
        let broker = self.brokers.connect(host, port).await?;
        let connection = self.network.connected(self.life.number, node);
        let (theirs, ours) = tokio::io::duplex(PIPE_BYTES);
        let (theirs, stamps) = Stamped::new(theirs, self.life.pause.clone(), self.network.trace.clone());
        let carried = Carried {
            life: Arc::clone(&self.life),
            network: Arc::clone(&self.network),
            watch: Arc::clone(&self.watch),
            connection,
            stamps,
        };
        carried.tell("opened");
        tokio::spawn(carried.run(ours, broker));
        Ok(Box::new(theirs))
    }
}

/// A frame on its way.
struct Sent {
    at: Duration,
    frame: BytesMut,
    /// What it writes to the changelog.
    produced: Vec<Produced>,
}

/// One connection.
struct Carried {
    life: Arc<Life>,
    network: Arc<Network>,
    watch: Arc<Watch>,
    connection: Arc<Connection>,
    stamps: Stamps,
}

impl Carried {
    async fn run(self, client: impl AsyncRead + AsyncWrite, broker: BoxedStream) {
        let (from_client, to_client) = tokio::io::split(client);
        let (from_broker, to_broker) = tokio::io::split(broker);
        let carried = async {
            tokio::join!(
                self.carry(Way::Up, from_client, to_broker),
                self.carry(Way::Down, from_broker, to_client)
            )
        };
        tokio::select! {
            biased;
            () = self.connection.was_cut() => {}
            ((), ()) = carried => {}
        }
        self.tell("closed");
        self.network.disconnected(&self.connection);
    }

    /// Carries frames one way until either side ends.
    async fn carry(&self, way: Way, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let (sender, mut frames) = mpsc::unbounded_channel::<Sent>();
        let deliver = async {
            while let Some(sent) = frames.recv().await {
                if self.deliver(way, &sent, &mut to).await.is_err() {
                    return self.connection.cut();
                }
            }
            if to.shutdown().await.is_err() {
                self.connection.cut();
            }
        };
        tokio::join!(self.take_in(way, from, sender), deliver);
    }

    /// Reads frames as soon as they are sent.
    async fn take_in(&self, way: Way, mut from: impl AsyncRead + Unpin, frames: mpsc::UnboundedSender<Sent>) {
        let mut read = BytesMut::new();
        loop {
            match from.read_buf(&mut read).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            // What comes from a process after its death does not exist.
            if way == Way::Up && self.life.is_dead() {
                return;
            }
            while let Some(frame) = first_frame(&mut read) {
                let at = self.sent_at(way, &frame);
                let produced = if way == Way::Up { produced(&frame) } else { Vec::new() };
                self.watch.sent_batches(&self.life, at, &produced);
                // The other half has ended: nothing arrives any more.
                let _ = frames.send(Sent { at, frame, produced });
            }
        }
        // What the end of the stream cut off goes the same way.
        if !read.is_empty() {
            let _ = frames.send(Sent {
                at: self.sent_at(way, &read),
                frame: read,
                produced: Vec::new(),
            });
        }
    }

    /// When a frame was sent, the next of its way.
    fn sent_at(&self, way: Way, frame: &[u8]) -> Duration {
        let stamp = (way == Way::Up).then(|| self.stamps.sent_at(frame.len()));
        stamp.flatten().unwrap_or_else(|| self.network.trace.elapsed())
    }

    async fn deliver(&self, way: Way, sent: &Sent, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let frame = &sent.frame[..];
        let (who, node) = (self.life.who, self.connection.node);
        if !self.life.step() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let fate = self.network.fate(way, frame.len());
        let what = self.note(way, sent.at, frame);
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        self.network.passable(who, node, way).await;
        let silent = self.connection.lock().is_silent;
        if silent || fate.end == End::Lost {
            self.connection.lock().is_silent = true;
            self.trace(way, &what, frame, "lost");
            // Until somebody gives it up.
            return Ok(());
        }
        if self.life.is_dead() && (way == Way::Down || !self.life.last_words_arrive()) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        match fate.end {
            End::Dribbles => {
                self.trace(way, &what, frame, "byte by byte");
                self.note_delivery(way, &what, sent);
                for byte in frame {
                    to.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            End::CutAfter(bytes) => {
                self.note_delivery(way, &what, sent);
                self.trace(way, &what, &frame[..bytes], "cut");
                to.write_all(&frame[..bytes]).await?;
                // Time for the other side to read it.
                tokio::task::yield_now().await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            End::Arrives | End::Lost => {
                self.trace(way, &what, frame, "");
                self.note_delivery(way, &what, sent);
                to.write_all(frame).await
            }
        }
    }

    /// Reads what a frame is, and watches that the connection is not too busy.
    fn note(&self, way: Way, sent_at: Duration, frame: &[u8]) -> Asked {
        let mut state = self.connection.lock();
        let mut what = Asked {
            api: -1,
            version: -1,
            correlation: -1,
            sent_at,
        };
        if way == Way::Down {
            return state.asked.pop_front().unwrap_or(what);
        }
        let mut body = &frame[4.min(frame.len())..];
        if body.len() >= 8 {
            (what.api, what.version, what.correlation) = (body.get_i16(), body.get_i16(), body.get_i32());
        }
        state.asked.push_back(what);
        let second = self.network.trace.elapsed().as_secs();
        if state.busy.0 != second {
            state.busy = (second, 0);
        }
        state.busy.1 += 1;
        if state.busy.1 == MOST_REQUESTS {
            drop(state);
            let (name, node) = (&self.life.name, self.connection.node);
            self.network.trace.violation(format!(
                "V25 hot loop: {name} sends more than {MOST_REQUESTS} requests in a second to node {node}, the last of API {}",
                what.api
            ));
        }
        what
    }

    fn note_delivery(&self, way: Way, what: &Asked, sent: &Sent) {
        let (process, frame) = (self.life.number, &sent.frame[..]);
        self.watch.written(&self.life, sent.at, &sent.produced);
        if way == Way::Down && what.api == Api::Heartbeat.key() {
            const FLEXIBLE_SINCE: i16 = 4;
            // Length, correlation, tags, throttle time.
            let at = 12 + usize::from(what.version >= FLEXIBLE_SINCE);
            if let Some(code) = frame.get(at..at + 2) {
                let code = i16::from_be_bytes([code[0], code[1]]);
                self.network.leases.heard(process, what.sent_at, code);
            }
        }
        if way == Way::Up && what.api == Api::OffsetCommit.key() {
            let now = self.network.trace.elapsed();
            self.network.writes.commit_arrived(process, (sent.at, now), frame);
        }
    }

    fn trace(&self, way: Way, what: &Asked, bytes: &[u8], how: &str) {
        let trace = &self.network.trace;
        let (name, number, node) = (&self.life.name, self.connection.number, self.connection.node);
        trace.bytes(&number.to_be_bytes());
        trace.bytes(bytes);
        let arrow = if way == Way::Up { "->" } else { "<-" };
        trace.tell(format_args!(
            "{name} {arrow} {node} connection {number} api {} #{} {} bytes {:08x} {how}",
            what.api,
            what.correlation,
            bytes.len(),
            crc32c::crc32c(bytes)
        ));
    }

    fn tell(&self, what: &str) {
        let (name, number, node) = (&self.life.name, self.connection.number, self.connection.node);
        let trace = &self.network.trace;
        trace.event(format_args!("{name} connection {number} to {node} {what}"));
    }
}

/// Cuts the first frame off, with its length.
fn first_frame(read: &mut BytesMut) -> Option<BytesMut> {
    let length = u32::from_be_bytes(*read.first_chunk()?) as usize + 4;
    (read.len() >= length).then(|| read.split_to(length))
}
