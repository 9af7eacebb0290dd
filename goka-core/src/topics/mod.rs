//! The topics a group lives on: created if they are its own, checked if they are there.
//!
//! Inputs and outputs belong to somebody else and must exist (or be created on request, [`TopicSettings::create_streams`]). The
//! loop and the group table are the group's own: they are created with as many partitions as the inputs, the loop without
//! retention, the table compacted. What exists is never altered; what would lose data is refused, naming the setting found and
//! the command that changes it. goka accepts both silently.
//!
//! `plan` decides, as a function; `ensure` asks and creates, and asks again until there is nothing left to plan, so that two
//! instances that start at once agree on one result.

mod ensure;
mod plan;

//STUB pub(crate) use ensure::{Topics, ensure_topics};
pub(crate) use plan::{Creation, Observed, ObservedTopics, TopicPlan, plan};

/// How a group treats its topics.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// The replication factor of topics the group creates. The default, -1, is the broker's `default.replication.factor`
    /// (Kafka 2.4, KIP-464); a group table is worth as much as the replicas of its changelog.
    pub replication_factor: i16,
    /// Creates inputs and outputs that do not exist, with this many partitions; inputs follow the inputs that exist. The default,
    /// `None`, refuses to start: a missing input is more often a misspelt one.
    pub create_streams: Option<i32>,
    /// Refuses loop and table topics whose settings would lose data. The default is `true`; `false` is for clusters that do not
    /// let clients read topic settings.
    pub check_configs: bool,
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings {
            replication_factor: -1,
            create_streams: None,
            check_configs: true,
        }
    }
}

/// Why a group cannot live on the topics it found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// An input or an output does not exist.
    #[error(
        "{edge} of group {group} does not exist; create the topic, correct the name, or set create_streams in the topic settings"
    )]
    Missing {
        /// The edge, as in `input user-click`.
        edge: String,
        /// The group.
        group: String,
    },
    /// Two topics that are read together differ in their number of partitions.
    #[error(
        "{edge} has {partitions} partitions, {other} has {other_partitions}: inputs, loop and table of a group need the same \
         number, as a row lives in the partition of its key"
    )]
    Copartition {
        /// One edge, as in `input user-click`.
        edge: String,
        /// Its partitions.
        partitions: i32,
        /// The other edge.
        other: String,
        /// The other's partitions.
        other_partitions: i32,
    },
    /// A topic of the group's own would lose data.
    #[error(
        "{edge} has {setting}={found}, it needs {wanted}: {why}; change it with `kafka-configs.sh --alter --entity-type topics \
         --entity-name {topic} --add-config {setting}={wanted}`"
    )]
    Config {
        /// The edge, as in `group table clicks-table`.
        edge: String,
        /// The topic.
        topic: String,
        /// The setting, as Kafka calls it.
        setting: &'static str,
        /// The value the topic has.
        found: String,
        /// The value it needs.
        wanted: &'static str,
        /// What would happen otherwise.
        why: &'static str,
    },
    /// The settings make no sense.
    #[error("topic settings: {0}")]
    Settings(String),
    /// The cluster did not answer, or refused.
    #[error("cannot {doing} for group {group}: {cause}")]
    Cluster {
        /// What was asked of it.
        doing: String,
        /// The group.
        group: String,
        /// What it said.
        cause: String,
    },
}

impl TopicError {
    fn copartition(this: (&str, &str, i32), other: (&str, &str, i32)) -> TopicError {
        TopicError::Copartition {
            edge: format!("{} {}", this.0, this.1),
            partitions: this.2,
            other: format!("{} {}", other.0, other.1),
            other_partitions: other.2,
        }
    }
}
