//! What can go wrong with one request, told so that the reader knows what to do.
//!
//! A [`CallError`] names the API, the broker, the kind of trouble and the broker's or the system's own words. Whether the request
//! may have taken effect is a question of its own, [`CallError::possibly_written`], because it decides if repeating it is safe.

use std::fmt;
use std::sync::Arc;

use kafka_protocol::messages::ApiKey;

use crate::protocol::ErrorCode;

/// A request that brought no answer, or an answer that refuses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What kind of trouble; this is what programs decide by.
    pub kind: CallErrorKind,
    api: Option<i16>,
    broker: Option<Arc<str>>,
    text: Arc<str>,
    possibly_written: bool,
}

/// The kinds of trouble a request can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// No connection could be opened in time.
    Unreachable,
    /// Connected, but no answer arrived in time.
    Timeout,
    /// The connection ended before the answer arrived.
    Disconnected {
        /// At least one byte of the request may have left: the broker may have acted on it.
        written: bool,
    },
    /// The broker speaks no version of this API that we speak.
    Unsupported,
    /// The peer broke the protocol: malformed or mismatched.
    Protocol,
    /// The answer is larger than any that is accepted (`connection.max_response_bytes`); it was not read, and the connection ended.
    ResponseTooLarge {
        /// Bytes of the answer, as its length claims.
        bytes: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Whatever listens there is not a Kafka broker (or not on this port): the name of what it seems to be.
    NotKafka(&'static str),
    /// The broker answered with this error code.
    Refused(ErrorCode),
    /// The client was closed.
    Closed,
}

impl CallError {
    /// A new error of `kind` with the words that explain it.
    pub fn new(kind: CallErrorKind, text: impl Into<Arc<str>>) -> Self {
        let possibly_written = matches!(
            kind,
            CallErrorKind::Disconnected { written: true }
                | CallErrorKind::Protocol
                | CallErrorKind::ResponseTooLarge { .. }
        );
        Self {
            kind,
            api: None,
            broker: None,
            text: text.into(),
            possibly_written,
        }
    }

    /// The broker's refusal of a request, with the broker's own words if it sent any.
    pub fn refused(api_key: i16, code: ErrorCode, message: Option<&str>) -> Self {
        Self::new(CallErrorKind::Refused(code), message.unwrap_or_default()).with_api(api_key)
    }

    /// Names the API the request belonged to; an API named before stays.
    pub fn with_api(mut self, api_key: i16) -> Self {
        self.api.get_or_insert(api_key);
        self
    }

    /// Names the broker the request went to; a broker named before stays.
    pub fn with_broker(mut self, broker: &dyn fmt::Display) -> Self {
        if self.broker.is_none() {
            self.broker = Some(broker.to_string().into());
        }
        self
    }

    /// Says whether the request may have reached the broker.
    pub(crate) fn with_written(mut self, written: bool) -> Self {
        self.possibly_written = written;
        self
    }

    /// The kind of trouble.
    pub fn kind(&self) -> CallErrorKind {
        self.kind
    }

    /// The code the broker refused with, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.kind {
            CallErrorKind::Refused(code) => Some(code),
            _ => None,
        }
    }

    /// The API's key, if the error belongs to one request.
    pub fn api_key(&self) -> Option<i16> {
        self.api
    }

    /// The broker, as `host:port (node)`.
    pub fn broker(&self) -> Option<&str> {
        self.broker.as_deref()
    }

    /// The system's or the broker's own words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the broker may have acted on the request although no answer says so. `false` means it certainly has not.
    pub fn possibly_written(&self) -> bool {
        self.possibly_written
    }

    /// Whether the trouble lies between us and the broker, so that another attempt, perhaps elsewhere, makes sense.
    pub fn is_transport(&self) -> bool {
        use CallErrorKind::{Disconnected, NotKafka, Protocol, ResponseTooLarge, Timeout, Unreachable};
        matches!(
            self.kind,
            Unreachable | Timeout | Disconnected { .. } | Protocol | ResponseTooLarge { .. } | NotKafka(_)
        )
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.api {
            Some(key) => match ApiKey::try_from(key) {
                Ok(api) => write!(f, "{api:?}")?,
                Err(_) => write!(f, "API {key}")?,
            },
            None => f.write_str("connection")?,
        }
        if let Some(broker) = &self.broker {
            write!(f, " to {broker}")?;
        }
        write!(f, ": {}", self.kind)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        let advice = self.kind.advice();
        if !advice.is_empty() {
            write!(f, " ({advice})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

impl CallErrorKind {
    /// What an operator would look at first.
    fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check the address, the broker's advertised.listeners and the network",
            Self::Timeout => "the broker is overloaded or the network swallows packets",
            Self::Unsupported => "the broker is too old, Kafka 2.1 is the oldest supported",
            Self::NotKafka("a TLS server") => "the listener expects TLS, use a plaintext listener",
            Self::NotKafka(_) => "check host and port",
            Self::Disconnected { .. } => "the broker's log tells if it was the one who closed it",
            Self::Protocol => "check that nothing but a Kafka broker answers at that address, and the versions of both",
            Self::ResponseTooLarge { .. } => "raise connection.max_response_bytes",
            Self::Refused(_) | Self::Closed => "",
        }
    }
}

impl fmt::Display for CallErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("broker unreachable"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Disconnected { written: true } => f.write_str("connection lost after the request was (partly) sent"),
            Self::Disconnected { written: false } => f.write_str("connection lost before the request was sent"),
            Self::Unsupported => f.write_str("no common version"),
            Self::Protocol => f.write_str("protocol violated by the peer"),
            Self::ResponseTooLarge { bytes, limit } => {
                write!(f, "the answer has {bytes} bytes, more than the {limit} accepted")
            }
            Self::NotKafka(what) => write!(f, "not a Kafka broker but {what}"),
            Self::Refused(code) => write!(f, "refused with {code}"),
            Self::Closed => f.write_str("the client is closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_api_broker_trouble_and_advice() {
        let error = CallError::new(CallErrorKind::Unreachable, "connection refused")
            .with_api(3)
            .with_broker(&"kafka-1:9092");
        assert_eq!(
            error.to_string(),
            "Metadata to kafka-1:9092: broker unreachable: connection refused \
             (check the address, the broker's advertised.listeners and the network)"
        );
        let unknown = CallError::new(CallErrorKind::Closed, "").with_api(88);
        assert_eq!(unknown.to_string(), "API 88: the client is closed");
    }

    #[test]
    fn only_requests_that_may_have_left_are_possibly_written() {
        assert!(!CallError::new(CallErrorKind::Unreachable, "").possibly_written());
        assert!(!CallError::new(CallErrorKind::Disconnected { written: false }, "").possibly_written());
        assert!(CallError::new(CallErrorKind::Disconnected { written: true }, "").possibly_written());
        assert!(
            CallError::new(CallErrorKind::Timeout, "")
                .with_written(true)
                .possibly_written()
        );
    }
}
