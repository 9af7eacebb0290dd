//! A broker that answers nonsense: the client tells which request to whom failed, never hangs, and goes on afterwards.

mod hostile;
mod peer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hostile::{Harm, Style, harmed, harms, small, written};
use kafka_protocol::messages::{ApiKey, InitProducerIdResponse, ProducerId};
use kafka_protocol::protocol::VersionRange;
use kafka_wire::admin::{NewTopic, OffsetSpec};
use kafka_wire::producer::{Producer, ProducerConfig, ProducerRecord};
use kafka_wire::rpc::guard::response_shape;
use kafka_wire::{CallError, CallErrorKind, IsolationLevel, Partitioner, TopicPartition};
use peer::{ADDRESS, Answer, Peer, TOPIC, answer_one, encode, run, sound};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

const TIMEOUT: Duration = Duration::from_secs(5);

/// An API that the client speaks, and one of its versions.
fn message() -> impl Strategy<Value = (ApiKey, i16)> {
    let spoken = |key: i16| ApiKey::try_from(key).ok().filter(|_| response_shape(key).is_some());
    let spoken: Vec<ApiKey> = (0..100).filter_map(spoken).collect();
    proptest::sample::select(spoken).prop_flat_map(|api| {
        let VersionRange { min, max } = api.valid_versions();
        (Just(api), min..=max)
    })
}

