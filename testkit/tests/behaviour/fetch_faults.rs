//! Reading while brokers fail: every record comes once and in order, or the reader is told what became of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_wire::{
    Client, ClientConfig, ErrorCode, FetchErrorKind, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, StartOffset,
    TopicPartition,
};
use testkit::broker::{Api, EmbeddedBroker, Fault, FaultControl};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, records_of, within};

const PARTITIONS: i32 = 3;
/// Longer than a healthy broker takes, shorter than the faults that are to run into it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A fetcher with small answers and little patience with a request.
pub(crate) fn impatient(cluster: &Cluster) -> Fetcher {
    let config = ClientConfig::new(cluster.bootstrap().to_vec()).with_request_timeout(REQUEST_TIMEOUT);
    let fetcher = FetcherConfig {
        max_wait: Duration::from_millis(100),
        partition_max_bytes: 2 << 10,
        partition_buffer_bytes: 4 << 10,
        ..FetcherConfig::default()
    };
    Fetcher::new(Client::new(config).unwrap(), fetcher).unwrap()
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
    let fetcher = impatient(cluster);
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

async fn all_happened(control: &FaultControl) {
    let happened = async {
        while control.pending() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within("the last fault", happened).await;
}

async fn each_fault_is_survived(cluster: &Cluster, faults: &[Fault]) {
    for fault in faults {
        let topic = cluster.topic(PARTITIONS, &[]).await;
        let (control, fault) = (cluster.broker().faults(), fault.clone().times(3));
        let during = format!("{fault:?}");
        let happening = async move {
            sleep(Duration::from_millis(20)).await;
            control.inject(fault);
            all_happened(&control).await;
        };
        read_during(cluster, &topic, &during, happening).await;
    }
}

pub(crate) async fn requests_and_answers_that_break_off_lose_nothing(cluster: Cluster) {
    let fetch = || Fault::new(Api::Fetch);
    each_fault_is_survived(
        &cluster,
        &[
            fetch().cut(),
            fetch().cut_before_answer(),
            fetch().cut_answer_after(3),
            fetch().cut_answer_after(40),
            fetch().cut_answer_after(1000),
        ],
    )
    .await;
}

pub(crate) async fn requests_without_an_answer_or_with_a_late_one_lose_nothing(cluster: Cluster) {
    let fetch = || Fault::new(Api::Fetch);
    let (late, too_late) = (REQUEST_TIMEOUT / 3, REQUEST_TIMEOUT * 3 / 2);
    each_fault_is_survived(
        &cluster,
        &[
            fetch().stall(),
            fetch().swallow_answer(),
            fetch().delay_request(late),
            fetch().delay_answer(late),
            fetch().delay_request(too_late),
            fetch().delay_answer(too_late),
        ],
    )
    .await;
}

pub(crate) async fn errors_of_a_partition_that_pass_are_waited_out(cluster: Cluster) {
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::REPLICA_NOT_AVAILABLE,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        let topic = cluster.topic(PARTITIONS, &[]).await;
        let control = cluster.broker().faults();
        let fault = Fault::new(Api::Fetch).partition(&topic, 1).times(3).error(code);
        let happening = async move {
            control.inject(fault);
            all_happened(&control).await;
        };
        read_during(&cluster, &topic, code.name(), happening).await;
    }
}

pub(crate) async fn errors_of_the_fetch_session_only_begin_another(cluster: Cluster) {
    let of = |code| Fault::new(Api::Fetch).error(code);
    each_fault_is_survived(
        &cluster,
        &[
            of(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            of(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            of(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
        ],
    )
    .await;
}

pub(crate) async fn a_refusal_ends_the_partition_and_leaves_the_others(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    for partition in 0..2 {
        append(cluster.broker(), &topic, partition, 0, 100);
    }
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let fault = Fault::new(Api::Fetch).partition(&topic, 0).error(refused);
    cluster.broker().faults().inject(fault);
    let fetcher = impatient(&cluster);
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
