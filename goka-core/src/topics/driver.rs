//! Asks the cluster for the graph's topics, creates what the plan says, and asks again.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::admin::{Admin, AdminError, NewTopic};
use kafka_wire::{Client, ErrorCode, Partitioner};

use super::plan::{Observed, ObservedTopics, TopicPlan, plan};
use super::{TopicError, TopicsConfig};
use crate::graph::GroupGraphCore;

/// How long a created topic may take to be known by every broker.
const SETTLE: Duration = Duration::from_secs(30);
/// How long to wait before asking again: brokers mostly know a topic milliseconds after its creation.
const ASK_AGAIN: Duration = Duration::from_millis(5);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// The topics of a graph, existing and checked.
#[derive(Debug, Clone)]
pub(crate) struct PreparedTopics {
    /// The partitions of every input, of the loop and of the table.
    pub(crate) partitions: i32,
    /// The group table's changelog, if there is one.
    pub(crate) table: Option<Arc<str>>,
    /// How long the changelog keeps tombstones, in milliseconds.
    pub(crate) delete_retention_ms: i64,
    /// In the order of [`GroupGraphCore::outputs`].
    pub(crate) outputs: Vec<PreparedOutput>,
}

/// An output, existing.
#[derive(Debug, Clone)]
pub(crate) struct PreparedOutput {
    pub(crate) topic: Arc<str>,
    pub(crate) partitions: i32,
    pub(crate) partitioner: Partitioner,
}

/// A table that a view reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DescribedTable {
    pub(crate) partitions: i32,
    /// How long the topic keeps tombstones, in milliseconds.
    pub(crate) delete_retention_ms: i64,
}

/// Checks the topics of `graph` and creates what is missing and may be created.
///
/// # Errors
/// As [`plan`]; or the cluster does not answer, or refuses.
pub(crate) async fn prepare(
    client: &Client,
    graph: &GroupGraphCore,
    config: &TopicsConfig,
) -> Result<PreparedTopics, TopicError> {
    config.validate()?;
    let admin = client.admin();
    let started = tokio::time::Instant::now();
    let mut pause = ASK_AGAIN;
    loop {
        let observed = observe(&admin, graph, config).await?;
        let plan = plan(graph, config, &observed)?;
        if plan.create.is_empty() {
            return Ok(prepared(graph, plan.partitions, &observed));
        }
        if started.elapsed() > SETTLE {
            let topics: Vec<&str> = plan.create.iter().map(|creation| &*creation.topic).collect();
            let doing = format!("see the topics just created ({})", topics.join(", "));
            return Err(TopicError::cluster(
                doing,
                "the brokers still do not know them; is the controller well?",
            ));
        }
        // Somebody else may create the same at this moment: what exists then is judged by the same rules.
        create(&admin, graph, config, &plan).await?;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(ASK_AGAIN_MAX);
    }
}

/// Describes a topic that is read as a table.
///
/// # Errors
/// The topic does not exist, or the cluster does not answer.
pub(crate) async fn describe_table(client: &Client, topic: &str) -> Result<DescribedTable, TopicError> {
    let observed = describe(&client.admin(), topic, true)
        .await?
        .ok_or_else(|| TopicError::Missing {
            edge: format!("table {topic}"),
            advice: "start the processor that keeps it, or correct the name",
        })?;
    Ok(DescribedTable {
        partitions: observed.partitions,
        delete_retention_ms: observed.delete_retention_ms(),
    })
}

async fn observe(admin: &Admin, graph: &GroupGraphCore, config: &TopicsConfig) -> Result<ObservedTopics, TopicError> {
    let inputs = graph.inputs().iter().map(|edge| (&edge.topic, edge.is_loop));
    let outputs = graph.outputs().iter().map(|edge| (&edge.topic, edge.is_loop));
    let table = graph.table_topic().map(|topic| (topic, true));
    let mut observed = ObservedTopics::new();
    for (topic, is_own) in inputs.chain(outputs).chain(table) {
        if !observed.contains_key(topic)
            && let Some(found) = describe(admin, topic, is_own && config.check_configs).await?
        {
            observed.insert(topic.clone(), found);
        }
    }
    Ok(observed)
}

