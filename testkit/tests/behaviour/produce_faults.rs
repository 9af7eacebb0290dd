//! Sending while brokers fail: what is acknowledged is in the log once and in order, what is not says whether it may be.

use std::future::Future;
use std::time::Duration;

use kafka_wire::{ErrorCode, Persistence, ProduceErrorKind, ProducerConfig, ProducerRecord, Receipt, TopicProducer};
use testkit::broker::{Api, Fault};
use tokio::time::sleep;

use crate::cluster::{Cluster, keyed, sender, within};
use crate::each_fault::{LATE, REQUEST_TIMEOUT, TOO_LATE, each_fault, happen};

pub(crate) const PARTITIONS: i32 = 3;

/// Batches of a few records and little patience with a request.
fn impatient() -> ProducerConfig {
    ProducerConfig {
        batch_bytes: 1 << 10,
        request_timeout: REQUEST_TIMEOUT,
        ..ProducerConfig::default()
    }
}

fn send(sender: &TopicProducer, n: usize) -> Receipt {
    let text = n.to_string();
    let partition = Some(n as i32 % PARTITIONS);
    sender
        .send(ProducerRecord {
            partition,
            ..keyed(&text)
        })
        .unwrap()
}

/// Sends numbers as long as the trouble goes on, and a few hundred at least.
pub(crate) async fn send_during(
    cluster: &Cluster,
    topic: &str,
    trouble: impl Future<Output = ()> + Send + 'static,
) -> Vec<Receipt> {
    let producer = cluster.producer(impatient());
    let sender = sender(&producer, topic).await;
    let trouble = tokio::spawn(trouble);
    let mut receipts = Vec::new();
    while !trouble.is_finished() || receipts.len() < 600 {
        for _ in 0..PARTITIONS * 2 {
            receipts.push(send(&sender, receipts.len()));
        }
        sleep(Duration::from_millis(1)).await;
    }
    trouble.await.unwrap();
    within("every outcome", producer.close()).await.ok();
    receipts
}

/// Every record was acknowledged; the log holds each once, in order, where its receipt says.
pub(crate) fn assert_written_once(cluster: &Cluster, topic: &str, receipts: &[Receipt], during: &str) {
    for partition in 0..PARTITIONS {
        let stored = cluster.broker().records(topic, partition).unwrap();
        let sent = (0..receipts.len()).filter(|n| *n as i32 % PARTITIONS == partition);
        assert_eq!(
            stored.len(),
            sent.clone().count(),
            "records in partition {partition} during {during}"
        );
        for (n, stored) in sent.zip(stored) {
            assert_eq!(
                stored.value.as_deref(),
                Some(n.to_string().as_bytes()),
                "during {during}"
            );
            let position = receipts[n].try_result().expect("settled");
            let position = position.unwrap_or_else(|error| panic!("record {n} during {during}: {error}"));
            // The answer to a repeated batch need not tell where the first one went.
            assert!(
                [stored.offset, -1].contains(&position.offset),
                "record {n} is at {}, not {}, during {during}",
                stored.offset,
                position.offset
            );
        }
    }
}

/// A fault meets two requests in the midst of many.
async fn everything_arrives(cluster: Cluster, fault: Fault) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let during = format!("{fault:?}");
    let receipts = send_during(&cluster, &topic, happen(&cluster, fault.times(2))).await;
    assert_written_once(&cluster, &topic, &receipts, &during);
}

pub(crate) async fn requests_and_answers_that_break_off_double_nothing(_: Cluster) {
    let produce = || Fault::new(Api::Produce);
    let faults = [
        produce().cut(),
        produce().cut_before_answer(),
        produce().cut_answer_after(3),
        produce().cut_answer_after(20),
    ];
    each_fault(faults, everything_arrives).await;
}

pub(crate) async fn requests_without_an_answer_are_repeated_and_double_nothing(_: Cluster) {
    let produce = || Fault::new(Api::Produce);
    each_fault([produce().stall(), produce().swallow_answer()], everything_arrives).await;
}

