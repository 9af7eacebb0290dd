//! DescribeConfigs, v1-4: settings of topics and brokers (KIP-133, KIP-226, KIP-524).

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_wire::ErrorCode;

use crate::broker::cluster::{ConfigEntry, ConfigKind, invalid_reason};
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, structs, text, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=4;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        structs::<DescribeConfigsResource>(&[fixed(1), text(), texts()]),
        fixed(1),
        fixed(1).since(3),
    ],
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a value comes from (`ConfigSource`).
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: DescribeConfigsRequest,
) -> Served<DescribeConfigsResponse> {
    let results = request.resources.iter().map(|resource| {
        let answer = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(state, call, resource) {
            Ok(configs) => answer.with_configs(configs).with_error_message(Some(super::text(""))),
            Err((code, why)) => answer
                .with_error_code(code.0)
                .with_error_message(why.map(|why| super::text(&why))),
        }
    });
    Served::Answer(DescribeConfigsResponse::default().with_results(results.collect()))
}

type Refusal = (ErrorCode, Option<String>);

fn describe(
    state: &State,
    call: &Call,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if let Some(code) = call.injected {
        return Err((code, None));
    }
    let name = resource.resource_name.as_str();
    let entries = match resource.resource_type {
        TOPIC => {
            if let Some(reason) = invalid_reason(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(reason)));
            }
            let topic = state
                .cluster
                .topic(name)
                .ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None))?;
            topic
                .config
                .entries()
                .map(|entry| (entry, DYNAMIC_TOPIC_CONFIG))
                .collect()
        }
        BROKER if name == call.node.to_string() => broker_entries(state),
        BROKER if name.is_empty() => Vec::new(),
        BROKER => {
            let why = format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                call.node
            );
            return Err((ErrorCode::INVALID_REQUEST, Some(why)));
        }
        other => {
            return Err((
                ErrorCode::INVALID_REQUEST,
                Some(format!("Unsupported resource type: {other}")),
            ));
        }
    };
    let wanted = resource.configuration_keys.as_deref().unwrap_or_default();
    let asked_for = |entry: &ConfigEntry| wanted.is_empty() || wanted.iter().any(|key| key.as_str() == entry.name);
    let reported = entries.into_iter().filter(|(entry, _)| asked_for(entry));
    Ok(reported.map(|(entry, source)| report(&entry, source)).collect())
}

fn broker_entries(state: &State) -> Vec<(ConfigEntry, i8)> {
    let config = &state.config;
    let entry = |name, value: String, kind| {
        let entry = ConfigEntry {
            name,
            value,
            is_override: true,
            kind,
        };
        (entry, STATIC_BROKER_CONFIG)
    };
    vec![
        entry(
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            ConfigKind::Boolean,
        ),
        entry(
            "default.replication.factor",
            config.default_replication_factor.to_string(),
            ConfigKind::Int,
        ),
        entry("fetch.max.bytes", config.fetch_max_bytes.to_string(), ConfigKind::Int),
        entry(
            "message.max.bytes",
            config.message_max_bytes.to_string(),
            ConfigKind::Int,
        ),
        entry("num.partitions", config.default_partitions.to_string(), ConfigKind::Int),
    ]
}

fn report(entry: &ConfigEntry, override_source: i8) -> DescribeConfigsResourceResult {
    let source = if entry.is_override {
        override_source
    } else {
        DEFAULT_CONFIG
    };
    DescribeConfigsResourceResult::default()
        .with_name(super::text(entry.name))
        .with_value(Some(super::text(&entry.value)))
        .with_read_only(override_source == STATIC_BROKER_CONFIG)
        .with_config_source(source)
        .with_config_type(entry.kind as i8)
        .with_documentation(None)
}
