//! Topics: created, described, deleted, created again; configurations; leaders of dead brokers.

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, MetadataRequest,
};
use kafka_wire::ErrorCode;
use uuid::Uuid;

use super::*;
use crate::broker::LostTail;

fn new_topic(topic: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(3)
        .with_replication_factor(-1)
}

fn create(fixture: &mut Fixture, topic: CreatableTopic) -> ErrorCode {
    let response = fixture.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]));
    ErrorCode(response.topics[0].error_code)
}

fn by_name(topics: &[&str]) -> MetadataRequest {
    let topics = topics
        .iter()
        .map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
    MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(true)
}

#[test]
fn a_created_topic_is_described_in_every_version_of_metadata() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(3));
    for version in 2..=7 {
        let topic = new_topic(&format!("t{version}"));
        let response = fixture.call(version, &CreateTopicsRequest::default().with_topics(vec![topic]));
        assert_eq!(response.topics[0].error_code, 0, "version {version}");
    }
    for version in 0..=13 {
        let response = fixture.call(version, &by_name(&["t7", "nowhere"]));
        assert_eq!(response.brokers.len(), 3);
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 3), "version {version}");
        let leaders: Vec<i32> = topic.partitions.iter().map(|partition| partition.leader_id.0).collect();
        assert!(
            [1, 2, 3].iter().all(|node| leaders.contains(node)),
            "leaders are spread: {leaders:?}"
        );
        assert_eq!(topic.partitions[0].isr_nodes.len(), 3);
        assert_eq!(response.topics[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
        if version >= 10 {
            assert_eq!(topic.topic_id.as_bytes(), &fixture.core.topic_id("t7").unwrap().0);
        }
    }
}

