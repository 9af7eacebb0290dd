//! Cuts a byte stream into response frames without believing the peer.
//!
//! A frame is a four-byte length and that many bytes. Small frames are slices of a 64 KiB staging buffer; a large one is read
//! straight into a buffer of its own, which grows as bytes really arrive, so that a claimed length costs nothing. What does not
//! look like Kafka is named: an HTTP or TLS answer reads as an absurd length (KIP-498).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::read_buffer::ReadBuffers;

/// Frames up to this size are sliced out of the staging buffer. Below musl's mapping threshold of 128 KiB.
const STAGING: usize = 64 << 10;
/// First reservation for a large frame, and the least by which it grows.
const STEP: usize = 1 << 20;

/// The bytes are not a Kafka response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    #[error("the first bytes are {0}")]
    NotKafka(&'static str),
    #[error("a response claims {claimed} bytes, at most {allowed} are accepted (connection.max_response_bytes)")]
    Length { claimed: i32, allowed: usize },
}

/// The reading half of a connection's framing.
#[derive(Debug)]
pub(crate) struct FrameReader {
    staged: BytesMut,
    large: Option<Large>,
    allowed: usize,
    buffers: ReadBuffers,
    /// At least one whole frame was seen: the peer speaks Kafka.
    understood: bool,
}

#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    length: usize,
}

impl FrameReader {
    /// Accepts frames of at most `allowed` bytes.
    pub(crate) fn new(allowed: usize, buffers: ReadBuffers) -> Self {
        Self {
            staged: BytesMut::new(),
            large: None,
            allowed,
            buffers,
            understood: false,
        }
    }

    /// Changes the limit, once the handshake is over.
    pub(crate) fn allow(&mut self, allowed: usize) {
        self.allowed = allowed;
    }

    /// Whether the stream stands between two frames.
    pub(crate) fn at_boundary(&self) -> bool {
        self.large.is_none() && self.staged.is_empty()
    }

    /// Reads once into where the next bytes belong; 0 is the end of the stream. Cancelling loses nothing.
    pub(crate) async fn read_from(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        match &mut self.large {
            Some(Large { buffer, length }) => {
                let missing = *length - buffer.len();
                if buffer.len() == buffer.capacity() {
                    buffer.reserve_exact(missing.min(buffer.len().max(STEP)));
                }
                stream.read_buf(&mut buffer.limit(missing)).await
            }
            None => {
                if self.staged.capacity() - self.staged.len() < STAGING / 8 {
                    self.staged.reserve(STAGING);
                }
                stream.read_buf(&mut self.staged).await
            }
        }
    }

    /// The next whole frame, without its length; `None` until more was read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, BadFrame> {
        if let Some(large) = self.large.take_if(|large| large.buffer.len() == large.length) {
            return Ok(Some(self.buffers.freeze(large.buffer)));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let Some(length) = self.claimed_length()? else {
            return Ok(None);
        };
        if self.staged.len() - 4 >= length {
            self.understood = true;
            self.staged.advance(4);
            return Ok(Some(self.staged.split_to(length).freeze()));
        }
        if length > STAGING {
            self.understood = true;
            self.staged.advance(4);
            let mut buffer = self.buffers.take(length, STEP);
            buffer.extend_from_slice(&self.staged);
            self.staged.clear();
            self.large = Some(Large { buffer, length });
        } else if self.staged.capacity() < length + 4 {
            self.staged.reserve(length + 4 - self.staged.len());
        }
        Ok(None)
    }

    /// The checked length at the head of the staging buffer, once four bytes are there.
    fn claimed_length(&self) -> Result<Option<usize>, BadFrame> {
        let Some(prefix) = self.staged.first_chunk::<4>() else {
            return Ok(None);
        };
        if !self.understood
            && let Some(what) = foreign(*prefix)
        {
            return Err(BadFrame::NotKafka(what));
        }
        let claimed = i32::from_be_bytes(*prefix);
        match usize::try_from(claimed) {
            Ok(length) if length <= self.allowed => Ok(Some(length)),
            _ => Err(BadFrame::Length {
                claimed,
                allowed: self.allowed,
            }),
        }
    }
}

