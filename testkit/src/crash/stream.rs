//! A connector whose streams see requests and answers go by.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use kafka_wire::ErrorCode;
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frames, Part};
use super::{CrashPoint, Trigger};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
/// From here on an answer's header has tagged fields (KIP-482).
const FLEXIBLE_HEARTBEAT: i16 = 4;
/// Larger than an answer without records.
const WITH_RECORDS: usize = 2000;

/// Connects as another connector does, and tells a trigger what goes by.
#[derive(Debug)]
pub struct CrashConnector {
    inner: Arc<dyn Connector>,
    watch: Arc<Watch>,
}

impl CrashConnector {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Connector>, trigger: Trigger) -> Arc<CrashConnector> {
        let watch = Arc::new(Watch {
            trigger,
            rebalancing: AtomicBool::new(false),
        });
        Arc::new(CrashConnector { inner, watch })
    }
}

#[async_trait]
impl Connector for CrashConnector {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        let inner = self.inner.connect(host, port).await?;
        Ok(Box::new(Watched {
            inner,
            watch: Arc::clone(&self.watch),
            requests: Frames::default(),
            answers: Frames::default(),
            open: HashMap::new(),
            answer_bytes: 0,
        }))
    }
}

/// What all streams share.
#[derive(Debug)]
struct Watch {
    trigger: Trigger,
    /// A heartbeat was answered with a rebalance that has not been joined.
    rebalancing: AtomicBool,
}

impl Watch {
    fn request_begins(&self, api: i16) {
        if api == OFFSET_COMMIT {
            self.trigger.reached(CrashPoint::BeforeCommit);
        }
        if matches!(api, OFFSET_COMMIT | JOIN_GROUP) && self.rebalancing.load(Ordering::SeqCst) {
            self.trigger.reached(CrashPoint::InRevoke);
        }
    }

    fn request_ends(&self, api: i16) {
        match api {
            PRODUCE => self.trigger.reached(CrashPoint::ProduceWritten),
            OFFSET_COMMIT => self.trigger.reached(CrashPoint::CommitWritten),
            _ => {}
        }
    }

    fn answer_ends(&self, (api, version): (i16, i16), head: &[u8], bytes: usize) {
        match api {
            PRODUCE => self.trigger.reached(CrashPoint::ProduceAnswered),
            FETCH if bytes > WITH_RECORDS && self.trigger.is_before_callbacks() => {
                self.trigger.reached(CrashPoint::InRecovery);
            }
            HEARTBEAT => {
                // Correlation id, tagged fields, throttle time, error code.
                let at = if version >= FLEXIBLE_HEARTBEAT { 9 } else { 8 };
                let code = i16::from_be_bytes([head[at], head[at + 1]]);
                let rebalancing = code == ErrorCode::REBALANCE_IN_PROGRESS.0;
                self.rebalancing.store(rebalancing, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

struct Watched {
    inner: BoxedStream,
    watch: Arc<Watch>,
    requests: Frames,
    answers: Frames,
    /// API and version of the requests without an answer, by correlation id.
    open: HashMap<i32, (i16, i16)>,
    /// Bytes of the answer that is being read.
    answer_bytes: usize,
}

fn word<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    head[at..].first_chunk().copied().unwrap_or([0; N])
}

fn api(head: &[u8]) -> (i16, i16) {
    (i16::from_be_bytes(word(head, 0)), i16::from_be_bytes(word(head, 2)))
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // Before any byte of it leaves: on a copy, as not all may be taken.
        this.requests.clone().feed(bytes, |part| {
            if let Part::Head(head) = part {
                this.watch.request_begins(api(&head).0);
            }
        });
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        let (open, watch) = (&mut this.open, &this.watch);
        this.requests.feed(&bytes[..written], |part| match part {
            Part::Head(head) => {
                open.insert(i32::from_be_bytes(word(&head, 4)), api(&head));
            }
            Part::End(head) => watch.request_ends(api(&head).0),
        });
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let had = into.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, into))?;
        let read = &into.filled()[had..];
        this.answer_bytes += read.len();
        let (open, watch, bytes) = (&mut this.open, &this.watch, &mut this.answer_bytes);
        this.answers.feed(read, |part| {
            if let Part::End(head) = part
                && let Some(request) = open.remove(&i32::from_be_bytes(word(&head, 0)))
            {
                watch.answer_ends(request, &head, std::mem::take(bytes));
            }
        });
        Poll::Ready(Ok(()))
    }
}
