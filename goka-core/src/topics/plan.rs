//! What must be created, and what must not be accepted: a function from the graph and the topics found to a plan or an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{TopicError, TopicsConfig};
use crate::graph::GroupGraphCore;

const CLEANUP_POLICY: &str = "cleanup.policy";
const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const DELETE_RETENTION_MS: &str = "delete.retention.ms";
/// Kafka's default of `delete.retention.ms`: a day.
const DEFAULT_DELETE_RETENTION_MS: i64 = 86_400_000;
/// Kafka's word for "never" in both retention config.
const UNLIMITED: &str = "-1";

/// A topic as the cluster has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) partitions: i32,
    /// Asked for only where they matter: the group table and the loop.
    pub(crate) configs: BTreeMap<String, String>,
}

/// The topics that exist, by name.
pub(crate) type ObservedTopics = BTreeMap<Arc<str>, Observed>;

/// What is left to do before the group can start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopicPlan {
    /// The partitions of inputs, loop and table alike.
    pub(crate) partitions: i32,
    /// In the order of creation: inputs, outputs, loop, table.
    pub(crate) create: Vec<Creation>,
}

/// A topic to create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) topic: Arc<str>,
    pub(crate) partitions: i32,
    pub(crate) configs: Vec<(&'static str, &'static str)>,
}

/// Plans the topics of `graph` on a cluster that has `observed`.
///
/// # Errors
/// A topic that cannot be created is missing, partition counts differ, or a topic of the group's own would lose data.
pub(crate) fn plan(
    graph: &GroupGraphCore,
    config: &TopicsConfig,
    observed: &ObservedTopics,
) -> Result<TopicPlan, TopicError> {
    let (partitions, mut create) = plan_inputs(graph, config, observed)?;
    plan_outputs(graph, config, observed, &mut create)?;
    for own in OwnTopic::of(graph) {
        match observed.get(own.topic) {
            None => create.push(Creation {
                topic: own.topic.clone(),
                partitions,
                configs: own.configs(),
            }),
            Some(found) => own.accept(found, graph, partitions, config.check_configs)?,
        }
    }
    Ok(TopicPlan { partitions, create })
}

/// Inputs decide the number of partitions: all that exist must agree, and those to be created follow them.
fn plan_inputs(
    graph: &GroupGraphCore,
    config: &TopicsConfig,
    observed: &ObservedTopics,
) -> Result<(i32, Vec<Creation>), TopicError> {
    let inputs: Vec<&Arc<str>> = graph
        .inputs()
        .iter()
        .filter(|edge| !edge.is_loop)
        .map(|edge| &edge.topic)
        .collect();
    let mut existing = inputs
        .iter()
        .filter_map(|topic| Some((*topic, observed.get(*topic)?.partitions)));
    let mut agreed = None;
    if let Some((first, partitions)) = existing.next() {
        for (topic, found) in existing {
            if found != partitions {
                return Err(TopicError::copartition(
                    ("input", topic, found),
                    ("input", first, partitions),
                ));
            }
        }
        agreed = Some(partitions);
    }
    let mut create = Vec::new();
    for topic in inputs.into_iter().filter(|topic| !observed.contains_key(*topic)) {
        let Some(wanted) = config.create_inputs else {
            return Err(missing(graph, "input", topic));
        };
        let partitions = *agreed.get_or_insert(wanted);
        create.push(Creation {
            topic: topic.clone(),
            partitions,
            configs: Vec::new(),
        });
    }
    let partitions = agreed.expect("a graph has an input, and every input exists by now or is to be created");
    Ok((partitions, create))
}

fn missing(graph: &GroupGraphCore, kind: &str, topic: &str) -> TopicError {
    TopicError::Missing {
        edge: format!("{kind} {topic} of group {}", graph.group()),
        advice: "create the topic, correct the name, or set create_inputs and create_outputs in TopicsConfig",
    }
}

/// Outputs must exist, with any number of partitions.
fn plan_outputs(
    graph: &GroupGraphCore,
    config: &TopicsConfig,
    observed: &ObservedTopics,
    create: &mut Vec<Creation>,
) -> Result<(), TopicError> {
    for edge in graph.outputs().iter().filter(|edge| !edge.is_loop) {
        // An output may be one of the group's own inputs.
        if observed.contains_key(&edge.topic) || create.iter().any(|planned| planned.topic == edge.topic) {
            continue;
        }
        let Some(partitions) = config.create_outputs else {
            return Err(missing(graph, "output", &edge.topic));
        };
        create.push(Creation {
            topic: edge.topic.clone(),
            partitions,
            configs: Vec::new(),
        });
    }
    Ok(())
}

