//! The embedded broker against Kafka: the same session, and both sides of every exchange compared field by field.
//!
//! What differs between any two clusters is evened out before: ids, ports, the lists of APIs and settings, which have
//! tests of their own. What remains must be equal: structure, error codes, offsets, epochs, names, order.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_wire::protocol::batch::Batches;
use testkit::broker::{BrokerConfig, BrokerCore, EmbeddedBroker};
use testkit::golden::{Exchange, Recorder, Session};
use uuid::Uuid;

use super::{codec, exchanges, files};

#[test]
fn every_request_kafka_got_is_understood_and_answered_in_its_own_version() {
    for file in files() {
        for exchange in &file.exchanges {
            let answer = ask(exchange.request.clone());
            assert_eq!(answer[..4], exchange.request[4..8], "the correlation id");
            codec::check_response(file.api, file.version, &answer)
                .unwrap_or_else(|error| panic!("{:?} v{}, {}: {error}", file.api, file.version, exchange.step));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_same_session_the_embedded_broker_says_what_kafka_said() {
    let heard = Heard::by_session().await;
    heard.compare::<CreateTopicsRequest>(even, |it| {
        for topic in &mut it.topics {
            topic.topic_id = even_id(topic.topic_id);
            topic.configs = None;
        }
    });
    heard.compare::<DeleteTopicsRequest>(even, |it| {
        it.responses
            .iter_mut()
            .for_each(|topic| topic.topic_id = even_id(topic.topic_id));
        // Kafka shuffles them.
        it.responses.sort_by_key(|topic| topic.name.clone());
    });
    heard.compare::<DescribeConfigsRequest>(even, |it| {
        it.results.iter_mut().for_each(|result| result.configs.clear());
    });
    heard.compare::<MetadataRequest>(even, |it| {
        it.cluster_id = it.cluster_id.as_ref().map(|_| StrBytes::from_static_str("any"));
        it.brokers.iter_mut().for_each(|broker| broker.port = 0);
        for topic in &mut it.topics {
            topic.topic_id = even_id(topic.topic_id);
            // Kafka names them in any order.
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    });
    heard.compare::<FindCoordinatorRequest>(even, |it| {
        it.coordinators
            .iter_mut()
            .for_each(|coordinator| coordinator.port = coordinator.port.signum());
    });
    heard.compare::<InitProducerIdRequest>(even, |it| it.producer_id = 7.into());
    heard.compare::<ProduceRequest>(
        |it| {
            let partitions = it.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data);
            partitions.for_each(|partition| even_records(&mut partition.records));
        },
        even,
    );
    heard.compare::<FetchRequest>(
        |it| {
            it.topics
                .iter_mut()
                .for_each(|topic| topic.topic_id = even_id(topic.topic_id))
        },
        |it| {
            for topic in &mut it.responses {
                topic.topic_id = even_id(topic.topic_id);
                topic
                    .partitions
                    .iter_mut()
                    .for_each(|partition| even_records(&mut partition.records));
            }
        },
    );
    heard.compare::<ListOffsetsRequest>(even, even);
    heard.compare::<OffsetForLeaderEpochRequest>(even, even);
    heard.compare::<JoinGroupRequest>(
        |it| even_member(&mut it.member_id),
        |it| {
            even_member(&mut it.member_id);
            even_member(&mut it.leader);
            it.members
                .iter_mut()
                .for_each(|member| even_member(&mut member.member_id));
        },
    );
    heard.compare::<SyncGroupRequest>(
        |it| {
            even_member(&mut it.member_id);
            it.assignments
                .iter_mut()
                .for_each(|member| even_member(&mut member.member_id));
        },
        even,
    );
    heard.compare::<HeartbeatRequest>(|it| even_member(&mut it.member_id), even);
    heard.compare::<OffsetCommitRequest>(|it| even_member(&mut it.member_id), even);
    heard.compare::<OffsetFetchRequest>(|it| it.groups.iter_mut().for_each(|group| group.member_id = None), even);
    heard.compare::<LeaveGroupRequest>(
        |it| {
            it.members
                .iter_mut()
                .for_each(|member| even_member(&mut member.member_id))
        },
        |it| {
            it.members
                .iter_mut()
                .for_each(|member| even_member(&mut member.member_id))
        },
    );
    heard.all_compared();
}

#[test]
fn the_embedded_broker_speaks_no_version_that_kafka_does_not() {
    let (version, exchange) = exchanges(ApiKey::ApiVersions, "topics are created").remove(0);
    let answer = ask(exchange.request.clone());
    let ranges = |frame: &Bytes| -> BTreeMap<i16, (i16, i16)> {
        let (_, response) = codec::response::<ApiVersionsRequest>(frame, version).unwrap();
        assert_eq!(response.error_code, 0);
        let keys = response.api_keys.iter();
        keys.map(|it| (it.api_key, (it.min_version, it.max_version))).collect()
    };
    let (kafka, ours) = (ranges(&exchange.response), ranges(&answer));
    assert!(ours.len() > 15, "{ours:?}");
    for (key, (min, max)) in ours {
        let (kafka_min, kafka_max) = kafka[&key];
        assert!(
            kafka_min <= min && max <= kafka_max,
            "API {key}: {min}-{max}, Kafka {kafka_min}-{kafka_max}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_the_embedded_broker_knows_are_kafkas() {
    let heard = Heard::by_session().await;
    let settings = |exchanges: &[Exchange]| -> BTreeMap<String, (Option<String>, bool, i8, bool, bool)> {
        let mut of_api = exchanges
            .iter()
            .filter(|it| it.api_key() == ApiKey::DescribeConfigs as i16);
        let exchange = of_api.next().unwrap();
        let (_, response) = codec::response::<DescribeConfigsRequest>(&exchange.response, exchange.version()).unwrap();
        let configs = response.results[0].configs.iter().map(|it| {
            let value = it.value.as_ref().map(ToString::to_string);
            let told = (
                value,
                it.config_source == OF_THE_TOPIC,
                it.config_type,
                it.read_only,
                it.is_sensitive,
            );
            (it.name.to_string(), told)
        });
        configs.collect()
    };
    let (kafka, ours) = (settings(&heard.kafka), settings(&heard.ours));
    assert!(ours.len() > 5, "{ours:?}");
    for (name, told) in ours {
        assert_eq!(Some(&told), kafka.get(&name), "{name}");
    }
}

/// Where fields of a batch lie.
const LENGTH_ENDS_AT: usize = 12;
const CHECKSUM: Range<usize> = 17..21;
const PRODUCER_ID: Range<usize> = 43..51;

/// The source of a setting that was made for the topic. Kafka has several sources of defaults.
const OF_THE_TOPIC: i8 = 1;

/// Both brokers' words in the same session.
struct Heard {
    kafka: Vec<Exchange>,
    ours: Vec<Exchange>,
    compared: std::cell::RefCell<Vec<i16>>,
}

impl Heard {
    async fn by_session() -> Self {
        let broker = EmbeddedBroker::in_memory(BrokerConfig::default()).unwrap();
        let recorder = Recorder::new(broker.connector());
        let begin = |step: &str| recorder.begin(step);
        let session = Session::new(&broker.bootstrap(), Arc::new(recorder.clone()), begin).unwrap();
        session.run().await.unwrap();
        let exchanges = files().into_iter().flat_map(|file| file.exchanges);
        Self {
            kafka: exchanges
                .filter(|exchange| !exchange.step.starts_with("java-"))
                .collect(),
            ours: recorder.take(),
            compared: std::cell::RefCell::default(),
        }
    }

    /// What Kafka was asked and answered must have been asked and answered here, in the same step.
    fn compare<R: Request + Debug + PartialEq>(&self, question: impl Fn(&mut R), answer: impl Fn(&mut R::Response))
    where
        R::Response: Debug + PartialEq,
    {
        let told = |exchanges: &[Exchange]| -> Vec<(String, i16, R, R::Response)> {
            let of_api = exchanges.iter().filter(|it| it.api_key() == R::KEY);
            let told = of_api.map(|it| {
                let (_, mut request) = codec::request::<R>(&it.request, it.version()).unwrap();
                let (_, mut response) = codec::response::<R>(&it.response, it.version()).unwrap();
                question(&mut request);
                answer(&mut response);
                (it.step.clone(), it.version(), request, response)
            });
            told.collect()
        };
        let ours = told(&self.ours);
        for exchange in told(&self.kafka) {
            assert!(ours.contains(&exchange), "Kafka: {exchange:#?}\nwe: {ours:#?}");
        }
        self.compared.borrow_mut().push(R::KEY);
    }

    fn all_compared(&self) {
        for exchange in &self.kafka {
            let (key, versions) = (exchange.api_key(), ApiKey::ApiVersions as i16);
            assert!(key == versions || self.compared.borrow().contains(&key), "API {key}");
        }
    }
}

/// Nothing differs.
fn even<T>(_: &mut T) {}

fn even_id(id: Uuid) -> Uuid {
    if id.is_nil() { id } else { Uuid::from_bytes([7; 16]) }
}

/// Producer ids differ, and so do checksums, which cover them.
fn even_records(records: &mut Option<Bytes>) {
    let Some(bytes) = records.as_deref() else { return };
    let (mut even, mut at) = (bytes.to_vec(), 0);
    for batch in Batches::new(bytes) {
        even[at + CHECKSUM.start..at + CHECKSUM.end].fill(0);
        even[at + PRODUCER_ID.start..at + PRODUCER_ID.end].fill(0);
        at += LENGTH_ENDS_AT + usize::try_from(batch.unwrap().header().batch_length).unwrap();
    }
    *records = Some(even.into());
}

/// `golden-0b0e...` is a member id; the empty one of a new member stays.
fn even_member(id: &mut StrBytes) {
    const UUID_LEN: usize = 36;
    if let Some(at) = id.len().checked_sub(UUID_LEN) {
        *id = StrBytes::from_string(id[..at].to_owned());
    }
}

/// The answer of a new cluster of one broker to a request frame, without its length.
fn ask(request: Bytes) -> Bytes {
    let mut now = Instant::now();
    let mut core = BrokerCore::new(BrokerConfig::default(), now, 1_700_000_000_000, 42);
    let connection = core.handle_connected(1).unwrap();
    core.handle_request(now, connection, request);
    let output = loop {
        if let Some(output) = core.poll_response() {
            break output;
        }
        now = core.next_timeout().expect("the broker answers or waits for something");
        core.handle_timeout(now);
    };
    assert!(!output.close, "the broker hung up");
    let mut frame = Bytes::from(output.bytes.concat());
    assert_eq!(usize::try_from(frame.get_u32()).unwrap(), frame.len());
    frame
}
