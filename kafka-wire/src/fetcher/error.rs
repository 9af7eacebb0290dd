//! Why a partition cannot be read on, told so that the reader knows what to do.

use std::fmt;

use crate::connection::CallError;
use crate::protocol::batch::BatchError;
use crate::protocol::{ErrorCode, TopicId, TopicPartition};

/// A partition that cannot be read on. Passing troubles (a broker down, a leader moving) are never reported: they are waited out.
#[derive(Debug, Clone)]
pub struct FetchError {
    /// What is wrong; this is what programs decide by.
    pub kind: FetchErrorKind,
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offset that was to be read; -1 if it was not known yet.
    pub offset: i64,
    /// The broker that said so.
    pub broker: Option<String>,
}

/// What can keep a partition from being read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The log does not have the offset, and the policy is not to jump.
    OffsetOutOfRange {
        /// The first offset that the log has.
        log_start: i64,
        /// The offset after the last one.
        log_end: i64,
    },
    /// Records that had been read were lost when an unclean leader took over (KIP-320).
    Truncated {
        /// Up to here, and not further, what had been read is still in the log.
        end_offset: i64,
        /// The leader epoch of the last record that had been read.
        leader_epoch: i32,
    },
    /// The topic was deleted and another one created under its name (KIP-516).
    TopicRecreated {
        /// The topic that was being read.
        expected: TopicId,
        /// The topic of that name now.
        found: TopicId,
    },
    /// The topic, or the partition, does not exist, and did not appear for half a minute.
    NotFound(ErrorCode),
    /// The broker refuses, and asking again cannot help.
    Refused(ErrorCode),
    /// The bytes are no record batch that can be read.
    Corrupt(BatchError),
    /// The next batch alone is larger than any response we accept.
    BatchTooLarge {
        /// Bytes of the batch, or of a response that holds nothing else.
        bytes: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// No request could be made, and repeating it cannot help: the client was closed, or the broker is too old.
    Call(CallError),
}

impl FetchError {
    /// An error of `kind` at `offset`.
    pub fn new(kind: FetchErrorKind, topic_partition: TopicPartition, offset: i64) -> FetchError {
        FetchError {
            kind,
            topic_partition,
            offset,
            broker: None,
        }
    }

    /// Names the broker.
    #[must_use]
    pub(super) fn with_broker(mut self, broker: Option<String>) -> FetchError {
        self.broker = broker;
        self
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.topic_partition)?;
        if self.offset >= 0 {
            write!(f, " at offset {}", self.offset)?;
        }
        if let Some(broker) = &self.broker {
            write!(f, " from {broker}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for FetchErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OffsetOutOfRange { log_start, log_end } => write!(
                f,
                "the log begins at {log_start} and ends at {log_end} (retention or deletion removed the offset, or it is of \
                 another log); start within the log or choose a reset policy"
            ),
            Self::Truncated {
                end_offset,
                leader_epoch,
            } => write!(
                f,
                "an unclean leader election lost records: what was read up to leader epoch {leader_epoch} is in the log only to \
                 offset {end_offset}; discard what was derived from later offsets and start there"
            ),
            Self::TopicRecreated { expected, found } => write!(
                f,
                "the topic was deleted and created again (id {expected}, now {found}); its offsets and all that was derived \
                 from it belong to the deleted one"
            ),
            Self::NotFound(code) => write!(f, "{code}: create the topic, or correct its name or partition count"),
            Self::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => {
                write!(f, "TOPIC_AUTHORIZATION_FAILED: grant READ and DESCRIBE on the topic")
            }
            Self::Refused(code) => write!(f, "refused with {code}"),
            Self::Corrupt(error) => write!(
                f,
                "{error}; if other readers fail as well the log is damaged: skip the batch or restore the topic"
            ),
            Self::BatchTooLarge { bytes, limit } => write!(
                f,
                "the next batch takes {bytes} bytes, more than the {limit} accepted; raise connection.max_response_bytes"
            ),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            FetchErrorKind::Corrupt(error) => Some(error),
            FetchErrorKind::Call(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_partition_offset_broker_bounds_and_what_to_do() {
        let kind = FetchErrorKind::OffsetOutOfRange {
            log_start: 800,
            log_end: 1200,
        };
        let error =
            FetchError::new(kind, TopicPartition::new("clicks", 3), 500).with_broker(Some("k1:9092".to_owned()));
        let text = error.to_string();
        for part in ["clicks-3", "offset 500", "k1:9092", "800", "1200", "reset policy"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_position_that_is_not_known_is_not_shown() {
        let kind = FetchErrorKind::NotFound(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let text = FetchError::new(kind, TopicPartition::new("clicks", 3), -1).to_string();
        assert!(
            text.starts_with("cannot read clicks-3: UNKNOWN_TOPIC_OR_PARTITION"),
            "{text}"
        );
    }
}
