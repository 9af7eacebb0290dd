//! A connector behind which a recording answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::Exchange;
use super::recorder::{take_frame, without_correlation_id};

/// Room for what is under way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Before an answer is given again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Answers every request with what a broker answered to the very same bytes, in the order of the recording; the last
/// answer is given again and again, once a second: who polls has to wait for it, as for a broker with nothing new. A
/// request that was not recorded is never answered.
///
/// Correlation ids count requests of a connection and are left out of the comparison. So is what ApiVersions says of the
/// client, whose version changes with every release.
#[derive(Clone, Debug)]
pub struct Replay {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    answers: BTreeMap<Question, Answers>,
    unexpected: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Answers {
    recorded: Vec<Bytes>,
    /// How many were given.
    next: usize,
}

/// API and version, the rest of the request.
type Question = (Vec<u8>, Vec<u8>);

impl Replay {
    /// Answers as in these exchanges.
    pub fn new(recorded: impl IntoIterator<Item = Exchange>) -> Self {
        let mut heard = Heard::default();
        for exchange in recorded {
            let answers = heard.answers.entry(question(&exchange.request)).or_default();
            answers.recorded.push(exchange.response);
        }
        Self {
            heard: Arc::new(Mutex::new(heard)),
        }
    }

    /// Requests, without their length, that are not in the recording.
    pub fn unexpected(&self) -> Vec<Bytes> {
        self.lock().unexpected.clone()
    }

    /// API and version of recorded requests that nobody has made yet.
    pub fn unasked(&self) -> Vec<(i16, i16)> {
        let heard = self.lock();
        let unasked = heard.answers.iter().filter(|(_, answers)| answers.next == 0);
        let number = |api: &[u8], at: usize| api.get(at..at + 2).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
        unasked.map(|((api, _), _)| (number(api, 0), number(api, 2))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut received = BytesMut::new();
        while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            while let Some(request) = take_frame(&mut received) {
                let found = self.lock().answer(&request);
                let Some((answer, again)) = found else { continue };
                if again {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[async_trait]
impl Connector for Replay {
    async fn connect(&self, _host: &str, _port: u16) -> io::Result<BoxedStream> {
        let (ours, theirs) = duplex(PIPE_BYTES);
        tokio::spawn(self.clone().serve(theirs));
        Ok(Box::new(ours))
    }
}

impl Heard {
    /// The recorded answer with its length, under the correlation id of this request, and whether it was given before.
    fn answer(&mut self, request: &Bytes) -> Option<(Bytes, bool)> {
        let question = question(request);
        let Some(answers) = self.answers.get_mut(&question) else {
            self.unexpected.push(request.clone());
            return None;
        };
        let again = answers.next == answers.recorded.len();
        answers.next = (answers.next + 1).min(answers.recorded.len());
        let recorded = answers.recorded.get(answers.next - 1)?;
        let mut answer = BytesMut::new();
        answer.put_u32(u32::try_from(recorded.len()).ok()?);
        answer.put_slice(request.get(4..8)?);
        answer.put_slice(recorded.get(4..)?);
        Some((answer.freeze(), again))
    }
}

fn question(request: &[u8]) -> Question {
    let (api, rest) = without_correlation_id(request);
    let says_who_asks = api.starts_with(&(ApiKey::ApiVersions as i16).to_be_bytes());
    (api.to_vec(), if says_who_asks { Vec::new() } else { rest.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &'static [u8], response: &'static [u8]) -> Exchange {
        Exchange {
            step: "any".into(),
            request: Bytes::from_static(request),
            response: Bytes::from_static(response),
        }
    }

    async fn ask(stream: &mut BoxedStream, request: &[u8]) -> Vec<u8> {
        let length = u32::try_from(request.len()).unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = vec![0; usize::try_from(stream.read_u32().await.unwrap()).unwrap()];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_in_recorded_order_under_the_correlation_id_of_the_question() {
        let replay = Replay::new([
            exchange(&[0, 3, 0, 9, 0, 0, 0, 1, 7], &[0, 0, 0, 1, 10]),
            exchange(&[0, 3, 0, 9, 0, 0, 0, 2, 7], &[0, 0, 0, 2, 20]),
            exchange(&[0, 3, 0, 9, 0, 0, 0, 3, 8], &[0, 0, 0, 3, 30]),
        ]);
        let mut stream = replay.connect("anywhere", 1).await.unwrap();
        let begun = tokio::time::Instant::now();
        for (id, expected) in [(5, 10), (6, 20), (7, 20)] {
            assert_eq!(
                ask(&mut stream, &[0, 3, 0, 9, 0, 0, 0, id, 7]).await,
                [0, 0, 0, id, expected]
            );
        }
        assert!(begun.elapsed() >= AGAIN_AFTER, "the last one was given before");
        assert_eq!(replay.unasked(), [(3, 9)]);
        assert!(replay.unexpected().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_recorded_is_kept_and_not_answered() {
        let replay = Replay::new([exchange(&[0, 3, 0, 9, 0, 0, 0, 1, 7], &[0, 0, 0, 1, 10])]);
        let mut stream = replay.connect("anywhere", 1).await.unwrap();
        let other = [0, 3, 0, 9, 0, 0, 0, 1, 6];
        let asked = tokio::time::timeout(Duration::from_secs(60), ask(&mut stream, &other)).await;
        assert!(asked.is_err());
        assert_eq!(replay.unexpected(), [Bytes::copy_from_slice(&other)]);
        assert_eq!(replay.unasked(), [(3, 9)]);
    }

    #[tokio::test]
    async fn a_new_release_of_the_client_is_still_told_the_versions() {
        let replay = Replay::new([exchange(&[0, 18, 0, 4, 0, 0, 0, 1, 1], &[0, 0, 0, 1, 10])]);
        let mut stream = replay.connect("anywhere", 1).await.unwrap();
        assert_eq!(ask(&mut stream, &[0, 18, 0, 4, 0, 0, 0, 9, 2]).await, [0, 0, 0, 9, 10]);
    }
}
