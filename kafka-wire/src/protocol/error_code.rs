//! Kafka's error codes, and the only table that says what one means for us.
//!
//! Source: `org.apache.kafka.common.protocol.Errors` of Kafka 4.1. Conversations differ in details (a leader error found while
//! producing, a member error found while committing); those details stand beside the conversation, the rule stands here.

use std::fmt;

/// An error code as a broker sent it; numbers unknown to us are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// It is no failure.
    None,
    /// Back off, send it again.
    Retry,
    /// Learn anew who leads, then send it again.
    RefreshMetadata,
    /// Find the coordinator anew, then send it again.
    FindCoordinator,
    /// Join the group anew.
    Rejoin,
    /// The position does not exist; the offset-reset policy decides.
    ResetPosition,
    /// The broker does not know this producer's sequence any more; a new epoch starts a new one (KIP-360).
    BumpProducerEpoch,
    /// Sending it again cannot help.
    Fatal,
}

macro_rules! error_codes {
    ($($name:ident = $code:literal, $recovery:ident;)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("Code ", $code, ".")]
                pub const $name: ErrorCode = ErrorCode($code);
            )*

            /// Kafka's name of the code; `UNKNOWN` for a number that is not in the table.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// What to do about it. A number that is not in the table is fatal: guessing could repeat what must not be repeated.
            pub const fn recovery(self) -> Recovery {
                match self.0 {
                    $($code => Recovery::$recovery,)*
                    _ => Recovery::Fatal,
                }
            }
        }

        #[cfg(test)]
        const TABLE: &[(&str, i16)] = &[$((stringify!($name), $code)),*];
    };
}

