//! Makes bodies safe to decode.
//!
//! `kafka-protocol` decodes the messages, but it reserves memory for as many array elements as the peer claims to send: twenty
//! bytes can ask for gigabytes. So every body is walked first, along the [`Shape`] of its message, without allocating anything.
//! What reaches a decoder holds every element it claims, and decoding it takes [`allowed_memory`] at most: 64 KiB and eight times
//! its own length. Every response of every connection passes here, those that are decoded by hand too.
//!
//! The bound holds for whatever comes. Honest answers stay below it by their nature: a Kafka structure takes three to six times
//! its bytes when decoded. Only long arrays of almost empty strings would exceed it, and they are refused.

mod responses;
mod shape;
mod walk;

use bytes::Bytes;
use kafka_protocol::protocol::Decodable;

pub use responses::response_shape;
pub use shape::{Field, Kind, Shape, blob, fixed, ints, structs, structure, text, texts};
pub use walk::{Malformed, allowed_memory, skip_tagged_fields};

use super::error::{CallError, CallErrorKind};

/// Decodes one response body; all of it must be understood.
///
/// # Errors
/// [`CallErrorKind::Protocol`] if it is malformed or takes more than [`allowed_memory`].
pub fn decode<T: Decodable>(api_key: i16, version: i16, body: Bytes) -> Result<T, CallError> {
    check(api_key, version, &body)?;
    decode_checked(api_key, version, body)
}

/// Decodes a body that has passed [`check`].
pub(super) fn decode_checked<T: Decodable>(api_key: i16, version: i16, mut body: Bytes) -> Result<T, CallError> {
    T::decode(&mut body, version).map_err(|error| malformed(api_key, version, &error))
}

/// Checks that a response body holds what it claims and decodes in bounded memory.
pub(super) fn check(api_key: i16, version: i16, body: &[u8]) -> Result<(), CallError> {
    let shape = response_shape(api_key).ok_or_else(|| {
        // Never sent: `HeaderVersions` knows no API without a shape.
        let text = "an API whose answers this client cannot check";
        CallError::new(CallErrorKind::Unsupported, text).with_api(api_key)
    })?;
    shape
        .check(body, version)
        .map_err(|error| malformed(api_key, version, &error))
}

fn malformed(api_key: i16, version: i16, error: &dyn std::fmt::Display) -> CallError {
    let text = format!("malformed response of version {version}: {error}");
    CallError::new(CallErrorKind::Protocol, text).with_api(api_key)
}
