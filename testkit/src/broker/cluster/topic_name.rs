//! What a topic may be called (`org.apache.kafka.common.internals.Topic`).

const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
const MAX_LENGTH: usize = 249;

/// Why this is no legal topic name, in Kafka's words.
pub(crate) fn invalid_reason(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.encode_utf16().count() > MAX_LENGTH => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
        }
        _ if !name.chars().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// Whether clients may not write to the topic.
pub(crate) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether the two names differ in '.' and '_' only, which Kafka's metric names cannot tell apart.
pub(crate) fn collides(left: &str, right: &str) -> bool {
    left.replace('.', "_") == right.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_up_to_249_of_kafkas_characters() {
        assert_eq!(invalid_reason("clicks.by-user_1"), None);
        assert_eq!(invalid_reason(&"x".repeat(249)), None);
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(
                invalid_reason(name).is_some_and(|reason| reason.starts_with("Topic name is invalid: ")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_period_collides_with_an_underscore() {
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a-b"));
    }
}
