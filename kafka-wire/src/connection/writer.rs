//! The writing half of a connection: whole frames, many at a time, and only what may still be sent.
//!
//! A task writes, except that a small request that finds nothing before it is written by whoever sends it: waking the task for it
//! costs more than the write, most of all where that changes threads.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};

use super::driver::{Guard, Shared, lost, now};
use super::in_flight::Frame;
use super::permit::Permit;
use super::request::bytes_of;
use crate::transport::BoxedStream;

/// Pieces handed to one vectored write.
const MOST_PIECES: usize = 64;
/// Bytes after which the writer stops collecting and writes.
const ENOUGH_BYTES: usize = 1 << 20;
/// Requests up to this are written by their sender, who has other work as well.
const SMALL: usize = 16 << 10;

/// The writing half of the socket, until the writer task ends.
#[derive(Debug)]
pub(super) struct Writing(Mutex<Option<ToSocket>>);

type ToSocket = Outgoing<WriteHalf<BoxedStream>>;

impl Writing {
    pub(super) fn to(stream: WriteHalf<BoxedStream>) -> Writing {
        Writing(Mutex::new(Some(Outgoing::to(stream))))
    }

    /// Writes a request of so many bytes that was just queued, if it is small, nothing is being written, and the socket takes it;
    /// false if something may be left for the task.
    pub(super) fn at_once(&self, shared: &Shared, bytes: usize) -> bool {
        if bytes > SMALL {
            return false;
        }
        let Ok(mut outgoing) = self.0.try_lock() else {
            return false;
        };
        if !outgoing.as_ref().is_some_and(Outgoing::is_idle) {
            return false;
        }
        // What is pending is asked for again by the task, with a waker of its own. As a rule the second round finds nothing.
        let mut nobody = Context::from_waker(Waker::noop());
        (0..2).any(|_| poll_batch(shared, &mut outgoing, &mut nobody) == Poll::Ready(Left::Nothing))
    }

    fn lock(&self) -> MutexGuard<'_, Option<ToSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer task.
pub(super) async fn write(guard: Guard) {
    let shared = &guard.0;
    let _ending = Ending(&shared.writing);
    while !shared.is_closed() {
        tokio::select! {
            biased;
            () = poll_fn(|cx| poll_all(shared, cx)) => shared.to_write.notified().await,
            // Told of new requests, which are looked for anyway, and of closing: a peer that takes nothing would keep the socket
            // open, and what its waiters know as lost would be sent after all if it took something again.
            () = shared.to_write.notified() => {}
        }
    }
    // Out of the lock, which is not held while this waits.
    let outgoing = shared.writing.lock().take();
    if let Some(mut outgoing) = outgoing {
        let _ = outgoing.stream.shutdown().await;
    }
}

/// However the task ends, whoever still holds the connection does not hold its socket.
struct Ending<'a>(&'a Writing);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

/// Writes until nothing is left.
fn poll_all(shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
    while ready!(poll_batch(shared, &mut shared.writing.lock(), cx)) == Left::More {}
    Poll::Ready(())
}

#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

/// Writes what is left of the frames taken last, or takes as many as make one good write.
fn poll_batch(shared: &Shared, outgoing: &mut Option<ToSocket>, cx: &mut Context<'_>) -> Poll<Left> {
    let Some(writing) = outgoing else {
        return Poll::Ready(Left::Nothing);
    };
    if writing.is_idle() {
        let frames = collect(shared);
        if frames.is_empty() {
            return Poll::Ready(Left::Nothing);
        }
        writing.take(frames);
    }
    if let Err((error, not_started)) = ready!(writing.poll_write(cx)) {
        shared.lock().in_flight.handle_write_failure(not_started);
        shared.close(lost(&error));
        // Nobody can finish what was begun.
        *outgoing = None;
        return Poll::Ready(Left::Nothing);
    }
    Poll::Ready(Left::More)
}

/// As many queued frames as make one good write.
fn collect(shared: &Shared) -> Vec<Frame> {
    let (mut frames, mut pieces, mut bytes) = (Vec::new(), 0, 0);
    let mut state = shared.lock();
    let now = now();
    while pieces < MOST_PIECES
        && bytes < ENOUGH_BYTES
        && let Some(frame) = state.in_flight.poll_request(now)
    {
        pieces += 1 + frame.body.len();
        bytes += frame.head.len() + bytes_of(&frame.body);
        frames.push(frame);
    }
    frames
}

/// Frames on their way into a stream.
pub(super) struct Outgoing<S> {
    stream: S,
    /// What is left of them, with the number of each one's frame.
    pieces: VecDeque<(usize, Bytes)>,
    permits: Vec<(usize, Permit)>,
    frames: usize,
    /// Of how many at least one byte was written.
    started: usize,
}

