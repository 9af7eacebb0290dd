//! The first words on every connection: ApiVersions, until both sides agree on its version.
//!
//! ```text
//!  Asking(4) --ok--> Done
//!     |  UNSUPPORTED_VERSION, body in v0 naming the broker's own range
//!     v
//!  Asking(broker's maximum, strictly lower, else 0) --ok--> Done
//!     |  UNSUPPORTED_VERSION
//!     v
//!  Asking(0) --ok--> Done            at 0: Refused
//! ```
//!
//! KIP-35; KIP-511 (client software name, and the fallback). The response header is always v0, whatever the version, because a
//! broker that does not know the version could not know the header either. It is sent on *every* connection: a broker may have
//! been upgraded, or replaced, since the last one.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::error::{CallError, CallErrorKind};
use super::guard;
use super::request::{HeaderVersions, encode_typed};
use super::versions::BrokerVersions;
use crate::protocol::ErrorCode;

const API_VERSIONS: i16 = 18;
const FIRST_ASKED: i16 = 4;

/// The conversation before a connection is usable.
#[derive(Debug)]
pub(crate) struct Handshake {
    client_id: String,
    state: State,
    correlation: i32,
}

#[derive(Debug)]
enum State {
    /// The request of this version is to be sent.
    Asking(i16),
    /// The request of this version is on its way.
    Asked(i16),
    Done(BrokerVersions),
}

impl Handshake {
    /// Introduces us as `client_id`.
    pub(crate) fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            state: State::Asking(FIRST_ASKED),
            correlation: 0,
        }
    }

    /// The next request to write.
    pub(crate) fn poll_request(&mut self) -> Option<Result<Bytes, CallError>> {
        let State::Asking(version) = self.state else {
            return None;
        };
        self.state = State::Asked(version);
        self.correlation += 1;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let frame = HeaderVersions::of(API_VERSIONS, version)
            .and_then(|header| encode_typed((API_VERSIONS, version, header), &self.client_id, &request))
            .map(|mut frame: BytesMut| {
                frame[8..12].copy_from_slice(&self.correlation.to_be_bytes());
                frame.freeze()
            });
        Some(frame)
    }

    /// The broker's answer.
    pub(crate) fn handle_frame(&mut self, mut frame: Bytes) -> Result<(), CallError> {
        let State::Asked(version) = self.state else {
            return Err(violation("an answer nobody asked for"));
        };
        match frame.try_get_i32() {
            Ok(correlation) if correlation == self.correlation => {}
            _ => {
                return Err(violation(
                    "the first answer carries a foreign correlation id; is this a Kafka broker?",
                ));
            }
        }
        let code = frame.first_chunk().map(|code| ErrorCode(i16::from_be_bytes(*code)));
        match code {
            Some(ErrorCode::UNSUPPORTED_VERSION) => self.fall_back(version, frame),
            Some(code) if !code.is_ok() => Err(CallError::refused(API_VERSIONS, code, None)),
            _ => {
                let response: ApiVersionsResponse = guard::decode(API_VERSIONS, version, frame)?;
                self.state = State::Done(BrokerVersions::from_response(&response));
                Ok(())
            }
        }
    }

    /// What the broker can do, once the conversation is over, and the first correlation id that is free.
    pub(crate) fn poll_event(&mut self) -> Option<(BrokerVersions, i32)> {
        match &mut self.state {
            State::Done(versions) => Some((std::mem::take(versions), self.correlation + 1)),
            State::Asking(_) | State::Asked(_) => None,
        }
    }

    /// The answer is in v0 and since Kafka 2.4 names the range the broker knows.
    fn fall_back(&mut self, refused: i16, body: Bytes) -> Result<(), CallError> {
        if refused == 0 {
            let why = "the broker refuses even version 0 of ApiVersions";
            return Err(CallError::refused(
                API_VERSIONS,
                ErrorCode::UNSUPPORTED_VERSION,
                Some(why),
            ));
        }
        let offered = guard::decode::<ApiVersionsResponse>(API_VERSIONS, 0, body)
            .ok()
            .and_then(|response| BrokerVersions::from_response(&response).range(API_VERSIONS))
            .map(|range| *range.end());
        // Only a strictly lower version can end; a broker that keeps offering the refused one gets v0.
        self.state = State::Asking(offered.filter(|&offered| (0..refused).contains(&offered)).unwrap_or(0));
        Ok(())
    }
}

