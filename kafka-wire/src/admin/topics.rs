//! Requests about topics, and what their answers mean. Pure functions.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{AdminError, NewTopic, PartitionDescription, TopicDescription, TopicResults};
use crate::connection::{CallError, CallErrorKind};
use crate::protocol::{ErrorCode, TopicId};

/// How long the broker may take to create or delete, in milliseconds.
const BROKER_TIMEOUT_MS: i32 = 30_000;
/// DescribeConfigs: the resource is a topic.
const TOPIC_RESOURCE: i8 = 2;

pub(super) fn create_request(topics: &[NewTopic]) -> CreateTopicsRequest {
    let topics = topics.iter().map(|topic| {
        let configs = topic.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        CreatableTopic::default()
            .with_name(TopicName(text(&topic.name)))
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(configs.collect())
    });
    CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(BROKER_TIMEOUT_MS)
}

pub(super) fn created(topics: &[NewTopic], response: &CreateTopicsResponse) -> TopicResults {
    let told = |name: &str| {
        let found = response.topics.iter().find(|topic| topic.name.as_str() == name)?;
        Some((ErrorCode(found.error_code), found.error_message.as_deref()))
    };
    topics
        .iter()
        .map(|topic| outcome(ApiKey::CreateTopics, &topic.name, told(&topic.name)))
        .collect()
}

/// From v6 on topics are named in a list that could also hold ids.
pub(super) fn delete_request(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(BROKER_TIMEOUT_MS);
    let names = names.iter().map(|name| TopicName(text(name)));
    if version >= 6 {
        request.with_topics(
            names
                .map(|name| DeleteTopicState::default().with_name(Some(name)))
                .collect(),
        )
    } else {
        request.with_topic_names(names.collect())
    }
}

pub(super) fn deleted(names: &[&str], response: &DeleteTopicsResponse) -> TopicResults {
    let told = |name: &str| {
        let mut topics = response.responses.iter();
        let found = topics.find(|topic| topic.name.as_ref().is_some_and(|told| told.as_str() == name))?;
        Some((ErrorCode(found.error_code), found.error_message.as_deref()))
    };
    names
        .iter()
        .map(|name| outcome(ApiKey::DeleteTopics, name, told(name)))
        .collect()
}

pub(super) fn describe_request(version: i16, names: &[&str]) -> MetadataRequest {
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(text(name)))));
    // Before v4 asking may create; there is no field to forbid it.
    MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(version < 4)
}

pub(super) fn described(names: &[&str], response: &MetadataResponse) -> Result<Vec<TopicDescription>, AdminError> {
    let find = |name: &&str| {
        let mut topics = response.topics.iter();
        let found = topics.find(|topic| topic.name.as_ref().is_some_and(|told| told.as_str() == *name));
        let told = found.map(|topic| (ErrorCode(topic.error_code), None));
        outcome(ApiKey::Metadata, name, told).1?;
        found
            .map(|topic| description(name, topic))
            .ok_or_else(|| unmentioned(ApiKey::Metadata, name))
    };
    names.iter().map(find).collect()
}

fn description(name: &str, topic: &MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| PartitionDescription {
            partition: partition.partition_index,
            leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.iter().map(|node| node.0).collect(),
            in_sync: partition.isr_nodes.iter().map(|node| node.0).collect(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    let id = TopicId(*topic.topic_id.as_bytes());
    TopicDescription {
        name: name.to_owned(),
        id,
        internal: topic.is_internal,
        partitions,
    }
}

pub(super) fn config_request(topic: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(topic))
        .with_configuration_keys(None);
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

pub(super) fn config(topic: &str, response: DescribeConfigsResponse) -> Result<BTreeMap<String, String>, AdminError> {
    let found = response
        .results
        .into_iter()
        .find(|result| &*result.resource_name == topic);
    let told = found
        .as_ref()
        .map(|result| (ErrorCode(result.error_code), result.error_message.as_deref()));
    outcome(ApiKey::DescribeConfigs, topic, told).1?;
    let entries = found.into_iter().flat_map(|result| result.configs);
    Ok(entries
        .filter_map(|entry| Some((entry.name.to_string(), entry.value?.to_string())))
        .collect())
}

/// What an answer says about one topic; saying nothing is an error too.
fn outcome(api: ApiKey, name: &str, told: Option<(ErrorCode, Option<&str>)>) -> (String, Result<(), AdminError>) {
    let result = match told {
        Some((code, _)) if code.is_ok() => Ok(()),
        Some((code, message)) => Err(AdminError::new(
            format_args!("topic {name}"),
            CallError::refused(api as i16, code, message),
        )),
        None => Err(unmentioned(api, name)),
    };
    (name.to_owned(), result)
}

fn unmentioned(api: ApiKey, name: &str) -> AdminError {
    let source = CallError::new(CallErrorKind::Protocol, "the answer does not mention it").with_api(api as i16);
    AdminError::new(format_args!("topic {name}"), source)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
    use kafka_protocol::protocol::Encodable;

    #[test]
    fn each_topic_has_its_own_outcome_in_the_order_asked() {
        let result = |name: &'static str, code: ErrorCode| {
            let name = TopicName(StrBytes::from_static_str(name));
            CreatableTopicResult::default().with_name(name).with_error_code(code.0)
        };
        let response = CreateTopicsResponse::default().with_topics(vec![
            result("b", ErrorCode::TOPIC_ALREADY_EXISTS),
            result("a", ErrorCode::NONE),
        ]);
        let asked = [NewTopic::new("a", 1), NewTopic::new("b", 1), NewTopic::new("c", 1)];
        let outcomes = created(&asked, &response);
        assert!(outcomes[0].1.is_ok());
        let error = outcomes[1].1.as_ref().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
        assert!(
            error
                .to_string()
                .starts_with("topic b: CreateTopics: refused with TOPIC_ALREADY_EXISTS"),
            "{error}"
        );
        assert_eq!(outcomes[2].1.as_ref().unwrap_err().source.kind, CallErrorKind::Protocol);
    }

    #[test]
    fn a_missing_topic_is_named() {
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("gone"))))
            .with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
        let error = described(&["gone"], &MetadataResponse::default().with_topics(vec![topic])).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert!(error.to_string().contains("gone"));
    }

    #[test]
    fn requests_can_be_encoded_in_every_version() {
        let mut bytes = bytes::BytesMut::new();
        for version in 1..=6 {
            delete_request(version, &["a"]).encode(&mut bytes, version).unwrap();
        }
        for version in 1..=13 {
            describe_request(version, &["a"]).encode(&mut bytes, version).unwrap();
        }
        for version in 1..=4 {
            config_request("a").encode(&mut bytes, version).unwrap();
        }
        for version in 2..=7 {
            create_request(&[NewTopic::new("a", 3).with_config("k", "v")])
                .encode(&mut bytes, version)
                .unwrap();
        }
    }
}