impl<S: AsyncWrite + Unpin> Outgoing<S> {
    fn to(stream: S) -> Outgoing<S> {
        Outgoing {
            stream,
            pieces: VecDeque::new(),
            permits: Vec::new(),
            frames: 0,
            started: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.frames == 0
    }

    fn take(&mut self, frames: Vec<Frame>) {
        self.frames = frames.len();
        for (number, frame) in frames.into_iter().enumerate() {
            self.permits
                .extend(frame.permits.into_iter().map(|permit| (number, permit)));
            let body = frame.body.into_iter().filter(|piece| !piece.is_empty());
            self.pieces
                .extend(std::iter::once(frame.head).chain(body).map(|piece| (number, piece)));
        }
    }

    /// Writes whole frames without copying their pieces; on failure tells how many of the last ones did not lose a byte.
    ///
    /// Every write asks for the permits of what is left: a frame may wait here for as long as the socket takes no more, and a process
    /// may be stopped meanwhile.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), (io::Error, usize)>> {
        while !self.pieces.is_empty() {
            let not_started = self.frames - self.started;
            if !are_given(&self.permits, &self.pieces) {
                let error = io::Error::other("what was to be written may no longer be");
                return Poll::Ready(Err((error, not_started)));
            }
            match ready!(poll_pieces(Pin::new(&mut self.stream), cx, &self.pieces)) {
                Ok(0) => return Poll::Ready(Err((io::ErrorKind::WriteZero.into(), not_started))),
                Ok(count) => self.started = advance(&mut self.pieces, count).unwrap_or(0).max(self.started),
                Err(error) => return Poll::Ready(Err((error, not_started))),
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|error| (error, 0))?;
        self.permits.clear();
        (self.frames, self.started) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

impl<S> fmt::Debug for Outgoing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("frames", &self.frames)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

/// Whether everything of which there is something left may be written now.
fn are_given(permits: &[(usize, Permit)], left: &VecDeque<(usize, Bytes)>) -> bool {
    let now = now();
    let first_left = left.front().map_or(usize::MAX, |(index, _)| *index);
    let mut needed = permits.iter().filter(|(index, _)| *index >= first_left);
    needed.all(|(_, permit)| permit.is_given(now))
}

fn poll_pieces(
    stream: Pin<&mut (impl AsyncWrite + Unpin)>,
    cx: &mut Context<'_>,
    pieces: &VecDeque<(usize, Bytes)>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); MOST_PIECES];
    let mut count = 0;
    for (slice, (_, piece)) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    stream.poll_write_vectored(cx, &slices[..count])
}

/// Drops `count` written bytes from the front; tells how many frames have been started, if any byte was written.
fn advance(pieces: &mut VecDeque<(usize, Bytes)>, mut count: usize) -> Option<usize> {
    let mut started = None;
    while count > 0 {
        let (index, piece) = pieces.front_mut()?;
        started = Some(*index + 1);
        let taken = count.min(piece.len());
        piece.advance(taken);
        count -= taken;
        if piece.is_empty() {
            pieces.pop_front();
        }
    }
    started
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::AsyncReadExt;

    use super::*;

    fn frame(head: &'static [u8], body: &'static [u8], permit: Option<&Arc<AtomicBool>>) -> Frame {
        let permits = permit.map(|given| {
            let given = Arc::clone(given);
            Permit::new(move |_| given.load(Ordering::SeqCst))
        });
        Frame {
            head: Bytes::from_static(head),
            body: vec![Bytes::from_static(body)],
            permits: permits.into_iter().collect(),
        }
    }

    async fn written(stream: impl AsyncWrite + Unpin, frames: Vec<Frame>) -> Result<(), (io::Error, usize)> {
        let mut outgoing = Outgoing::to(stream);
        outgoing.take(frames);
        poll_fn(|cx| outgoing.poll_write(cx)).await
    }

    #[tokio::test]
    async fn a_frame_without_its_permit_is_not_begun() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let given = Arc::new(AtomicBool::new(false));
        let frames = vec![frame(b"one", b"-body", None), frame(b"two", b"-body", Some(&given))];
        let (_, not_started) = written(&mut ours, frames).await.unwrap_err();
        assert_eq!(not_started, 2);
        drop(ours);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
    }

    #[tokio::test]
    async fn what_is_half_written_when_its_permit_ends_is_never_finished() {
        let (mut ours, mut theirs) = tokio::io::duplex(10);
        let given = Arc::new(AtomicBool::new(true));
        let frames = vec![
            frame(b"one", b"-body", Some(&given)),
            frame(b"two", b"-body", Some(&given)),
            frame(b"three", b"-body", None),
        ];
        let writing = tokio::spawn(async move {
            let ended = written(&mut ours, frames).await;
            drop(ours);
            ended
        });
        let mut heard = vec![0; 1];
        theirs.read_exact(&mut heard).await.unwrap();
        given.store(false, Ordering::SeqCst);
        theirs.read_to_end(&mut heard).await.unwrap();
        assert!(heard.starts_with(b"one-body"), "{heard:?}");
        assert!(heard.len() < b"one-bodytwo-body".len(), "{heard:?}");
        let (_, not_started) = writing.await.unwrap().unwrap_err();
        assert_eq!(not_started, 1, "of the second frame some bytes have left");
    }
}
