//! The accumulator, fed by hand.

#![allow(clippy::disallowed_methods, reason = "a test's clock starts somewhere")]

mod causes;
mod deadlines;
mod leaders;
mod refusals;
mod requests;
mod simulation;
mod writers;

use std::collections::{HashMap, VecDeque};

use bytes::BytesMut;

use super::*;
use crate::producer::error::{Persistence, ProduceErrorKind};
use crate::producer::outcome::{Outcome, Persisted};
use crate::producer::partition_queue::LeaderHint;
use crate::producer::response::{NodeEndpoint, PartitionAnswer, TopicAnswer};
use crate::protocol::batch::{BatchBuilder, BatchHeader, Batches, SealedBatch};
use crate::protocol::{Compression, ErrorCode};

const INIT_PRODUCER_ID: i16 = 22;
const PRODUCER: ProducerIdentity = ProducerIdentity { id: 40, epoch: 0 };

/// Where every answer comes from.
const BROKER: &str = "kafka-1:9092 (broker 1)";

/// A machine with a clock that only the test moves; metadata and producer ids are answered as the test set them.
struct Feed {
    machine: Accumulator<u32>,
    now: Instant,
    leaders: HashMap<TopicPartition, Leadership>,
    next_producer_id: Result<ProducerIdentity, CallError>,
    /// What refreshes meet instead of an answer.
    metadata_trouble: Option<CallError>,
    refreshes: usize,
    hints: Vec<LeaderHint>,
    flushed: Vec<(u64, Result<(), ProduceError>)>,
}

impl Feed {
    fn new() -> Feed {
        Feed::with(Limits {
            max_in_flight: 5,
            max_request_bytes: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
        })
    }

    fn with(limits: Limits) -> Feed {
        let mut leaders = HashMap::new();
        for partition in 0..8 {
            leaders.insert(at(partition), Leadership::Node { node: 1, epoch: 3 });
        }
        Feed {
            machine: Accumulator::new(limits),
            now: Instant::now(),
            leaders,
            next_producer_id: Ok(PRODUCER),
            metadata_trouble: None,
            refreshes: 0,
            hints: Vec::new(),
            flushed: Vec::new(),
        }
    }

    fn submit(&mut self, partition: i32, tag: u32, records: u32) {
        self.submit_chained(partition, tag, records, None);
    }

    fn submit_chained(&mut self, partition: i32, tag: u32, records: u32, chain: Option<u64>) {
        self.submit_batch(partition, tag, sealed(tag, records, 10), chain);
    }

    fn submit_batch(&mut self, partition: i32, tag: u32, batch: SealedBatch, chain: Option<u64>) {
        self.submit_submission(Submission {
            topic_partition: at(partition),
            batch,
            chain,
            permit: None,
            tag,
        });
    }

    fn submit_submission(&mut self, submission: Submission<u32>) {
        let leaders = self.leaders.clone();
        self.machine
            .handle_submission(self.now, submission, |of| said(&leaders, of));
    }

    /// All requests that may be sent now, in order.
    fn requests(&mut self) -> Vec<ProduceRequest> {
        let mut requests = Vec::new();
        while let Some(request) = self.machine.poll_request(self.now) {
            match request {
                Request::InitProducerId => {
                    self.machine.handle_producer_id(self.now, self.next_producer_id.clone());
                }
                Request::RefreshMetadata(_) => {
                    self.refreshes += 1;
                    if self.metadata_trouble.is_none() {
                        self.metadata();
                    }
                    self.machine.handle_refreshed(self.now, self.metadata_trouble.as_ref());
                }
                Request::Produce(request) => requests.push(request),
            }
        }
        requests
    }

    fn metadata(&mut self) {
        let leaders = self.leaders.clone();
        self.machine.handle_metadata(self.now, |of| said(&leaders, of));
    }

    /// The only request that may be sent now.
    fn request(&mut self) -> ProduceRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    fn answer(&mut self, request: &ProduceRequest, code: ErrorCode, base_offset: i64) {
        self.answer_with(request, |partition| said_about(partition, code, base_offset));
    }

    fn accept(&mut self, request: &ProduceRequest, base_offset: i64) {
        self.answer(request, ErrorCode::NONE, base_offset);
    }

    fn refuse(&mut self, request: &ProduceRequest, code: ErrorCode) {
        self.answer(request, code, -1);
    }

    fn answer_with(&mut self, request: &ProduceRequest, about: impl Fn(i32) -> PartitionAnswer) {
        let partitions = request.batches.iter().map(|(of, _)| about(of.partition)).collect();
        self.answer_topics(request, vec![orders(partitions)]);
    }

