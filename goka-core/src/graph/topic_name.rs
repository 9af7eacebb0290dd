//! Kafka's rules for topic names, checked before a name travels to a broker or becomes part of a path.

/// The longest name a topic may have, so that `<name>-<partition>` still is a file name on the broker.
const MAX_LEN: usize = 249;

/// A name that Kafka does not allow for a topic: one to 249 of the characters `a-z A-Z 0-9 . _ -`, and not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{topic:?} is not a topic name: {complaint}")]
pub struct TopicNameError {
    topic: String,
    complaint: String,
}

/// Kafka's `Topic.validate`.
pub(crate) fn check_topic_name(topic: &str) -> Result<(), TopicNameError> {
    let complaint = if topic.is_empty() {
        "it is empty".to_owned()
    } else if topic == "." || topic == ".." {
        "it would be a directory".to_owned()
    } else if topic.len() > MAX_LEN {
        format!("it has {} characters, {MAX_LEN} are allowed", topic.len())
    } else if let Some(strange) = topic
        .chars()
        .find(|&c| !c.is_ascii_alphanumeric() && !"._-".contains(c))
    {
        format!("it holds {strange:?}; letters, digits, '.', '_' and '-' are allowed")
    } else {
        return Ok(());
    };
    // Long names are cut: the text ends in a log line.
    Err(TopicNameError {
        topic: topic.chars().take(MAX_LEN).collect(),
        complaint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_allows_pass() {
        for name in ["a", "user-click", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check_topic_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_kafka_refuses_are_refused_with_the_reason() {
        for (name, reason) in [
            ("", "empty"),
            (".", "directory"),
            ("..", "directory"),
            ("a/b", "'/'"),
            ("with blank", "' '"),
            ("größe", "'ö'"),
            (&"x".repeat(250), "250 characters"),
        ] {
            let error = check_topic_name(name).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