/// A body that is almost right, or not at all.
fn body(api: ApiKey, version: i16) -> impl Strategy<Value = Vec<u8>> {
    let almost = move |style: Style, harms: Vec<Harm>| {
        let shape = response_shape(api as i16).expect("only spoken APIs");
        harmed(written(shape, version, style), &harms)
    };
    prop_oneof![
        (small(), harms()).prop_map(move |(style, harms)| almost(style, harms)),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

fn names_api_and_broker(error: &CallError, api: ApiKey) -> Result<(), TestCaseError> {
    let text = error.to_string();
    prop_assert!(text.starts_with(&format!("{api:?} to {ADDRESS}")), "{}", text);
    Ok(())
}

/// No throttling, then an array of four billion elements.
fn lie() -> Vec<u8> {
    vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]
}

#[test]
fn an_administrator_learns_which_request_was_answered_with_nonsense() {
    let peer = Peer::broker(sound(|_, _| Answer::Body(lie())));
    let partition = TopicPartition::new(TOPIC, 0);
    run(async {
        let admin = peer.client().admin();
        let created = admin.create_topics(&[NewTopic::new("new", 1)]).await.map(drop);
        let deleted = admin.delete_topics(&[TOPIC]).await.map(drop);
        let config = admin.topic_config(TOPIC).await.map(drop);
        let wanted = [(partition.clone(), OffsetSpec::Latest)];
        let offsets = admin
            .list_offsets(&wanted, IsolationLevel::ReadUncommitted)
            .await
            .map(drop);
        let epoch = admin.epoch_end_offset(&partition, 0).await.map(drop);
        for (api, outcome) in [
            ("CreateTopics", created),
            ("DeleteTopics", deleted),
            ("DescribeConfigs", config),
            ("ListOffsets", offsets),
            ("OffsetForLeaderEpoch", epoch),
        ] {
            let error = outcome.expect_err(api);
            assert_eq!(error.source.kind(), CallErrorKind::Protocol, "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("{api} to {ADDRESS}")), "{text}");
            assert!(text.contains("malformed response of version"), "{text}");
        }
    });
}

#[test]
fn a_picture_of_the_cluster_that_is_nonsense_is_told_at_once() {
    let peer = Peer::broker(|api, version| match api {
        ApiKey::ApiVersions => sound(|_, _| unreachable!("only versions"))(api, version),
        _ => Answer::Body(lie()),
    });
    run(async {
        let begun = tokio::time::Instant::now();
        let error = peer.client().refresh(&[]).await.expect_err("no picture");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(error.to_string().starts_with("Metadata to peer:9092"), "{error}");
    });
}

#[test]
fn records_answered_with_nonsense_are_possibly_persisted_once_the_time_is_up() {
    let peer = Peer::broker(sound(|api, version| match api {
        ApiKey::InitProducerId => Answer::Body(encode(
            &InitProducerIdResponse::default().with_producer_id(ProducerId(7)),
            version,
        )),
        _ => Answer::Body(lie()),
    }));
    run(async {
        let config = ProducerConfig {
            delivery_timeout: Duration::from_secs(60),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(peer.client(), config).expect("the settings are valid");
        let topic = producer
            .topic(TOPIC, Partitioner::default())
            .await
            .expect("the picture has it");
        let record = ProducerRecord {
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[],
            timestamp: None,
            partition: None,
        };
        let receipt = topic.send(record).expect("there is room");
        let error = receipt.await.expect_err("no answer was understood");
        let text = error.to_string();
        assert!(text.starts_with("produce to orders-0 at broker 0 failed"), "{text}");
        assert!(text.ends_with("(possibly persisted)"), "{text}");
        assert!(text.contains(" attempts, the last: Produce to peer:9092"), "{text}");
        assert!(
            text.contains("protocol violated by the peer: malformed response of version"),
            "{text}"
        );
    });
}

/// What its waiters know as lost must not be sent after all.
#[test]
#[allow(clippy::disallowed_methods, reason = "nobody tells that a connection is closed")]
fn a_broker_that_takes_nothing_gets_nothing_more_once_the_connection_is_closed() {
    const LONG: usize = 4 << 20;
    let (heard, hears) = tokio::sync::oneshot::channel();
    let heard = Mutex::new(Some(heard));
    let wakes = Arc::new(tokio::sync::Notify::new());
    let asleep = Arc::clone(&wakes);
    let peer = Peer::new(move |mut stream| {
        let heard = heard.lock().expect("nobody panics").take();
        let asleep = Arc::clone(&asleep);
        async move {
            answer_one(&mut stream, &sound(|_, _| Answer::Raw(Vec::new()))).await?;
            asleep.notified().await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            let _ = heard.expect("one connection").send(rest.len());
            Ok(())
        }
    });
    run(async {
        let connection = peer.client().any_broker().await.expect("the handshake is sound");
        let body = vec![Bytes::from(vec![7; LONG])];
        let told = connection
            .send(ApiKey::Produce as i16, 9, body, TIMEOUT, Vec::new())
            .await;
        told.expect_err("no answer");
        while !connection.is_closed() {
            tokio::time::sleep(TIMEOUT).await;
        }
        wakes.notify_one();
        let heard = hears.await.expect("the peer reads to the end");
        assert!(heard < LONG, "{heard} bytes");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_answer_is_understood_or_fails_its_request_alone(
        (api, version, answer) in message().prop_flat_map(|(api, version)| (Just(api), Just(version), body(api, version))),
    ) {
        let next = Mutex::new(vec![answer]);
        // The first answer of the API is the hostile one; those after it are shorter than any.
        let peer = Peer::broker(sound(move |_, _| {
            let mut next = next.lock().expect("nobody panics");
            Answer::Body(next.pop().unwrap_or_default())
        }));
        run(async {
            let connection = peer.client().any_broker().await.expect("the handshake is sound");
            let told = connection.send(api as i16, version, Vec::new(), TIMEOUT, Vec::new()).await;
            match told {
                Ok(body) => {
                    let shape = response_shape(api as i16).expect("only spoken APIs");
                    prop_assert_eq!(shape.check(&body, version), Ok(()));
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), CallErrorKind::Protocol);
                    names_api_and_broker(&error, api)?;
                }
            }
            let metadata = connection.send(ApiKey::Metadata as i16, 12, Vec::new(), TIMEOUT, Vec::new()).await;
            prop_assert!(metadata.is_ok(), "{:?}", metadata);
            Ok(())
        })?;
    }

    #[test]
    fn bytes_that_are_no_answer_fail_the_request_in_time(
        (api, version) in message(),
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        last: bool,
    ) {
        let peer = Peer::broker(sound(move |_, _| match last {
            true => Answer::Last(bytes.clone()),
            false => Answer::Raw(bytes.clone()),
        }));
        if matches!(api, ApiKey::ApiVersions | ApiKey::Metadata) {
            return Ok(());
        }
        run(async {
            let connection = peer.client().any_broker().await.expect("the handshake is sound");
            let begun = tokio::time::Instant::now();
            let told = connection.send(api as i16, version, Vec::new(), TIMEOUT, Vec::new()).await;
            prop_assert!(begun.elapsed() <= TIMEOUT + Duration::from_millis(10), "{:?}", begun.elapsed());
            names_api_and_broker(&told.expect_err("no answer"), api)
        })?;
    }

    #[test]
    fn bytes_from_the_first_one_on_leave_no_doubt_about_the_address(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let peer = Peer::saying(bytes);
        run(async {
            let error = peer.client().refresh(&[]).await.expect_err("no broker");
            prop_assert!(error.to_string().contains(ADDRESS), "{}", error);
            Ok(())
        })?;
    }
}
