//! How a failure came about, told so that an operator knows where to look: how many attempts there were, what the last one met
//! at which broker, what is waited for since, and what to do about it.
//!
//! Nothing here decides anything. Causes are kept as they are, a [`CallError`] per batch that met trouble, and become words when
//! the batch fails.

use std::sync::Arc;

use crate::connection::CallError;
use crate::producer::verdict::advice;
use crate::protocol::ErrorCode;

/// Why a batch cannot be sent at the moment.
#[derive(Debug, Clone)]
pub(super) enum Hindrance {
    /// Nobody is known to lead the partition. What the last refresh of metadata met, if it failed.
    Leader(Option<Arc<str>>),
    /// There is no producer id. What asking for one has met, if it was answered.
    ProducerId(Option<Arc<str>>),
}

impl Hindrance {
    /// In words; `said` is what metadata says instead of naming a leader.
    pub(super) fn told(&self, said: Option<ErrorCode>) -> String {
        const NO_LEADER: &str = "nobody is known to lead the partition";
        const NO_PRODUCER_ID: &str = "there is no producer id";
        match (self, said) {
            (Hindrance::Leader(Some(met)), _) => format!("{NO_LEADER}; {met}"),
            (Hindrance::Leader(None), Some(code)) => {
                format!("{NO_LEADER}, Metadata says {code} ({})", advice(code))
            }
            (Hindrance::Leader(None), None) => format!("{NO_LEADER}, Metadata is not answered"),
            (Hindrance::ProducerId(Some(met)), _) => format!("{NO_PRODUCER_ID}; {met}"),
            (Hindrance::ProducerId(None), _) => format!("{NO_PRODUCER_ID}, InitProducerId is not answered"),
        }
    }
}

/// What `attempts` came to. `code` stands in the error already.
pub(super) fn met(attempts: u32, last: &CallError, code: Option<ErrorCode>) -> String {
    let count = match attempts {
        1 => "1 attempt".to_owned(),
        more => format!("{more} attempts, the last"),
    };
    let Some(refused_with) = last.code() else {
        return format!("{count}: {last}");
    };
    let advice = advice(refused_with);
    match (last.broker(), last.text()) {
        (Some(broker), "") if code == Some(refused_with) => format!("{count}: Produce to {broker} ({advice})"),
        (Some(broker), words) if code == Some(refused_with) => {
            format!("{count}: Produce to {broker}: {words} ({advice})")
        }
        _ => format!("{count}: {last} ({advice})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::CallErrorKind;

    const PRODUCE: i16 = 0;
    const BROKER: &str = "kafka-2:9092 (broker 2)";

    #[test]
    fn a_time_out_is_told_with_api_address_count_and_advice() {
        let error = CallError::new(CallErrorKind::Timeout, "")
            .with_api(PRODUCE)
            .with_broker(&BROKER);
        assert_eq!(
            met(4, &error, None),
            "4 attempts, the last: Produce to kafka-2:9092 (broker 2): no answer in time \
             (the broker is overloaded or the network swallows packets)"
        );
    }

    #[test]
    fn a_code_is_told_once_and_the_brokers_words_are_kept() {
        let refused = |words| CallError::refused(PRODUCE, ErrorCode::INVALID_RECORD, words).with_broker(&BROKER);
        let code = Some(ErrorCode::INVALID_RECORD);
        assert_eq!(
            met(1, &refused(Some("record 3")), code),
            "1 attempt: Produce to kafka-2:9092 (broker 2): record 3 (a compacted topic takes no record without a key)"
        );
        assert_eq!(
            met(1, &refused(None), code),
            "1 attempt: Produce to kafka-2:9092 (broker 2) (a compacted topic takes no record without a key)"
        );
        assert_eq!(
            met(1, &refused(None), None),
            "1 attempt: Produce to kafka-2:9092 (broker 2): refused with INVALID_RECORD \
             (a compacted topic takes no record without a key)"
        );
    }

    #[test]
    fn what_is_waited_for_is_told_with_what_asking_for_it_met() {
        let metadata = Hindrance::Leader(Some("Metadata: broker unreachable".into()));
        assert_eq!(
            metadata.told(None),
            "nobody is known to lead the partition; Metadata: broker unreachable"
        );
        assert!(
            Hindrance::Leader(None)
                .told(Some(ErrorCode::LEADER_NOT_AVAILABLE))
                .contains("LEADER_NOT_AVAILABLE")
        );
        assert!(
            Hindrance::ProducerId(None)
                .told(None)
                .contains("InitProducerId is not answered")
        );
    }
}
