//! Why a processor ends.
//!
//! Whoever reads these lines has been woken by them: each names the record it is about by topic, partition, offset and key, says
//! whose fault it is and what to do. Keys are shown as text and cut, values are never shown.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::context::{CallbackError, CallbackErrorKind};
use crate::graph::GraphError;
use crate::topics::TopicError;

/// As much of a key as an error shows, in characters.
const KEY_CHARS: usize = 64;

/// Why a processor ended on its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The callback refused a record. It stays uncommitted and comes again after a restart.
    #[error("callback failed at {at}: {error}")]
    Callback {
        /// The record.
        at: RecordLocation,
        /// What the callback failed with.
        error: CallbackError,
    },
    /// The callback panicked. The record stays uncommitted and comes again after a restart.
    #[error("callback panicked at {at}: {message}")]
    Panic {
        /// The record.
        at: RecordLocation,
        /// The panic's message.
        message: String,
    },
    /// A record's value is not what the codec of its edge writes.
    #[error("record {at} cannot be decoded: {error}; was it written with another codec, or to the wrong topic?")]
    Undecodable {
        /// The record.
        at: RecordLocation,
        /// What the codec complains about.
        error: CallbackError,
    },
    /// The graph's topics are missing, disagree, or would lose data.
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// The group graph cannot work.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl RunError {
    /// The error of a record whose handler returned `error`.
    pub(crate) fn at(at: RecordLocation, error: CallbackError) -> RunError {
        match error.kind() {
            CallbackErrorKind::Decode => RunError::Undecodable { at, error },
            _ => RunError::Callback { at, error },
        }
    }

    /// The error of a record whose handler panicked with `payload`.
    pub(crate) fn panicked(at: RecordLocation, payload: &(dyn Any + Send)) -> RunError {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "with a value that is not text".to_owned(),
        };
        RunError::Panic { at, message }
    }
}

/// Where a record is: `user-click-3@42 (key "bob")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLocation {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key as text: what is not UTF-8 replaced, cut after 64 characters.
    pub key: String,
}

impl RecordLocation {
    pub(crate) fn new(topic: &Arc<str>, partition: i32, offset: i64, key: &[u8]) -> RecordLocation {
        RecordLocation {
            topic: topic.clone(),
            partition,
            offset,
            key: shown_key(key),
        }
    }
}

impl fmt::Display for RecordLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}@{} (key {:?})",
            self.topic, self.partition, self.offset, self.key
        )
    }
}

/// A key for human eyes, bounded however long the key is.
pub(crate) fn shown_key(key: &[u8]) -> String {
    // No character takes more than four bytes, so the cut slice holds every character that is shown.
    let head = &key[..key.len().min(4 * (KEY_CHARS + 1))];
    let text = String::from_utf8_lossy(head);
    let mut shown: String = text.chars().take(KEY_CHARS).collect();
    if text.chars().nth(KEY_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// An error with everything behind it, for sources whose own text leaves that out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecError;

    fn at(key: &[u8]) -> RecordLocation {
        RecordLocation::new(&Arc::from("user-click"), 3, 42, key)
    }

    #[test]
    fn every_error_about_a_record_names_it() {
        let callback = RunError::at(at(b"bob"), "account closed".into());
        assert_eq!(
            callback.to_string(),
            "callback failed at user-click-3@42 (key \"bob\"): account closed"
        );
        let undecodable = RunError::at(
            at(b"bob"),
            CallbackError::decode(CodecError::new("Int64", "holds no digit")),
        );
        assert!(matches!(undecodable, RunError::Undecodable { .. }));
        assert!(
            undecodable
                .to_string()
                .starts_with("record user-click-3@42 (key \"bob\") cannot be decoded: ")
        );
        let panic = std::panic::catch_unwind(|| panic!("index {} is gone", 7)).unwrap_err();
        let panic = RunError::panicked(at(b"bob"), &*panic);
        assert_eq!(
            panic.to_string(),
            "callback panicked at user-click-3@42 (key \"bob\"): index 7 is gone"
        );
    }

    #[test]
    fn a_panic_with_anything_but_text_is_still_an_error() {
        let error = RunError::panicked(at(b""), &17_u8);
        assert!(error.to_string().ends_with("with a value that is not text"));
    }

    #[test]
    fn keys_are_shown_as_text_of_bounded_length() {
        assert_eq!(shown_key(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(shown_key("日".repeat(64).as_bytes()), "日".repeat(64));
        assert_eq!(shown_key(&[b'x'; 1 << 20]).chars().count(), 65);
        assert_eq!(at(b"line\nbreak").to_string(), "user-click-3@42 (key \"line\\nbreak\")");
    }
}
