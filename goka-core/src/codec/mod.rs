//! Codecs: how a value becomes the bytes of a record and back.
//!
//! Every edge of a group graph carries one, so that a callback, an emitter and a view see Rust values and never bytes. Keys have no
//! codec: as in goka they are plain bytes, and both `"bob"` and a byte slice can be one.
//!
//! The stock codecs write what goka's stock codecs write, bit for bit, so that a Go service and a Rust service can share topics and
//! tables: [`Int64`] is decimal ASCII text, [`Utf8`] raw UTF-8, [`Bytes`] the bytes themselves. [`Json`] (feature `json`) is what
//! goka's examples write by hand. A record without a value never reaches `decode`; [`Nullable`] lets a callback see it.

mod int64;
#[cfg(feature = "json")]
mod json;
mod nullable;
mod text;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use int64::Int64;
#[cfg(feature = "json")]
pub use json::Json;
pub use nullable::Nullable;
pub use text::{Bytes, Undecoded, Utf8};

/// Turns values into bytes and back.
///
/// A codec is cloned into every edge that uses it and called from every partition task at once; keep it small and without locks.
/// What `encode` writes, `decode` must read back to an equal value, in this version of the program and in the next: the bytes
/// outlive the process in the changelog and in the store.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec",
    label = "a codec is needed here",
    note = "the codecs of this crate are Int64, Utf8, Bytes, Undecoded, Nullable and, with the feature `json`, Json",
    note = "a group without `.persist(codec)` has no table: `value`, `set_value` and `delete` need one"
)]
pub trait Codec: Clone + Send + Sync + 'static {
    /// What `decode` gives: `i64`, `String`, a struct of yours.
    type Value: Send + 'static;

    /// What `encode` takes, by reference: `i64`, `str`, a struct of yours.
    type Borrowed: ?Sized;

    /// Appends the encoded value to `into`, leaving what is there in place.
    ///
    /// # Errors
    /// The value cannot be written. What was appended so far is then dropped by the caller.
    fn encode(&self, value: &Self::Borrowed, into: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a value back.
    ///
    /// # Errors
    /// The bytes are not what this codec writes. They came over the network: never panic on them.
    fn decode(&self, bytes: &[u8]) -> Result<Self::Value, CodecError>;

    /// What a record *without* a value (a tombstone) means on an input. `None`, the default, skips the record: goka's `NilIgnore`.
    /// [`Nullable`] turns it into a `None` for the callback.
    fn decode_nil(&self) -> Option<Self::Value> {
        None
    }
}

/// Bytes that a codec could not read, or a value it could not write.
///
/// Names the codec and the complaint, and never quotes the bytes: a value may be a secret, and errors end in logs.
#[derive(Debug, Clone)]
pub struct CodecError {
    codec: &'static str,
    complaint: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl CodecError {
    /// An error of `codec` with a sentence of its own.
    pub fn new(codec: &'static str, complaint: impl Into<String>) -> CodecError {
        CodecError {
            codec,
            complaint: complaint.into(),
            source: None,
        }
    }

    /// An error of `codec` that another error caused.
    pub fn caused_by(codec: &'static str, source: impl Error + Send + Sync + 'static) -> CodecError {
        CodecError {
            codec,
            complaint: source.to_string(),
            source: Some(Arc::new(source)),
        }
    }

    /// The name of the codec that complained.
    pub fn codec(&self) -> &'static str {
        self.codec
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codec {}: {}", self.codec, self.complaint)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The complaint already is the source's own text; what lies behind it is what a reader has not seen yet.
        self.source.as_ref().and_then(|source| source.source())
    }
}
