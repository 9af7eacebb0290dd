//! Topic settings: the ones Kafka knows, their defaults, and the few that change what the broker does.

use std::collections::BTreeMap;

/// One setting as DescribeConfigs and CreateTopics report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigEntry {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Set for this topic; otherwise Kafka's default.
    pub(crate) is_override: bool,
    pub(crate) kind: ConfigKind,
}

/// The type of a setting, numbered as in DescribeConfigs v3 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum ConfigKind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Why a setting was refused, in Kafka's words (INVALID_CONFIG).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidConfig(pub(crate) String);

const ONE_WEEK_MS: &str = "604800000";

/// Kafka 4.1's topic settings and defaults (`LogConfig`).
const KNOWN: [(&str, &str, ConfigKind); 27] = [
    ("cleanup.policy", "delete", ConfigKind::List),
    ("compression.gzip.level", "-1", ConfigKind::Int),
    ("compression.lz4.level", "9", ConfigKind::Int),
    ("compression.type", "producer", ConfigKind::String),
    ("compression.zstd.level", "3", ConfigKind::Int),
    ("delete.retention.ms", "86400000", ConfigKind::Long),
    ("file.delete.delay.ms", "60000", ConfigKind::Long),
    ("flush.messages", "9223372036854775807", ConfigKind::Long),
    ("flush.ms", "9223372036854775807", ConfigKind::Long),
    ("follower.replication.throttled.replicas", "", ConfigKind::List),
    ("index.interval.bytes", "4096", ConfigKind::Int),
    ("leader.replication.throttled.replicas", "", ConfigKind::List),
    ("max.compaction.lag.ms", "9223372036854775807", ConfigKind::Long),
    ("max.message.bytes", "1048588", ConfigKind::Int),
    ("message.timestamp.after.max.ms", "3600000", ConfigKind::Long),
    (
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        ConfigKind::Long,
    ),
    ("message.timestamp.type", "CreateTime", ConfigKind::String),
    ("min.cleanable.dirty.ratio", "0.5", ConfigKind::Double),
    ("min.compaction.lag.ms", "0", ConfigKind::Long),
    ("min.insync.replicas", "1", ConfigKind::Int),
    ("preallocate", "false", ConfigKind::Boolean),
    ("retention.bytes", "-1", ConfigKind::Long),
    ("retention.ms", ONE_WEEK_MS, ConfigKind::Long),
    ("segment.bytes", "1073741824", ConfigKind::Int),
    ("segment.index.bytes", "10485760", ConfigKind::Int),
    ("segment.jitter.ms", "0", ConfigKind::Long),
    ("segment.ms", ONE_WEEK_MS, ConfigKind::Long),
];

/// A topic's settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicConfig {
    overrides: BTreeMap<&'static str, String>,
    /// The broker's `message.max.bytes`.
    default_max_message_bytes: i32,
    /// `cleanup.policy` names compact: every record needs a key.
    pub(crate) compact: bool,
    /// `cleanup.policy` names delete: records may be deleted from the front.
    pub(crate) delete: bool,
    pub(crate) max_message_bytes: i32,
    /// `message.timestamp.type` is LogAppendTime.
    pub(crate) log_append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) min_insync_replicas: i32,
}

impl TopicConfig {
    /// All defaults, with the broker's limit for batches.
    pub(crate) fn with_max_message_bytes(max_message_bytes: i32) -> Self {
        Self {
            overrides: BTreeMap::new(),
            default_max_message_bytes: max_message_bytes,
            compact: false,
            delete: true,
            max_message_bytes,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_insync_replicas: 1,
        }
    }