/// Recognises other protocols by their first bytes. As lengths they all exceed 335 MB.
fn foreign(prefix: [u8; 4]) -> Option<&'static str> {
    match prefix {
        [b'H', b'T', b'T', b'P'] => Some("an HTTP server"),
        [0x15 | 0x16, 3, 0..=4, _] => Some("a TLS server"),
        [b'S', b'S', b'H', b'-'] => Some("an SSH server"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(allowed: usize) -> FrameReader {
        FrameReader::new(allowed, ReadBuffers::default())
    }

    fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
        bodies
            .iter()
            .flat_map(|body| [&(body.len() as i32).to_be_bytes()[..], body].concat())
            .collect()
    }

    /// Reads everything, `step` bytes at a time.
    async fn frames_of(stream: &[u8], step: usize) -> Result<Vec<Bytes>, BadFrame> {
        let (mut reader, mut frames) = (reader(128 << 20), Vec::new());
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() {
                reader.read_from(&mut piece).await.unwrap();
                while let Some(frame) = reader.next_frame()? {
                    frames.push(frame);
                }
            }
        }
        assert!(reader.at_boundary());
        Ok(frames)
    }

    #[tokio::test]
    async fn any_split_of_the_stream_yields_the_same_frames() {
        let bodies: Vec<Vec<u8>> = [0, 1, 5, 70_000, STAGING, STAGING + 1, 3]
            .iter()
            .map(|&n| (0..n).map(|i| i as u8).collect())
            .collect();
        let stream = framed(&bodies);
        for step in [1, 3, 4_096, 65_537, stream.len()] {
            assert_eq!(
                frames_of(&stream, step).await.unwrap(),
                bodies,
                "{step} bytes at a time"
            );
        }
    }

    #[tokio::test]
    async fn a_frame_of_several_steps_grows_with_what_arrives() {
        let bodies = vec![vec![9u8; 5 * STEP + 17], vec![1u8; 10]];
        assert_eq!(frames_of(&framed(&bodies), 100_000).await.unwrap(), bodies);
    }

    #[tokio::test]
    async fn hostile_lengths_are_refused_before_any_allocation() {
        for claimed in [i32::MAX, -1, i32::MIN, (128 << 20) + 1] {
            let mut reader = reader(128 << 20);
            reader.read_from(&mut &claimed.to_be_bytes()[..]).await.unwrap();
            let refused = reader.next_frame().unwrap_err();
            assert_eq!(
                refused,
                BadFrame::Length {
                    claimed,
                    allowed: 128 << 20
                }
            );
            assert!(reader.large.is_none() && reader.staged.capacity() <= 2 * STAGING);
        }
    }

    #[tokio::test]
    async fn a_large_claim_reserves_one_step_only() {
        let mut reader = reader(128 << 20);
        reader
            .read_from(&mut &[&(100i32 << 20).to_be_bytes()[..], b"ten bytes."].concat()[..])
            .await
            .unwrap();
        assert_eq!(reader.next_frame(), Ok(None));
        assert!(reader.large.unwrap().buffer.capacity() <= STEP);
    }

    #[tokio::test]
    async fn other_protocols_are_named() {
        for (bytes, name) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "an HTTP server"),
            (&[0x15, 3, 3, 0, 2, 2, 70], "a TLS server"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
        ] {
            assert_eq!(frames_of(bytes, 7).await.unwrap_err(), BadFrame::NotKafka(name));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut reader = reader(1024);
            let mut seen = 0;
            for mut piece in stream.chunks(step) {
                while !piece.is_empty() {
                    runtime.block_on(reader.read_from(&mut piece)).unwrap();
                    loop {
                        match reader.next_frame() {
                            Ok(Some(frame)) => seen += frame.len() + 4,
                            Ok(None) => break,
                            Err(_) => return Ok(()),
                        }
                    }
                }
            }
            prop_assert!(seen <= stream.len());
        }
    }
}
