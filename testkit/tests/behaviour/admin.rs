//! Topics and their offsets: what is created, described, refused and deleted.

use kafka_wire::admin::{Admin, ListedOffset, NewTopic, OffsetSpec};
use kafka_wire::{ErrorCode, IsolationLevel, Partitioner, ProducerConfig, ProducerRecord, TopicPartition};

use crate::cluster::{Cluster, eventually, unique, unix_ms, within};

/// Creates one topic; the code it was refused with.
async fn create(admin: &Admin, topic: NewTopic) -> Option<ErrorCode> {
    let name = topic.name.clone();
    let mut results = within("an answer", admin.create_topics(&[topic])).await.unwrap();
    assert_eq!(results.len(), 1);
    let (told, result) = results.remove(0);
    assert_eq!(told, name);
    result.err().map(|error| {
        assert!(error.to_string().contains(&name), "the topic is not named: {error}");
        error.code().expect("a refusal")
    })
}

async fn describe_error(admin: &Admin, topic: &str) -> Option<ErrorCode> {
    let described = within("an answer", admin.describe_topics(&[topic])).await;
    described.err().map(|error| error.code().expect("a refusal"))
}

pub(crate) async fn created_topics_are_described_in_the_order_asked_for(cluster: Cluster) {
    let admin = cluster.client().admin();
    let (one, four) = (unique("one"), unique("four"));
    let topics = [NewTopic::new(&one, 1), NewTopic::new(&four, 4)];
    for (_, created) in within("an answer", admin.create_topics(&topics)).await.unwrap() {
        created.unwrap();
    }
    let nodes: Vec<i32> = admin
        .cluster()
        .await
        .unwrap()
        .brokers
        .iter()
        .map(|broker| broker.id)
        .collect();
    let described = within("an answer", admin.describe_topics(&[&four, &one]))
        .await
        .unwrap();
    assert_eq!([&described[0].name, &described[1].name], [&four, &one]);
    assert_ne!(described[0].id, described[1].id);
    for (topic, count) in described.iter().zip([4, 1]) {
        assert!(!topic.internal && !topic.id.is_zero());
        let numbers: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        for partition in &topic.partitions {
            let leader = partition.leader.expect("create_topics waits for leaders");
            assert!(nodes.contains(&leader) && partition.leader_epoch >= 0);
            assert!(partition.replicas.contains(&leader) && partition.in_sync.contains(&leader));
        }
    }
}

pub(crate) async fn an_existing_topic_is_refused_and_its_neighbour_is_created(cluster: Cluster) {
    let admin = cluster.client().admin();
    let (old, new) = (cluster.topic(2, &[]).await, unique("new"));
    let topics = [NewTopic::new(&old, 5), NewTopic::new(&new, 3)];
    let results = within("an answer", admin.create_topics(&topics)).await.unwrap();
    let error = results[0].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
    assert!(error.to_string().contains(&old), "{error}");
    assert!(results[1].1.is_ok());
    let described = within("an answer", admin.describe_topics(&[&old, &new])).await.unwrap();
    assert_eq!([described[0].partitions.len(), described[1].partitions.len()], [2, 3]);
}

pub(crate) async fn impossible_topics_are_refused_each_with_its_own_code(cluster: Cluster) {
    let admin = cluster.client().admin();
    let name = unique("impossible");
    let cases = [
        (
            NewTopic::new(&name, 1).with_replication_factor(99),
            ErrorCode::INVALID_REPLICATION_FACTOR,
        ),
        (NewTopic::new(&name, 0), ErrorCode::INVALID_PARTITIONS),
        (
            NewTopic::new(&name, 1).with_config("no.such.setting", "1"),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            NewTopic::new(&name, 1).with_config("cleanup.policy", "shred"),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            NewTopic::new(format!("{name}/slash"), 1),
            ErrorCode::INVALID_TOPIC_EXCEPTION,
        ),
    ];
    for (topic, code) in cases {
        assert_eq!(create(&admin, topic).await, Some(code));
    }
    assert_eq!(
        describe_error(&admin, &name).await,
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    );
}

pub(crate) async fn the_configuration_in_force_holds_what_was_set_and_the_defaults(cluster: Cluster) {
    let topic = cluster
        .topic(1, &[("cleanup.policy", "compact"), ("max.message.bytes", "65536")])
        .await;
    let config = within("an answer", cluster.client().admin().topic_config(&topic))
        .await
        .unwrap();
    assert_eq!(config["cleanup.policy"], "compact");
    assert_eq!(config["max.message.bytes"], "65536");
    assert_eq!(config["message.timestamp.type"], "CreateTime");
    assert_eq!(config["min.insync.replicas"], "1");
}

