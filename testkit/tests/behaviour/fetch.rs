//! Reading: where it starts, and that it waits and goes on.

use std::time::{Duration, Instant};

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::admin::NewTopic;
use kafka_wire::rpc::ConnectionClass;
use kafka_wire::{
    Client, ClientConfig, FetchError, FetchErrorKind, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, StartOffset,
    TopicPartition,
};

use crate::cluster::{Cluster, Found, eventually, records_of, unique, within};

/// How long a broker may hold a fetch, for tests that tell waiting from not waiting.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn read(fetcher: &Fetcher, topic: &str, start: StartOffset, reset: OffsetReset) -> PartitionFetch {
    fetcher.fetch(TopicPartition::new(topic, 0), start, reset)
}

/// The next batch that has records.
async fn next(fetch: &mut PartitionFetch) -> Vec<Found> {
    loop {
        let batch = within("a batch", fetch.next()).await.expect("more to read").unwrap();
        let found = records_of(batch);
        if !found.is_empty() {
            return found;
        }
    }
}

/// The values from here on until `count` are there.
pub(crate) async fn values(fetch: &mut PartitionFetch, count: usize) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    while values.len() < count {
        values.extend(next(fetch).await.iter().map(|found| found.text().to_owned()));
    }
    values
}

async fn error(fetch: &mut PartitionFetch) -> FetchError {
    loop {
        match within("an error", fetch.next()).await.expect("an error") {
            Ok(batch) => assert!(batch.records.is_empty()),
            Err(error) => return error,
        }
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Deletes the records before an offset, as retention does.
async fn delete_before(cluster: &Cluster, topic: &str, offset: i64) {
    let client = cluster.client();
    let described = client.admin().describe_topics(&[topic]).await.unwrap().remove(0);
    let leader = described.partitions[0].leader.unwrap();
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(0)
        .with_offset(offset);
    let topics = vec![
        DeleteRecordsTopic::default()
            .with_name(name)
            .with_partitions(vec![partition]),
    ];
    let request = DeleteRecordsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(30_000);
    let called = client.call(leader, ConnectionClass::General, request, None, Duration::from_secs(30));
    let response = within("the deletion", called).await.unwrap();
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(cluster.bounds(topic, 0).await.0, offset);
}

pub(crate) async fn reading_starts_at_the_beginning_at_an_offset_or_at_the_end(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    cluster.write(&topic, 0, numbers(0..10)).await;
    let fetcher = cluster.fetcher(FetcherConfig::default());
    let start = |start| read(&fetcher, &topic, start, OffsetReset::Error);
    let mut earliest = start(StartOffset::Earliest);
    let mut middle = start(StartOffset::Offset(7));
    let mut end = start(StartOffset::Offset(10));
    let mut latest = start(StartOffset::Latest);
    assert_eq!(values(&mut earliest, 10).await, numbers(0..10));
    assert_eq!(values(&mut middle, 3).await, numbers(7..10));
    // Its first answer shows that it has found the end; what comes later is new to it.
    eventually("the end of the log", || async { latest.watermarks().high == 10 }).await;
    cluster.write(&topic, 0, ["new"]).await;
    for fetch in [&mut earliest, &mut middle, &mut end, &mut latest] {
        assert_eq!(values(fetch, 1).await, ["new"]);
        assert!(!fetch.topic_id().is_zero());
        let watermarks = fetch.watermarks();
        assert_eq!((watermarks.log_start, watermarks.high), (0, 11));
    }
}

pub(crate) async fn a_waiting_fetch_is_woken_by_the_first_record(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let fetcher = cluster.fetcher(FetcherConfig {
        max_wait: LONG,
        ..FetcherConfig::default()
    });
    let mut fetch = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    for n in 0..5 {
        // By now the fetch lies at the broker.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let written = Instant::now();
        cluster.write(&topic, 0, [n.to_string()]).await;
        assert_eq!(values(&mut fetch, 1).await, [n.to_string()]);
        assert!(written.elapsed() < LONG / 2, "came after {:?}", written.elapsed());
    }
}

pub(crate) async fn a_paused_partition_rests_until_it_is_resumed(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    cluster.write(&topic, 0, ["before"]).await;
    let fetcher = cluster.fetcher(FetcherConfig::default());
    let mut fetch = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    assert_eq!(values(&mut fetch, 1).await, ["before"]);
    fetch.pause();
    // What was asked for before the pause is still delivered: wait until nothing is under way.
    tokio::time::sleep(FetcherConfig::default().max_wait * 3).await;
    while let Some(batch) = fetch.try_next() {
        assert!(records_of(batch.unwrap()).is_empty());
    }
    cluster.write(&topic, 0, ["while paused"]).await;
    let resting = tokio::time::timeout(FetcherConfig::default().max_wait * 3, fetch.next());
    assert!(resting.await.is_err(), "a paused partition was read");
    fetch.resume();
    assert_eq!(values(&mut fetch, 1).await, ["while paused"]);
}

pub(crate) async fn an_offset_outside_the_log_is_told_or_jumped_from(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    cluster.write(&topic, 0, numbers(0..10)).await;
    delete_before(&cluster, &topic, 4).await;
    let fetcher = cluster.fetcher(FetcherConfig::default());
    for offset in [0, 3, 11, 1_000_000] {
        let start = |reset| read(&fetcher, &topic, StartOffset::Offset(offset), reset);
        let (mut told, mut earliest, mut latest) = (
            start(OffsetReset::Error),
            start(OffsetReset::Earliest),
            start(OffsetReset::Latest),
        );
        let error = error(&mut told).await;
        let FetchErrorKind::OffsetOutOfRange { log_start, log_end } = error.kind else {
            panic!("{error}");
        };
        let end = cluster.bounds(&topic, 0).await.1;
        assert_eq!((error.offset, log_start, log_end), (offset, 4, end));
        assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
        assert!(
            within("the end", told.next()).await.is_none(),
            "something after the error"
        );

        assert_eq!(values(&mut earliest, 6).await[..6], numbers(4..10));
        eventually("the end of the log", || async { latest.watermarks().high == end }).await;
        assert!(latest.try_next().is_none_or(|batch| batch.unwrap().records.is_empty()));
        if end == 10 && offset == 1_000_000 {
            cluster.write(&topic, 0, ["new"]).await;
            assert_eq!(values(&mut latest, 1).await, ["new"]);
        }
    }
}

pub(crate) async fn a_topic_that_appears_later_is_read_from_its_first_record(cluster: Cluster) {
    let topic = unique("later");
    let fetcher = cluster.fetcher(FetcherConfig::default());
    let mut fetch = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), fetch.next())
            .await
            .is_err()
    );
    let new = NewTopic::new(&topic, 1);
    let created = within("an answer", cluster.client().admin().create_topics(&[new]))
        .await
        .unwrap();
    assert!(created[0].1.is_ok());
    cluster.write(&topic, 0, ["first"]).await;
    assert_eq!(values(&mut fetch, 1).await, ["first"]);
}

