//! Connections: versions, many requests in flight, answers that nobody waits for, and brokers that cannot be reached.

use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::rpc::{Connection, ConnectionClass};
use kafka_wire::{CallError, CallErrorKind, Client, ClientConfig, ErrorCode, TopicPartition};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::{Cluster, unique, within};
use crate::cuts::Cuts;

/// The highest version in which a fetch names its topics.
const FETCH_BY_NAME: i16 = 12;
/// No answer takes as long.
const LONG: Duration = Duration::from_secs(60);

/// A connection to one broker of the cluster, whichever it is.
async fn connect(client: &Client) -> Connection {
    let image = within("a picture of the cluster", client.refresh(&[])).await.unwrap();
    let node = image.brokers().next().expect("a broker").id;
    within("a connection", client.connection(node, ConnectionClass::General))
        .await
        .unwrap()
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Asks for a topic that is not there, without creating it: the answer tells by its name which request it belongs to.
fn question(topic: &str) -> MetadataRequest {
    MetadataRequest::default()
        .with_allow_auto_topic_creation(false)
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(topic_name(topic))),
        ]))
}

fn topic_in(answer: &MetadataResponse) -> &str {
    assert_eq!(answer.topics.len(), 1);
    let code = ErrorCode(answer.topics[0].error_code);
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    answer.topics[0].name.as_ref().unwrap()
}

async fn connect_to_leader(client: &Client, topic: &str) -> Connection {
    let image = within("a picture of the cluster", client.refresh(&[topic.into()]))
        .await
        .unwrap();
    let (leader, _) = image.leader(&TopicPartition::new(topic, 0)).expect("a leader");
    within("a connection", client.connection(leader, ConnectionClass::General))
        .await
        .unwrap()
}

/// Sends a fetch that waits at the broker for records which never come.
async fn fetch_in_background(connection: &Connection, topic: &str) -> JoinHandle<Result<FetchResponse, CallError>> {
    let partition = FetchPartition::default().with_partition_max_bytes(1000);
    let fetch = FetchRequest::default()
        .with_max_wait_ms(LONG.as_millis() as i32)
        .with_min_bytes(1)
        .with_max_bytes(1000)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(vec![partition]),
        ]);
    let connection = connection.clone();
    let call = tokio::spawn(async move { connection.call(&fetch, FETCH_BY_NAME, LONG).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished(), "the fetch does not wait: {:?}", call.await);
    call
}

pub(crate) async fn a_request_is_understood_in_every_version_that_both_sides_speak(cluster: Cluster) {
    let connection = connect(&cluster.client()).await;
    let metadata = ApiKey::Metadata as i16;
    assert_eq!(
        connection.version(metadata, 0..=4),
        Some(4),
        "the highest of ours and theirs"
    );
    assert_eq!(connection.version(metadata, 99..=99), None);
    assert_eq!(connection.version(12_345, 0..=9), None);
    let highest = connection.version_for::<MetadataRequest>(None).unwrap();
    assert!(highest >= 12, "version {highest} of Metadata");
    // Below version 4 a question could not say that it must not create the topic.
    for version in 4..=highest {
        let topic = unique("nowhere");
        let answer = within("an answer", connection.call(&question(&topic), version, LONG)).await;
        let answer = answer.unwrap_or_else(|error| panic!("version {version}: {error}"));
        assert_eq!(topic_in(&answer), topic);
        assert_eq!(answer.brokers.len(), cluster.client().cluster().brokers().len());
    }
}

pub(crate) async fn of_many_calls_in_flight_each_gets_its_own_answer(cluster: Cluster) {
    let connection = connect(&cluster.client()).await;
    let mut calls = JoinSet::new();
    for _ in 0..500 {
        let connection = connection.clone();
        calls.spawn(async move {
            let topic = unique("nowhere");
            let answer = connection.call(&question(&topic), 9, LONG).await.unwrap();
            assert_eq!(topic_in(&answer), topic);
        });
    }
    assert_eq!(within("every answer", calls.join_all()).await.len(), 500);
}

pub(crate) async fn an_answer_that_nobody_waits_for_disturbs_no_other(cluster: Cluster) {
    let connection = connect(&cluster.client()).await;
    let mut kept = JoinSet::new();
    let mut dropped = 0;
    for n in 0..200 {
        let connection = connection.clone();
        let topic = unique("nowhere");
        if n % 2 == 0 {
            kept.spawn(async move {
                let answer = connection.call(&question(&topic), 9, LONG).await.unwrap();
                assert_eq!(topic_in(&answer), topic);
            });
        } else {
            // Polled once, which sends the request, then dropped.
            let question = question(&topic);
            tokio::select! {
                biased;
                _ = connection.call(&question, 9, LONG) => {}
                () = std::future::ready(()) => dropped += 1,
            }
        }
    }
    assert!(dropped > 50, "only {dropped} calls were dropped before their answer");
    within("every other answer", kept.join_all()).await;
    assert!(!connection.is_closed());
    let last = unique("nowhere");
    let answer = within("an answer", connection.call(&question(&last), 9, LONG)).await;
    assert_eq!(topic_in(&answer.unwrap()), last);
}