    /// Sets one setting.
    ///
    /// # Errors
    ///
    /// The name is unknown or the value is not of its type or range.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidConfig> {
        let unknown = || InvalidConfig(format!("Unknown topic config name: {name}"));
        let (name, _, kind) = KNOWN.iter().find(|(known, ..)| *known == name).ok_or_else(unknown)?;
        self.apply(name, *kind, value.trim())
            .map_err(|reason| InvalidConfig(format!("Invalid value {value} for configuration {name}: {reason}")))?;
        self.overrides.insert(name, value.trim().to_owned());
        Ok(())
    }

    fn apply(&mut self, name: &str, kind: ConfigKind, value: &str) -> Result<(), String> {
        let number = match kind {
            ConfigKind::Int => i64::from(value.parse::<i32>().map_err(|_| "Not a number of type INT")?),
            ConfigKind::Long => value.parse().map_err(|_| "Not a number of type LONG")?,
            ConfigKind::Boolean if !matches!(value, "true" | "false") => return Err(boolean_expected()),
            ConfigKind::Double if value.parse::<f64>().is_err() => return Err("Not a number of type DOUBLE".to_owned()),
            _ => 0,
        };
        match name {
            "cleanup.policy" => self.apply_cleanup_policy(value)?,
            "compression.type" => one_of(value, &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])?,
            "message.timestamp.type" => {
                one_of(value, &["CreateTime", "LogAppendTime"])?;
                self.log_append_time = value == "LogAppendTime";
            }
            "max.message.bytes" => self.max_message_bytes = int_at_least(number, 0)?,
            "min.insync.replicas" => self.min_insync_replicas = int_at_least(number, 1)?,
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = at_least(number, 0)?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = at_least(number, 0)?,
            _ => {
                at_least(number, minimum(name))?;
            }
        }
        Ok(())
    }

    fn apply_cleanup_policy(&mut self, value: &str) -> Result<(), String> {
        let policies: Vec<_> = value
            .split(',')
            .map(str::trim)
            .filter(|policy| !policy.is_empty())
            .collect();
        for policy in &policies {
            one_of(policy, &["compact", "delete"])?;
        }
        self.compact = policies.contains(&"compact");
        self.delete = policies.contains(&"delete");
        Ok(())
    }

    /// Every setting with its value, by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = ConfigEntry> {
        KNOWN.iter().map(|(name, default, kind)| {
            let override_value = self.overrides.get(name);
            let default = match *name {
                "max.message.bytes" => self.default_max_message_bytes.to_string(),
                _ => (*default).to_owned(),
            };
            let value = override_value.cloned().unwrap_or(default);
            ConfigEntry {
                name,
                value,
                is_override: override_value.is_some(),
                kind: *kind,
            }
        })
    }
}

/// The least value of a numeric setting that the broker takes note of without acting on it.
fn minimum(name: &str) -> i64 {
    match name {
        "segment.bytes" => 1024 * 1024,
        "segment.ms" | "max.compaction.lag.ms" => 1,
        "delete.retention.ms" | "min.compaction.lag.ms" | "file.delete.delay.ms" | "flush.ms" => 0,
        "retention.ms" | "retention.bytes" => -1,
        _ => i64::MIN,
    }
}

fn boolean_expected() -> String {
    "Expected value to be either true or false".to_owned()
}

fn one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    let refused = || format!("String must be one of: {}", allowed.join(", "));
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(refused())
    }
}

fn at_least(value: i64, minimum: i64) -> Result<i64, String> {
    if value >= minimum {
        Ok(value)
    } else {
        Err(format!("Value must be at least {minimum}"))
    }
}

fn int_at_least(value: i64, minimum: i64) -> Result<i32, String> {
    i32::try_from(at_least(value, minimum)?).map_err(|_| "Not a number of type INT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_matter_to_the_broker_take_effect() {
        let mut config = TopicConfig::with_max_message_bytes(1_048_588);
        config.set("cleanup.policy", "compact").unwrap();
        config.set("message.timestamp.type", "LogAppendTime").unwrap();
        config.set("max.message.bytes", "2000").unwrap();
        assert!(config.compact && !config.delete && config.log_append_time);
        assert_eq!(config.max_message_bytes, 2000);
        config.set("cleanup.policy", "compact, delete").unwrap();
        assert!(config.compact && config.delete);
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused() {
        let mut config = TopicConfig::with_max_message_bytes(1_048_588);
        let before = config.clone();
        for (name, value) in [
            ("cleanup.polizy", "compact"),
            ("cleanup.policy", "shred"),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "lots"),
            ("min.insync.replicas", "0"),
            ("preallocate", "yes"),
        ] {
            assert!(config.set(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(config, before);
    }

    #[test]
    fn overrides_are_told_from_defaults() {
        let mut config = TopicConfig::with_max_message_bytes(5);
        config.set("retention.ms", "1").unwrap();
        let entry = |name: &str| config.entries().find(|entry| entry.name == name).unwrap();
        assert!(entry("retention.ms").is_override);
        assert_eq!(entry("retention.ms").value, "1");
        assert!(!entry("max.message.bytes").is_override);
        assert_eq!(entry("max.message.bytes").value, "5");
    }
}
