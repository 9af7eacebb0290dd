//! Decodes response bodies.

use bytes::Bytes;
use kafka_protocol::protocol::Decodable;

use super::error::{CallError, CallErrorKind};

/// Decodes one response body; all of it must be understood.
pub(crate) fn decode<T: Decodable>(api_key: i16, version: i16, mut body: Bytes) -> Result<T, CallError> {
    T::decode(&mut body, version).map_err(|error| {
        let text = format!("malformed response of version {version}: {error}");
        CallError::new(CallErrorKind::Protocol, text).with_api(api_key)
    })
}
