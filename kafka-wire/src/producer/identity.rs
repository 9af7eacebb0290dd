//! Getting and renewing the producer id (`InitProducerId`; KIP-98, KIP-360).
//!
//! ```text
//!   Idle --want--> Wanted --poll_request--> Requested --answer--> Held
//!                    ^                          |                  | bump: epoch + 1, locally
//!                    +------ retriable ---------+                  |
//!                    +------ epoch used up (i16::MAX - 1) ---------+
//! ```
//!
//! An idempotent producer without transactions may raise its epoch by itself: nobody else uses its id. A refusal for good
//! (authorization) sends the machine back to `Idle` and fails what waits; the next batch asks again.

use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::protocol::Request;

use crate::connection::{CallError, CallErrorKind};
use crate::producer::backoff::backoff;
use crate::producer::causes::met;
use crate::producer::error::{ProduceError, ProduceErrorKind};
use crate::producer::sequence::ProducerIdentity;
use crate::protocol::{ErrorCode, Recovery};

/// The producer's id and epoch, and how it gets them.
#[derive(Debug)]
pub(super) struct Identity {
    state: State,
    failures: u32,
    trouble: Option<Arc<str>>,
}

#[derive(Debug)]
enum State {
    Idle,
    Wanted { not_before: Option<Instant> },
    Requested,
    Held(ProducerIdentity),
}

impl Identity {
    pub(super) fn new() -> Identity {
        Identity {
            state: State::Idle,
            failures: 0,
            trouble: None,
        }
    }

    /// There is something to number.
    pub(super) fn want(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = State::Wanted { not_before: None };
        }
    }

    /// Whether `InitProducerId` is to be sent now.
    pub(super) fn poll_request(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Wanted { not_before } if not_before.is_none_or(|at| at <= now));
        if due {
            self.state = State::Requested;
        }
        due
    }

    /// Takes the answer. An error means that waiting batches cannot be numbered and fail.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        answer: Result<ProducerIdentity, CallError>,
    ) -> Result<(), ProduceError> {
        if !matches!(self.state, State::Requested) {
            return Ok(());
        }
        let failure = match answer {
            Ok(identity) if identity.id >= 0 && identity.epoch >= 0 => {
                tracing::debug!(
                    producer_id = identity.id,
                    producer_epoch = identity.epoch,
                    "producer id assigned"
                );
                self.state = State::Held(identity);
                self.failures = 0;
                self.trouble = None;
                return Ok(());
            }
            Ok(identity) => {
                let text = format!("unusable producer id {identity:?}");
                CallError::new(CallErrorKind::Protocol, text).with_api(InitProducerIdRequest::KEY)
            }
            Err(failure) => failure,
        };
        self.failures += 1;
        let trouble: Arc<str> = met(self.failures, &failure, None).into();
        if let Some(kind) = for_good(&failure) {
            let error = ProduceError::new(kind, format!("there is no producer id; {trouble}"));
            let error = error.said_by(None, failure.code());
            tracing::warn!(%error, "no producer id");
            *self = Identity::new();
            return Err(error);
        }
        tracing::debug!(%failure, failures = self.failures, "no producer id yet, asking again");
        self.trouble = Some(trouble);
        self.state = State::Wanted {
            not_before: Some(now + backoff(self.failures)),
        };
        Ok(())
    }

    /// What asking has met so far; `None` before the first answer.
    pub(super) fn trouble(&self) -> Option<&Arc<str>> {
        self.trouble.as_ref()
    }

    /// Leaves `spent` for a higher epoch; a bump that happened already is not repeated.
    pub(super) fn bump(&mut self, spent: ProducerIdentity) {
        if !matches!(self.state, State::Held(held) if held == spent) {
            return;
        }
        // i16::MAX itself is reserved for fencing by the coordinator, so the last usable epoch is the one before it.
        self.state = if spent.epoch < i16::MAX - 1 {
            State::Held(ProducerIdentity {
                epoch: spent.epoch + 1,
                ..spent
            })
        } else {
            State::Wanted { not_before: None }
        };
    }

    pub(super) fn current(&self) -> Option<ProducerIdentity> {
        match self.state {
            State::Held(identity) => Some(identity),
            _ => None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Wanted { not_before } => not_before,
            _ => None,
        }
    }
}

