//! Emitters: where records go, what receipts tell, and what a missing topic or a full buffer leads to.

use std::time::Duration;

use goka_core::{EmitError, Emitter, EmitterConfig, Header, Partitioner, Utf8};
use kafka_wire::ProducerConfig;

use crate::cluster::{Cluster, unique, within};

pub(crate) async fn receipts_tell_where_records_are(cluster: Cluster) {
    let topic = cluster.topic(3, &[]).await;
    let emitter = within("an emitter", Emitter::new(cluster.client(), &topic, Utf8))
        .await
        .unwrap();
    let mut receipts = Vec::new();
    for number in 0..300 {
        let (key, value) = (format!("key-{}", number % 7), format!("value-{number}"));
        let headers = [Header {
            key: b"number",
            value: Some(value.as_bytes()),
        }];
        receipts.push((
            key.clone(),
            value.clone(),
            emitter.emit_with_headers(&key, &value, &headers).unwrap(),
        ));
    }
    let mut records = Vec::new();
    for (key, value, receipt) in receipts {
        records.push((key, value, within("an acknowledgement", receipt).await.unwrap()));
    }
    within("the end", emitter.finish()).await.unwrap();
    for (key, value, position) in records {
        assert_eq!(position.partition, Partitioner::Fnv1a.partition(key.as_bytes(), 3));
        let found = cluster.records(&topic, position.partition).await;
        let record = &found[position.offset as usize];
        assert_eq!(
            (record.key.as_deref(), record.text()),
            (Some(key.as_bytes()), value.as_str())
        );
        assert_eq!(record.timestamp, position.timestamp);
        assert_eq!(record.headers, [(b"number".to_vec(), Some(value.into_bytes()))]);
    }
}

pub(crate) async fn records_of_a_key_keep_their_order_and_murmur2_is_a_choice(cluster: Cluster) {
    let topic = cluster.topic(3, &[]).await;
    let config = EmitterConfig {
        partitioner: Partitioner::Murmur2,
        ..EmitterConfig::default()
    };
    let emitter = within(
        "an emitter",
        Emitter::with_config(cluster.client(), &topic, Utf8, config),
    )
    .await
    .unwrap();
    for number in 0..2000 {
        emitter.ready().await;
        drop(
            emitter
                .emit(format!("key-{}", number % 5), &format!("{number:05}"))
                .unwrap(),
        );
    }
    within("the end", emitter.finish()).await.unwrap();
    let mut count = 0;
    for partition in 0..3 {
        let found = cluster.records(&topic, partition).await;
        count += found.len();
        let keys = found.iter().map(|record| record.key.as_deref().unwrap());
        assert!(
            keys.into_iter()
                .all(|key| Partitioner::Murmur2.partition(key, 3) == partition)
        );
        assert!(found.is_sorted_by(|a, b| a.text() < b.text()), "partition {partition}");
    }
    assert_eq!(count, 2000);
}

pub(crate) async fn a_missing_topic_is_named(cluster: Cluster) {
    let missing = unique("missing");
    let error = within("an error", Emitter::new(cluster.client(), &missing, Utf8))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&missing) && error.contains("does not exist"), "{error}");
}

pub(crate) async fn a_full_buffer_says_so_and_has_room_again(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let producer = ProducerConfig {
        buffer_bytes: 64 << 10,
        batch_bytes: 16 << 10,
        linger: Duration::from_millis(200),
        ..ProducerConfig::default()
    };
    let config = EmitterConfig {
        producer,
        ..EmitterConfig::default()
    };
    let emitter = within(
        "an emitter",
        Emitter::with_config(cluster.client(), &topic, Utf8, config),
    )
    .await
    .unwrap();
    let value = "x".repeat(1000);
    let (mut emitted, mut full) = (0, 0);
    while emitted < 500 {
        match emitter.emit("key", &value) {
            Ok(receipt) => {
                drop(receipt);
                emitted += 1;
            }
            Err(error) => {
                assert!(error.is_full(), "{error}");
                full += 1;
                within("room", emitter.ready()).await;
            }
        }
    }
    within("the end", emitter.finish()).await.unwrap();
    assert!(full > 0, "500 KB never filled a buffer of 64 KiB");
    assert_eq!(cluster.bounds(&topic, 0).await, (0, 500));
}

pub(crate) async fn a_record_too_large_for_the_topic_is_an_error_and_finish_counts_it(cluster: Cluster) {
    let topic = cluster.topic(1, &[("max.message.bytes", "2000")]).await;
    let emitter = within("an emitter", Emitter::new(cluster.client(), &topic, Utf8))
        .await
        .unwrap();
    // What does not repeat does not shrink either.
    let large: String = (0..3000u32)
        .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    within("an acknowledgement", emitter.emit_sync("key", "small"))
        .await
        .unwrap();
    let error = within("an error", emitter.emit_sync("key", &large)).await.unwrap_err();
    assert!(matches!(error, EmitError::Produce(_)), "{error}");
    assert!(error.to_string().contains(&topic), "{error}");
    drop(emitter.emit("key", &large).unwrap());
    within("an acknowledgement", emitter.emit_sync("key", "small again"))
        .await
        .unwrap();
    let failures = within("the end", emitter.finish()).await.unwrap_err();
    assert_eq!(failures.count(), 2, "{failures}");
    assert!(failures.to_string().contains(&topic), "{failures}");
    assert_eq!(cluster.bounds(&topic, 0).await, (0, 2));
}
