//! The schedule, fed by hand: requests are taken out and answered with what a broker would say, and time is a number.

mod brokers;
mod ends;
mod lanes;
mod leaders;
mod positions;
mod room;
mod too_large;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::connection::CallErrorKind;
use crate::fetcher::AbortedTransaction;
use crate::fetcher::position::Want;
use crate::fetcher::wire::{Fetched, Kind, Lane, Told};
use crate::protocol::batch::BatchBuilder;
use crate::protocol::{Compression, ErrorCode, IsolationLevel};

/// Bytes of one partition asked for in the tests, and bytes that may lie ready of one.
const PARTITION_MAX: usize = 1000;
const BUFFER: usize = 2000;
const LARGEST_BATCH: usize = 5000;
/// Bytes that fetches may hold in all.
const LIMIT: usize = 1 << 20;
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Longer than any pause after a failure.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// A schedule, and brokers 1 and 2. Partition `n` of `clicks` is read under id `n`, unless a test says otherwise.
struct Fixture {
    schedule: Schedule,
    now: Instant,
}

/// Broker 1 leads the partitions of `clicks`.
fn fixture() -> Fixture {
    with_config(|_| {})
}

fn with_config(change: impl FnOnce(&mut FetcherConfig)) -> Fixture {
    let mut config = FetcherConfig {
        max_wait: MAX_WAIT,
        partition_max_bytes: PARTITION_MAX,
        partition_buffer_bytes: BUFFER,
        ..FetcherConfig::default()
    };
    change(&mut config);
    Fixture {
        schedule: Schedule::new(config, (LARGEST_BATCH, LIMIT), clicks_on([1; 4], 5), Jitter::seeded(1)),
        now: Instant::now(),
    }
}

/// The cluster with `clicks` led by those nodes.
fn clicks_on<const N: usize>(nodes: [i32; N], epoch: i32) -> Arc<ClusterImage> {
    image(&[("clicks", 7, &nodes)], epoch)
}

/// Topics with name, id and the leader of each partition, -1 for none.
fn image(topics: &[(&'static str, u8, &[i32])], epoch: i32) -> Arc<ClusterImage> {
    let brokers = [1, 2].map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node))
            .with_host(StrBytes::from_string(format!("kafka-{node}")))
            .with_port(9092)
    });
    let topics = topics.iter().map(|(name, id, leaders)| {
        let partitions = leaders.iter().enumerate().map(|(index, &leader)| {
            MetadataResponsePartition::default()
                .with_partition_index(index as i32)
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(epoch)
        });
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str(name))))
            .with_topic_id([*id; 16].to_vec().try_into().unwrap())
            .with_partitions(partitions.collect())
    });
    let response = MetadataResponse::default()
        .with_brokers(brokers.to_vec())
        .with_topics(topics.collect());
    Arc::new(ClusterImage::default().after_metadata(&response).unwrap())
}

impl Fixture {
    /// Reads partition `id` of `clicks` from offset 0 on.
    fn add(&mut self, id: u64) {
        self.add_at(id, StartOffset::Offset(0), OffsetReset::Error);
    }

    fn add_at(&mut self, id: u64, start: StartOffset, reset: OffsetReset) {
        self.add_as(id, TopicPartition::new("clicks", id as i32), start, reset);
    }

    fn add_as(&mut self, id: u64, topic_partition: TopicPartition, start: StartOffset, reset: OffsetReset) {
        self.schedule
            .handle_added(self.now, id, topic_partition, (start, reset));
    }

    /// Everything that is to be sent now.
    fn requests(&mut self) -> Vec<Arc<Request>> {
        std::iter::from_fn(|| self.schedule.poll_request(self.now)).collect()
    }

    /// The only thing that is to be sent now.
    fn request(&mut self) -> Arc<Request> {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.schedule.poll_event()).collect()
    }

    /// Answers with what is told about partitions, by their places.
    fn answer(&mut self, request: &Request, partitions: Vec<(usize, Told)>) {
        self.answer_with(request, answer(partitions));
    }

    fn answer_with(&mut self, request: &Request, answer: Answer) {
        self.schedule.handle_answer(self.now, request.ticket, Ok(answer));
    }

    fn fail(&mut self, request: &Request, kind: CallErrorKind) {
        let error = CallError::new(kind, "for the test");
        self.schedule.handle_answer(self.now, request.ticket, Err(error));
    }

    fn take(&mut self, id: u64, bytes: usize) {
        self.schedule.handle_taken(id, bytes);
    }

    fn image(&mut self, image: Arc<ClusterImage>) {
        self.schedule.handle_image(self.now, image);
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.schedule.handle_timeout(self.now);
    }
}

fn answer(partitions: Vec<(usize, Told)>) -> Answer {
    Answer {
        code: ErrorCode::NONE,
        throttle: Duration::ZERO,
        partitions,
        endpoints: Vec::new(),
        held: None,
    }
}

fn ids(request: &Request) -> Vec<u64> {
    request.partitions.iter().map(|asked| asked.id).collect()
}

/// Broker, lane and ids of a fetch.
fn fetch(request: &Request) -> (i32, Lane, Vec<u64>) {
    match request.kind {
        Kind::Fetch { lane, .. } => (request.node, lane, ids(request)),
        other => panic!("no fetch but {other:?}"),
    }
}

/// A batch of `count` records from `offset` on, written in leader epoch 5, that takes `length` bytes.
fn batch(offset: i64, count: i64, length: usize) -> Bytes {
    let sealed = |value: usize| {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for number in 0..count {
            let value = if number == 0 { value } else { 0 };
            builder.append(0, None, Some(&vec![0; value]), &[]);
        }
        builder.seal(Compression::None).freeze().to_vec()
    };
    let mut bytes = (0..length).map(sealed).find(|bytes| bytes.len() >= length).unwrap();
    assert_eq!(bytes.len(), length, "no value makes this length");
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&5i32.to_be_bytes());
    bytes.into()
}

/// Those bytes, of a log that ends at `high`.
fn bytes(records: Bytes, high: i64) -> Told {
    Told::Records(Fetched {
        records,
        watermarks: Watermarks {
            log_start: 0,
            high,
            last_stable: high,
        },
        aborted: Vec::new(),
    })
}

/// Ten records from `offset` on, of a log that ends after 1000.
fn records(offset: i64) -> Told {
    bytes(batch(offset, 10, 200), 1000)
}

/// No records, of a log that ends at `high`.
fn nothing(high: i64) -> Told {
    bytes(Bytes::new(), high)
}

fn refusal(code: ErrorCode) -> Told {
    Told::Error { code, leader: None }
}

/// The topics to look up, as often as that is wanted.
fn look_ups(events: &[Event]) -> Vec<&str> {
    let topics = events.iter().filter_map(|event| match event {
        Event::LookUp { topic } => Some(&**topic),
        _ => None,
    });
    topics.collect()
}

fn failures(events: Vec<Event>) -> Vec<(u64, FetchError)> {
    let failures = events.into_iter().filter_map(|event| match event {
        Event::Failed { id, error } => Some((id, error)),
        _ => None,
    });
    failures.collect()
}
