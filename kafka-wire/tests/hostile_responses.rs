//! Whatever a broker answers: no panic, and memory bounded by what really came.
//!
//! The same bytes are read with and without the guard where that proves something about the guard itself: that its shapes are the
//! ones the decoders read, and that it counts no less than they allocate.

mod hostile;

use bytes::Bytes;
use hostile::{bound, harmed, harms, peak, small, teeming, written};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message, StrBytes, VersionRange};
use kafka_wire::CallErrorKind;
use kafka_wire::rpc::guard;
use proptest::prelude::*;

/// A response that the client reads.
#[derive(Clone, Copy)]
struct Response {
    api: ApiKey,
    versions: VersionRange,
    /// As the client reads it; whether it was understood, else the kind and the words of the error.
    read: fn(i16, Bytes) -> Result<(), (CallErrorKind, String)>,
    /// Without the guard; how many bytes were left over.
    read_unguarded: fn(i16, Bytes) -> Result<usize, String>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.api)
    }
}

macro_rules! responses {
    ($($api:ident $response:ident,)*) => {
        const RESPONSES: &[Response] = &[$(Response {
            api: ApiKey::$api,
            versions: $response::VERSIONS,
            read: |version, body| match guard::decode::<$response>(ApiKey::$api as i16, version, body) {
                Ok(_) => Ok(()),
                Err(error) => Err((error.kind(), error.to_string())),
            },
            read_unguarded: |version, mut body| match $response::decode(&mut body, version) {
                Ok(_) => Ok(body.len()),
                Err(error) => Err(error.to_string()),
            },
        },)*];
    };
}

responses! {
    Produce ProduceResponse,
    Fetch FetchResponse,
    ListOffsets ListOffsetsResponse,
    Metadata MetadataResponse,
    OffsetCommit OffsetCommitResponse,
    OffsetFetch OffsetFetchResponse,
    FindCoordinator FindCoordinatorResponse,
    JoinGroup JoinGroupResponse,
    Heartbeat HeartbeatResponse,
    LeaveGroup LeaveGroupResponse,
    SyncGroup SyncGroupResponse,
    DescribeGroups DescribeGroupsResponse,
    ListGroups ListGroupsResponse,
    ApiVersions ApiVersionsResponse,
    CreateTopics CreateTopicsResponse,
    DeleteTopics DeleteTopicsResponse,
    DeleteRecords DeleteRecordsResponse,
    InitProducerId InitProducerIdResponse,
    OffsetForLeaderEpoch OffsetForLeaderEpochResponse,
    DescribeConfigs DescribeConfigsResponse,
    DeleteGroups DeleteGroupsResponse,
    DescribeCluster DescribeClusterResponse,
}

/// A response and one of its versions.
fn message() -> impl Strategy<Value = (Response, i16)> {
    proptest::sample::select(RESPONSES)
        .prop_flat_map(|response| (Just(response), response.versions.min..=response.versions.max))
}

fn shape(response: Response) -> &'static guard::Shape {
    guard::response_shape(response.api as i16).expect("it is read, so it has a shape")
}

/// Reads as the client does and holds it to the bound.
fn read_in_bounds(response: Response, version: i16, body: Vec<u8>) -> Result<(), TestCaseError> {
    let (length, body) = (body.len(), Bytes::from(body));
    let mut outcome = Ok(());
    let used = peak(|| outcome = (response.read)(version, body));
    prop_assert!(used <= bound(length), "{used} bytes for {length}");
    if let Err((kind, text)) = outcome {
        prop_assert_eq!(kind, CallErrorKind::Protocol);
        prop_assert!(text.contains(&format!("{:?}", response.api)), "{}", text);
    }
    Ok(())
}

#[test]
fn every_api_with_a_shape_is_tested() {
    for key in -1..1_000 {
        let tested = RESPONSES.iter().any(|response| response.api as i16 == key);
        assert_eq!(guard::response_shape(key).is_some(), tested, "API {key}");
    }
}

