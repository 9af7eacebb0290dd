//! The client's end of a connection: remembers when what bytes were written, for a frame is sent when its last byte is, and does
//! nothing while its process is stopped.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kafka_wire::rpc::Pause;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::trace::Trace;

/// See the module's text.
pub(super) struct Stamped {
    stream: DuplexStream,
    stamps: Stamps,
    pause: Pause,
    trace: Trace,
}

/// When how many bytes had been written; shared by both ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Stamps(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    written: u64,
    read: u64,
    stamps: VecDeque<(u64, Duration)>,
}

impl Stamps {
    fn write(&self, bytes: usize, now: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.written += bytes as u64;
        let written = state.written;
        state.stamps.push_back((written, now));
    }

    /// When the last of the next so many bytes was written.
    pub(super) fn sent_at(&self, bytes: usize) -> Option<Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.read += bytes as u64;
        while state.stamps.front()?.0 < state.read {
            state.stamps.pop_front();
        }
        state.stamps.front().map(|(_, at)| *at)
    }
}

impl Stamped {
    pub(super) fn new(stream: DuplexStream, pause: Pause, trace: Trace) -> (Stamped, Stamps) {
        let stamps = Stamps::default();
        let stamped = Stamped {
            stream,
            stamps: stamps.clone(),
            pause,
            trace,
        };
        (stamped, stamps)
    }
}

impl AsyncRead for Stamped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.pause.poll_running(cx));
        Pin::new(&mut this.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.pause.poll_running(cx));
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &written {
            this.stamps.write(*written, this.trace.elapsed());
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.pause.poll_running(cx));
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.pause.poll_running(cx));
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        if let Poll::Ready(Ok(written)) = &written {
            this.stamps.write(*written, this.trace.elapsed());
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
