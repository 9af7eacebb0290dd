//! The broker by its frames: requests in, answers out, no socket and no clock.

mod compaction;
mod coordinators;
mod faults;
mod fetch;
mod groups;
mod hostile;
mod hostile_requests;
mod idempotence;
mod offsets;
mod produce;
mod sessions;
mod shapes;
mod topics;
mod versions;

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use kafka_wire::protocol::batch::{BatchBuilder, Batches};
use kafka_wire::{Compression, TopicId};

use super::core::{BrokerCore, ConnectionId, Output};
use super::{BrokerConfig, NewTopic};

const START_MS: i64 = 1_700_000_000_000;
const ACKS_ALL: i16 = -1;

/// A cluster and one connection to each of its nodes.
struct Fixture {
    core: BrokerCore,
    now: Instant,
    /// By node; node ids count from 1.
    connections: Vec<ConnectionId>,
    correlation_id: i32,
}

impl Fixture {
    fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    fn with(config: BrokerConfig) -> Self {
        let now = Instant::now();
        let nodes = config.brokers;
        let mut core = BrokerCore::new(config, now, START_MS, 42);
        let connections = (1..=nodes).map(|node| core.handle_connected(node).unwrap()).collect();
        Self {
            core,
            now,
            connections,
            correlation_id: 0,
        }
    }

    /// A topic with one partition.
    fn topic(&mut self, name: &str) -> TopicId {
        self.core.create_topic(&NewTopic::new(name, 1)).unwrap()
    }

    fn connection(&self, node: i32) -> ConnectionId {
        self.connections[usize::try_from(node - 1).unwrap()]
    }

    /// Sends a request to node 1 and takes its answer.
    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.call_node(1, version, request)
    }

    fn call_node<R: Request>(&mut self, node: i32, version: i16, request: &R) -> R::Response {
        self.send(node, version, request);
        self.answer::<R>(version).expect("the request is answered at once")
    }

    fn send<R: Request>(&mut self, node: i32, version: i16, request: &R) {
        self.correlation_id += 1;
        let frame = frame(self.correlation_id, version, request);
        self.core.handle_request(self.now, self.connection(node), frame);
    }

    fn output(&mut self) -> Option<Output> {
        self.core.poll_response()
    }

    /// The next output, which must be a whole answer to the request sent last.
    fn answer<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let output = self.output()?;
        assert!(!output.close, "the connection is closed");
        Some(self.decode::<R>(version, &output))
    }

    fn decode<R: Request>(&self, version: i16, output: &Output) -> R::Response {
        let mut bytes: Bytes = output.bytes.concat().into();
        let length = usize::try_from(bytes.get_u32()).unwrap();
        assert_eq!(length, bytes.len(), "the length counts the rest of the frame");
        let key = ApiKey::try_from(R::KEY).unwrap();
        let header = ResponseHeader::decode(&mut bytes, key.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut bytes, version).unwrap();
        assert!(bytes.is_empty(), "nothing follows the answer");
        response
    }

    /// Lets time pass, firing what is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Produces a batch to partition 0 of a topic on node 1 with the newest version that names topics.
    fn produce(&mut self, topic: &str, records: Bytes) -> PartitionProduceResponse {
        self.produce_to(1, 12, topic, records)
    }

    fn produce_to(&mut self, node: i32, version: i16, topic: &str, records: Bytes) -> PartitionProduceResponse {
        let mut response = self.call_node(node, version, &produce_request(topic, records));
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Fetches partition 0 of a topic from node 1 without waiting.
    fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        let mut response = self.call(12, &fetch_request(topic, offset));
        response.responses.remove(0).partitions.remove(0)
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request frame without its length.
fn frame<R: Request>(correlation_id: i32, version: i16, request: &R) -> Bytes {
    let key = ApiKey::try_from(R::KEY).unwrap();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("test")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, key.request_header_version(version)).unwrap();
    request.encode(&mut frame, version).unwrap();
    frame.freeze()
}

/// A batch of records with keys and values, stamped one second after the start.
fn batch(records: &[(&str, &str)]) -> Bytes {
    let all: Vec<_> = records.iter().map(|(key, value)| (Some(*key), Some(*value))).collect();
    batch_of(&all, Compression::None)
}

fn batch_of(records: &[(Option<&str>, Option<&str>)], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (index, (key, value)) in (0..).zip(records) {
        builder.append(
            START_MS + 1000 + index,
            key.map(str::as_bytes),
            value.map(str::as_bytes),
            &[],
        );
    }
    builder.seal(compression).freeze()
}

/// A batch of an idempotent producer.
fn idempotent_batch(producer: i64, epoch: i16, sequence: i32, records: &[(&str, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (key, value) in records {
        builder.append(START_MS, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    let mut sealed = builder.seal(Compression::None);
    sealed.stamp(producer, epoch, sequence);
    sealed.freeze()
}

fn produce_request(topic: &str, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(ACKS_ALL)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
}

fn fetch_partition(offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![fetch_partition(offset)]);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_min_bytes(1)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The answer for the only partition of the only topic.
fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!(response.responses.len(), 1);
    response.responses.remove(0).partitions.remove(0)
}

/// The offsets of the records in fetched bytes, whole batches only.
fn offsets_in(data: &PartitionData) -> Vec<i64> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut offsets = Vec::new();
    for batch in Batches::new(&bytes) {
        let mut scratch = Vec::new();
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        offsets.extend(
            batch
                .records(&mut scratch)
                .unwrap()
                .map(|record| record.unwrap().offset),
        );
    }
    offsets
}
