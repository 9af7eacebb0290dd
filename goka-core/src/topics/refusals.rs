//! What it means that the cluster tells nothing about a topic: a function from error codes.
//!
//! Brokers learn of a new topic one after the other, and of its leaders later. What they say until then is not held against it.

use kafka_wire::{ErrorCode, Recovery};

/// What to make of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such topic.
    Missing,
    /// The topic is being made, or its leaders move: ask again.
    Passing,
    /// Asking again does not help.
    Lasting,
}

impl Refusal {
    /// Of Metadata.
    pub(super) fn to_describe(code: Option<ErrorCode>) -> Refusal {
        match code {
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Refusal::Missing,
            _ => Refusal::to_configure(code),
        }
    }

    /// Of DescribeConfigs, for a topic that a broker has just described: one that does not know it lags behind.
    pub(super) fn to_configure(code: Option<ErrorCode>) -> Refusal {
        match code.map(ErrorCode::recovery) {
            Some(Recovery::Retry | Recovery::RefreshMetadata) => Refusal::Passing,
            _ => Refusal::Lasting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_without_leaders_is_not_missing_and_one_that_nobody_knows_is() {
        let described = |code| Refusal::to_describe(Some(code));
        assert_eq!(described(ErrorCode::LEADER_NOT_AVAILABLE), Refusal::Passing);
        assert_eq!(described(ErrorCode::REQUEST_TIMED_OUT), Refusal::Passing);
        assert_eq!(described(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), Refusal::Missing);
        assert_eq!(described(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Refusal::Lasting);
        assert_eq!(described(ErrorCode::INVALID_TOPIC_EXCEPTION), Refusal::Lasting);
        // The client has tried several brokers itself.
        assert_eq!(Refusal::to_describe(None), Refusal::Lasting);
    }

    #[test]
    fn a_broker_that_does_not_know_a_described_topic_yet_lags_behind() {
        let configured = |code| Refusal::to_configure(Some(code));
        assert_eq!(configured(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), Refusal::Passing);
        assert_eq!(configured(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Refusal::Lasting);
    }
}
