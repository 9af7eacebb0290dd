//! What a callback fails with.

use std::error::Error;
use std::fmt;

use crate::codec::CodecError;
use crate::storage::StoreError;

/// Why a callback did not go through.
///
/// Any error converts into one with `?`, and so do `String` and `&str`: a callback that fails leaves nothing behind, its record is
/// not committed, and the processor ends with an error that names topic, partition, offset and key.
///
/// Like the catch-all errors of other libraries it does not implement [`Error`] itself, which is what lets every error convert.
pub struct CallbackError {
    kind: CallbackErrorKind,
    // What was being done; empty for an error of the user's own.
    doing: String,
    cause: Box<dyn Error + Send + Sync>,
}

/// Who is to blame for a [`CallbackError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallbackErrorKind {
    /// The callback itself refused the record.
    User,
    /// The record's value is not what the codec of its edge writes; the callback did not run.
    Decode,
    /// The record's key or headers are not what the callback asked for.
    Malformed,
    /// The group table holds a value that its codec cannot read.
    Row,
    /// A value could not be encoded.
    Encode,
    /// The store could not be read.
    Store,
    /// The callback used an edge that the group graph does not declare.
    Undeclared,
}

impl CallbackError {
    pub(crate) fn new(
        kind: CallbackErrorKind,
        doing: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> CallbackError {
        CallbackError {
            kind,
            doing: doing.into(),
            cause: cause.into(),
        }
    }

    pub(crate) fn decode(cause: CodecError) -> CallbackError {
        CallbackError::new(CallbackErrorKind::Decode, "the record's value cannot be decoded", cause)
    }

    pub(crate) fn store(cause: StoreError) -> CallbackError {
        CallbackError::new(CallbackErrorKind::Store, "the group table cannot be read", cause)
    }

    /// Who is to blame.
    pub fn kind(&self) -> CallbackErrorKind {
        self.kind
    }

    /// The error behind it, which is the user's own for [`CallbackErrorKind::User`].
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// The user's own error, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.cause.downcast_ref()
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for CallbackError {
    fn from(cause: E) -> CallbackError {
        CallbackError {
            kind: CallbackErrorKind::User,
            doing: String::new(),
            cause: cause.into(),
        }
    }
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.doing.is_empty() {
            write!(f, "{}: ", self.doing)?;
        }
        // A user's error may hide its point one level down; others repeat it.
        let mut text = self.cause.to_string();
        let mut source = self.cause.source();
        while let Some(error) = source {
            let deeper = error.to_string();
            if !text.ends_with(&deeper) {
                text.push_str(": ");
                text.push_str(&deeper);
            }
            source = error.source();
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackError({:?}: {self})", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_sentences_of_the_user_convert_with_a_question_mark() {
        fn parses() -> Result<u8, CallbackError> {
            Ok("300".parse::<u8>()?)
        }
        fn says() -> Result<(), CallbackError> {
            Err("blocked user")?
        }
        fn formats() -> Result<(), CallbackError> {
            Err(format!("balance below {}", 0))?
        }
        let error = parses().unwrap_err();
        assert_eq!(error.kind(), CallbackErrorKind::User);
        assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
        assert_eq!(says().unwrap_err().to_string(), "blocked user");
        assert_eq!(formats().unwrap_err().to_string(), "balance below 0");
    }

    #[test]
    fn an_error_of_ours_passes_a_question_mark_with_its_kind() {
        fn inner() -> Result<(), CallbackError> {
            Err(CallbackError::decode(CodecError::new("Int64", "holds no digit")))
        }
        fn outer() -> Result<(), CallbackError> {
            inner()?;
            Ok(())
        }
        let error = outer().unwrap_err();
        assert_eq!(error.kind(), CallbackErrorKind::Decode);
        assert_eq!(
            error.to_string(),
            "the record's value cannot be decoded: codec Int64: holds no digit"
        );
    }

    #[test]
    fn the_whole_chain_of_causes_is_printed_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("payment refused")]
        struct Refused(#[source] std::io::Error);
        let error: CallbackError = Refused(std::io::Error::other("limit reached")).into();
        assert_eq!(error.to_string(), "payment refused: limit reached");
        let error = CallbackError::store(StoreError::new("clicks-3", "disk full"));
        assert_eq!(
            error.to_string(),
            "the group table cannot be read: store: clicks-3: disk full"
        );
    }
}
