//! CreateTopics, v2-7 (KIP-4, KIP-464 defaults, KIP-525 configs in the answer, KIP-516 topic ids).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_wire::ErrorCode;
use uuid::Uuid;

use crate::broker::cluster::{TopicConfig, collides, invalid_reason};
use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, ints, structs, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 2..=7;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 5,
    fields: &[
        structs::<CreatableTopic>(&[
            text(),
            fixed(4),
            fixed(2),
            structs::<CreatableReplicaAssignment>(&[fixed(4), ints()]),
            structs::<CreatableTopicConfig>(&[text(), text()]),
        ]),
        fixed(4),
        fixed(1),
    ],
};

const DEFAULT: i32 = -1;
/// More than the controller writes to its metadata log in one go (`MAX_RECORDS_PER_USER_OP`).
const MAX_PARTITIONS: i32 = 10_000;
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const DEFAULT_CONFIG: i8 = 5;

struct Refusal {
    code: ErrorCode,
    message: String,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        code,
        message: message.into(),
    })
}

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: CreateTopicsRequest,
) -> Served<CreateTopicsResponse> {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *asked.entry(topic.name.as_str()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(asked.len());
    for topic in &request.topics {
        // A name that is given twice is refused once.
        let Some(times) = asked.remove(topic.name.as_str()) else {
            continue;
        };
        let result = match call.injected {
            Some(code) => refuse(code, "injected"),
            None if times > 1 => refuse(ErrorCode::INVALID_REQUEST, "Duplicate topic name."),
            None => create(state, topic, request.validate_only),
        };
        results.push(result.unwrap_or_else(|refusal| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(refusal.code.0)
                .with_error_message(Some(super::text(&refusal.message)))
        }));
    }
    Served::Answer(CreateTopicsResponse::default().with_topics(results))
}

fn create(state: &mut State, topic: &CreatableTopic, validate_only: bool) -> Result<CreatableTopicResult, Refusal> {
    let name = topic.name.as_str();
    check_name(state, name)?;
    let config = configure(state, topic)?;
    let assignments = match topic.assignments.is_empty() {
        true => place(state, topic)?,
        false => check_assignments(state, topic)?,
    };
    let partitions = i32::try_from(assignments.len()).unwrap_or(i32::MAX);
    let replicas = assignments.first().map_or(0, Vec::len);
    let answer = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_message(None)
        .with_num_partitions(partitions)
        .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX))
        .with_configs(Some(report_configs(&config)));
    if validate_only {
        return Ok(answer);
    }
    let created = state.cluster.create_assigned(name, &assignments, config);
    Ok(answer.with_topic_id(Uuid::from_bytes(created.id.0)))
}

fn check_name(state: &State, name: &str) -> Result<(), Refusal> {
    if name == CLUSTER_METADATA_TOPIC {
        return refuse(
            ErrorCode::INVALID_REQUEST,
            format!("Creation of internal topic {name} is prohibited."),
        );
    }
    if let Some(reason) = invalid_reason(name) {
        return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, reason);
    }
    if state.cluster.topic(name).is_some() {
        return refuse(
            ErrorCode::TOPIC_ALREADY_EXISTS,
            format!("Topic '{name}' already exists."),
        );
    }
    match state.cluster.topics().find(|topic| collides(&topic.name, name)) {
        Some(other) => refuse(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{name}' collides with existing topic: {}", other.name),
        ),
        None => Ok(()),
    }
}

fn configure(state: &State, topic: &CreatableTopic) -> Result<TopicConfig, Refusal> {
    let mut config = state.cluster.topic_defaults();
    for setting in &topic.configs {
        let Some(value) = &setting.value else {
            let message = format!("Null value not supported for topic configs: {}", setting.name);
            return refuse(ErrorCode::INVALID_CONFIG, message);
        };
        if let Err(error) = config.set(&setting.name, value) {
            return refuse(ErrorCode::INVALID_CONFIG, error.0);
        }
    }
    Ok(config)
}

fn place(state: &State, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return refuse(ErrorCode::INVALID_REPLICATION_FACTOR, message);
    }
    if topic.num_partitions < DEFAULT || topic.num_partitions == 0 {
        return refuse(
            ErrorCode::INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        );
    }
    let partitions = if topic.num_partitions == DEFAULT {
        state.config.default_partitions
    } else {
        topic.num_partitions
    };
    if partitions > MAX_PARTITIONS {
        let message = format!("Excessively large number of partitions per request: {partitions}");
        return refuse(ErrorCode::POLICY_VIOLATION, message);
    }
    let replicas = match topic.replication_factor {
        -1 => state.config.default_replication_factor,
        replicas => replicas,
    };
    let too_few = |code| Refusal {
        code,
        message: format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of {replicas} cannot be \
             reached because only {} broker(s) are registered.",
            state.cluster.live_nodes().count()
        ),
    };
    state.cluster.place(partitions, replicas).map_err(too_few)
}

fn check_assignments(state: &State, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    if topic.replication_factor != -1 || topic.num_partitions != DEFAULT {
        let message =
            "A manual partition assignment was specified, but replication factor or numPartitions was not -1.";
        return refuse(ErrorCode::INVALID_REQUEST, message);
    }
    let mut placed: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for assignment in &topic.assignments {
        let replicas = check_replicas(state, assignment)?;
        if placed.insert(assignment.partition_index, replicas).is_some() {
            let partition = assignment.partition_index;
            let message = format!("Found multiple manual partition assignments for partition {partition}");
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
        }
    }
    let consecutive = placed
        .keys()
        .zip(0..)
        .all(|(partition, expected)| *partition == expected);
    let replicas = placed.values().next().map_or(0, Vec::len);
    if !consecutive || placed.values().any(|other| other.len() != replicas) {
        let message = "partitions should be a consecutive 0-based integer sequence with equally many replicas";
        return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    }
    Ok(placed.into_values().collect())
}

fn check_replicas(state: &State, assignment: &CreatableReplicaAssignment) -> Result<Vec<i32>, Refusal> {
    let replicas: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
    let known = replicas.iter().all(|replica| state.cluster.node(*replica).is_some());
    let mut distinct = replicas.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if replicas.is_empty() || !known || distinct.len() != replicas.len() {
        let message = format!("The manual partition assignment {replicas:?} names no, unknown or repeated brokers.");
        return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    }
    Ok(replicas)
}

fn report_configs(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let entries = config.entries().map(|entry| {
        let source = if entry.is_override {
            DYNAMIC_TOPIC_CONFIG
        } else {
            DEFAULT_CONFIG
        };
        let named = CreatableTopicConfigs::default().with_name(super::text(entry.name));
        named
            .with_value(Some(super::text(&entry.value)))
            .with_config_source(source)
    });
    entries.collect()
}
