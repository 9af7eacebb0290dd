//! Turns a request into the bytes of one frame: length, header, body.
//!
//! The correlation id is left zero; [`InFlight`](super::in_flight::InFlight) fills it in when the request takes its place in the
//! queue. A typed body is encoded behind the header into one buffer; raw pieces (record batches) stay where they are.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;

use super::error::{CallError, CallErrorKind};
use super::guard::response_shape;

/// Length, API key, API version, correlation id, length of the client id, tagged fields.
const HEADER_ROOM: usize = 4 + 2 + 2 + 4 + 2 + 1;

/// The header versions of an API at one version (KIP-482: flexible versions carry tagged fields).
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderVersions {
    pub(crate) request: i16,
    pub(crate) response: i16,
}

impl HeaderVersions {
    /// Looks the API up; only APIs whose messages we have, and whose answers we can check, are known.
    pub(crate) fn of(api_key: i16, version: i16) -> Result<Self, CallError> {
        let unknown = |why: &str| CallError::new(CallErrorKind::Unsupported, why).with_api(api_key);
        let api = ApiKey::try_from(api_key).map_err(|_| unknown("an API this client does not know"))?;
        if response_shape(api_key).is_none() {
            return Err(unknown("an API whose answers this client cannot check"));
        }
        let ours = api.valid_versions();
        if !(ours.min..=ours.max).contains(&version) {
            return Err(unknown("a version this client does not know"));
        }
        Ok(Self {
            request: api.request_header_version(version),
            response: api.response_header_version(version),
        })
    }
}

/// Encodes a whole typed request.
pub(crate) fn encode_typed(
    (api_key, version, header): (i16, i16, HeaderVersions),
    client_id: &str,
    request: &impl Encodable,
) -> Result<BytesMut, CallError> {
    let wrong = |error: &dyn std::fmt::Display| {
        let text = format!("cannot be encoded in version {version}: {error}");
        CallError::new(CallErrorKind::Unsupported, text).with_api(api_key)
    };
    let size = request.compute_size(version).map_err(|error| wrong(&error))?;
    let mut frame = BytesMut::with_capacity(HEADER_ROOM + client_id.len() + size);
    put_header(&mut frame, api_key, version, header, client_id);
    request.encode(&mut frame, version).map_err(|error| wrong(&error))?;
    let length = frame.len() - 4;
    set_length(&mut frame, length, api_key)?;
    Ok(frame)
}

/// Encodes the header of a request whose body follows in pieces.
pub(crate) fn encode_header(
    (api_key, version, header): (i16, i16, HeaderVersions),
    client_id: &str,
    body: &[Bytes],
) -> Result<BytesMut, CallError> {
    let mut frame = BytesMut::with_capacity(HEADER_ROOM + client_id.len());
    put_header(&mut frame, api_key, version, header, client_id);
    let length = frame.len() - 4 + bytes_of(body);
    set_length(&mut frame, length, api_key)?;
    Ok(frame)
}

/// Bytes of a body in pieces.
pub(crate) fn bytes_of(body: &[Bytes]) -> usize {
    body.iter().map(Bytes::len).sum()
}

fn put_header(frame: &mut BytesMut, api_key: i16, version: i16, header: HeaderVersions, client_id: &str) {
    frame.put_i32(0);
    frame.put_i16(api_key);
    frame.put_i16(version);
    frame.put_i32(0);
    // The client id stays a classic nullable string even in header v2; its length was checked with the configuration.
    frame.put_i16(client_id.len() as i16);
    frame.put_slice(client_id.as_bytes());
    if header.request >= 2 {
        frame.put_u8(0);
    }
}

fn set_length(frame: &mut BytesMut, length: usize, api_key: i16) -> Result<(), CallError> {
    let length = i32::try_from(length).map_err(|_| {
        CallError::new(
            CallErrorKind::Unsupported,
            format!("a request of {length} bytes is too long"),
        )
        .with_api(api_key)
    })?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{MetadataRequest, RequestHeader};
    use kafka_protocol::protocol::{Decodable, decode_request_header_from_buffer};

    #[test]
    fn the_header_is_the_one_the_message_crate_reads() {
        for version in 0..=13 {
            let header = HeaderVersions::of(3, version).unwrap();
            let frame = encode_typed((3, version, header), "me", &MetadataRequest::default()).unwrap();
            let mut body = frame.freeze();
            let length = i32::from_be_bytes(*body.split_to(4).first_chunk().unwrap());
            assert_eq!(length as usize, body.len());
            let read: RequestHeader = decode_request_header_from_buffer(&mut body).unwrap();
            assert_eq!((read.request_api_key, read.request_api_version), (3, version));
            assert_eq!(read.client_id.as_deref(), Some("me"));
            MetadataRequest::decode(&mut body, version).unwrap();
            assert!(body.is_empty());
        }
    }

    #[test]
    fn pieces_count_into_the_length_without_being_copied() {
        let pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        let head = encode_header((0, 9, HeaderVersions::of(0, 9).unwrap()), "me", &pieces).unwrap();
        let length = i32::from_be_bytes(*head.first_chunk().unwrap()) as usize;
        assert_eq!(length, head.len() - 4 + 5);
    }

    #[test]
    fn an_unknown_api_is_unsupported() {
        assert_eq!(HeaderVersions::of(88, 0).unwrap_err().kind, CallErrorKind::Unsupported);
        assert_eq!(HeaderVersions::of(4, 0).unwrap_err().kind, CallErrorKind::Unsupported);
        assert_eq!(HeaderVersions::of(3, 99).unwrap_err().kind, CallErrorKind::Unsupported);
    }
}
