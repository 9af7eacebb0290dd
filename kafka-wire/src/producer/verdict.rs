//! What one partition's error code in a Produce response means for its batch.
//!
//! The general table ([`ErrorCode::recovery`]) says what a code means; here stand the two things only a producer needs:
//! whether the batch may have been written all the same, and the codes that concern the batch's bytes or its sequence.
//! A code neither table knows may have been written: silence about an unknown error is never "not persisted".

use crate::protocol::{ErrorCode, Recovery};

/// What to do with a batch after the broker's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Written, at the offset the answer names.
    Persisted,
    /// Written by an earlier attempt, at an offset the broker no longer knows.
    Duplicate,
    /// Send the same bytes with the same sequence again.
    Retry { cause: Cause, possibly_written: bool },
    /// Too large for the broker: send it in parts.
    Split,
    /// The broker does not accept our numbering: start over under a new epoch if that cannot duplicate.
    Renumber,
    /// Damaged on the way: send once more, then give up.
    Corrupt,
    /// Refused for good.
    Reject { possibly_written: bool },
}

/// What a retry waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Another leader: a hint in the answer (KIP-951) or fresh metadata.
    Leader,
    /// The topic to appear in the broker's metadata; patience is limited.
    Topic,
    /// The broker to recover.
    Broker,
}

/// Reads the code of one partition's answer.
pub(super) fn verdict(code: ErrorCode) -> Verdict {
    const fn retry(cause: Cause) -> Verdict {
        Verdict::Retry {
            cause,
            possibly_written: false,
        }
    }
    match code {
        ErrorCode::NONE => Verdict::Persisted,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Verdict::Duplicate,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH => retry(Cause::Leader),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => retry(Cause::Topic),
        ErrorCode::KAFKA_STORAGE_ERROR => retry(Cause::Leader),
        ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::CONCURRENT_TRANSACTIONS
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => retry(Cause::Broker),
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND | ErrorCode::REQUEST_TIMED_OUT => Verdict::Retry {
            cause: Cause::Broker,
            possibly_written: true,
        },
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Verdict::Split,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED => Verdict::Renumber,
        ErrorCode::CORRUPT_MESSAGE => Verdict::Corrupt,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_REQUIRED_ACKS
        | ErrorCode::INVALID_TXN_STATE
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::POLICY_VIOLATION => Verdict::Reject {
            possibly_written: false,
        },
        other => by_general_table(other),
    }
}

/// What an operator would look at first when a broker answered with this code.
pub(super) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => "grant Write on the topic to this client",
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            "grant IdempotentWrite on the cluster, or since Kafka 2.8 Write on a topic, to this client"
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => "create it, or check its name",
        ErrorCode::INVALID_TOPIC_EXCEPTION => "check the topic's name",
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH => "leaders keep moving or are down, look after the brokers",
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "fewer replicas are in sync than min.insync.replicas asks for, look after the brokers that are behind"
        }
        ErrorCode::REQUEST_TIMED_OUT => "replicas do not follow in time, look after the brokers that are behind",
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
            "the broker is still starting, or its internal topics have no leader"
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            "raise the topic's max.message.bytes, or send smaller records"
        }
        ErrorCode::INVALID_RECORD => "a compacted topic takes no record without a key",
        ErrorCode::INVALID_TIMESTAMP => "compare the records' timestamps with the topic's message.timestamp settings",
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => "choose another compression",
        ErrorCode::THROTTLING_QUOTA_EXCEEDED => "raise the client's quota, or send less",
        ErrorCode::KAFKA_STORAGE_ERROR => "check the broker's disks",
        ErrorCode::CORRUPT_MESSAGE => "check memory and network on the way to the broker",
        _ => "see the broker's log",
    }
}

fn by_general_table(code: ErrorCode) -> Verdict {
    match code.recovery() {
        Recovery::Retry => Verdict::Retry {
            cause: Cause::Broker,
            possibly_written: true,
        },
        Recovery::RefreshMetadata => Verdict::Retry {
            cause: Cause::Leader,
            possibly_written: true,
        },
        _ => Verdict::Reject { possibly_written: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_prove_nothing_was_appended_count_as_not_written() {
        for code in [
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::REQUEST_TIMED_OUT,
        ] {
            assert_eq!(
                verdict(code),
                Verdict::Retry {
                    cause: Cause::Broker,
                    possibly_written: true
                }
            );
        }
        for code in [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::KAFKA_STORAGE_ERROR,
        ] {
            assert!(
                matches!(
                    verdict(code),
                    Verdict::Retry {
                        possibly_written: false,
                        ..
                    }
                ),
                "{code}"
            );
        }
    }

    #[test]
    fn an_unknown_code_is_not_called_not_written() {
        for code in [ErrorCode(-1), ErrorCode(4711)] {
            assert!(
                matches!(
                    verdict(code),
                    Verdict::Reject { possibly_written: true }
                        | Verdict::Retry {
                            possibly_written: true,
                            ..
                        }
                ),
                "{code}"
            );
        }
    }

    #[test]
    fn codes_about_the_numbering_renumber() {
        for code in [
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::PRODUCER_FENCED,
        ] {
            assert_eq!(verdict(code), Verdict::Renumber, "{code}");
        }
    }
}
