//! Whatever a client sends, decoding it does not panic and takes memory bounded by what really came.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use proptest::prelude::*;

#[path = "../../../../kafka-wire/tests/hostile/mod.rs"]
mod hostile;

use hostile::{bound, harmed, harms, peak, small, teeming, written};

use super::*;
use crate::broker::Api;
use crate::broker::apis::{served_versions, shape};
use crate::broker::wire::{Header, Malformed, decode_body};

/// Decodes a request as the broker does.
fn decode(api: Api, version: i16, body: Bytes) -> Result<(), Malformed> {
    fn as_request<R: Request>(api: Api, version: i16, body: Bytes) -> Result<(), Malformed> {
        assert_eq!(R::KEY, api.key());
        decode_body::<R>(shape(api), body, version).map(drop)
    }
    let decode = match api {
        Api::Produce => as_request::<ProduceRequest>,
        Api::Fetch => as_request::<FetchRequest>,
        Api::ListOffsets => as_request::<ListOffsetsRequest>,
        Api::Metadata => as_request::<MetadataRequest>,
        Api::OffsetCommit => as_request::<OffsetCommitRequest>,
        Api::OffsetFetch => as_request::<OffsetFetchRequest>,
        Api::FindCoordinator => as_request::<FindCoordinatorRequest>,
        Api::JoinGroup => as_request::<JoinGroupRequest>,
        Api::Heartbeat => as_request::<HeartbeatRequest>,
        Api::LeaveGroup => as_request::<LeaveGroupRequest>,
        Api::SyncGroup => as_request::<SyncGroupRequest>,
        Api::DescribeGroups => as_request::<DescribeGroupsRequest>,
        Api::ListGroups => as_request::<ListGroupsRequest>,
        Api::ApiVersions => as_request::<ApiVersionsRequest>,
        Api::CreateTopics => as_request::<CreateTopicsRequest>,
        Api::DeleteTopics => as_request::<DeleteTopicsRequest>,
        Api::DeleteRecords => as_request::<DeleteRecordsRequest>,
        Api::InitProducerId => as_request::<InitProducerIdRequest>,
        Api::OffsetForLeaderEpoch => as_request::<OffsetForLeaderEpochRequest>,
        Api::DescribeConfigs => as_request::<DescribeConfigsRequest>,
        Api::DeleteGroups => as_request::<DeleteGroupsRequest>,
        Api::DescribeCluster => as_request::<DescribeClusterRequest>,
    };
    decode(api, version, body)
}

/// An API and a version in which it is served.
fn message() -> impl Strategy<Value = (Api, i16)> {
    proptest::sample::select(Api::ALL.to_vec()).prop_flat_map(|api| (Just(api), served_versions(api)))
}

fn decode_in_bounds(api: Api, version: i16, body: Vec<u8>) -> Result<(), TestCaseError> {
    let (length, body) = (body.len(), Bytes::from(body));
    let used = peak(|| drop(decode(api, version, body)));
    prop_assert!(used <= bound(length), "{used} bytes for {length}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_shapes_are_the_ones_the_decoders_read(
        (api, version) in message(),
        style in small(),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = written(shape(api), version, style);
        prop_assert_eq!(decode(api, version, body.clone().into()), Ok(()));
        if !body.is_empty() {
            let cut = cut.index(body.len());
            prop_assert!(shape(api).check(&body[..cut], version).is_err(), "cut to {}", cut);
        }
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused_in_bounded_memory(
        (api, version) in message(),
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        decode_in_bounds(api, version, body)?;
    }

    #[test]
    fn mutated_requests_are_decoded_or_refused_in_bounded_memory(
        (api, version) in message(),
        style in small(),
        harms in harms(),
    ) {
        decode_in_bounds(api, version, harmed(written(shape(api), version, style), &harms))?;
    }

    #[test]
    fn arbitrary_frames_have_a_header_or_none_in_bounded_memory(
        (api, version) in message(),
        plausible: bool,
        mut frame in proptest::collection::vec(any::<u8>(), 4..400),
    ) {
        if plausible {
            frame[..2].copy_from_slice(&api.key().to_be_bytes());
            frame[2..4].copy_from_slice(&version.to_be_bytes());
        }
        let (length, frame) = (frame.len(), Bytes::from(frame));
        let used = peak(|| drop(Header::decode(frame)));
        prop_assert!(used <= bound(length), "{used} bytes for {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn many_elements_of_almost_nothing_are_decoded_or_refused_in_bounded_memory(
        (api, version) in message(),
        style in teeming(),
    ) {
        decode_in_bounds(api, version, written(shape(api), version, style))?;
    }
}
