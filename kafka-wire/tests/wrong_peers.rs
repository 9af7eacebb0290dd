//! What else may listen at an address, or nothing: the error says what it was and where.

mod peer;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka_wire::transport::{BoxedStream, Connector};
use kafka_wire::{CallError, CallErrorKind, Client, ClientConfig};
use peer::{ADDRESS, Peer, TOPIC, run, sound};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// The error of the first question, and how long it took.
async fn first_question(client: &Client) -> (CallError, Duration) {
    let begun = Instant::now();
    let error = client.refresh(&[]).await.expect_err("no broker is there");
    (error, begun.elapsed())
}

#[test]
fn servers_of_other_protocols_are_named_at_once() {
    let server_hello = [&[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3][..], &[0x5a; 32]].concat();
    for (bytes, name) in [
        (vec![0x15, 3, 1, 0, 2, 2, 70], "a TLS server"),
        (vec![0x15, 3, 3, 0, 2, 2, 10], "a TLS server"),
        (server_hello, "a TLS server"),
        (
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            "an HTTP server",
        ),
        (b"HTTP/1.0 404 Not Found\r\n\r\n".to_vec(), "an HTTP server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "an SSH server"),
    ] {
        run(async {
            let (error, taken) = first_question(&Peer::saying(bytes).client()).await;
            assert_eq!(error.kind(), CallErrorKind::NotKafka(name));
            let text = error.to_string();
            assert!(text.contains(ADDRESS) && text.contains(name), "{text}");
            assert!(taken < Duration::from_secs(1), "{taken:?}");
        });
    }
}

#[test]
fn a_tls_listener_that_hangs_up_right_after_its_alert_is_named_too() {
    let peer = Peer::new(|mut stream| async move {
        stream.read_u8().await?;
        stream.write_all(&[0x15, 3, 3, 0, 2, 2, 70]).await
    });
    run(async {
        let (error, _) = first_question(&peer.client()).await;
        assert_eq!(error.kind(), CallErrorKind::NotKafka("a TLS server"));
        assert!(error.to_string().contains("plaintext listener"), "{error}");
    });
}

#[test]
fn a_listener_that_hangs_up_at_the_first_request_is_suspected_to_want_tls_or_sasl() {
    let peer = Peer::new(|mut stream| async move { stream.read_u8().await.map(drop) });
    run(async {
        let (error, taken) = first_question(&peer.client()).await;
        assert_eq!(error.kind(), CallErrorKind::Unreachable);
        let text = error.to_string();
        assert!(text.contains(ADDRESS) && text.contains("TLS or SASL"), "{text}");
        assert!(taken <= Duration::from_secs(31), "{taken:?}");
    });
}

#[test]
fn a_listener_that_says_nothing_is_named_once_the_time_is_up() {
    run(async {
        let (error, taken) = first_question(&Peer::saying([]).client()).await;
        assert_eq!(error.kind(), CallErrorKind::Unreachable);
        let text = error.to_string();
        assert!(text.contains(ADDRESS) && text.contains("within"), "{text}");
        assert!(
            (Duration::from_secs(10)..=Duration::from_secs(31)).contains(&taken),
            "{taken:?}"
        );
    });
}

/// Every packet is lost, or every connection refused.
#[derive(Debug)]
enum Nobody {
    Silent,
    Refusing,
}

#[async_trait]
impl Connector for Nobody {
    async fn connect(&self, _host: &str, _port: u16) -> io::Result<BoxedStream> {
        match self {
            Self::Silent => pending().await,
            Self::Refusing => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

#[test]
fn an_address_that_cannot_be_reached_is_named_within_the_configured_time() {
    for (nobody, words) in [
        (Nobody::Silent, "no connection within 2s"),
        (Nobody::Refusing, "refused"),
    ] {
        let config = ClientConfig::new([ADDRESS])
            .with_connect_timeout(Duration::from_secs(2))
            .with_request_timeout(Duration::from_secs(7));
        let client = Client::with_connector(config, Arc::new(nobody)).expect("the settings are valid");
        run(async {
            let (error, taken) = first_question(&client).await;
            assert_eq!(error.kind(), CallErrorKind::Unreachable);
            let text = error.to_string();
            assert!(text.contains(ADDRESS) && text.contains(words), "{text}");
            assert!(
                (Duration::from_secs(5)..=Duration::from_secs(8)).contains(&taken),
                "{taken:?}"
            );
        });
    }
}

#[test]
fn bytes_that_come_one_by_one_are_put_together() {
    let peer = Peer::broker(sound(|api, _| panic!("nobody asks for {api:?}"))).with_buffer(1);
    run(async {
        let client = peer.client();
        let image = client.refresh(&[TOPIC.into()]).await.expect("a picture");
        let brokers: Vec<String> = image.brokers().map(ToString::to_string).collect();
        assert_eq!(brokers, ["peer:9092 (broker 0)"]);
        assert_eq!(image.partition_count(TOPIC), Some(1));
    });
}

#[test]
fn a_broker_that_takes_its_time_for_every_byte_is_understood_or_too_late() {
    for (pause, understood) in [(Duration::from_millis(20), true), (Duration::from_secs(1), false)] {
        let peer = Peer::broker(sound(|api, _| panic!("nobody asks for {api:?}"))).with_pause(pause);
        run(async {
            let told = peer.client().refresh(&[]).await;
            assert_eq!(told.is_ok(), understood, "{told:?}");
        });
    }
}
