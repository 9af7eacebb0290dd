//! ApiVersions, v0-4 (KIP-35, KIP-511): which APIs this broker serves in which versions.
//!
//! The one API that is answered in any version: a client that asks in a version from the future gets a v0 answer with
//! UNSUPPORTED_VERSION and the range of ApiVersions itself.

use std::ops::RangeInclusive;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_wire::ErrorCode;

use super::advertised_versions;
use crate::broker::api::Api;
use crate::broker::config::BrokerConfig;
use crate::broker::core::{BrokerCore, Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Malformed, Shape, encode_body, text};

pub(super) const VERSIONS: RangeInclusive<i16> = 0..=4;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 3,
    fields: &[text().since(3), text().since(3)],
};

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: ApiVersionsRequest,
) -> Served<ApiVersionsResponse> {
    let software = [&request.client_software_name, &request.client_software_version];
    let refusal = match call.injected {
        Some(code) => Some(code),
        None if call.since(3) && !software.iter().all(|text| is_legal(text)) => Some(ErrorCode::INVALID_REQUEST),
        None => None,
    };
    Served::Answer(match refusal {
        Some(code) => ApiVersionsResponse::default().with_error_code(code.0),
        None => ApiVersionsResponse::default().with_api_keys(advertised(&state.config)),
    })
}

/// Answers a version that is not served.
pub(super) fn refuse_version(core: &mut BrokerCore, call: &Call) -> Result<(), Malformed> {
    let own = api_version(&core.state.config, Api::ApiVersions);
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(own.into_iter().collect());
    core.answer(call.now, call.id, &encode_body(&response, 0)?);
    Ok(())
}

fn advertised(config: &BrokerConfig) -> Vec<ApiVersion> {
    Api::ALL
        .into_iter()
        .filter_map(|api| api_version(config, api))
        .collect()
}

fn api_version(config: &BrokerConfig, api: Api) -> Option<ApiVersion> {
    let versions = advertised_versions(config, api);
    let named = ApiVersion::default().with_api_key(api.key());
    (!versions.is_empty()).then(|| {
        named
            .with_min_version(*versions.start())
            .with_max_version(*versions.end())
    })
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_legal(text: &str) -> bool {
    let legal = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    legal && edge(text.bytes().next()) && edge(text.bytes().next_back())
}