pub(crate) async fn requests_and_answers_that_are_late_double_nothing(_: Cluster) {
    let produce = || Fault::new(Api::Produce);
    let faults = [
        produce().delay_request(LATE),
        produce().delay_answer(LATE),
        // Carried out after it was repeated.
        produce().delay_request(TOO_LATE),
        produce().delay_answer(TOO_LATE),
    ];
    each_fault(faults, everything_arrives).await;
}

pub(crate) async fn errors_that_pass_are_waited_out(_: Cluster) {
    let refused = |code| Fault::new(Api::Produce).error(code).times(3);
    let faults = [
        refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        refused(ErrorCode::LEADER_NOT_AVAILABLE),
        refused(ErrorCode::FENCED_LEADER_EPOCH),
        refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        refused(ErrorCode::NOT_ENOUGH_REPLICAS),
        refused(ErrorCode::KAFKA_STORAGE_ERROR),
        refused(ErrorCode::REQUEST_TIMED_OUT),
        // What arrives damaged a second time was not damaged on its way.
        refused(ErrorCode::CORRUPT_MESSAGE).times(1),
    ];
    each_fault(faults, |cluster, fault| async move {
        let topic = cluster.topic(PARTITIONS, &[]).await;
        let (during, fault) = (format!("{fault:?}"), fault.partition(&topic, 1));
        let receipts = send_during(&cluster, &topic, happen(&cluster, fault)).await;
        assert_written_once(&cluster, &topic, &receipts, &during);
    })
    .await;
}

pub(crate) async fn errors_after_the_append_double_nothing(_: Cluster) {
    let after = |code| Fault::new(Api::Produce).error_after(code);
    let faults = [
        after(ErrorCode::REQUEST_TIMED_OUT),
        after(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    ];
    each_fault(faults, everything_arrives).await;
}

pub(crate) async fn a_refusal_fails_its_records_alone_and_is_told(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let fault = Fault::new(Api::Produce).partition(&topic, 1).times(2).error(refused);
    let refusing = happen(&cluster, fault);
    let happening = async move {
        refusing.await;
        // Others come after those that were refused.
        sleep(Duration::from_millis(20)).await;
    };
    let receipts = send_during(&cluster, &topic, happening).await;
    let mut acknowledged = vec![Vec::new(); PARTITIONS as usize];
    let mut failed = 0;
    for (n, receipt) in receipts.iter().enumerate() {
        match receipt.try_result().expect("settled") {
            Ok(position) => acknowledged[position.partition as usize].push(n.to_string()),
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind, ProduceErrorKind::Rejected, "{error}");
                assert_eq!(error.persistence, Persistence::NotPersisted, "{error}");
                assert_eq!(error.code, Some(refused));
                let text = error.to_string();
                assert!(
                    text.contains(&format!("{topic}-1")) && text.contains(refused.name()),
                    "{text}"
                );
            }
        }
    }
    assert!(
        failed > 0 && failed < receipts.len() / PARTITIONS as usize,
        "{failed} failed"
    );
    for (partition, acknowledged) in acknowledged.iter().enumerate() {
        let stored = cluster.broker().records(&topic, partition as i32).unwrap();
        let stored: Vec<_> = stored.iter().map(|record| record.value.as_deref().unwrap()).collect();
        assert!(
            acknowledged.iter().map(String::as_bytes).eq(stored),
            "partition {partition}"
        );
    }
}

pub(crate) async fn a_producer_that_the_broker_forgot_goes_on(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let producer = cluster.producer(impatient());
    let sender = sender(&producer, &topic).await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        for _ in 0..300 {
            receipts.push(send(&sender, receipts.len()));
        }
        within("every acknowledgement", producer.flush()).await.unwrap();
        for partition in 0..PARTITIONS {
            let forgotten = cluster.broker().faults().expire_producers(&topic, partition);
            assert_eq!(forgotten, Ok(1), "partition {partition}");
        }
    }
    assert_written_once(&cluster, &topic, &receipts, "forgetting");
}