/// Whether asking again cannot help: with which kind of error that ends.
fn for_good(failure: &CallError) -> Option<ProduceErrorKind> {
    match failure.kind() {
        CallErrorKind::Unsupported | CallErrorKind::Closed => Some(ProduceErrorKind::Unavailable),
        CallErrorKind::Refused(code) => match code.recovery() {
            Recovery::Retry | Recovery::RefreshMetadata | Recovery::FindCoordinator => None,
            _ if code == ErrorCode::CONCURRENT_TRANSACTIONS || code == ErrorCode::UNKNOWN_SERVER_ERROR => None,
            _ => Some(ProduceErrorKind::Rejected),
        },
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's clock starts somewhere")]
mod tests {
    use super::*;

    const HELD: ProducerIdentity = ProducerIdentity { id: 9, epoch: 0 };

    fn holding(identity: ProducerIdentity) -> Identity {
        let now = Instant::now();
        let mut machine = Identity::new();
        machine.want();
        assert!(machine.poll_request(now));
        machine.handle_answer(now, Ok(identity)).unwrap();
        machine
    }

    fn refusal(code: ErrorCode) -> CallError {
        CallError::refused(InitProducerIdRequest::KEY, code, None).with_broker(&"kafka-1:9092")
    }

    #[test]
    fn nothing_is_asked_before_something_is_to_be_numbered() {
        let now = Instant::now();
        let mut machine = Identity::new();
        assert!(!machine.poll_request(now));
        machine.want();
        assert!(machine.poll_request(now));
        assert!(!machine.poll_request(now), "one request at a time");
    }

    #[test]
    fn a_retriable_refusal_is_asked_again_after_the_backoff() {
        let now = Instant::now();
        let mut machine = Identity::new();
        machine.want();
        machine.poll_request(now);
        machine
            .handle_answer(now, Err(refusal(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)))
            .unwrap();
        assert!(!machine.poll_request(now));
        let trouble = machine.trouble().unwrap();
        assert!(
            trouble.starts_with("1 attempt: InitProducerId to kafka-1:9092: refused with COORDINATOR_LOAD"),
            "{trouble}"
        );
        let retry = machine.next_timeout().unwrap();
        assert!(machine.poll_request(retry));
        machine.handle_answer(retry, Ok(HELD)).unwrap();
        assert_eq!(machine.current(), Some(HELD));
        assert_eq!(machine.trouble(), None);
    }

    #[test]
    fn a_refusal_for_good_fails_what_waits_and_the_next_batch_asks_again() {
        let now = Instant::now();
        let mut machine = Identity::new();
        machine.want();
        machine.poll_request(now);
        let refused = refusal(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        let error = machine.handle_answer(now, Err(refused)).unwrap_err();
        assert_eq!(error.code, Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
        assert_eq!(
            error.to_string(),
            "produce failed: CLUSTER_AUTHORIZATION_FAILED: there is no producer id; 1 attempt: InitProducerId to kafka-1:9092: \
             refused with CLUSTER_AUTHORIZATION_FAILED (grant IdempotentWrite on the cluster, or since Kafka 2.8 Write on a \
             topic, to this client) (not persisted)"
        );
        assert!(!machine.poll_request(now));
        machine.want();
        assert!(machine.poll_request(now));
    }

    #[test]
    fn a_bump_raises_the_epoch_once_however_many_partitions_ask() {
        let mut machine = holding(HELD);
        machine.bump(HELD);
        machine.bump(HELD);
        assert_eq!(machine.current(), Some(ProducerIdentity { id: 9, epoch: 1 }));
    }

    #[test]
    fn a_used_up_epoch_asks_for_a_new_producer_id() {
        let last = ProducerIdentity {
            id: 9,
            epoch: i16::MAX - 1,
        };
        let mut machine = holding(last);
        machine.bump(last);
        assert_eq!(machine.current(), None);
        assert!(machine.poll_request(Instant::now()));
    }
}