error_codes! {
    UNKNOWN_SERVER_ERROR = -1, Fatal;
    NONE = 0, None;
    OFFSET_OUT_OF_RANGE = 1, ResetPosition;
    CORRUPT_MESSAGE = 2, Retry;
    UNKNOWN_TOPIC_OR_PARTITION = 3, RefreshMetadata;
    INVALID_FETCH_SIZE = 4, Fatal;
    LEADER_NOT_AVAILABLE = 5, RefreshMetadata;
    NOT_LEADER_OR_FOLLOWER = 6, RefreshMetadata;
    REQUEST_TIMED_OUT = 7, Retry;
    BROKER_NOT_AVAILABLE = 8, RefreshMetadata;
    REPLICA_NOT_AVAILABLE = 9, RefreshMetadata;
    MESSAGE_TOO_LARGE = 10, Fatal;
    STALE_CONTROLLER_EPOCH = 11, Fatal;
    OFFSET_METADATA_TOO_LARGE = 12, Fatal;
    NETWORK_EXCEPTION = 13, RefreshMetadata;
    COORDINATOR_LOAD_IN_PROGRESS = 14, Retry;
    COORDINATOR_NOT_AVAILABLE = 15, FindCoordinator;
    NOT_COORDINATOR = 16, FindCoordinator;
    INVALID_TOPIC_EXCEPTION = 17, Fatal;
    RECORD_LIST_TOO_LARGE = 18, Fatal;
    NOT_ENOUGH_REPLICAS = 19, Retry;
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, Retry;
    INVALID_REQUIRED_ACKS = 21, Fatal;
    ILLEGAL_GENERATION = 22, Rejoin;
    INCONSISTENT_GROUP_PROTOCOL = 23, Fatal;
    INVALID_GROUP_ID = 24, Fatal;
    UNKNOWN_MEMBER_ID = 25, Rejoin;
    INVALID_SESSION_TIMEOUT = 26, Fatal;
    REBALANCE_IN_PROGRESS = 27, Rejoin;
    INVALID_COMMIT_OFFSET_SIZE = 28, Fatal;
    TOPIC_AUTHORIZATION_FAILED = 29, Fatal;
    GROUP_AUTHORIZATION_FAILED = 30, Fatal;
    CLUSTER_AUTHORIZATION_FAILED = 31, Fatal;
    INVALID_TIMESTAMP = 32, Fatal;
    UNSUPPORTED_SASL_MECHANISM = 33, Fatal;
    ILLEGAL_SASL_STATE = 34, Fatal;
    UNSUPPORTED_VERSION = 35, Fatal;
    TOPIC_ALREADY_EXISTS = 36, Fatal;
    INVALID_PARTITIONS = 37, Fatal;
    INVALID_REPLICATION_FACTOR = 38, Fatal;
    INVALID_REPLICA_ASSIGNMENT = 39, Fatal;
    INVALID_CONFIG = 40, Fatal;
    NOT_CONTROLLER = 41, RefreshMetadata;
    INVALID_REQUEST = 42, Fatal;
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, Fatal;
    POLICY_VIOLATION = 44, Fatal;
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, BumpProducerEpoch;
    DUPLICATE_SEQUENCE_NUMBER = 46, None;
    INVALID_PRODUCER_EPOCH = 47, BumpProducerEpoch;
    INVALID_TXN_STATE = 48, Fatal;
    INVALID_PRODUCER_ID_MAPPING = 49, BumpProducerEpoch;
    INVALID_TRANSACTION_TIMEOUT = 50, Fatal;
    CONCURRENT_TRANSACTIONS = 51, Retry;
    TRANSACTION_COORDINATOR_FENCED = 52, Fatal;
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, Fatal;
    SECURITY_DISABLED = 54, Fatal;
    OPERATION_NOT_ATTEMPTED = 55, Retry;
    KAFKA_STORAGE_ERROR = 56, RefreshMetadata;
    LOG_DIR_NOT_FOUND = 57, Fatal;
    SASL_AUTHENTICATION_FAILED = 58, Fatal;
    UNKNOWN_PRODUCER_ID = 59, BumpProducerEpoch;
    REASSIGNMENT_IN_PROGRESS = 60, Retry;
    DELEGATION_TOKEN_AUTH_DISABLED = 61, Fatal;
    DELEGATION_TOKEN_NOT_FOUND = 62, Fatal;
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, Fatal;
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, Fatal;
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, Fatal;
    DELEGATION_TOKEN_EXPIRED = 66, Fatal;
    INVALID_PRINCIPAL_TYPE = 67, Fatal;
    NON_EMPTY_GROUP = 68, Fatal;
    GROUP_ID_NOT_FOUND = 69, Fatal;
    FETCH_SESSION_ID_NOT_FOUND = 70, Retry;
    INVALID_FETCH_SESSION_EPOCH = 71, Retry;
    LISTENER_NOT_FOUND = 72, RefreshMetadata;
    TOPIC_DELETION_DISABLED = 73, Fatal;
    FENCED_LEADER_EPOCH = 74, RefreshMetadata;
    UNKNOWN_LEADER_EPOCH = 75, Retry;
    UNSUPPORTED_COMPRESSION_TYPE = 76, Fatal;
    STALE_BROKER_EPOCH = 77, Fatal;
    OFFSET_NOT_AVAILABLE = 78, Retry;
    MEMBER_ID_REQUIRED = 79, Rejoin;
    PREFERRED_LEADER_NOT_AVAILABLE = 80, RefreshMetadata;
    GROUP_MAX_SIZE_REACHED = 81, Fatal;
    FENCED_INSTANCE_ID = 82, Fatal;
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, RefreshMetadata;
    ELECTION_NOT_NEEDED = 84, RefreshMetadata;
    NO_REASSIGNMENT_IN_PROGRESS = 85, Fatal;
    GROUP_SUBSCRIBED_TO_TOPIC = 86, Fatal;
    INVALID_RECORD = 87, Fatal;
    UNSTABLE_OFFSET_COMMIT = 88, Retry;
    THROTTLING_QUOTA_EXCEEDED = 89, Retry;
    PRODUCER_FENCED = 90, Fatal;
    RESOURCE_NOT_FOUND = 91, Fatal;
    DUPLICATE_RESOURCE = 92, Fatal;
    UNACCEPTABLE_CREDENTIAL = 93, Fatal;
    INCONSISTENT_VOTER_SET = 94, Fatal;
    INVALID_UPDATE_VERSION = 95, Fatal;
    FEATURE_UPDATE_FAILED = 96, Fatal;
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, Fatal;
    SNAPSHOT_NOT_FOUND = 98, Fatal;
    POSITION_OUT_OF_RANGE = 99, Fatal;
    UNKNOWN_TOPIC_ID = 100, RefreshMetadata;
    DUPLICATE_BROKER_REGISTRATION = 101, Fatal;
    BROKER_ID_NOT_REGISTERED = 102, Fatal;
    INCONSISTENT_TOPIC_ID = 103, RefreshMetadata;
    INCONSISTENT_CLUSTER_ID = 104, Fatal;
    TRANSACTIONAL_ID_NOT_FOUND = 105, Fatal;
    FETCH_SESSION_TOPIC_ID_ERROR = 106, Retry;
    INELIGIBLE_REPLICA = 107, Fatal;
    NEW_LEADER_ELECTED = 108, Fatal;
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, Fatal;
    FENCED_MEMBER_EPOCH = 110, Rejoin;
    UNRELEASED_INSTANCE_ID = 111, Fatal;
    UNSUPPORTED_ASSIGNOR = 112, Fatal;
    STALE_MEMBER_EPOCH = 113, Retry;
    MISMATCHED_ENDPOINT_TYPE = 114, Fatal;
    UNSUPPORTED_ENDPOINT_TYPE = 115, Fatal;
    UNKNOWN_CONTROLLER_ID = 116, Fatal;
    UNKNOWN_SUBSCRIPTION_ID = 117, Fatal;
    TELEMETRY_TOO_LARGE = 118, Fatal;
    INVALID_REGISTRATION = 119, Fatal;
    TRANSACTION_ABORTABLE = 120, Fatal;
    INVALID_RECORD_STATE = 121, Fatal;
    SHARE_SESSION_NOT_FOUND = 122, Retry;
    INVALID_SHARE_SESSION_EPOCH = 123, Retry;
    FENCED_STATE_EPOCH = 124, Fatal;
    INVALID_VOTER_KEY = 125, Fatal;
    DUPLICATE_VOTER = 126, Fatal;
    VOTER_NOT_FOUND = 127, Fatal;
    INVALID_REGULAR_EXPRESSION = 128, Fatal;
    REBOOTSTRAP_REQUIRED = 129, RefreshMetadata;
    STREAMS_INVALID_TOPOLOGY = 130, Fatal;
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, Fatal;
    STREAMS_TOPOLOGY_FENCED = 132, Fatal;
    SHARE_SESSION_LIMIT_REACHED = 133, Retry;
}

