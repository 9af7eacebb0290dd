//! Whatever a client sends, the broker neither panics nor allocates by the client's word.

use allocation_counter::measure;
use kafka_protocol::messages::MetadataRequest;
use proptest::prelude::*;

use super::*;
use crate::broker::Api;
use crate::broker::apis::served_versions;

/// Sends a frame on a fresh connection and lets everything time out.
fn send_raw(fixture: &mut Fixture, frame: Bytes) -> Vec<Output> {
    let connection = fixture.core.handle_connected(1).unwrap();
    fixture.core.handle_request(fixture.now, connection, frame);
    fixture.pass(Duration::from_secs(1));
    let outputs = std::iter::from_fn(|| fixture.output()).collect();
    fixture.core.handle_disconnected(fixture.now, connection);
    outputs
}

fn header(api: Api, version: i16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api.key().to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 9, 0xff, 0xff]);
    frame
}

proptest! {
    #[test]
    fn any_bytes_close_the_connection_or_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut fixture = Fixture::new();
        fixture.topic("t");
        for output in send_raw(&mut fixture, bytes.into()) {
            prop_assert!(output.close || !output.bytes.is_empty());
        }
    }

    #[test]
    fn any_body_behind_a_good_header_does_no_harm(
        api in proptest::sample::select(Api::ALL.to_vec()),
        choice in any::<prop::sample::Index>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let versions: Vec<i16> = served_versions(api).collect();
        let mut frame = header(api, versions[choice.index(versions.len())]);
        frame.extend(body);
        let mut fixture = Fixture::new();
        fixture.topic("t");
        send_raw(&mut fixture, frame.into());
        fixture.pass(Duration::from_secs(600));
    }

    #[test]
    fn a_produce_request_with_any_byte_changed_does_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut fixture = Fixture::new();
        fixture.topic("t");
        let good = frame(1, 9, &produce_request("t", idempotent_batch(7, 0, 0, &[("a", "1"), ("b", "2")])));
        let mut bad = good.to_vec();
        let index = at.index(bad.len());
        bad[index] = byte;
        send_raw(&mut fixture, bad.into());
        let length = fixture.core.records("t", 0).unwrap().len();
        prop_assert!(length == 0 || length == 2, "all or nothing");
    }
}

#[test]
fn a_frame_that_announces_two_billion_topics_allocates_next_to_nothing() {
    let mut fixture = Fixture::new();
    let mut frame = header(Api::Metadata, 1);
    frame.extend(i32::MAX.to_be_bytes());
    let frame = Bytes::from(frame);
    let connection = fixture.connection(1);
    let used = measure(|| fixture.core.handle_request(fixture.now, connection, frame));
    assert!(used.bytes_max < 16 * 1024, "{} bytes", used.bytes_max);
    assert!(fixture.output().unwrap().close);
}

#[test]
fn requests_behind_one_that_is_not_understood_are_not_served() {
    let mut fixture = Fixture::new();
    let connection = fixture.connection(1);
    fixture.core.handle_request(
        fixture.now,
        connection,
        Bytes::from_static(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
    );
    assert!(fixture.output().unwrap().close);
    fixture
        .core
        .handle_request(fixture.now, connection, frame(1, 12, &MetadataRequest::default()));
    assert_eq!(fixture.output(), None);
}