pub(crate) async fn a_cut_connection_fails_what_waits_on_it_and_the_next_call_opens_another(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let cuts = Cuts::new();
    let client = cluster.client_through(&cuts);
    let connection = connect_to_leader(&client, &topic).await;
    let waiting = fetch_in_background(&connection, &topic).await;
    let cut_at = Instant::now();
    assert!(cuts.cut() >= 1);
    let error = within("the end of the fetch", waiting).await.unwrap().unwrap_err();
    assert!(
        cut_at.elapsed() < LONG / 2,
        "the cut was noticed after {:?}",
        cut_at.elapsed()
    );
    assert_eq!(error.kind, CallErrorKind::Disconnected { written: true });
    assert!(error.possibly_written() && connection.is_closed());
    let (text, broker) = (error.to_string(), connection.broker().to_string());
    assert!(text.contains("Fetch") && text.contains(&broker), "{text}");

    let next = connect_to_leader(&client, &topic).await;
    let answer = within("an answer", next.call(&question("nowhere"), 9, LONG)).await;
    assert_eq!(topic_in(&answer.unwrap()), "nowhere");
}

pub(crate) async fn questions_are_answered_although_connections_are_cut_again_and_again(cluster: Cluster) {
    let topic = cluster.topic(3, &[]).await;
    let cuts = Cuts::new();
    let admin = cluster.client_through(&cuts).admin();
    let asked = [topic.as_str()];
    let (mut cut, mut questions) = (0, 0);
    while cut < 10 {
        // A cut now before, now during the question.
        let cutting = async {
            tokio::time::sleep(Duration::from_micros(questions * 150 % 2000)).await;
            cuts.cut()
        };
        let (described, open) = tokio::join!(within("an answer", admin.describe_topics(&asked)), cutting);
        assert_eq!(described.unwrap()[0].partitions.len(), 3);
        cut += open;
        questions += 1;
    }
}

pub(crate) async fn a_call_waits_until_brokers_take_connections_again(cluster: Cluster) {
    let topic = cluster.topic(2, &[]).await;
    let cuts = Cuts::new();
    let admin = cluster.client_through(&cuts).admin();
    assert!(within("an answer", admin.describe_topics(&[&topic])).await.is_ok());
    cuts.refuse(true);
    let asked = tokio::spawn(async move { admin.describe_topics(&[&topic]).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        !asked.is_finished(),
        "an answer without a connection: {:?}",
        asked.await
    );
    cuts.refuse(false);
    let described = within("an answer", asked).await.unwrap().unwrap();
    assert_eq!(described[0].partitions.len(), 2);
}

/// An address where nobody listens.
async fn dead_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// An address where somebody takes connections, reads, and never answers.
async fn silent_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move { while stream.read_u8().await.is_ok() {} });
        }
    });
    address
}

pub(crate) async fn addresses_that_do_not_answer_are_named_once_the_time_is_up(_: Cluster) {
    for address in [dead_address().await, silent_address().await] {
        let config = ClientConfig::new([address.clone()])
            .with_connect_timeout(Duration::from_millis(500))
            .with_request_timeout(Duration::from_secs(2));
        let begun = Instant::now();
        let asked = Client::new(config).unwrap().admin();
        let error = within("an error", asked.cluster()).await.unwrap_err();
        let taken = begun.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(5)).contains(&taken),
            "given up after {taken:?}"
        );
        assert_eq!(error.source.kind, CallErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
}

pub(crate) async fn one_address_that_answers_is_enough(cluster: Cluster) {
    let mut addresses = vec![dead_address().await, silent_address().await];
    addresses.extend(cluster.bootstrap().iter().take(1).cloned());
    let config = ClientConfig::new(addresses).with_connect_timeout(Duration::from_secs(1));
    for _ in 0..5 {
        let client = Client::new(config.clone()).unwrap();
        let described = within("an answer", client.admin().cluster()).await.unwrap();
        assert_eq!(
            described.brokers.len(),
            cluster.client().admin().cluster().await.unwrap().brokers.len()
        );
    }
}

pub(crate) async fn a_closed_client_fails_pending_and_later_calls(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let client = cluster.new_client();
    let connection = connect_to_leader(&client, &topic).await;
    let waiting = fetch_in_background(&connection, &topic).await;
    within("the end of the client", client.close()).await;
    let pending = within("the end of the fetch", waiting).await.unwrap().unwrap_err();
    let later = within("an error", client.admin().cluster()).await.unwrap_err();
    assert!(connection.is_closed());
    assert_eq!(
        [pending.kind, later.source.kind],
        [CallErrorKind::Closed; 2],
        "{pending}; {later}"
    );
}
