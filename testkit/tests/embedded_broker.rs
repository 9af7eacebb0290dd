//! The embedded cluster from outside: over sockets and in memory, by hand-made frames and by our own client.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use kafka_wire::admin::{NewTopic, OffsetSpec};
use kafka_wire::{Client, IsolationLevel, TopicPartition};
use testkit::broker::{Api, BrokerConfig, EmbeddedBroker, Fault, LostTail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// ApiVersions v0, correlation id 7, no client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

fn client(kafka: &EmbeddedBroker) -> Client {
    kafka.client_with(kafka.client_config()).unwrap()
}

#[tokio::test]
async fn a_hand_made_frame_is_answered_over_a_socket_byte_by_byte() {
    let kafka = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let mut stream = TcpStream::connect(&kafka.bootstrap()[0]).await.unwrap();
    for byte in API_VERSIONS {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let frame = read_frame(&mut stream).await;
    // Correlation id 7, error 0, then as many entries of three int16 as APIs.
    assert_eq!(frame[..6], [0, 0, 0, 7, 0, 0]);
    assert_eq!(frame[6..10], u32::try_from(Api::ALL.len()).unwrap().to_be_bytes());
    assert_eq!(frame.len(), 10 + 6 * Api::ALL.len());
    kafka.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let kafka = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let mut stream = TcpStream::connect(&kafka.bootstrap()[0]).await.unwrap();
    let mut burst = Vec::new();
    for correlation_id in 0..50 {
        let mut frame = API_VERSIONS;
        frame[11] = correlation_id;
        burst.extend(frame);
    }
    stream.write_all(&burst).await.unwrap();
    for correlation_id in 0..50 {
        assert_eq!(read_frame(&mut stream).await[3], correlation_id);
    }
}

#[tokio::test]
async fn nonsense_closes_the_connection_and_nothing_else() {
    let kafka = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    for nonsense in [
        "GET / HTTP/1.1\r\n\r\n".as_bytes(),
        &[0, 0, 0, 4, 0x7f, 0xff, 0, 0],
        &[0xff; 16],
    ] {
        let mut stream = TcpStream::connect(&kafka.bootstrap()[0]).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut rest = Vec::new();
        // A reset counts as closed, too: the broker may close with unread bytes.
        drop(stream.read_to_end(&mut rest).await);
        assert_eq!(rest, Vec::<u8>::new());
    }
    let mut stream = TcpStream::connect(&kafka.bootstrap()[0]).await.unwrap();
    stream.write_all(&API_VERSIONS).await.unwrap();
    assert_eq!(read_frame(&mut stream).await[3], 7);
}

#[tokio::test]
async fn our_client_creates_a_topic_and_finds_its_ends_over_sockets() {
    let kafka = EmbeddedBroker::start(BrokerConfig::with_brokers(3)).await.unwrap();
    let client = client(&kafka);
    let results = client
        .admin()
        .create_topics(&[NewTopic::new("clicks", 4)])
        .await
        .unwrap();
    assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
    kafka
        .append("clicks", 2, &[(Some(b"k"), Some(b"v")), (Some(b"k"), None)])
        .unwrap();
    let clicks = TopicPartition::new("clicks", 2);
    let offsets = client
        .admin()
        .list_offsets(&[(clicks.clone(), OffsetSpec::Latest)], IsolationLevel::ReadUncommitted)
        .await
        .unwrap();
    assert_eq!(offsets[&clicks].offset, 2);
    assert_eq!(kafka.records("clicks", 2).unwrap().len(), 2);
    client.close().await;
    kafka.stop().await;
}

#[tokio::test(start_paused = true)]
async fn our_client_speaks_to_a_cluster_without_sockets_on_virtual_time() {
    let kafka = EmbeddedBroker::in_memory(BrokerConfig::default()).unwrap();
    let client = client(&kafka);
    kafka
        .faults()
        .inject(Fault::new(Api::CreateTopics).delay_answer(Duration::from_secs(20)));
    let start = tokio::time::Instant::now();
    client
        .admin()
        .create_topics(&[NewTopic::new("clicks", 1)])
        .await
        .unwrap();
    assert!(start.elapsed() >= Duration::from_secs(20), "virtual time has passed");
    assert_eq!(kafka.faults().pending(), 0);
    assert!(kafka.topic_id("clicks").is_some());
}

#[tokio::test]
async fn a_refusing_broker_has_no_listener_and_gets_its_port_back() {
    let kafka = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let address = kafka.bootstrap().remove(0);
    let mut before = TcpStream::connect(&address).await.unwrap();
    before.write_all(&API_VERSIONS).await.unwrap();
    read_frame(&mut before).await;
    kafka.faults().refuse_connections(1, true);
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    before.write_all(&API_VERSIONS).await.unwrap();
    assert_eq!(read_frame(&mut before).await[3], 7, "open connections stay");
    kafka.faults().refuse_connections(1, false);
    let mut after = loop {
        if let Ok(stream) = TcpStream::connect(&address).await {
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    after.write_all(&API_VERSIONS).await.unwrap();
    assert_eq!(read_frame(&mut after).await[3], 7);
}

#[tokio::test]
async fn a_crash_cuts_connections_and_keeps_the_logs() {
    let kafka = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    kafka.create_topic("t", 1).unwrap();
    for value in [b"1", b"2", b"3"] {
        kafka.append("t", 0, &[(Some(b"k"), Some(value))]).unwrap();
    }
    let mut stream = TcpStream::connect(&kafka.bootstrap()[0]).await.unwrap();
    stream.write_all(&API_VERSIONS).await.unwrap();
    read_frame(&mut stream).await;
    kafka.faults().crash_and_restart(1, LostTail::Nothing);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the connection ends");
    assert_eq!(kafka.records("t", 0).unwrap().len(), 3);
    assert_eq!(kafka.leader("t", 0).unwrap().epoch, 2);
    kafka.faults().crash_and_restart(1, LostTail::Batches(2));
    assert_eq!(kafka.offsets("t", 0).unwrap().log_end, 1);
}

#[tokio::test]
async fn a_stopped_cluster_gives_its_ports_back() {
    let kafka = EmbeddedBroker::start(BrokerConfig::with_brokers(2)).await.unwrap();
    let addresses = kafka.bootstrap();
    let mut open = TcpStream::connect(&addresses[0]).await.unwrap();
    kafka.stop().await;
    for address in &addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
    assert_eq!(open.read(&mut [0]).await.unwrap_or(0), 0);
}