pub(crate) async fn a_deleted_topic_is_gone_and_its_successor_has_another_id(cluster: Cluster) {
    let admin = cluster.client().admin();
    let topic = cluster.topic(2, &[]).await;
    cluster.write(&topic, 0, ["old"]).await;
    let old = within("an answer", admin.describe_topics(&[&topic]))
        .await
        .unwrap()
        .remove(0);
    let deleted = within("an answer", admin.delete_topics(&[&topic])).await.unwrap();
    assert!(deleted[0].1.is_ok(), "{deleted:?}");
    eventually("the topic's end", || async {
        describe_error(&admin, &topic).await == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    })
    .await;
    assert_eq!(create(&admin, NewTopic::new(&topic, 3)).await, None);
    let new = within("an answer", admin.describe_topics(&[&topic]))
        .await
        .unwrap()
        .remove(0);
    assert_ne!(old.id, new.id);
    assert_eq!(new.partitions.len(), 3);
    assert_eq!(cluster.bounds(&topic, 0).await, (0, 0));
}

pub(crate) async fn whatever_is_asked_of_a_missing_topic_the_answer_names_it(cluster: Cluster) {
    let admin = cluster.client().admin();
    let missing = unique("missing");
    let partition = [(TopicPartition::new(missing.as_str(), 0), OffsetSpec::Latest)];
    let deleted = within("an answer", admin.delete_topics(&[&missing]))
        .await
        .unwrap()
        .remove(0);
    let errors = [
        deleted.1.unwrap_err(),
        within("an answer", admin.describe_topics(&[&missing]))
            .await
            .unwrap_err(),
        within("an answer", admin.topic_config(&missing)).await.unwrap_err(),
        within(
            "an answer",
            admin.list_offsets(&partition, IsolationLevel::ReadUncommitted),
        )
        .await
        .unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains(&missing), "the topic is not named: {error}");
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
    }
}

pub(crate) async fn offsets_are_found_by_end_and_by_time(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    let producer = cluster.producer(ProducerConfig::default());
    let sender = producer.topic(&topic, Partitioner::Fnv1a).await.unwrap();
    let first = unix_ms() - 60_000;
    for second in 0..10 {
        let record = ProducerRecord {
            value: Some(b"tick"),
            timestamp: Some(first + second * 1000),
            partition: Some(0),
            ..ProducerRecord::default()
        };
        within("an acknowledgement", sender.send(record).unwrap())
            .await
            .unwrap();
    }
    let find = async |partition: i32, spec| -> ListedOffset {
        let at = TopicPartition::new(topic.as_str(), partition);
        let asked = [(at.clone(), spec)];
        let admin = cluster.client().admin();
        let listed = within("an answer", admin.list_offsets(&asked, IsolationLevel::ReadUncommitted)).await;
        listed.unwrap()[&at]
    };
    for (spec, offset) in [
        (OffsetSpec::Earliest, 0),
        (OffsetSpec::Latest, 10),
        (OffsetSpec::Timestamp(0), 0),
        (OffsetSpec::Timestamp(first + 4000), 4),
        (OffsetSpec::Timestamp(first + 4001), 5),
        (OffsetSpec::Timestamp(first + 9001), -1),
    ] {
        assert_eq!(find(0, spec).await.offset, offset, "{spec:?}");
    }
    assert_eq!(
        find(0, OffsetSpec::Timestamp(first + 4001)).await.timestamp,
        first + 5000
    );
    for (spec, offset) in [
        (OffsetSpec::Earliest, 0),
        (OffsetSpec::Latest, 0),
        (OffsetSpec::Timestamp(0), -1),
    ] {
        assert_eq!(find(1, spec).await.offset, offset, "{spec:?} of the empty partition");
    }
}

pub(crate) async fn one_question_is_answered_for_partitions_of_several_leaders(cluster: Cluster) {
    let topic = cluster.topic(6, &[]).await;
    for partition in 0..6 {
        cluster
            .write(&topic, partition, (0..=partition).map(|n| n.to_string()))
            .await;
    }
    let asked: Vec<_> = (0..6)
        .map(|partition| (TopicPartition::new(topic.as_str(), partition), OffsetSpec::Latest))
        .collect();
    let admin = cluster.client().admin();
    let listed = within("an answer", admin.list_offsets(&asked, IsolationLevel::ReadUncommitted)).await;
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 6);
    for (at, _) in &asked {
        assert_eq!(listed[at].offset, i64::from(at.partition) + 1);
    }
}

pub(crate) async fn the_cluster_lists_the_brokers_we_started_from(cluster: Cluster) {
    let description = within("an answer", cluster.client().admin().cluster()).await.unwrap();
    let known: Vec<String> = description
        .brokers
        .iter()
        .map(|broker| format!("{}:{}", broker.host, broker.port))
        .collect();
    for address in cluster.bootstrap() {
        assert!(known.contains(address), "{address} is not among {known:?}");
    }
    assert!(description.cluster_id.is_some_and(|id| !id.is_empty()));
    let controller = description.controller.expect("a controller");
    assert!(description.brokers.iter().any(|broker| broker.id == controller));
}
