//! What Kafka answers about itself and its topics.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, ListOffsetsRequest,
    MetadataRequest, OffsetForLeaderEpochRequest,
};
use kafka_wire::protocol::ErrorCode;

use super::{codec, exchanges};

#[test]
fn the_broker_names_its_versions_and_features() {
    let (version, exchange) = &exchanges(ApiKey::ApiVersions, "topics are created")[0];
    let (_, request) = codec::request::<ApiVersionsRequest>(&exchange.request, *version).unwrap();
    assert!(!request.client_software_name.is_empty(), "KIP-511");
    let (_, response) = codec::response::<ApiVersionsRequest>(&exchange.response, *version).unwrap();
    let range = |key: i16| {
        response
            .api_keys
            .iter()
            .find(|a| a.api_key == key)
            .map(|a| (a.min_version, a.max_version))
    };
    assert_eq!(range(11), Some((0, 9)), "JoinGroup (KAFKA-19444)");
    assert_eq!(range(1), Some((4, 18)), "Fetch (KIP-896)");
    assert!(
        response
            .finalized_features
            .iter()
            .any(|f| f.name.as_str() == "transaction.version")
    );
}

#[test]
fn a_created_topic_has_an_id_and_one_that_exists_is_refused() {
    let (version, exchange) = &exchanges(ApiKey::CreateTopics, "topics are created")[0];
    let (_, response) = codec::response::<CreateTopicsRequest>(&exchange.response, *version).unwrap();
    for (topic, partitions) in response.topics.iter().zip([2, 1]) {
        assert_eq!(
            (topic.error_code, topic.num_partitions, topic.topic_id.is_nil()),
            (0, partitions, false)
        );
    }
    let (version, exchange) = &exchanges(ApiKey::CreateTopics, "a topic is created that exists")[0];
    let (_, response) = codec::response::<CreateTopicsRequest>(&exchange.response, *version).unwrap();
    assert_eq!(
        ErrorCode(response.topics[0].error_code),
        ErrorCode::TOPIC_ALREADY_EXISTS
    );
}

#[test]
fn metadata_names_leaders_and_epochs() {
    let (version, exchange) = &exchanges(ApiKey::Metadata, "a topic is described")[0];
    let (_, response) = codec::response::<MetadataRequest>(&exchange.response, *version).unwrap();
    assert_eq!(response.brokers[0].host.as_str(), "127.0.0.1");
    let topic = &response.topics[0];
    assert_eq!(topic.name.as_ref().map(|name| name.as_str()), Some("golden"));
    assert_eq!(
        (topic.error_code, topic.partitions.len(), topic.topic_id.is_nil()),
        (0, 2, false)
    );
    assert!(
        topic
            .partitions
            .iter()
            .all(|p| p.leader_id == response.brokers[0].node_id && p.leader_epoch == 0)
    );
}

#[test]
fn metadata_of_a_missing_topic_says_so() {
    let (version, exchange) = &exchanges(ApiKey::Metadata, "a topic is described that does not exist")[0];
    let (_, request) = codec::request::<MetadataRequest>(&exchange.request, *version).unwrap();
    assert!(!request.allow_auto_topic_creation, "looking must not create");
    let (_, response) = codec::response::<MetadataRequest>(&exchange.response, *version).unwrap();
    assert_eq!(
        ErrorCode(response.topics[0].error_code),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
}

#[test]
fn a_topics_configuration_holds_what_it_was_created_with() {
    let (version, exchange) = &exchanges(ApiKey::DescribeConfigs, "a topic's configuration is read")[0];
    let (_, response) = codec::response::<DescribeConfigsRequest>(&exchange.response, *version).unwrap();
    let configs = &response.results[0].configs;
    let value = |name: &str| {
        configs
            .iter()
            .find(|c| c.name.as_str() == name)
            .and_then(|c| c.value.as_deref())
    };
    assert_eq!(value("retention.ms"), Some("-1"));
    assert_eq!(value("delete.retention.ms"), Some("86400000"));
}

#[test]
fn offsets_are_listed_with_timestamp_and_leader_epoch() {
    for (step, offset, timestamp, epoch) in [
        ("the earliest offset is asked for", 0, -1, 0),
        ("the latest offset is asked for", 9, -1, 0),
        ("the offset at a time is asked for", 1, 1001, 0),
    ] {
        let (version, exchange) = &exchanges(ApiKey::ListOffsets, step)[0];
        let (_, response) = codec::response::<ListOffsetsRequest>(&exchange.response, *version).unwrap();
        let partition = &response.topics[0].partitions[0];
        assert_eq!(
            (
                partition.error_code,
                partition.offset,
                partition.timestamp,
                partition.leader_epoch
            ),
            (0, offset, timestamp, epoch),
            "{step}"
        );
    }
}

#[test]
fn the_epoch_of_the_leader_ends_at_the_end_of_the_log() {
    let (version, exchange) = &exchanges(ApiKey::OffsetForLeaderEpoch, "the end of a leader epoch is asked for")[0];
    let (_, request) = codec::request::<OffsetForLeaderEpochRequest>(&exchange.request, *version).unwrap();
    assert_eq!(request.replica_id.0, -1, "a consumer asks");
    let (_, response) = codec::response::<OffsetForLeaderEpochRequest>(&exchange.response, *version).unwrap();
    let partition = &response.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.leader_epoch, partition.end_offset),
        (0, 0, 9)
    );
}

#[test]
fn deleted_topics_are_answered_for_one_by_one() {
    let (version, exchange) = &exchanges(ApiKey::DeleteTopics, "topics are deleted")[0];
    let (_, response) = codec::response::<DeleteTopicsRequest>(&exchange.response, *version).unwrap();
    let mut results: Vec<_> = response
        .responses
        .iter()
        .map(|it| (it.name.as_ref().map(|name| name.as_str()), ErrorCode(it.error_code)))
        .collect();
    results.sort_unstable_by_key(|(name, _)| *name);
    let expected = [
        (Some("golden-missing"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (Some("golden-short-lived"), ErrorCode::NONE),
    ];
    assert_eq!(results, expected);
}