#[test]
fn no_topics_means_all_in_version_0_and_none_later_where_null_means_all() {
    let mut fixture = Fixture::new();
    fixture.topic("a");
    fixture.topic("b");
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert_eq!(fixture.call(0, &none).topics.len(), 2);
    assert_eq!(fixture.call(1, &none).topics.len(), 0);
    assert_eq!(
        fixture
            .call(1, &MetadataRequest::default().with_topics(None))
            .topics
            .len(),
        2
    );
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let mut fixture = Fixture::new();
    let id = fixture.topic("t");
    let by_id = |id: [u8; 16]| {
        let topic = MetadataRequestTopic::default()
            .with_name(None)
            .with_topic_id(Uuid::from_bytes(id));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let response = fixture.call(12, &by_id(id.0));
    assert_eq!(response.topics[0].name.as_ref().unwrap(), &name("t"));
    let response = fixture.call(12, &by_id([9; 16]));
    assert_eq!(
        (response.topics[0].error_code, &response.topics[0].name),
        (ErrorCode::UNKNOWN_TOPIC_ID.0, &None)
    );
}

#[test]
fn topics_are_created_on_demand_only_if_the_broker_and_the_client_want_it() {
    let mut fixture = Fixture::new();
    let response = fixture.call(9, &by_name(&["t"]));
    assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let config = BrokerConfig {
        auto_create_topics: true,
        ..BrokerConfig::default()
    };
    let mut fixture = Fixture::with(config);
    let response = fixture.call(9, &by_name(&["t"]).with_allow_auto_topic_creation(false));
    assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let response = fixture.call(9, &by_name(&["t", "a b"]));
    assert_eq!(response.topics[0].error_code, ErrorCode::LEADER_NOT_AVAILABLE.0);
    assert_eq!(response.topics[1].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION.0);
    assert_eq!(fixture.call(9, &by_name(&["t"])).topics[0].error_code, 0);
}

#[test]
fn what_cannot_be_created_is_refused_with_kafkas_codes() {
    let mut fixture = Fixture::new();
    fixture.topic("a.b");
    let config = |name: &str, value: Option<&str>| {
        let setting = CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(value.map(text));
        new_topic("t").with_configs(vec![setting])
    };
    let assigned = |partition: i32, brokers: &[i32]| {
        let brokers = brokers.iter().copied().map(Into::into).collect();
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(brokers)
    };
    let manual = |assignments| new_topic("t").with_num_partitions(-1).with_assignments(assignments);
    let cases = [
        (new_topic("a.b"), ErrorCode::TOPIC_ALREADY_EXISTS),
        (new_topic("a_b"), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (new_topic("a b"), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (new_topic("__cluster_metadata"), ErrorCode::INVALID_REQUEST),
        (new_topic("t").with_num_partitions(0), ErrorCode::INVALID_PARTITIONS),
        (
            new_topic("t").with_num_partitions(i32::MAX),
            ErrorCode::POLICY_VIOLATION,
        ),
        (
            new_topic("t").with_replication_factor(0),
            ErrorCode::INVALID_REPLICATION_FACTOR,
        ),
        (
            new_topic("t").with_replication_factor(2),
            ErrorCode::INVALID_REPLICATION_FACTOR,
        ),
        (config("cleanup.policy", Some("shred")), ErrorCode::INVALID_CONFIG),
        (config("cleanup.polizei", Some("delete")), ErrorCode::INVALID_CONFIG),
        (config("cleanup.policy", None), ErrorCode::INVALID_CONFIG),
        (
            new_topic("t").with_assignments(vec![assigned(0, &[1])]),
            ErrorCode::INVALID_REQUEST,
        ),
        (manual(vec![assigned(0, &[9])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (
            manual(vec![assigned(0, &[1, 1])]),
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ),
        (manual(vec![assigned(1, &[1])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
    ];
    for (topic, expected) in cases {
        let what = format!("{topic:?}");
        assert_eq!(create(&mut fixture, topic), expected, "{what}");
    }
    assert_eq!(
        create(&mut fixture, manual(vec![assigned(1, &[1]), assigned(0, &[1])])),
        ErrorCode::NONE
    );
}

#[test]
fn a_name_given_twice_is_refused_once_and_validation_creates_nothing() {
    let mut fixture = Fixture::new();
    let twice = CreateTopicsRequest::default().with_topics(vec![new_topic("t"), new_topic("t")]);
    let response = fixture.call(7, &twice);
    assert_eq!(response.topics.len(), 1);
    assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_REQUEST.0);
    let validated = CreateTopicsRequest::default()
        .with_topics(vec![new_topic("t")])
        .with_validate_only(true);
    let response = fixture.call(7, &validated);
    assert_eq!(
        (response.topics[0].error_code, response.topics[0].num_partitions),
        (0, 3)
    );
    assert_eq!(fixture.core.topic_id("t"), None);
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut fixture = Fixture::new();
    for version in 1..=5 {
        fixture.topic("t");
        let response = fixture.call(
            version,
            &DeleteTopicsRequest::default().with_topic_names(vec![name("t")]),
        );
        assert_eq!(response.responses[0].error_code, 0, "version {version}");
        assert_eq!(fixture.core.topic_id("t"), None);
    }
    let id = fixture.topic("t");
    let state = |topic: Option<&str>, id: [u8; 16]| {
        DeleteTopicState::default()
            .with_name(topic.map(name))
            .with_topic_id(Uuid::from_bytes(id))
    };
    let asked = vec![
        state(None, id.0),
        state(Some("gone"), [0; 16]),
        state(None, [5; 16]),
        state(Some("t"), id.0),
        state(None, [0; 16]),
    ];
    let response = fixture.call(6, &DeleteTopicsRequest::default().with_topics(asked));
    let codes: Vec<_> = response
        .responses
        .iter()
        .map(|result| ErrorCode(result.error_code))
        .collect();
    let expected = [
        ErrorCode::NONE,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::INVALID_REQUEST,
    ];
    assert_eq!(codes, expected);
    assert_eq!(response.responses[0].name.as_ref().unwrap(), &name("t"));
}

#[test]
fn a_topic_created_again_has_another_id_and_an_empty_log() {
    let mut fixture = Fixture::new();
    let first = fixture.topic("t");
    fixture.produce("t", batch(&[("a", "1")]));
    fixture.call(1, &DeleteTopicsRequest::default().with_topic_names(vec![name("t")]));
    let second = fixture.topic("t");
    assert_ne!(first, second);
    assert_eq!(fixture.core.offsets("t", 0).unwrap().log_end, 0);
}

#[test]
fn settings_are_described_with_their_source() {
    let mut fixture = Fixture::new();
    fixture
        .core
        .create_topic(&NewTopic::new("t", 1).config("cleanup.policy", "compact"))
        .unwrap();
    let resource = |kind: i8, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    for version in 1..=4 {
        let asked = vec![
            resource(2, "t"),
            resource(2, "gone"),
            resource(4, "1"),
            resource(4, "2"),
            resource(2, "a b"),
        ];
        let response = fixture.call(version, &DescribeConfigsRequest::default().with_resources(asked));
        let codes: Vec<_> = response
            .results
            .iter()
            .map(|result| ErrorCode(result.error_code))
            .collect();
        let expected = [
            ErrorCode::NONE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::NONE,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::INVALID_TOPIC_EXCEPTION,
        ];
        assert_eq!(codes, expected, "version {version}");
        let setting = |name: &str| {
            response.results[0]
                .configs
                .iter()
                .find(|it| it.name.as_str() == name)
                .unwrap()
        };
        assert_eq!(
            (
                setting("cleanup.policy").value.as_deref(),
                setting("cleanup.policy").config_source
            ),
            (Some("compact"), 1)
        );
        assert_eq!(
            (
                setting("retention.ms").value.as_deref(),
                setting("retention.ms").config_source
            ),
            (Some("604800000"), 5)
        );
    }
    let some = resource(2, "t").with_configuration_keys(Some(vec![text("retention.ms")]));
    let response = fixture.call(4, &DescribeConfigsRequest::default().with_resources(vec![some]));
    assert_eq!(response.results[0].configs.len(), 1);
}

#[test]
fn a_dead_broker_is_not_listed_and_its_partitions_move() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture.topic("t");
    let old = fixture.core.leader("t", 0).unwrap();
    fixture.core.crash(fixture.now, old.node, LostTail::Nothing);
    drop(fixture.output());
    let other = 3 - old.node;
    let response = fixture.call_node(other, 12, &by_name(&["t"]));
    assert_eq!(response.brokers.len(), 1);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (other, 1));
    assert_eq!(
        (
            partition.isr_nodes.len(),
            partition.offline_replicas.len(),
            partition.replica_nodes.len()
        ),
        (1, 1, 2)
    );
    assert_eq!(
        fixture
            .call_node(other, 0, &DescribeClusterRequest::default())
            .brokers
            .len(),
        1
    );
    assert!(
        fixture.core.handle_connected(old.node).is_none(),
        "nobody listens there"
    );
}

#[test]
fn a_partition_without_a_live_replica_has_no_leader() {
    let mut fixture = Fixture::with(BrokerConfig {
        brokers: 2,
        ..BrokerConfig::default()
    });
    fixture.topic("t");
    let old = fixture.core.leader("t", 0).unwrap().node;
    fixture.core.crash(fixture.now, old, LostTail::Nothing);
    drop(fixture.output());
    let response = fixture.call_node(3 - old, 12, &by_name(&["t"]));
    let partition = &response.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.leader_id.0),
        (ErrorCode::LEADER_NOT_AVAILABLE.0, -1)
    );
    fixture.core.restart(fixture.now, old);
    assert_eq!(fixture.core.leader("t", 0).unwrap().node, old);
}
