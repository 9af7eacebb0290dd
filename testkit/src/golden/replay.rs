//! A connector behind which a recording answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::Exchange;
use super::recorder::{take_frame, without_correlation_id};

/// Room for what is under way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Answers every request with what a broker answered to the very same bytes, in the order of the recording; the last
/// answer is given again and again. A request that was not recorded is never answered.
///
/// Correlation ids count requests of a connection and are left out of the comparison. So is what ApiVersions says of the
/// client, whose version changes with every release.
#[derive(Clone, Debug)]
pub struct Replay {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    answers: BTreeMap<Question, VecDeque<Bytes>>,
    asked: BTreeSet<Question>,
    unexpected: Vec<Bytes>,
}

/// API and version, the rest of the request.
type Question = (Vec<u8>, Vec<u8>);

impl Replay {
    /// Answers as in these exchanges.
    pub fn new(recorded: impl IntoIterator<Item = Exchange>) -> Self {
        let mut heard = Heard::default();
        for exchange in recorded {
            let answers = heard.answers.entry(question(&exchange.request)).or_default();
            answers.push_back(exchange.response);
        }
        Self {
            heard: Arc::new(Mutex::new(heard)),
        }
    }

    /// Requests, without their length, that are not in the recording.
    pub fn unexpected(&self) -> Vec<Bytes> {
        self.lock().unexpected.clone()
    }

    /// Beginnings of recorded requests that nobody has asked yet.
    pub fn unasked(&self) -> Vec<(i16, i16)> {
        let heard = self.lock();
        let unasked = heard.answers.keys().filter(|question| !heard.asked.contains(*question));
        let number = |api: &[u8], at: usize| api.get(at..at + 2).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
        unasked.map(|(api, _)| (number(api, 0), number(api, 2))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut received = BytesMut::new();
        while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            while let Some(request) = take_frame(&mut received) {
                let answer = self.lock().answer(&request);
                if let Some(answer) = answer
                    && stream.write_all(&answer).await.is_err()
                {
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
    /// The recorded answer with its length, under the correlation id of this request.
    fn answer(&mut self, request: &Bytes) -> Option<Bytes> {
        let question = question(request);
        let Some(answers) = self.answers.get_mut(&question) else {
            self.unexpected.push(request.clone());
            return None;
        };
        let recorded = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        }?;
        self.asked.insert(question);
        let mut answer = BytesMut::new();
        answer.put_u32(u32::try_from(recorded.len()).ok()?);
        answer.put_slice(request.get(4..8)?);
        answer.put_slice(recorded.get(4..)?);
        Some(answer.freeze())
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

    #[tokio::test]
    async fn answers_come_in_recorded_order_under_the_correlation_id_of_the_question() {
        let replay = Replay::new([
            exchange(&[0, 3, 0, 9, 0, 0, 0, 1, 7], &[0, 0, 0, 1, 10]),
            exchange(&[0, 3, 0, 9, 0, 0, 0, 2, 7], &[0, 0, 0, 2, 20]),
            exchange(&[0, 3, 0, 9, 0, 0, 0, 3, 8], &[0, 0, 0, 3, 30]),
        ]);
        let mut stream = replay.connect("anywhere", 1).await.unwrap();
        for (id, expected) in [(5, 10), (6, 20), (7, 20)] {
            assert_eq!(
                ask(&mut stream, &[0, 3, 0, 9, 0, 0, 0, id, 7]).await,
                [0, 0, 0, id, expected]
            );
        }
        assert_eq!(replay.unasked(), [(3, 9)]);
        assert!(replay.unexpected().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_recorded_is_kept_and_not_answered() {
        let replay = Replay::new([exchange(&[0, 3, 0, 9, 0, 0, 0, 1, 7], &[0, 0, 0, 1, 10])]);
        let mut stream = replay.connect("anywhere", 1).await.unwrap();
        let other = [0, 3, 0, 9, 0, 0, 0, 1, 6];
        let asked = tokio::time::timeout(std::time::Duration::from_secs(60), ask(&mut stream, &other)).await;
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
