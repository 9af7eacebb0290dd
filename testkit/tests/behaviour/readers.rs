//! Readers of one client that do not disturb each other.

use std::time::{Duration, Instant};

use kafka_wire::{FetcherConfig, OffsetReset, ProducerConfig, ProducerRecord, StartOffset, TopicPartition};

use crate::cluster::{Cluster, keyed, records_of, sender, within};
use crate::fetch::{LONG, read, values};

pub(crate) async fn two_fetchers_of_one_client_do_not_wait_for_each_other(cluster: Cluster) {
    let (idle, busy) = (cluster.topic(1, &[]).await, cluster.topic(1, &[]).await);
    let config = FetcherConfig {
        max_wait: LONG,
        ..FetcherConfig::default()
    };
    let (waiting, reading) = (cluster.fetcher(config.clone()), cluster.fetcher(config));
    let mut nothing = read(&waiting, &idle, StartOffset::Earliest, OffsetReset::Error);
    // It hears at once that the log is empty, although fetches may wait for long.
    let end = tokio::time::timeout(LONG / 2, nothing.next()).await.unwrap();
    let end = end.unwrap().unwrap();
    assert!(end.at_end && end.records.is_empty());
    // By now its next fetch lies at the broker.
    assert!(
        tokio::time::timeout(Duration::from_millis(300), nothing.next())
            .await
            .is_err()
    );
    let begun = Instant::now();
    let mut fetch = read(&reading, &busy, StartOffset::Earliest, OffsetReset::Error);
    for n in 0..20 {
        cluster.write(&busy, 0, [n.to_string()]).await;
        assert_eq!(values(&mut fetch, 1).await, [n.to_string()]);
    }
    assert!(
        begun.elapsed() < LONG / 2 && nothing.try_next().is_none(),
        "took {:?}",
        begun.elapsed()
    );
}

pub(crate) async fn a_slow_reader_pauses_only_its_own_partition(cluster: Cluster) {
    const RECORDS: usize = 2000;
    let topic = cluster.topic(2, &[]).await;
    let producer = cluster.producer(ProducerConfig {
        batch_bytes: 2000,
        ..ProducerConfig::default()
    });
    let sender = sender(&producer, &topic).await;
    let texts: Vec<String> = (0..RECORDS).map(|n| format!("{n:0100}")).collect();
    for text in &texts {
        for partition in [Some(0), Some(1)] {
            drop(
                sender
                    .send(ProducerRecord {
                        partition,
                        ..keyed(text)
                    })
                    .unwrap(),
            );
        }
    }
    within("every acknowledgement", producer.close()).await.unwrap();
    let fetcher = cluster.fetcher(FetcherConfig {
        partition_max_bytes: 5000,
        partition_buffer_bytes: 10_000,
        ..FetcherConfig::default()
    });
    let mut slow = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    let at = TopicPartition::new(topic.as_str(), 1);
    let mut quick = fetcher.fetch(at, StartOffset::Earliest, OffsetReset::Error);
    assert_eq!(values(&mut quick, RECORDS).await, texts);
    // What lies ready for the slow one is bounded: one answer may come on top of a full shelf.
    let mut ready = 0;
    let mut found = Vec::new();
    while let Some(batch) = slow.try_next() {
        let batch = batch.unwrap();
        ready += batch.records.len();
        found.extend(records_of(batch).iter().map(|found| found.text().to_owned()));
        assert!(ready <= 20_000, "{ready} bytes lay ready");
        if ready >= 10_000 {
            break;
        }
    }
    assert!(!found.is_empty());
    let left = RECORDS - found.len();
    found.extend(values(&mut slow, left).await);
    assert_eq!(found, texts);
}

pub(crate) async fn a_closed_client_ends_every_reader_also_paused_ones(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let client = cluster.new_client();
    let fetcher = kafka_wire::Fetcher::new(client.clone(), FetcherConfig::default()).unwrap();
    let mut readers = [0, 1].map(|_| read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error));
    // Both are at the end; one of them asks for no more.
    for reader in &mut readers {
        assert!(
            within("the end of the log", reader.next())
                .await
                .unwrap()
                .unwrap()
                .at_end
        );
    }
    readers[0].pause();
    within("the client's end", client.close()).await;
    let late = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    late.pause();
    for mut reader in readers.into_iter().chain([late]) {
        let error = within("an error", reader.next()).await.unwrap().unwrap_err();
        assert!(matches!(error.kind, kafka_wire::FetchErrorKind::Call(_)), "{error}");
        assert!(within("the end", reader.next()).await.is_none());
    }
}
