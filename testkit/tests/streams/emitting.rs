//! Emitters: where records go, what receipts tell, and what a missing topic, a full buffer or a failing broker leads to.

use std::time::Duration;

use goka_core::{EmitError, Emitter, EmitterConfig, Header, Partitioner, Utf8};
use kafka_wire::{ErrorCode, ProducerConfig};
use testkit::broker::{Api, Fault, LostTail};

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
        buffer_bytes: Some(64 << 10),
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

/// Embedded only: a broker that refuses one partition for good.
pub(crate) async fn failures_are_told_at_the_end_although_receipts_were_dropped(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    let faults = cluster.broker().faults();
    let refusal = Fault::new(Api::Produce).partition(&topic, 1).times(1_000_000);
    faults.inject(refusal.error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let emitter = within("an emitter", Emitter::new(cluster.client(), &topic, Utf8))
        .await
        .unwrap();
    let mut refused = Vec::new();
    for number in 0..300 {
        let key = format!("key-{number}");
        drop(emitter.emit(&key, "value").unwrap());
        if Partitioner::Fnv1a.partition(key.as_bytes(), 2) == 1 {
            refused.push(key);
        }
    }
    let failures = within("the end", emitter.finish()).await.unwrap_err();
    assert_eq!(failures.count(), refused.len() as u64, "{failures}");
    let text = failures.to_string();
    for named in [&*topic, "TOPIC_AUTHORIZATION_FAILED", &*refused[0]] {
        assert!(text.contains(named), "{named} is not in: {text}");
    }
    assert_eq!(cluster.bounds(&topic, 0).await, (0, 300 - refused.len() as i64));
    assert_eq!(cluster.bounds(&topic, 1).await, (0, 0));
}

/// Embedded only: brokers that fail while records of few keys go to all partitions.
pub(crate) async fn records_of_a_key_keep_their_order_while_brokers_fail(cluster: Cluster) {
    let topic = cluster.topic(3, &[]).await;
    let emitter = within("an emitter", Emitter::new(cluster.client(), &topic, Utf8))
        .await
        .unwrap();
    let (faults, nodes) = (cluster.broker().faults(), cluster.broker().nodes().to_vec());
    for round in 0..30 {
        let node = nodes[round % nodes.len()];
        match round % 6 {
            0 => faults.crash_and_restart(node, LostTail::Nothing),
            1 => faults.inject(Fault::new(Api::Produce).cut_before_answer()),
            2 => (0..3).for_each(|partition| faults.move_leader(&topic, partition, node).unwrap()),
            3 => faults.inject(Fault::new(Api::Produce).error(ErrorCode::NOT_ENOUGH_REPLICAS)),
            4 => faults.inject(Fault::new(Api::Produce).error_after(ErrorCode::REQUEST_TIMED_OUT)),
            _ => faults.inject(Fault::new(Api::Produce).delay_request(Duration::from_millis(50))),
        }
        for number in round * 100..(round + 1) * 100 {
            drop(
                emitter
                    .emit(format!("key-{}", number % 20), &format!("{number:05}"))
                    .unwrap(),
            );
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    // Of the twenty faults those that have not happened by now would only take time.
    assert!(faults.pending() < 20, "nothing failed");
    faults.clear();
    within("the end", emitter.finish()).await.unwrap();
    let mut count = 0;
    for partition in 0..3 {
        let found = cluster.records(&topic, partition).await;
        count += found.len();
        assert!(found.is_sorted_by(|a, b| a.text() < b.text()), "partition {partition}");
    }
    assert_eq!(count, 3000);
}
