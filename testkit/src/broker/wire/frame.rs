//! Request headers and answer frames.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Encodable, Request};
use kafka_wire::rpc::guard::{self, skip_tagged_fields};

use super::Shape;
use crate::broker::api::Api;

/// Why a request was not understood. Kafka answers none of these: it closes the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error(transparent)]
    Shape(#[from] guard::Malformed),
    #[error("version {1} of {0:?} is not served")]
    UnsupportedVersion(Api, i16),
    #[error("API key {0} is not served")]
    UnknownApi(i16),
    #[error("{0}")]
    Undecodable(String),
}

/// What comes before the body of every request.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) api: Api,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
}

impl Header {
    /// Splits a frame (without its length) into header and body.
    pub(crate) fn decode(mut frame: Bytes) -> Result<(Self, Bytes), Malformed> {
        if frame.len() < 10 {
            return Err(guard::Malformed::Truncated.into());
        }
        let key = frame.get_i16();
        let version = frame.get_i16();
        let correlation_id = frame.get_i32();
        let client_id = match frame.get_i16() {
            -1 => String::new(),
            length => {
                let length = usize::try_from(length).map_err(|_| guard::Malformed::NegativeLength(length.into()))?;
                let text = frame.get(..length).ok_or(guard::Malformed::Truncated)?;
                let text = std::str::from_utf8(text).map_err(undecodable)?.to_owned();
                frame.advance(length);
                text
            }
        };
        let api = Api::from_key(key).ok_or(Malformed::UnknownApi(key))?;
        if protocol_key(api).request_header_version(version) >= 2 {
            let body = skip_tagged_fields(&frame)?.len();
            frame.advance(frame.len() - body);
        }
        Ok((
            Self {
                api,
                version,
                correlation_id,
                client_id,
            },
            frame,
        ))
    }
}

/// Decodes a body that has been found to hold what it claims.
pub(crate) fn decode_body<R: Request>(shape: &Shape, mut body: Bytes, version: i16) -> Result<R, Malformed> {
    shape.check(&body, version)?;
    R::decode(&mut body, version).map_err(undecodable)
}

/// Encodes an answer's body.
pub(crate) fn encode_body<M: Encodable>(message: &M, version: i16) -> Result<Bytes, Malformed> {
    let size = message.compute_size(version).map_err(undecodable)?;
    let mut buffer = BytesMut::with_capacity(size);
    message.encode(&mut buffer, version).map_err(undecodable)?;
    Ok(buffer.freeze())
}

/// Length and header of an answer; the body follows.
pub(crate) fn encode_answer(api: Api, version: i16, correlation_id: i32, body: &Bytes) -> Result<Bytes, Malformed> {
    let header_version = protocol_key(api).response_header_version(version);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let mut buffer = BytesMut::from(&[0_u8; 4][..]);
    header.encode(&mut buffer, header_version).map_err(undecodable)?;
    let length =
        u32::try_from(buffer.len() - 4 + body.len()).map_err(|error| Malformed::Undecodable(error.to_string()))?;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    Ok(buffer.freeze())
}

fn protocol_key(api: Api) -> ApiKey {
    ApiKey::try_from(api.key()).expect("every served API is known to the protocol crate")
}

fn undecodable(error: impl std::fmt::Display) -> Malformed {
    Malformed::Undecodable(error.to_string())
}
