//! Records that are not taken: too large, for nowhere, or too many at a time; and that nothing else suffers from it.

use std::time::Duration;

use kafka_wire::{ErrorCode, Partitioner, Persistence, ProduceErrorKind, Producer, ProducerConfig, ProducerRecord};

use crate::cluster::{Cluster, Found, keyed, sender, unique, within};
use crate::cuts::Cuts;

pub(crate) async fn a_record_larger_than_a_request_is_refused_before_it_is_sent(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let producer = cluster.producer(ProducerConfig {
        max_request_bytes: 50_000,
        batch_bytes: 20_000,
        ..ProducerConfig::default()
    });
    let sender = sender(&producer, &topic).await;
    let error = sender.send(keyed(&"x".repeat(30_000))).unwrap_err();
    assert_eq!(
        (error.kind, error.persistence),
        (ProduceErrorKind::RecordTooLarge, Persistence::NotPersisted)
    );
    let text = error.to_string();
    assert!(text.contains("50000") && text.contains(" 60"), "no sizes: {text}");
    // Larger than a batch is meant to be, but not than a request: goes alone.
    let receipt = sender.send(keyed(&"y".repeat(20_000))).unwrap();
    within("an acknowledgement", receipt).await.unwrap();
    assert_eq!(cluster.records(&topic, 0).await.len(), 1);
}

pub(crate) async fn a_record_the_topic_does_not_take_fails_alone_and_the_error_names_its_size(cluster: Cluster) {
    let topic = cluster.topic(1, &[("max.message.bytes", "20000")]).await;
    let producer = cluster.producer(ProducerConfig::default());
    let sender = sender(&producer, &topic).await;
    // The first keeps the partition busy, so that the others share a batch, which the broker refuses as a whole.
    let texts: Vec<String> = (0..20).map(|n| format!("{n:02}").repeat(1000)).collect();
    let large = "x".repeat(30_000);
    let mut receipts: Vec<_> = texts[..10]
        .iter()
        .map(|text| sender.send(keyed(text)).unwrap())
        .collect();
    let refused = sender.send(keyed(&large)).unwrap();
    receipts.extend(texts[10..].iter().map(|text| sender.send(keyed(text)).unwrap()));
    for (offset, receipt) in receipts.into_iter().enumerate() {
        let position = within("an acknowledgement", receipt).await.unwrap();
        assert_eq!(position.offset as usize, offset);
    }
    let error = within("a refusal", refused).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code, error.persistence),
        (
            ProduceErrorKind::RecordTooLarge,
            Some(ErrorCode::MESSAGE_TOO_LARGE),
            Persistence::NotPersisted
        )
    );
    let text = error.to_string();
    assert!(
        text.contains(&format!("{topic}-0")) && text.contains(" 600"),
        "no size: {text}"
    );
    let found = cluster.records(&topic, 0).await;
    assert!(found.iter().map(Found::text).eq(texts.iter().map(String::as_str)));
}

pub(crate) async fn a_missing_topic_and_a_missing_partition_are_named(cluster: Cluster) {
    let producer = cluster.producer(ProducerConfig::default());
    let missing = unique("missing");
    let error = within("an answer", producer.topic(&missing, Partitioner::Fnv1a))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ProduceErrorKind::UnknownTopic);
    assert!(error.to_string().contains(&missing), "{error}");

    let topic = cluster.topic(3, &[]).await;
    let record = ProducerRecord {
        partition: Some(3),
        ..keyed("nowhere")
    };
    let error = sender(&producer, &topic).await.send(record).unwrap_err();
    assert_eq!(error.kind, ProduceErrorKind::UnknownPartition);
    assert!(error.to_string().contains(&format!("{topic}-3")), "{error}");
}

pub(crate) async fn a_full_buffer_holds_senders_back_until_there_is_room(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let cuts = Cuts::new();
    let config = ProducerConfig {
        buffer_bytes: Some(64 << 10),
        batch_bytes: 8 << 10,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(cluster.client_through(&cuts), config).unwrap();
    let sender = sender(&producer, &topic).await;
    cuts.refuse(true);
    let mut receipts = Vec::new();
    let text = |n: usize| format!("{n:08}").repeat(64);
    let error = loop {
        match sender.send(keyed(&text(receipts.len()))) {
            Ok(receipt) => receipts.push(receipt),
            // A batch gives back what it reserved and does not need, but it holds the rest until it is acknowledged.
            Err(error) => match tokio::time::timeout(Duration::from_millis(500), sender.wait_for_room()).await {
                Ok(()) => {}
                Err(_) => break error,
            },
        }
        assert!(receipts.len() * 1024 < (64 + 8) << 10, "nothing holds back");
    };
    assert_eq!(error.kind, ProduceErrorKind::BufferFull);
    assert!(error.to_string().contains("65536"), "no size: {error}");
    assert!(!producer.has_room() && receipts.iter().all(|receipt| receipt.try_result().is_none()));

    cuts.refuse(false);
    while receipts.len() < 1000 {
        within("room", sender.wait_for_room()).await;
        if let Ok(receipt) = sender.send(keyed(&text(receipts.len()))) {
            receipts.push(receipt);
        }
    }
    within("every acknowledgement", producer.close()).await.unwrap();
    for (offset, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap().offset as usize, offset);
    }
    let found = cluster.records(&topic, 0).await;
    assert_eq!(found.len(), 1000);
    assert!(found.iter().enumerate().all(|(n, found)| found.text() == text(n)));
}
