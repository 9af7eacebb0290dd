//! Reading while brokers fail: every record comes once and in order, or the reader is told what became of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_wire::{
    ErrorCode, FetchErrorKind, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, StartOffset, TopicPartition,
};
use testkit::broker::{Api, EmbeddedBroker, Fault};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, records_of, within};
use crate::each_fault::{LATE, TOO_LATE, each_fault, happen, impatient};

const PARTITIONS: i32 = 3;
/// A fetcher with small answers and little patience with a request.
pub(crate) fn small_fetcher(cluster: &Cluster) -> Fetcher {
    let config = FetcherConfig {
        max_wait: Duration::from_millis(100),
        partition_max_bytes: 2 << 10,
        partition_buffer_bytes: 4 << 10,
        ..FetcherConfig::default()
    };
    Fetcher::new(impatient(cluster), config).unwrap()
}

pub(crate) fn read(fetcher: &Fetcher, topic: &str, partition: i32, start: StartOffset) -> PartitionFetch {
    fetcher.fetch(TopicPartition::new(topic, partition), start, OffsetReset::Error)
}

/// Appends the numbers `from..from + count`, each as a record's key and value, in batches of at most ten.
pub(crate) fn append(broker: &EmbeddedBroker, topic: &str, partition: i32, from: usize, count: usize) {
    let texts: Vec<String> = (from..from + count).map(|n| n.to_string()).collect();
    for texts in texts.chunks(10) {
        let records: Vec<_> = texts
            .iter()
            .map(|text| (Some(text.as_bytes()), Some(text.as_bytes())))
            .collect();
        broker.append(topic, partition, &records).unwrap();
    }
}

/// Reads as many records as `stop` says, which may be said later, and checks that each is the next one.
pub(crate) async fn read_numbers(mut fetch: PartitionFetch, stop: Arc<AtomicUsize>, during: String) {
    let mut next = 0;
    while next < stop.load(Ordering::SeqCst) {
        let batch = within(&during, fetch.next()).await;
        let batch = batch
            .unwrap()
            .unwrap_or_else(|error| panic!("after {next} records during {during}: {error}"));
        for found in records_of(batch) {
            assert_eq!(
                (found.offset, found.text()),
                (next as i64, &*next.to_string()),
                "during {during}"
            );
            next += 1;
        }
    }
}

/// All partitions of a topic are written and read as long as the trouble goes on, and a thousand records at least.
pub(crate) async fn read_during(
    cluster: &Cluster,
    topic: &str,
    during: &str,
    trouble: impl Future<Output = ()> + Send + 'static,
) {
    let fetcher = small_fetcher(cluster);
    let stop = Arc::new(AtomicUsize::new(usize::MAX));
    let mut readers = JoinSet::new();
    for partition in 0..PARTITIONS {
        let fetch = read(&fetcher, topic, partition, StartOffset::Earliest);
        readers.spawn(read_numbers(
            fetch,
            Arc::clone(&stop),
            format!("{during}, partition {partition}"),
        ));
    }
    let trouble = tokio::spawn(trouble);
    let append_ten = |from| {
        for partition in 0..PARTITIONS {
            append(cluster.broker(), topic, partition, from, 10);
        }
    };
    let mut written = 0;
    while !trouble.is_finished() || written < 1000 {
        append_ten(written);
        written += 10;
        sleep(Duration::from_millis(1)).await;
    }
    trouble.await.unwrap();
    stop.store(written + 10, Ordering::SeqCst);
    append_ten(written);
    readers.join_all().await;
}

/// A fault meets three requests in the midst of many.
async fn everything_comes(cluster: Cluster, fault: Fault) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let during = format!("{fault:?}");
    read_during(&cluster, &topic, &during, happen(&cluster, fault.times(3))).await;
}

pub(crate) async fn requests_and_answers_that_break_off_lose_nothing(_: Cluster) {
    let fetch = || Fault::new(Api::Fetch);
    let faults = [
        fetch().cut(),
        fetch().cut_before_answer(),
        fetch().cut_answer_after(3),
        fetch().cut_answer_after(40),
        fetch().cut_answer_after(1000),
    ];
    each_fault(faults, everything_comes).await;
}

pub(crate) async fn requests_without_an_answer_or_with_a_late_one_lose_nothing(_: Cluster) {
    let fetch = || Fault::new(Api::Fetch);
    let faults = [
        fetch().stall(),
        fetch().swallow_answer(),
        fetch().delay_request(LATE),
        fetch().delay_answer(LATE),
        fetch().delay_request(TOO_LATE),
        fetch().delay_answer(TOO_LATE),
    ];
    each_fault(faults, everything_comes).await;
}

pub(crate) async fn errors_of_a_partition_that_pass_are_waited_out(_: Cluster) {
    let refused = |code| Fault::new(Api::Fetch).error(code).times(3);
    let faults = [
        refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        refused(ErrorCode::LEADER_NOT_AVAILABLE),
        refused(ErrorCode::FENCED_LEADER_EPOCH),
        refused(ErrorCode::UNKNOWN_LEADER_EPOCH),
        refused(ErrorCode::OFFSET_NOT_AVAILABLE),
        refused(ErrorCode::REPLICA_NOT_AVAILABLE),
        refused(ErrorCode::KAFKA_STORAGE_ERROR),
        refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        refused(ErrorCode::UNKNOWN_TOPIC_ID),
        refused(ErrorCode::UNKNOWN_SERVER_ERROR),
    ];
    each_fault(faults, |cluster, fault| async move {
        let topic = cluster.topic(PARTITIONS, &[]).await;
        let (during, fault) = (format!("{fault:?}"), fault.partition(&topic, 1));
        read_during(&cluster, &topic, &during, happen(&cluster, fault)).await;
    })
    .await;
}

pub(crate) async fn errors_of_the_fetch_session_only_begin_another(_: Cluster) {
    let faults = [
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    ];
    let faults = faults.map(|code| Fault::new(Api::Fetch).error(code));
    each_fault(faults, everything_comes).await;
}

pub(crate) async fn a_refusal_ends_the_partition_and_leaves_the_others(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    for partition in 0..2 {
        append(cluster.broker(), &topic, partition, 0, 100);
    }
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let fault = Fault::new(Api::Fetch).partition(&topic, 0).error(refused);
    cluster.broker().faults().inject(fault);
    let fetcher = small_fetcher(&cluster);
    let mut told = read(&fetcher, &topic, 0, StartOffset::Earliest);
    let other = read(&fetcher, &topic, 1, StartOffset::Earliest);
    let error = within("an error", told.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(error.kind, FetchErrorKind::Refused(code) if code == refused),
        "{error}"
    );
    assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
    assert!(
        within("the end", told.next()).await.is_none(),
        "something after the error"
    );
    read_numbers(other, Arc::new(100.into()), "a refusal of its neighbour".into()).await;
}