pub(crate) async fn records_whose_fate_is_unknown_are_told_apart_from_those_never_sent(cluster: Cluster) {
    let config = ProducerConfig {
        delivery_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_millis(500),
        ..ProducerConfig::default()
    };
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let control = cluster.broker().faults();
    let producer = cluster.producer(config);
    let sender = sender(&producer, &topic).await;
    within("an acknowledgement", send(&sender, 0)).await.unwrap();

    // Written, and never answered.
    control.inject(Fault::new(Api::Produce).times(u32::MAX).swallow_answer());
    let error = within("an outcome", send(&sender, 3)).await.unwrap_err();
    assert_eq!(error.persistence, Persistence::PossiblyPersisted, "{error}");
    assert_eq!(error.kind, ProduceErrorKind::DeliveryTimeout, "{error}");
    control.clear();
    assert_eq!(cluster.broker().records(&topic, 0).unwrap().len(), 2, "written once");

    // Never sent.
    for node in cluster.broker().nodes() {
        control.refuse_connections(*node, true);
    }
    control.cut_all_connections();
    let error = within("an outcome", send(&sender, 6)).await.unwrap_err();
    assert_eq!(error.persistence, Persistence::NotPersisted, "{error}");
    assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
    control.clear();

    within("an acknowledgement", send(&sender, 9)).await.unwrap();
    let stored = cluster.broker().records(&topic, 0).unwrap();
    let values: Vec<_> = stored.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [b"0", b"3", b"9"]);
}

/// Sends one record that a fault meets again and again, until its time is up; what the error says.
async fn failure_of_one_record(cluster: &Cluster, fault: Fault) -> String {
    let topic = cluster.topic(1, &[]).await;
    let config = ProducerConfig {
        delivery_timeout: REQUEST_TIMEOUT * 3,
        ..impatient()
    };
    let producer = cluster.producer(config);
    let sender = sender(&producer, &topic).await;
    cluster.broker().faults().inject(fault.times(u32::MAX));
    let receipt = sender.send(keyed("0")).unwrap();
    let error = within("an outcome", receipt).await.unwrap_err();
    assert_eq!(error.kind, ProduceErrorKind::DeliveryTimeout);
    error.to_string()
}

async fn a_failure_says(cluster: Cluster, fault: Fault, parts: &'static [&'static str]) {
    let text = failure_of_one_record(&cluster, fault).await;
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let addresses = cluster.bootstrap().iter();
    assert_eq!(
        addresses
            .filter(|address| text.contains(&format!("to {address} (")))
            .count(),
        1,
        "one address is named in: {text}"
    );
}

pub(crate) async fn a_time_out_tells_what_the_last_attempt_met_and_where(_: Cluster) {
    let produce = || Fault::new(Api::Produce);
    let init = || Fault::new(Api::InitProducerId);
    let cases: [(Fault, &'static [&'static str]); 4] = [
        (
            produce().stall(),
            &[
                " attempts, the last: Produce to ",
                "no answer in time",
                "the broker is overloaded",
                "(possibly persisted)",
            ],
        ),
        (
            produce().cut(),
            &[
                " attempts, the last: Produce to ",
                "connection lost after",
                "the broker's log",
            ],
        ),
        (
            produce().error(ErrorCode::NOT_ENOUGH_REPLICAS),
            &[
                " attempts, the last: Produce to ",
                "NOT_ENOUGH_REPLICAS",
                "min.insync.replicas",
                "(not persisted)",
            ],
        ),
        (
            init().error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            &[
                "it was never sent: there is no producer id",
                " attempts, the last: InitProducerId to ",
                "COORDINATOR_LOAD_IN_PROGRESS",
                "the broker is still starting",
                "(not persisted)",
            ],
        ),
    ];
    let mut tests = Vec::new();
    for (fault, parts) in cases {
        tests.push(tokio::spawn(a_failure_says(Cluster::embedded().await, fault, parts)));
    }
    for test in tests {
        test.await.unwrap();
    }
}