impl ErrorCode {
    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether sending the same again may succeed, possibly elsewhere.
    pub const fn is_retriable(self) -> bool {
        matches!(
            self.recovery(),
            Recovery::Retry | Recovery::RefreshMetadata | Recovery::FindCoordinator
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "UNKNOWN" => write!(f, "UNKNOWN({})", self.0),
            name => f.write_str(name),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use super::*;

    #[test]
    fn an_unknown_number_is_kept_and_shown() {
        let code = ErrorCode(9999);
        assert_eq!(
            (code.to_string(), code.recovery()),
            ("UNKNOWN(9999)".to_owned(), Recovery::Fatal)
        );
    }

    #[test]
    fn names_agree_with_an_independent_table() {
        for &(name, code) in TABLE {
            if let Some(error) =
                ResponseError::try_from_code(code).filter(|error| !matches!(error, ResponseError::Unknown(_)))
            {
                let theirs = format!("{error:?}").to_lowercase();
                assert_eq!(name.replace('_', "").to_lowercase(), theirs, "code {code}");
            }
        }
    }

    #[test]
    fn leader_errors_ask_for_metadata_and_coordinator_errors_for_the_coordinator() {
        assert_eq!(ErrorCode::NOT_LEADER_OR_FOLLOWER.recovery(), Recovery::RefreshMetadata);
        assert_eq!(ErrorCode::NOT_COORDINATOR.recovery(), Recovery::FindCoordinator);
        assert_eq!(ErrorCode::OFFSET_OUT_OF_RANGE.recovery(), Recovery::ResetPosition);
        assert!(ErrorCode::NONE.is_ok() && ErrorCode::REQUEST_TIMED_OUT.is_retriable());
        assert!(!ErrorCode::TOPIC_AUTHORIZATION_FAILED.is_retriable());
    }
}
