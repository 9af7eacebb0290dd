//! A connector that writes down what passes through its streams.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request and its response: frames without their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What the client was doing when the response came.
    pub step: String,
    /// Header and body as the client sent them.
    pub request: Bytes,
    /// Header and body as the broker sent them; empty if it never did.
    pub response: Bytes,
}

impl Exchange {
    /// API key of the request.
    pub fn api_key(&self) -> i16 {
        self.request.get(0..2).map_or(-1, |mut b| b.get_i16())
    }

    /// Version of the request.
    pub fn version(&self) -> i16 {
        self.request.get(2..4).map_or(-1, |mut b| b.get_i16())
    }

    /// Whether the same was asked and answered, whatever the correlation ids and whenever it was.
    pub fn says_the_same(&self, other: &Self) -> bool {
        without_correlation_id(&self.request) == without_correlation_id(&other.request)
            && self.response.get(4..) == other.response.get(4..)
    }
}

/// Wraps a [`Connector`] and pairs the requests and responses of all its streams.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<dyn Connector>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    streams: BTreeMap<u64, Stream>,
    step: String,
    exchanges: Vec<Exchange>,
}

/// Bytes of both directions that are not yet whole frames, and requests by correlation id that are not yet answered.
#[derive(Debug, Default)]
struct Stream {
    sent: BytesMut,
    received: BytesMut,
    open: BTreeMap<i32, Bytes>,
}

impl Recorder {
    /// Records what passes through the streams of `inner`.
    pub fn new(inner: Arc<dyn Connector>) -> Self {
        Self {
            inner,
            heard: Arc::default(),
        }
    }

    /// Names what the client is about to do.
    pub fn begin(&self, step: &str) {
        step.clone_into(&mut self.lock().step);
    }

    /// Takes the exchanges that were finished since the last call, in the order of their responses.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.lock().exchanges)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Connector for Recorder {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        let inner = self.inner.connect(host, port).await?;
        let mut heard = self.lock();
        let id = heard.streams.last_key_value().map_or(0, |(last, _)| last + 1);
        heard.streams.insert(id, Stream::default());
        drop(heard);
        Ok(Box::new(RecordingStream {
            inner,
            id,
            recorder: self.clone(),
        }))
    }
}

impl Heard {
    fn sent(&mut self, id: u64, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.sent.extend_from_slice(bytes);
        while let Some(frame) = take_frame(&mut stream.sent) {
            if let Some(mut correlation_id) = frame.get(4..8) {
                stream.open.insert(correlation_id.get_i32(), frame);
            }
        }
    }

    fn received(&mut self, id: u64, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.received.extend_from_slice(bytes);
        while let Some(response) = take_frame(&mut stream.received) {
            let correlation_id = response.get(0..4).map(|mut b| b.get_i32());
            if let Some(request) = correlation_id.and_then(|id| stream.open.remove(&id)) {
                self.exchanges.push(Exchange {
                    step: self.step.clone(),
                    request,
                    response,
                });
            }
        }
    }
}

/// What is before and what is behind the correlation id of a request.
pub(super) fn without_correlation_id(request: &[u8]) -> (&[u8], &[u8]) {
    match (request.get(..4), request.get(8..)) {
        (Some(api), Some(rest)) => (api, rest),
        _ => (request, &[]),
    }
}

/// Takes one frame, without its length, off the front of `bytes`.
pub(super) fn take_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(bytes.get(0..4)?.get_u32()).ok()?;
    if bytes.len() < 4 + length {
        return None;
    }
    bytes.advance(4);
    Some(bytes.split_to(length).freeze())
}

struct RecordingStream {
    inner: BoxedStream,
    id: u64,
    recorder: Recorder,
}

impl AsyncRead for RecordingStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if polled.is_ready() {
            let id = self.id;
            self.recorder.lock().received(id, &buffer.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for RecordingStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            let id = self.id;
            self.recorder.lock().sent(id, &bytes[..written]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Hands out one end of a pipe.
    #[derive(Debug)]
    struct Pipe(Mutex<Option<DuplexStream>>);

    #[async_trait]
    impl Connector for Pipe {
        async fn connect(&self, _host: &str, _port: u16) -> io::Result<BoxedStream> {
            let end = self.0.lock().unwrap().take();
            Ok(Box::new(end.ok_or(io::ErrorKind::ConnectionRefused)?))
        }
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    #[tokio::test]
    async fn responses_are_paired_with_their_requests_whatever_the_pieces_they_came_in() {
        let (ours, mut broker) = duplex(1024);
        let recorder = Recorder::new(Arc::new(Pipe(Mutex::new(Some(ours)))));
        recorder.begin("greeting");
        let mut client = recorder.connect("localhost", 9092).await.unwrap();

        let requests = [&[0, 18, 0, 4, 0, 0, 0, 1, 9][..], &[0, 3, 0, 12, 0, 0, 0, 2, 8][..]];
        let sent: Vec<u8> = requests.iter().flat_map(|request| frame(request)).collect();
        client.write_all(&sent[..7]).await.unwrap();
        client.write_all(&sent[7..]).await.unwrap();
        let mut arrived = vec![0; sent.len()];
        broker.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, sent);
        assert!(recorder.take().is_empty(), "nothing is answered yet");

        let responses = [&[0, 0, 0, 1, 7][..], &[0, 0, 0, 2, 6][..]];
        let answered: Vec<u8> = responses.iter().flat_map(|response| frame(response)).collect();
        broker.write_all(&answered).await.unwrap();
        for byte in &answered {
            assert_eq!(client.read_u8().await.unwrap(), *byte);
        }
        let exchanges = recorder.take();
        let expected: Vec<Exchange> = requests
            .iter()
            .zip(responses)
            .map(|(request, response)| Exchange {
                step: "greeting".into(),
                request: Bytes::copy_from_slice(request),
                response: Bytes::copy_from_slice(response),
            })
            .collect();
        assert_eq!(exchanges, expected);
        assert_eq!((exchanges[1].api_key(), exchanges[1].version()), (3, 12));
    }
}