fn violation(what: &str) -> CallError {
    CallError::new(CallErrorKind::Protocol, what).with_api(API_VERSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::protocol::Encodable;

    fn asked(handshake: &mut Handshake) -> (i16, i32) {
        let frame = handshake.poll_request().unwrap().unwrap();
        assert!(handshake.poll_request().is_none());
        (
            i16::from_be_bytes([frame[6], frame[7]]),
            i32::from_be_bytes(*frame[8..].first_chunk().unwrap()),
        )
    }

    fn answer(correlation: i32, version: i16, code: ErrorCode, offered: &[(i16, i16, i16)]) -> Bytes {
        let apis = offered.iter().map(|&(key, min, max)| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        });
        let response = ApiVersionsResponse::default()
            .with_error_code(code.0)
            .with_api_keys(apis.collect());
        let mut frame = BytesMut::new();
        frame.put_i32(correlation);
        response.encode(&mut frame, version).unwrap();
        frame.freeze()
    }

    #[test]
    fn a_modern_broker_needs_one_round() {
        let mut handshake = Handshake::new("me");
        let (version, correlation) = asked(&mut handshake);
        assert_eq!(version, 4);
        handshake
            .handle_frame(answer(correlation, 4, ErrorCode::NONE, &[(3, 0, 13), (88, 0, 1)]))
            .unwrap();
        let (versions, next) = handshake.poll_event().unwrap();
        assert_eq!(
            (versions.range(3), versions.range(88), next),
            (Some(0..=13), Some(0..=1), correlation + 1)
        );
    }

    #[test]
    fn an_older_broker_is_asked_again_in_its_own_version() {
        let mut handshake = Handshake::new("me");
        let (_, correlation) = asked(&mut handshake);
        handshake
            .handle_frame(answer(correlation, 0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 3)]))
            .unwrap();
        assert!(handshake.poll_event().is_none());
        let (version, correlation) = asked(&mut handshake);
        assert_eq!(version, 3);
        handshake
            .handle_frame(answer(correlation, 3, ErrorCode::NONE, &[(3, 0, 9)]))
            .unwrap();
        assert_eq!(handshake.poll_event().unwrap().0.range(3), Some(0..=9));
    }

    #[test]
    fn a_broker_that_names_no_range_gets_version_0() {
        let mut handshake = Handshake::new("me");
        let (_, correlation) = asked(&mut handshake);
        handshake
            .handle_frame(answer(correlation, 0, ErrorCode::UNSUPPORTED_VERSION, &[]))
            .unwrap();
        let (version, correlation) = asked(&mut handshake);
        assert_eq!(version, 0);
        handshake
            .handle_frame(answer(correlation, 0, ErrorCode::NONE, &[(3, 0, 7)]))
            .unwrap();
        assert!(handshake.poll_event().is_some());
    }

    #[test]
    fn a_broker_that_offers_what_it_refuses_ends_in_an_error() {
        let mut handshake = Handshake::new("me");
        let mut versions = Vec::new();
        loop {
            let (version, correlation) = asked(&mut handshake);
            versions.push(version);
            let told = handshake.handle_frame(answer(correlation, 0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 4)]));
            if let Err(error) = told {
                assert_eq!(error.code(), Some(ErrorCode::UNSUPPORTED_VERSION));
                break;
            }
        }
        assert_eq!(versions, [4, 0]);
    }

    #[test]
    fn a_foreign_correlation_id_ends_the_handshake() {
        let mut handshake = Handshake::new("me");
        let (_, correlation) = asked(&mut handshake);
        let error = handshake
            .handle_frame(answer(correlation + 1, 4, ErrorCode::NONE, &[]))
            .unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Protocol);
        assert!(handshake.handle_frame(Bytes::from_static(&[1])).is_err());
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let mut handshake = Handshake::new("me");
        let (_, correlation) = asked(&mut handshake);
        let error = handshake
            .handle_frame(answer(correlation, 4, ErrorCode::INVALID_REQUEST, &[]))
            .unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::INVALID_REQUEST));
    }
}
