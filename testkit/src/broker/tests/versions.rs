use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use kafka_wire::ErrorCode;

use super::*;
use crate::broker::Api;
use crate::broker::apis::served_versions;

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1.0"))
}

fn range(response: &ApiVersionsResponse, api: Api) -> Option<(i16, i16)> {
    let found = response.api_keys.iter().find(|version| version.api_key == api.key())?;
    Some((found.min_version, found.max_version))
}

#[test]
fn every_api_is_advertised_with_the_versions_it_is_served_in() {
    let mut fixture = Fixture::new();
    for version in 0..=4 {
        let response = fixture.call(version, &request());
        assert_eq!(response.error_code, 0);
        assert_eq!(response.api_keys.len(), Api::ALL.len());
        for api in Api::ALL {
            let served = served_versions(api);
            assert_eq!(range(&response, api), Some((*served.start(), *served.end())), "{api:?}");
        }
    }
}

#[test]
fn a_version_from_the_future_is_answered_in_version_0_with_our_range() {
    let mut fixture = Fixture::new();
    fixture.send(1, 4, &request());
    drop(fixture.output());
    let mut frame = BytesMut::from(&frame(1, 4, &request())[..]);
    frame[2..4].copy_from_slice(&99_i16.to_be_bytes());
    fixture
        .core
        .handle_request(fixture.now, fixture.connection(1), frame.freeze());
    let response = fixture.answer::<ApiVersionsRequest>(0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    assert_eq!(range(&response, Api::ApiVersions), Some((0, 4)));
    assert_eq!(response.api_keys.len(), 1);
}

#[test]
fn a_client_without_a_legal_name_is_an_invalid_request() {
    let mut fixture = Fixture::new();
    for name in ["", "-x", "x y", "x."] {
        let response = fixture.call(3, &request().with_client_software_name(text(name)));
        assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST.0, "{name:?}");
    }
}

#[test]
fn another_api_in_a_version_that_is_not_served_closes_the_connection() {
    let mut fixture = Fixture::new();
    let mut frame = BytesMut::from(&frame(1, 12, &MetadataRequest::default())[..]);
    frame[2..4].copy_from_slice(&99_i16.to_be_bytes());
    fixture
        .core
        .handle_request(fixture.now, fixture.connection(1), frame.freeze());
    let output = fixture.output().unwrap();
    assert!(output.close && output.bytes.is_empty());
}

#[test]
fn a_cluster_may_pose_as_an_older_broker() {
    let mut config = BrokerConfig::default();
    config.api_versions.insert(Api::Fetch, 4..=11);
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range leaves the API out")]
    config.api_versions.insert(Api::DescribeCluster, 1..=0);
    let mut fixture = Fixture::with(config);
    let response = fixture.call(4, &request());
    assert_eq!(range(&response, Api::Fetch), Some((4, 11)));
    assert_eq!(range(&response, Api::DescribeCluster), None);
    fixture.send(1, 12, &fetch_request("t", 0));
    assert!(fixture.output().unwrap().close);
}