pub(crate) async fn a_batch_larger_than_the_limit_is_delivered(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let large = "x".repeat(100_000);
    cluster.write(&topic, 0, ["before", &large, "after"]).await;
    let fetcher = cluster.fetcher(FetcherConfig {
        max_bytes: 1000,
        partition_max_bytes: 1000,
        partition_buffer_bytes: 1000,
        ..FetcherConfig::default()
    });
    let mut fetch = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    assert_eq!(values(&mut fetch, 3).await, ["before", &large, "after"]);
}

/// A broker sends a batch whole, however little was asked for: the answer is refused, and does not say whose batch it holds.
pub(crate) async fn a_batch_larger_than_any_answer_may_be_fails_its_partition_and_no_other(cluster: Cluster) {
    let topic = cluster.topic(4, &[]).await;
    let large = "x".repeat(100_000);
    for partition in 0..4 {
        cluster.write(&topic, partition, numbers(0..50)).await;
        if partition == 2 {
            cluster.write(&topic, partition, [&large]).await;
        }
        cluster.write(&topic, partition, numbers(50..60)).await;
    }
    let mut config = ClientConfig::new(cluster.bootstrap().to_vec());
    config.connection.max_response_bytes = 32 << 10;
    let fetcher = Fetcher::new(Client::new(config).unwrap(), FetcherConfig::default()).unwrap();
    let read = |partition| {
        let partition = TopicPartition::new(&*topic, partition);
        fetcher.fetch(partition, StartOffset::Earliest, OffsetReset::Error)
    };
    let [mut a, mut b, mut stuck, mut c] = [0, 1, 2, 3].map(read);
    assert_eq!(values(&mut stuck, 50).await, numbers(0..50));
    let error = error(&mut stuck).await;
    let FetchErrorKind::BatchTooLarge { bytes, limit } = error.kind else {
        panic!("{error}");
    };
    assert!((100_000..101_000).contains(&bytes), "{bytes}");
    assert_eq!((error.offset, limit), (50, 32 << 10));
    let text = error.to_string();
    let partition = format!("{topic}-2 at offset 50 from 127.0.0.1:");
    for part in [
        &*partition,
        &bytes.to_string(),
        "32768",
        "connection.max_response_bytes",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(
        within("the end", stuck.next()).await.is_none(),
        "something after the error"
    );
    for (partition, fetch) in [(0, &mut a), (1, &mut b), (3, &mut c)] {
        assert_eq!(values(fetch, 60).await, numbers(0..60));
        cluster.write(&topic, partition, ["new"]).await;
        assert_eq!(values(fetch, 1).await, ["new"]);
    }
}

pub(crate) async fn a_reader_that_starts_at_the_end_is_told_so_by_an_empty_batch(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let fetcher = cluster.fetcher(FetcherConfig::default());
    let mut empty = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    let batch = within("word of the end", empty.next()).await.unwrap().unwrap();
    assert!(batch.at_end && batch.records.is_empty());
    assert_eq!((batch.fetch_offset, batch.next_offset, batch.high_watermark), (0, 0, 0));

    cluster.write(&topic, 0, numbers(0..3)).await;
    let mut fetch = read(&fetcher, &topic, StartOffset::Offset(3), OffsetReset::Error);
    let batch = within("word of the end", fetch.next()).await.unwrap().unwrap();
    assert!(batch.at_end && batch.records.is_empty());
    assert_eq!((batch.next_offset, batch.high_watermark), (3, 3));

    // Whoever reads from the start hears of the end with the last records, or just after them.
    let mut fetch = read(&fetcher, &topic, StartOffset::Earliest, OffsetReset::Error);
    let end = within("the end", async {
        loop {
            let batch = fetch.next().await.unwrap().unwrap();
            if batch.at_end {
                return batch.next_offset;
            }
        }
    });
    assert_eq!(end.await, 3);
}
