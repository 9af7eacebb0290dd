//! The writer of a connection: whole frames, many at a time, and only what may still be sent.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::driver::{Guard, Shared, lost, now};
use super::in_flight::Frame;
use super::permit::Permit;

/// Pieces handed to one vectored write.
const MOST_PIECES: usize = 64;
/// Bytes after which the writer stops collecting and writes.
const ENOUGH_BYTES: usize = 1 << 20;

/// The writer task.
pub(super) async fn write(guard: Guard, mut stream: impl AsyncWrite + Unpin) {
    let shared = &guard.0;
    while !shared.is_closed() {
        let frames = collect(shared);
        if frames.is_empty() {
            shared.to_write.notified().await;
            continue;
        }
        let Some(written) = until_closed(shared, write_frames(&mut stream, frames)).await else {
            break;
        };
        if let Err((error, not_started)) = written {
            shared.lock().in_flight.handle_write_failure(not_started);
            shared.close(lost(&error));
        }
    }
    let _ = stream.shutdown().await;
}

/// Gives a write up once the connection is closed: a peer that takes nothing would keep the socket open, and what its waiters know
/// as lost would be sent after all if it took something again.
async fn until_closed<T>(shared: &Shared, write: impl Future<Output = T>) -> Option<T> {
    let mut write = pin!(write);
    loop {
        tokio::select! {
            biased;
            written = &mut write => return Some(written),
            // Told of closing, and of new requests, which are looked for anyway after this.
            () = shared.to_write.notified() => if shared.is_closed() { return None },
        }
    }
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
        bytes += frame.head.len() + frame.body.iter().map(Bytes::len).sum::<usize>();
        frames.push(frame);
    }
    frames
}

/// Writes whole frames without copying their pieces; on failure tells how many of the last ones did not lose a byte.
///
/// Every write asks for the permits of what is left: a frame may wait here for as long as the socket takes no more, and a process
/// may be stopped meanwhile.
async fn write_frames(stream: &mut (impl AsyncWrite + Unpin), frames: Vec<Frame>) -> Result<(), (io::Error, usize)> {
    let total = frames.len();
    let mut pieces: VecDeque<(usize, Bytes)> = VecDeque::with_capacity(total);
    let mut permits: Vec<(usize, Permit)> = Vec::new();
    for (index, frame) in frames.into_iter().enumerate() {
        permits.extend(frame.permits.into_iter().map(|permit| (index, permit)));
        let body = frame.body.into_iter().filter(|piece| !piece.is_empty());
        pieces.extend(std::iter::once(frame.head).chain(body).map(|piece| (index, piece)));
    }
    let mut started = 0;
    while !pieces.is_empty() {
        let written = std::future::poll_fn(|cx| {
            if !are_given(&permits, &pieces) {
                return Poll::Ready(Err(io::Error::other("what was to be written may no longer be")));
            }
            poll_pieces(Pin::new(&mut *stream), cx, &pieces)
        })
        .await;
        match written {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), total - started)),
            Ok(count) => started = advance(&mut pieces, count).unwrap_or(started).max(started),
            Err(error) => return Err((error, total - started)),
        }
    }
    stream.flush().await.map_err(|error| (error, 0))
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

    #[tokio::test]
    async fn a_frame_without_its_permit_is_not_begun() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let given = Arc::new(AtomicBool::new(false));
        let frames = vec![frame(b"one", b"-body", None), frame(b"two", b"-body", Some(&given))];
        let (_, not_started) = write_frames(&mut ours, frames).await.unwrap_err();
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
            let ended = write_frames(&mut ours, frames).await;
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