#[test]
fn a_count_of_two_billion_elements_costs_nothing() {
    for response in RESPONSES {
        for version in response.versions.min..=response.versions.max {
            for lie in [&i32::MAX.to_be_bytes()[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
                for lead in 0..16 {
                    let body = Bytes::from([&vec![0; lead][..], lie].concat());
                    let used = peak(|| drop((response.read)(version, body)));
                    assert!(used <= bound(0), "{response:?} v{version}: {used} bytes");
                }
            }
        }
    }
}

#[test]
fn honest_answers_of_large_clusters_are_read() {
    let read = |api: ApiKey, message: &dyn Fn(i16) -> Vec<u8>| {
        let response = RESPONSES.iter().find(|response| response.api == api).unwrap();
        for version in response.versions.min..=response.versions.max {
            let body = message(version);
            assert!(body.len() > 100_000);
            assert_eq!((response.read)(version, body.into()), Ok(()), "{api:?} v{version}");
        }
    };
    read(ApiKey::Metadata, &|version| encode(&large_metadata(), version));
    read(ApiKey::Fetch, &|version| encode(&large_fetch(version), version));
    read(ApiKey::ListOffsets, &|version| encode(&large_list_offsets(), version));
}

fn encode(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    message
        .encode(&mut body, version)
        .expect("every field is in every version");
    body
}

/// 60 brokers, 100 topics of 60 partitions in three replicas.
fn large_metadata() -> MetadataResponse {
    let brokers = (0..60).map(|node| {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(node));
        broker
            .with_host(StrBytes::from(format!("kafka-{node}")))
            .with_port(9092)
    });
    let partitions = (0..60).map(|index| {
        let replicas = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
        let partition = MetadataResponsePartition::default().with_partition_index(index);
        partition.with_replica_nodes(replicas.clone()).with_isr_nodes(replicas)
    });
    let partitions: Vec<_> = partitions.collect();
    let topics = (0..100).map(|number| {
        let name = TopicName(StrBytes::from(format!("topic-{number}")));
        let topic = MetadataResponseTopic::default().with_name(Some(name));
        topic.with_partitions(partitions.clone())
    });
    let response = MetadataResponse::default().with_brokers(brokers.collect());
    response.with_topics(topics.collect())
}

/// 3 000 topics of one partition, without a record.
fn large_fetch(version: i16) -> FetchResponse {
    let topics = (0..3_000).map(|number| {
        let partition = PartitionData::default().with_records(Some(Bytes::new()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        if version < 13 {
            topic.with_topic(TopicName(StrBytes::from(format!("topic-{number}"))))
        } else {
            topic.with_topic_id(uuid::Uuid::from_u128(number))
        }
    });
    FetchResponse::default().with_responses(topics.collect())
}

/// 5 000 topics of one partition.
fn large_list_offsets() -> ListOffsetsResponse {
    let topics = (0..5_000).map(|number| {
        let topic = ListOffsetsTopicResponse::default();
        topic
            .with_name(TopicName(StrBytes::from(format!("topic-{number}"))))
            .with_partitions(vec![ListOffsetsPartitionResponse::default()])
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_shapes_are_the_ones_the_decoders_read((response, version) in message(), style in small(), cut in any::<prop::sample::Index>()) {
        let body = written(shape(response), version, style);
        prop_assert_eq!(shape(response).check(&body, version), Ok(()));
        prop_assert_eq!((response.read_unguarded)(version, body.clone().into()), Ok(0));
        let cut = cut.index(body.len());
        prop_assert!(shape(response).check(&body[..cut], version).is_err(), "cut to {}", cut);
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused_in_bounded_memory(
        (response, version) in message(),
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        read_in_bounds(response, version, body)?;
    }

    #[test]
    fn mutated_answers_are_read_or_refused_in_bounded_memory(
        (response, version) in message(),
        style in small(),
        harms in harms(),
    ) {
        read_in_bounds(response, version, harmed(written(shape(response), version, style), &harms))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn many_elements_of_almost_nothing_are_read_or_refused_in_bounded_memory(
        (response, version) in message(),
        style in teeming(),
    ) {
        read_in_bounds(response, version, written(shape(response), version, style))?;
    }
}
