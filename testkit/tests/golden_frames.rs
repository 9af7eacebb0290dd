//! Frames captured from Apache Kafka, against our client, our codecs and the embedded broker.
//!
//! - `replay`: the client, given Kafka's answers, asks for the very bytes it asked Kafka for, and finds what it found.
//! - `codec`: every frame decodes to the last byte and encodes to the same bytes; cut short it is an error.
//! - `topics`, `groups`, `records`: what Kafka's answers say, value by value.
//! - `embedded`: the embedded broker understands every request, and says what Kafka said.
//!
//! See `testkit/golden/README.md`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "golden_frames/codec.rs"]
mod codec;
#[path = "golden_frames/embedded.rs"]
mod embedded;
#[path = "golden_frames/groups.rs"]
mod groups;
#[path = "golden_frames/records.rs"]
mod records;
#[path = "golden_frames/replay.rs"]
mod replay;
#[path = "golden_frames/topics.rs"]
mod topics;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kafka_protocol::messages::ApiKey;
use testkit::golden::{Exchange, GoldenFile};

/// What our client speaks: none of it may be without a captured frame.
const SPOKEN: &[ApiKey] = &[
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeConfigs,
    ApiKey::Fetch,
    ApiKey::FindCoordinator,
    ApiKey::Heartbeat,
    ApiKey::InitProducerId,
    ApiKey::JoinGroup,
    ApiKey::LeaveGroup,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::Produce,
    ApiKey::SyncGroup,
];

#[test]
fn every_api_our_client_speaks_was_captured() {
    let captured: BTreeSet<String> = files().iter().map(|file| format!("{:?}", file.api)).collect();
    for api in SPOKEN {
        assert!(captured.contains(&format!("{api:?}")), "no golden file for {api:?}");
    }
}

#[test]
fn every_request_encodes_to_the_bytes_it_was_decoded_from() {
    for file in files() {
        for exchange in &file.exchanges {
            codec::check_request(file.api, file.version, &exchange.request)
                .unwrap_or_else(|error| panic!("{:?} v{}, {}: {error}", file.api, file.version, exchange.step));
        }
    }
}

#[test]
fn every_response_decodes_to_the_last_byte_and_encodes_to_the_same() {
    for file in files() {
        for exchange in &file.exchanges {
            codec::check_response(file.api, file.version, &exchange.response)
                .unwrap_or_else(|error| panic!("{:?} v{}, {}: {error}", file.api, file.version, exchange.step));
        }
    }
}

#[test]
fn a_truncated_frame_is_an_error_and_never_a_panic() {
    for file in files() {
        for exchange in &file.exchanges {
            for length in 0..exchange.request.len() {
                let cut = exchange.request.slice(..length);
                assert!(
                    codec::check_request(file.api, file.version, &cut).is_err(),
                    "{:?} at {length}",
                    file.api
                );
            }
            for length in 0..exchange.response.len() {
                let cut = exchange.response.slice(..length);
                assert!(
                    codec::check_response(file.api, file.version, &cut).is_err(),
                    "{:?} at {length}",
                    file.api
                );
            }
        }
    }
}

/// Every golden file.
fn files() -> Vec<GoldenFile> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = fs::read_dir(&directory).expect("testkit/golden lies beside this test");
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).expect("a readable golden file");
        let file = GoldenFile::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(
            name,
            Some(GoldenFile::file_name(file.api, file.version)),
            "the name says what is inside"
        );
        assert!(!file.exchanges.is_empty(), "{} is empty", path.display());
        file
    };
    paths.iter().map(read).collect()
}

/// The exchanges of an API during a step, in whatever version they were captured, in order.
fn exchanges(api: ApiKey, step: &str) -> Vec<(i16, Exchange)> {
    let of_api = files().into_iter().filter(|file| file.api == api);
    let found: Vec<(i16, Exchange)> = of_api
        .flat_map(|file| file.exchanges.into_iter().map(move |exchange| (file.version, exchange)))
        .filter(|(_, exchange)| exchange.step == step)
        .collect();
    assert!(!found.is_empty(), "no {api:?} was captured at \"{step}\"");
    found
}
