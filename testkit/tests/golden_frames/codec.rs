//! Frames through the message codec, by API number.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{self, ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request};

/// A request frame, taken apart.
pub(crate) fn request<R: Request>(frame: &Bytes, version: i16) -> Result<(RequestHeader, R), String> {
    let mut rest = frame.clone();
    let header = RequestHeader::decode(&mut rest, api_key::<R>().request_header_version(version)).map_err(text)?;
    if (header.request_api_key, header.request_api_version) != (R::KEY, version) {
        return Err(format!(
            "the header says API {} v{}",
            header.request_api_key, header.request_api_version
        ));
    }
    let body = R::decode(&mut rest, version).map_err(text)?;
    all_read(&rest)?;
    Ok((header, body))
}

/// A response frame, taken apart.
pub(crate) fn response<R: Request>(frame: &Bytes, version: i16) -> Result<(ResponseHeader, R::Response), String> {
    let mut rest = frame.clone();
    let header = ResponseHeader::decode(&mut rest, api_key::<R>().response_header_version(version)).map_err(text)?;
    let body = R::Response::decode(&mut rest, version).map_err(text)?;
    all_read(&rest)?;
    Ok((header, body))
}

/// Decodes a request frame and encodes it again.
pub(crate) fn check_request(api: ApiKey, version: i16, frame: &Bytes) -> Result<(), String> {
    dispatch(api, frame, version, Direction::Request)
}

/// Decodes a response frame and encodes it again.
pub(crate) fn check_response(api: ApiKey, version: i16, frame: &Bytes) -> Result<(), String> {
    dispatch(api, frame, version, Direction::Response)
}

#[derive(Clone, Copy)]
enum Direction {
    Request,
    Response,
}

fn dispatch(api: ApiKey, frame: &Bytes, version: i16, direction: Direction) -> Result<(), String> {
    match api {
        ApiKey::Produce => check::<messages::ProduceRequest>(frame, version, direction),
        ApiKey::Fetch => check::<messages::FetchRequest>(frame, version, direction),
        ApiKey::ListOffsets => check::<messages::ListOffsetsRequest>(frame, version, direction),
        ApiKey::Metadata => check::<messages::MetadataRequest>(frame, version, direction),
        ApiKey::OffsetCommit => check::<messages::OffsetCommitRequest>(frame, version, direction),
        ApiKey::OffsetFetch => check::<messages::OffsetFetchRequest>(frame, version, direction),
        ApiKey::FindCoordinator => check::<messages::FindCoordinatorRequest>(frame, version, direction),
        ApiKey::JoinGroup => check::<messages::JoinGroupRequest>(frame, version, direction),
        ApiKey::Heartbeat => check::<messages::HeartbeatRequest>(frame, version, direction),
        ApiKey::LeaveGroup => check::<messages::LeaveGroupRequest>(frame, version, direction),
        ApiKey::SyncGroup => check::<messages::SyncGroupRequest>(frame, version, direction),
        ApiKey::ApiVersions => check::<messages::ApiVersionsRequest>(frame, version, direction),
        ApiKey::CreateTopics => check::<messages::CreateTopicsRequest>(frame, version, direction),
        ApiKey::DeleteTopics => check::<messages::DeleteTopicsRequest>(frame, version, direction),
        ApiKey::InitProducerId => check::<messages::InitProducerIdRequest>(frame, version, direction),
        ApiKey::DescribeConfigs => check::<messages::DescribeConfigsRequest>(frame, version, direction),
        ApiKey::DescribeCluster => check::<messages::DescribeClusterRequest>(frame, version, direction),
        ApiKey::OffsetForLeaderEpoch => check::<messages::OffsetForLeaderEpochRequest>(frame, version, direction),
        other => Err(format!("no codec is known here for {other:?}")),
    }
}

fn check<R: Request>(frame: &Bytes, version: i16, direction: Direction) -> Result<(), String> {
    let again = match direction {
        Direction::Request => {
            let (header, body) = request::<R>(frame, version)?;
            encoded(&header, api_key::<R>().request_header_version(version), &body, version)?
        }
        Direction::Response => {
            let (header, body) = response::<R>(frame, version)?;
            encoded(&header, api_key::<R>().response_header_version(version), &body, version)?
        }
    };
    if again == *frame {
        Ok(())
    } else {
        Err(format!("encoded again it is\n{again:02x?}, not\n{frame:02x?}"))
    }
}

fn encoded(header: &impl Encodable, header_version: i16, body: &impl Encodable, version: i16) -> Result<Bytes, String> {
    let mut buffer = BytesMut::new();
    header.encode(&mut buffer, header_version).map_err(text)?;
    body.encode(&mut buffer, version).map_err(text)?;
    Ok(buffer.freeze())
}

fn all_read(rest: &Bytes) -> Result<(), String> {
    if rest.has_remaining() {
        Err(format!("{} bytes are left over", rest.remaining()))
    } else {
        Ok(())
    }
}

fn api_key<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).expect("the protocol crate knows its own keys")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
