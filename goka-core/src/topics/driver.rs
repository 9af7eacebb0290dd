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
use tokio::time::Instant;

use super::plan::{Observed, ObservedTopics, TopicPlan, plan};
use super::refusals::Refusal;
use super::{TopicError, TopicsConfig};
use crate::graph::GroupGraphCore;

/// How long a created topic may take to have leaders and to be known by every broker.
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
/// As [`plan`]; or the cluster does not answer, or refuses; or topics are not usable after [`SETTLE`].
pub(crate) async fn prepare(
    client: &Client,
    graph: &GroupGraphCore,
    config: &TopicsConfig,
) -> Result<PreparedTopics, TopicError> {
    config.validate()?;
    let admin = client.admin();
    let mut patience = Patience::new();
    loop {
        let observed = match observe(&admin, graph, config).await? {
            Sight::Of(observed) => observed,
            Sight::Unready(error) => {
                patience.wait(error).await?;
                continue;
            }
        };
        let plan = plan(graph, config, &observed)?;
        if plan.create.is_empty() {
            return Ok(prepared(graph, plan.partitions, &observed));
        }
        // Somebody else may create the same at this moment: what exists then is judged by the same rules.
        create(&admin, graph, config, &plan).await?;
        patience.wait(still_unknown(&plan)).await?;
    }
}

/// Describes a topic that is read as a table.
///
/// # Errors
/// The topic does not exist, the cluster does not answer, or the topic is not usable after [`SETTLE`].
pub(crate) async fn describe_table(client: &Client, topic: &str) -> Result<DescribedTable, TopicError> {
    let (admin, mut patience) = (client.admin(), Patience::new());
    let observed = loop {
        match describe(&admin, topic, true).await? {
            Sight::Of(observed) => break observed,
            Sight::Unready(error) => patience.wait(error).await?,
        }
    };
    let observed = observed.ok_or_else(|| TopicError::Missing {
        edge: format!("table {topic}"),
        advice: "start the processor that keeps it, or correct the name",
    })?;
    Ok(DescribedTable {
        partitions: observed.partitions,
        delete_retention_ms: observed.delete_retention_ms(),
    })
}

/// What one look at the cluster shows.
enum Sight<T> {
    Of(T),
    /// Something is in the middle of its creation; the error says what, should it stay so.
    Unready(TopicError),
}

/// How long a start goes on asking for topics that are not usable yet.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            until: Instant::now() + SETTLE,
            pause: ASK_AGAIN,
        }
    }

    /// Lets some time pass, or gives `reason` back if it is up.
    async fn wait(&mut self, reason: TopicError) -> Result<(), TopicError> {
        if Instant::now() + self.pause > self.until {
            return Err(reason);
        }
        tracing::debug!(%reason, pause = ?self.pause, "topics are not ready yet; looking again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(ASK_AGAIN_MAX);
        Ok(())
    }
}

async fn observe(
    admin: &Admin,
    graph: &GroupGraphCore,
    config: &TopicsConfig,
) -> Result<Sight<ObservedTopics>, TopicError> {
    let inputs = graph.inputs().iter().map(|edge| (&edge.topic, edge.is_loop));
    let outputs = graph.outputs().iter().map(|edge| (&edge.topic, edge.is_loop));
    let table = graph.table_topic().map(|topic| (topic, true));
    let mut observed = ObservedTopics::new();
    for (topic, is_own) in inputs.chain(outputs).chain(table) {
        if observed.contains_key(topic) {
            continue;
        }
        match describe(admin, topic, is_own && config.check_configs).await? {
            Sight::Of(Some(found)) => drop(observed.insert(topic.clone(), found)),
            Sight::Of(None) => {}
            Sight::Unready(error) => return Ok(Sight::Unready(error)),
        }
    }
    Ok(Sight::Of(observed))
}

/// One topic, `None` if it does not exist.
async fn describe(admin: &Admin, topic: &str, with_configs: bool) -> Result<Sight<Option<Observed>>, TopicError> {
    let refused = |refusal, error| match refusal {
        Refusal::Missing => Ok(Sight::Of(None)),
        Refusal::Passing => Ok(Sight::Unready(error)),
        Refusal::Lasting => Err(error),
    };
    let doing = format!("describe topic {topic}");
    let described = match admin.describe_topics(&[topic]).await {
        Ok(topics) => topics,
        Err(error) => {
            let refusal = Refusal::to_describe(error.code());
            return refused(refusal, TopicError::cluster(doing, error));
        }
    };
    let partitions = described.first().map_or(0, |topic| topic.partitions.len());
    let Some(partitions) = i32::try_from(partitions).ok().filter(|count| *count > 0) else {
        let cause = "it has a name and no partition yet";
        return Ok(Sight::Unready(TopicError::cluster(doing, cause)));
    };
    let mut observed = Observed {
        partitions,
        ..Observed::default()
    };
    if with_configs {
        match admin.topic_config(topic).await {
            Ok(configs) => observed.configs = configs,
            Err(error) => {
                let refusal = Refusal::to_configure(error.code());
                let doing = format!("read the configuration of topic {topic} (DescribeConfigs)");
                return refused(refusal, TopicError::cluster(doing, error));
            }
        }
    }
    Ok(Sight::Of(Some(observed)))
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

fn still_unknown(plan: &TopicPlan) -> TopicError {
    let topics: Vec<&str> = plan.create.iter().map(|creation| &*creation.topic).collect();
    TopicError::cluster(
        format!("see the topics just created ({})", topics.join(", ")),
        "the brokers still do not know them; is the controller well?",
    )
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
