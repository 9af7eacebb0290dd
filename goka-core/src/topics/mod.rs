//! The topics a group lives on: created if they are its own, checked if they are there.
//!
//! Inputs and outputs belong to somebody else and must exist (or be created on request, [`TopicsConfig::create_inputs`]). The
//! loop and the group table are the group's own: they are created with as many partitions as the inputs, the loop without
//! retention, the table compacted. What exists is never altered; what would lose data is refused, naming the setting found and
//! the command that changes it. goka accepts both silently.
//!
//! `plan` decides, as a function; `driver` asks and creates, and asks again until there is nothing left to plan, so that two
//! instances that start at once agree on one result. Topics that somebody has only just created may have no leaders yet, which
//! passes (`refusals`): a start waits half a minute for them.

mod driver;
mod plan;
mod refusals;

pub(crate) use driver::{PreparedTopics, describe_table, prepare};

/// How a group treats its topics.
#[derive(Debug, Clone)]
pub struct TopicsConfig {
    /// The replication factor of topics the group creates. The default, -1, is the broker's `default.replication.factor`
    /// (Kafka 2.4, KIP-464); a group table is worth as much as the replicas of its changelog.
    pub replication_factor: i16,
    /// Creates inputs that do not exist, with this many partitions, or with as many as the inputs that do. The default, `None`,
    /// refuses to start: a missing input is more often a misspelt one.
    pub create_inputs: Option<i32>,
    /// Creates outputs that do not exist, with this many partitions. The default, `None`, refuses to start.
    pub create_outputs: Option<i32>,
    /// Refuses loop and table topics whose settings would lose data. The default is `true`; `false` is for clusters that do not
    /// let clients read topic settings.
    pub check_configs: bool,
}

impl Default for TopicsConfig {
    fn default() -> TopicsConfig {
        TopicsConfig {
            replication_factor: -1,
            create_inputs: None,
            create_outputs: None,
            check_configs: true,
        }
    }
}

/// Why a group cannot live on the topics it found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// A topic that is somebody else's does not exist.
    #[error("{edge} does not exist; {advice}")]
    Missing {
        /// The edge, as in `input user-click of group click-counter`.
        edge: String,
        /// What to do.
        advice: &'static str,
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
    /// A setting of [`TopicsConfig`] is wrong.
    #[error("{setting} in TopicsConfig is {found}: {why}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: i32,
        /// What is allowed.
        why: &'static str,
    },
    /// The cluster did not answer, or refused.
    #[error("cannot {doing}: {cause}")]
    Cluster {
        /// What was asked of it.
        doing: String,
        /// What it said.
        cause: String,
    },
}

impl TopicsConfig {
    fn validate(&self) -> Result<(), TopicError> {
        for (setting, value) in [
            ("create_inputs", self.create_inputs),
            ("create_outputs", self.create_outputs),
        ] {
            if let Some(found) = value.filter(|partitions| *partitions < 1) {
                return Err(TopicError::Setting {
                    setting,
                    found,
                    why: "a topic has at least one partition",
                });
            }
        }
        if self.replication_factor < 1 && self.replication_factor != -1 {
            let (setting, found) = ("replication_factor", i32::from(self.replication_factor));
            return Err(TopicError::Setting {
                setting,
                found,
                why: "at least 1, or -1 for the default of the broker",
            });
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let refused = |config: TopicsConfig| config.validate().unwrap_err().to_string();
        let config = TopicsConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert!(
            refused(TopicsConfig {
                create_inputs: Some(0),
                ..config.clone()
            })
            .starts_with("create_inputs in")
        );
        assert!(
            refused(TopicsConfig {
                create_outputs: Some(-1),
                ..config.clone()
            })
            .starts_with("create_outputs in")
        );
        assert!(
            refused(TopicsConfig {
                replication_factor: 0,
                ..config
            })
            .starts_with("replication_factor in")
        );
    }
}