    fn answer_topics(&mut self, request: &ProduceRequest, topics: Vec<TopicAnswer>) {
        let answer = ProduceAnswer {
            topics,
            ..ProduceAnswer::default()
        };
        self.machine.handle_response(self.now, request.number, &BROKER, &answer);
    }

    fn lose(&mut self, request: &ProduceRequest, possibly_written: bool) {
        let kind = CallErrorKind::Disconnected {
            written: possibly_written,
        };
        self.lose_by(request, CallError::new(kind, "connection lost"));
    }

    fn lose_by(&mut self, request: &ProduceRequest, loss: CallError) {
        let loss = loss.with_api(PRODUCE).with_broker(&BROKER);
        self.machine.handle_loss(self.now, request.number, &loss);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.machine.handle_timeout(self.now);
    }

    /// Waits for the next thing the machine wants to be woken for.
    fn wait_for_timer(&mut self) {
        let at = self.machine.next_timeout().expect("a timer is armed");
        self.now = self.now.max(at);
        self.machine.handle_timeout(self.now);
    }

    fn outcomes(&mut self) -> Vec<(u32, Outcome)> {
        let mut outcomes = Vec::new();
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Finished { tag, outcome, .. } => outcomes.push((tag, outcome)),
                Event::Flushed { flush, result } => self.flushed.push((flush, result)),
                Event::LeaderMoved(hint) => self.hints.push(hint),
            }
        }
        outcomes
    }

    /// Tags and base offsets of what was acknowledged; anything else fails the test.
    fn acks(&mut self) -> Vec<(u32, i64)> {
        let ack = |(tag, outcome): (u32, Outcome)| (tag, outcome.into_whole().expect("persisted").base_offset);
        self.outcomes().into_iter().map(ack).collect()
    }

    /// Tags, kinds and persistence of what failed; anything else fails the test.
    fn failures(&mut self) -> Vec<(u32, ProduceErrorKind, Persistence)> {
        let failure = |(tag, outcome): (u32, Outcome)| {
            let error = outcome.into_whole().expect_err("failed");
            (tag, error.kind, error.persistence)
        };
        self.outcomes().into_iter().map(failure).collect()
    }
}

/// A feed whose partition 0 has one acknowledged batch (tag 0, offset 0). What `submit` adds waits behind it meanwhile, so
/// five of those may be in flight.
fn warm_with(submit: impl FnOnce(&mut Feed)) -> Feed {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let first = feed.request();
    submit(&mut feed);
    assert!(feed.requests().is_empty());
    feed.accept(&first, 0);
    assert_eq!(feed.acks(), [(0, 0)]);
    feed
}

fn said(leaders: &HashMap<TopicPartition, Leadership>, of: &TopicPartition) -> Leadership {
    leaders.get(of).copied().unwrap_or(Leadership::Unknown)
}

fn orders(partitions: Vec<PartitionAnswer>) -> TopicAnswer {
    TopicAnswer {
        name: "orders".to_owned(),
        partitions,
    }
}

fn said_about(partition: i32, code: ErrorCode, base_offset: i64) -> PartitionAnswer {
    PartitionAnswer {
        partition,
        code,
        base_offset,
        log_append_time: None,
        log_start_offset: 0,
        text: None,
        current_leader: None,
    }
}

fn no_id(code: ErrorCode) -> CallError {
    CallError::refused(INIT_PRODUCER_ID, code, None).with_broker(&BROKER)
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn sealed(tag: u32, records: u32, value_len: usize) -> SealedBatch {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for index in 0..records {
        let key = [tag.to_be_bytes(), index.to_be_bytes()].concat();
        builder.append(1_000, Some(&key), Some(&vec![b'v'; value_len]), &[]);
    }
    builder.seal(Compression::None)
}

fn header(batch: &[u8]) -> BatchHeader {
    let batch = Batches::new(batch).next().unwrap().unwrap();
    batch.verify_crc().unwrap();
    *batch.header()
}

/// Tag of the batch, epoch and sequence it carries.
fn numbered(batch: &[u8]) -> (u32, i16, i32) {
    let header = header(batch);
    (tag_of(batch), header.producer_epoch, header.base_sequence)
}

fn tag_of(batch: &[u8]) -> u32 {
    let batch = Batches::new(batch).next().unwrap().unwrap();
    let mut scratch = Vec::new();
    let first = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
    u32::from_be_bytes(first.key.unwrap()[..4].try_into().unwrap())
}

/// The numbers of a request's only batch.
fn only(request: &ProduceRequest) -> (u32, i16, i32) {
    assert_eq!(request.batches.len(), 1);
    numbered(&request.batches[0].1)
}

fn persisted(base_offset: i64, record_count: u32) -> Outcome {
    Outcome::Whole(Ok(Persisted {
        base_offset,
        record_count,
        log_append_time: None,
    }))
}