/// A topic that belongs to the group, and that it creates.
struct OwnTopic<'g> {
    role: Role,
    topic: &'g Arc<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Loop,
    Table,
}

impl<'g> OwnTopic<'g> {
    fn of(graph: &'g GroupGraphCore) -> impl Iterator<Item = OwnTopic<'g>> {
        let looped = graph.loop_topic().map(|topic| OwnTopic {
            role: Role::Loop,
            topic,
        });
        let table = graph.table_topic().map(|topic| OwnTopic {
            role: Role::Table,
            topic,
        });
        looped.into_iter().chain(table)
    }

    fn name(&self) -> &'static str {
        match self.role {
            Role::Loop => "loop",
            Role::Table => "group table",
        }
    }

    fn configs(&self) -> Vec<(&'static str, &'static str)> {
        match self.role {
            // A loop record is work that is not done yet: goka's hour of retention would drop it behind a long outage.
            Role::Loop => vec![
                (CLEANUP_POLICY, "delete"),
                (RETENTION_MS, UNLIMITED),
                (RETENTION_BYTES, UNLIMITED),
            ],
            Role::Table => vec![(CLEANUP_POLICY, "compact")],
        }
    }

    fn accept(
        &self,
        found: &Observed,
        graph: &GroupGraphCore,
        partitions: i32,
        check_configs: bool,
    ) -> Result<(), TopicError> {
        if found.partitions != partitions {
            let input = &graph.inputs()[0].topic;
            return Err(TopicError::copartition(
                (self.name(), self.topic, found.partitions),
                ("input", input, partitions),
            ));
        }
        if !check_configs {
            return Ok(());
        }
        match self.role {
            Role::Loop => self.accept_loop(found),
            Role::Table => self.accept_table(found),
        }
    }

    /// A table that forgets by age or size is not the log of the rows any more.
    fn accept_table(&self, found: &Observed) -> Result<(), TopicError> {
        if !found.has_policy("compact") {
            return Err(self.refuse(
                found,
                CLEANUP_POLICY,
                "compact",
                "the broker would delete old rows instead of keeping the last of each key",
            ));
        }
        if found.has_policy("delete") {
            self.unlimited(found, "with `delete` in its cleanup.policy the broker deletes rows")?;
        }
        Ok(())
    }

    /// A loop record is lost when it is compacted away, or when it is deleted before it was read.
    fn accept_loop(&self, found: &Observed) -> Result<(), TopicError> {
        if found.has_policy("compact") {
            let why = "the broker would keep one record of each key, and the others are messages too";
            return Err(self.refuse(found, CLEANUP_POLICY, "delete", why));
        }
        self.unlimited(found, "the broker deletes messages that were not processed yet")
    }

    fn unlimited(&self, found: &Observed, why: &'static str) -> Result<(), TopicError> {
        for setting in [RETENTION_MS, RETENTION_BYTES] {
            if found.config(setting) != UNLIMITED {
                return Err(self.refuse(found, setting, UNLIMITED, why));
            }
        }
        Ok(())
    }

    fn refuse(&self, found: &Observed, setting: &'static str, wanted: &'static str, why: &'static str) -> TopicError {
        TopicError::Config {
            edge: format!("{} {}", self.name(), self.topic),
            topic: self.topic.to_string(),
            setting,
            found: found.config(setting).to_owned(),
            wanted,
            why,
        }
    }
}

impl Observed {
    /// How long tombstones stay, in milliseconds; Kafka's default where the broker does not tell.
    pub(crate) fn delete_retention_ms(&self) -> i64 {
        self.configs
            .get(DELETE_RETENTION_MS)
            .and_then(|value| value.parse().ok())
            .unwrap_or(DEFAULT_DELETE_RETENTION_MS)
    }

    fn config(&self, setting: &str) -> &str {
        self.configs.get(setting).map_or("(not reported)", String::as_str)
    }

    fn has_policy(&self, policy: &str) -> bool {
        self.config(CLEANUP_POLICY).split(',').any(|part| part.trim() == policy)
    }
}

#[cfg(test)]
mod tests;
