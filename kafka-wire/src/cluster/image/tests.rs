//! Pictures after Metadata answers and hints made by hand.

use super::*;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

fn broker(id: i32) -> MetadataResponseBroker {
    let host = StrBytes::from_string(format!("kafka-{id}"));
    MetadataResponseBroker::default()
        .with_node_id(BrokerId(id))
        .with_host(host)
        .with_port(9092)
}

fn partition(index: i32, leader: i32, epoch: i32) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(epoch)
}

fn topic(id: u8, partitions: Vec<MetadataResponsePartition>) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("clicks"))))
        .with_topic_id(uuid::Uuid::from_bytes([id; 16]))
        .with_partitions(partitions)
}

fn response(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    MetadataResponse::default()
        .with_brokers(vec![broker(1), broker(2)])
        .with_topics(topics)
}

fn image(topics: Vec<MetadataResponseTopic>) -> ClusterImage {
    ClusterImage::default().after_metadata(&response(topics)).unwrap()
}

fn clicks(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", partition)
}

#[test]
fn leaders_counts_and_names_are_found() {
    let image = image(vec![topic(7, vec![partition(1, 2, 5), partition(0, 1, 4)])]);
    assert_eq!(image.leader(&clicks(0)), Some((1, 4)));
    assert_eq!(image.leader(&clicks(1)), Some((2, 5)));
    assert_eq!(image.leader(&clicks(2)), None);
    assert_eq!(image.leader(&clicks(-1)), None);
    assert_eq!(image.partition_count("clicks"), Some(2));
    assert_eq!(image.partition_count("other"), None);
    assert_eq!(image.topic_by_id(TopicId([7; 16])).unwrap().as_ref(), "clicks");
    assert_eq!(image.broker(2).unwrap().to_string(), "kafka-2:9092 (broker 2)");
}

#[test]
fn an_older_leader_epoch_never_overwrites_a_newer_one() {
    let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
    let next = image
        .after_metadata(&response(vec![topic(7, vec![partition(0, 2, 8)])]))
        .unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((1, 9)));
    let next = next
        .after_metadata(&response(vec![topic(7, vec![partition(0, 2, 9)])]))
        .unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((2, 9)));
}

#[test]
fn a_recreated_topic_starts_over() {
    let image = image(vec![topic(7, vec![partition(0, 1, 9), partition(1, 1, 9)])]);
    let next = image
        .after_metadata(&response(vec![topic(8, vec![partition(0, 2, 0)])]))
        .unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((2, 0)));
    assert_eq!(next.partition_count("clicks"), Some(1));
    assert!(next.topic_by_id(TopicId([7; 16])).is_none());
}

#[test]
fn a_topic_error_changes_no_leader() {
    let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
    let failed = topic(0, vec![]).with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let next = image.after_metadata(&response(vec![failed])).unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((1, 9)));
    assert_eq!(
        next.topic("clicks").unwrap().error,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(next.topic("clicks").unwrap().id, TopicId([7; 16]));
}

#[test]
fn an_answer_without_brokers_tells_nothing() {
    assert!(image(vec![]).after_metadata(&MetadataResponse::default()).is_none());
}

#[test]
fn an_unmentioned_topic_stays() {
    let image = image(vec![topic(7, vec![partition(0, 1, 9)])]);
    assert_eq!(
        image.after_metadata(&response(vec![])).unwrap().leader(&clicks(0)),
        Some((1, 9))
    );
}

#[test]
fn hostile_partition_numbers_cost_nothing() {
    let image = image(vec![topic(
        7,
        vec![partition(i32::MAX, 1, 1), partition(-5, 1, 1), partition(0, 2, 1)],
    )]);
    assert_eq!(image.partition_count("clicks"), Some(3));
    assert_eq!(image.leader(&clicks(0)), Some((2, 1)));
    assert_eq!(image.leader(&clicks(1)), None);
}

#[test]
fn a_newer_hint_moves_one_leader_and_keeps_every_broker() {
    let image = image(vec![topic(7, vec![partition(0, 1, 4), partition(1, 1, 4)])]);
    let endpoint = Some(BrokerAddress {
        id: 3,
        host: "kafka-3".into(),
        port: 9092,
    });
    let next = image
        .after_hint(
            &clicks(0),
            LeaderHint {
                leader: 3,
                epoch: 5,
                endpoint,
            },
        )
        .unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((3, 5)));
    assert_eq!(next.leader(&clicks(1)), Some((1, 4)));
    assert_eq!(next.brokers().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn stale_empty_or_unreachable_hints_are_ignored() {
    let image = image(vec![topic(7, vec![partition(0, 1, 4)])]);
    for (leader, epoch) in [(2, 3), (1, 4), (-1, 9), (2, -1), (9, 9)] {
        assert!(
            image
                .after_hint(
                    &clicks(0),
                    LeaderHint {
                        leader,
                        epoch,
                        endpoint: None
                    }
                )
                .is_none()
        );
    }
    assert!(
        image
            .after_hint(
                &clicks(9),
                LeaderHint {
                    leader: 2,
                    epoch: 9,
                    endpoint: None
                }
            )
            .is_none()
    );
    let next = image
        .after_hint(
            &clicks(0),
            LeaderHint {
                leader: 2,
                epoch: 4,
                endpoint: None,
            },
        )
        .unwrap();
    assert_eq!(next.leader(&clicks(0)), Some((2, 4)), "same epoch, another leader");
}
