//! What is asked, and what answers mean.

mod answers;

use bytes::BytesMut;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;

use super::*;

const LONG: Kind = Kind::Fetch {
    lane: Lane::Long,
    wait: Duration::from_millis(500),
};

fn asked(topic: &str, partition: i32, want: Want) -> Asked {
    Asked {
        id: 0,
        topic_partition: TopicPartition::new(topic, partition),
        topic_id: TopicId([topic.len() as u8; 16]),
        leader: Leader { node: 1, epoch: 5 },
        want,
        max_bytes: 1000,
    }
}

fn request(kind: Kind, partitions: Vec<Asked>) -> Request {
    Request {
        ticket: 0,
        node: 1,
        kind,
        partitions,
        max_bytes: 5000,
    }
}

/// `clicks` 0 and 1, and `views` 0, fetched from offset 70 on.
fn fetch() -> Request {
    let partitions = [("clicks", 0), ("clicks", 1), ("views", 0)];
    let partitions = partitions.map(|(topic, partition)| asked(topic, partition, Want::Records(70)));
    request(LONG, partitions.to_vec())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The versions of an API that can be written.
fn versions(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let versions = api.valid_versions();
    versions.min..=versions.max
}

#[test]
fn partitions_are_asked_for_in_their_order_even_if_a_topic_is_named_twice() {
    let partitions = [("clicks", 2), ("clicks", 0), ("views", 0), ("clicks", 1)];
    let partitions = partitions.map(|(topic, partition)| asked(topic, partition, Want::Records(70)));
    let request = request(LONG, partitions.to_vec()).to_fetch(FETCH_BY_NAME, &FetcherConfig::default());
    let asked: Vec<_> = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| partition.partition);
            (topic.topic.as_str(), partitions.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(asked, [("clicks", vec![2, 0]), ("views", vec![0]), ("clicks", vec![1])]);
}

#[test]
fn a_fetch_says_where_how_much_and_how_long() {
    let config = FetcherConfig {
        max_bytes: 5000,
        min_bytes: 3,
        ..FetcherConfig::default()
    }
    .with_isolation(IsolationLevel::ReadCommitted);
    let mut request = fetch();
    request.max_bytes = 7000;
    let sent = request.to_fetch(FETCH_MAX, &config);
    assert_eq!((sent.max_wait_ms, sent.min_bytes, sent.isolation_level), (500, 3, 1));
    assert_eq!(sent.max_bytes, 7000, "what was reserved");
    assert_eq!((sent.session_id, sent.session_epoch), (0, -1), "without a session");
    let clicks = &sent.topics[0];
    assert_eq!((clicks.topic_id.as_bytes(), clicks.topic.as_str()), (&[6; 16], ""));
    let first = &clicks.partitions[0];
    assert_eq!((first.fetch_offset, first.current_leader_epoch), (70, 5));
    assert_eq!(first.partition_max_bytes, 1000);
    let old = request.to_fetch(8, &config);
    assert_eq!(old.topics[0].topic.as_str(), "clicks");
    assert_eq!(
        old.topics[0].partitions[0].current_leader_epoch, -1,
        "unknown to version 8"
    );
}

#[test]
fn one_topic_without_an_id_makes_the_request_go_by_name() {
    let mut request = fetch();
    assert_eq!(request.fetch_version(), FETCH_MAX);
    request.partitions[1].topic_id = TopicId::ZERO;
    assert_eq!(request.fetch_version(), FETCH_BY_NAME);
}

#[test]
fn every_request_can_be_written_in_every_version_it_has() {
    let config = FetcherConfig::default();
    let bound = Want::Offset(Bound::Latest, IsolationLevel::ReadCommitted);
    let offsets = request(
        Kind::Offsets(IsolationLevel::ReadCommitted),
        vec![asked("clicks", 0, bound)],
    );
    let epochs = request(Kind::EpochEnds, vec![asked("clicks", 0, Want::EpochEnd(4))]);
    let mut buffer = BytesMut::new();
    for version in 4..=FETCH_MAX {
        fetch().to_fetch(version, &config).encode(&mut buffer, version).unwrap();
    }
    for version in versions(ApiKey::ListOffsets) {
        let sent = offsets.to_list_offsets(version);
        sent.encode(&mut buffer, version).unwrap();
        assert_eq!(sent.topics[0].partitions[0].timestamp, -1);
        assert_eq!(sent.isolation_level, i8::from(version >= 2));
    }
    for version in versions(ApiKey::OffsetForLeaderEpoch) {
        let sent = epochs.to_epoch_ends(version);
        sent.encode(&mut buffer, version).unwrap();
        let partition = &sent.topics[0].partitions[0];
        assert_eq!((partition.leader_epoch, partition.current_leader_epoch), (4, 5));
    }
}