/// One topic, `None` if it does not exist.
async fn describe(admin: &Admin, topic: &str, with_configs: bool) -> Result<Option<Observed>, TopicError> {
    let described = match admin.describe_topics(&[topic]).await {
        Ok(topics) => topics,
        Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => return Ok(None),
        Err(error) => return Err(TopicError::cluster(format!("describe topic {topic}"), error)),
    };
    let partitions = described.first().map_or(0, |topic| topic.partitions.len());
    // A topic in the middle of its creation has a name and no partition yet.
    let Some(partitions) = i32::try_from(partitions).ok().filter(|count| *count > 0) else {
        return Ok(None);
    };
    let mut observed = Observed {
        partitions,
        ..Observed::default()
    };
    if with_configs {
        let configs = admin.topic_config(topic).await;
        observed.configs = configs.map_err(|error| {
            TopicError::cluster(
                format!("read the configuration of topic {topic} (DescribeConfigs)"),
                error,
            )
        })?;
    }
    Ok(Some(observed))
}

async fn create(
    admin: &Admin,
    graph: &GroupGraphCore,
    config: &TopicsConfig,
    plan: &TopicPlan,
) -> Result<(), TopicError> {
    let topics: Vec<NewTopic> = plan
        .create
        .iter()
        .map(|creation| {
            let new = NewTopic::new(&*creation.topic, creation.partitions);
            let new = new.with_replication_factor(config.replication_factor);
            creation
                .configs
                .iter()
                .fold(new, |new, (name, value)| new.with_config(*name, *value))
        })
        .collect();
    let doing = |topic: &str| format!("create topic {topic} of group {}", graph.group());
    let results = match admin.create_topics(&topics).await {
        Ok(results) => results,
        // The next look tells whether they are there; creating twice creates once.
        Err(error) if error.source.possibly_written() => {
            tracing::warn!(%error, "no answer to the creation of topics; looking again");
            return Ok(());
        }
        Err(error) => {
            let names: Vec<&str> = plan.create.iter().map(|creation| &*creation.topic).collect();
            return Err(TopicError::cluster(doing(&names.join(", ")), error));
        }
    };
    for ((topic, result), creation) in results.into_iter().zip(&plan.create) {
        match result {
            Ok(()) => {
                tracing::info!(%topic, partitions = creation.partitions, configs = ?creation.configs, "topic created")
            }
            Err(error) if already_exists(&error) => tracing::info!(%topic, "topic created by somebody else meanwhile"),
            Err(error) => return Err(TopicError::cluster(doing(&topic), error)),
        }
    }
    Ok(())
}

fn already_exists(error: &AdminError) -> bool {
    error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS)
}

/// What the plan found complete, in the shape the partition tasks need.
fn prepared(graph: &GroupGraphCore, partitions: i32, observed: &ObservedTopics) -> PreparedTopics {
    let of = |topic: &Arc<str>| observed.get(topic);
    PreparedTopics {
        partitions,
        table: graph.table_topic().cloned(),
        delete_retention_ms: graph.table_topic().and_then(of).map_or_else(
            || Observed::default().delete_retention_ms(),
            Observed::delete_retention_ms,
        ),
        outputs: graph
            .outputs()
            .iter()
            .map(|edge| PreparedOutput {
                topic: edge.topic.clone(),
                partitions: of(&edge.topic).map_or(0, |found| found.partitions),
                partitioner: edge.partitioner,
            })
            .collect(),
    }
}

impl TopicError {
    fn cluster(doing: impl Into<String>, cause: impl Display) -> TopicError {
        TopicError::Cluster {
            doing: doing.into(),
            cause: cause.to_string(),
        }
    }
}
