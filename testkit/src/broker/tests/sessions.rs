//! Fetch sessions (KIP-227).

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_wire::ErrorCode;

use super::*;

fn full(topics: &[&str]) -> FetchRequest {
    let topics = topics.iter().map(|topic| {
        FetchTopic::default()
            .with_topic(name(topic))
            .with_partitions(vec![fetch_partition(0)])
    });
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(0)
        .with_topics(topics.collect())
}

fn incremental(session: i32, epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_id(session)
        .with_session_epoch(epoch)
}

fn named(response: &FetchResponse) -> Vec<String> {
    response.responses.iter().map(|topic| topic.topic.to_string()).collect()
}

fn two_topics() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.topic("a");
    fixture.topic("b");
    fixture
}

#[test]
fn an_incremental_answer_names_only_what_is_new() {
    let mut fixture = two_topics();
    let response = fixture.call(12, &full(&["a", "b"]));
    let session = response.session_id;
    assert!(session > 0);
    assert_eq!(named(&response), ["a", "b"]);
    assert_eq!(named(&fixture.call(12, &incremental(session, 1))), Vec::<String>::new());
    fixture.produce("b", batch(&[("k", "v")]));
    let response = fixture.call(12, &incremental(session, 2));
    assert_eq!(named(&response), ["b"]);
    assert_eq!(offsets_in(&only(response)), [0]);
    let response = fixture.call(12, &incremental(session, 3));
    assert_eq!(
        named(&response),
        ["b"],
        "records not acknowledged by a new offset are sent again"
    );
    let mut moved = incremental(session, 4);
    let partition = fetch_partition(1);
    moved.topics = vec![
        FetchTopic::default()
            .with_topic(name("b"))
            .with_partitions(vec![partition]),
    ];
    assert_eq!(named(&fixture.call(12, &moved)), Vec::<String>::new());
}

#[test]
fn an_error_is_told_until_it_is_gone_and_its_end_is_told_once() {
    let mut fixture = two_topics();
    let session = fixture.call(12, &full(&["a", "b"])).session_id;
    fixture.core.delete_topic(fixture.now, "a");
    for epoch in 1..3 {
        let data = only(fixture.call(12, &incremental(session, epoch)));
        assert_eq!(data.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    }
    fixture.topic("a");
    assert_eq!(only(fixture.call(12, &incremental(session, 3))).error_code, 0);
    assert_eq!(named(&fixture.call(12, &incremental(session, 4))), Vec::<String>::new());
}

#[test]
fn forgotten_partitions_are_fetched_no_more_and_the_last_one_ends_the_session() {
    let mut fixture = two_topics();
    let session = fixture.call(12, &full(&["a", "b"])).session_id;
    let forget = |topic: &str, epoch: i32| {
        let forgotten = ForgottenTopic::default()
            .with_topic(name(topic))
            .with_partitions(vec![0]);
        incremental(session, epoch).with_forgotten_topics_data(vec![forgotten])
    };
    fixture.call(12, &forget("a", 1));
    fixture.produce("a", batch(&[("k", "v")]));
    assert_eq!(named(&fixture.call(12, &incremental(session, 2))), Vec::<String>::new());
    let response = fixture.call(12, &forget("b", 3));
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let response = fixture.call(12, &incremental(session, 4));
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
}

#[test]
fn a_request_that_is_not_the_next_one_is_refused_and_leaves_the_session_alone() {
    let mut fixture = two_topics();
    let session = fixture.call(12, &full(&["a"])).session_id;
    for epoch in [2, 7] {
        let response = fixture.call(12, &incremental(session, epoch));
        assert_eq!(
            (ErrorCode(response.error_code), response.session_id),
            (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0)
        );
    }
    assert_eq!(fixture.call(12, &incremental(session, 1)).error_code, 0);
    let response = fixture.call(12, &incremental(session + 1, 2));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let response = fixture.call(13, &incremental(session, 2));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
}

#[test]
fn a_full_request_closes_the_old_session_and_a_final_one_opens_none() {
    let mut fixture = two_topics();
    let first = fixture.call(12, &full(&["a"])).session_id;
    let second = fixture.call(12, &full(&["a"]).with_session_id(first)).session_id;
    assert!(second > 0 && second != first);
    assert_eq!(
        fixture.call(12, &incremental(first, 1)).error_code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0
    );
    let last = fixture.call(12, &full(&["a"]).with_session_id(second).with_session_epoch(-1));
    assert_eq!((last.error_code, last.session_id), (0, 0));
    assert_eq!(
        fixture.call(12, &incremental(second, 1)).error_code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0
    );
}

#[test]
fn without_a_free_slot_answers_carry_no_session() {
    let mut fixture = Fixture::with(BrokerConfig {
        fetch_sessions: 1,
        ..BrokerConfig::default()
    });
    fixture.topic("a");
    assert!(fixture.call(12, &full(&["a"])).session_id > 0);
    let response = fixture.call(12, &full(&["a"]));
    assert_eq!((response.session_id, named(&response)), (0, vec!["a".to_owned()]));
}

#[test]
fn a_partition_that_had_records_is_read_last_next_time() {
    let mut fixture = two_topics();
    for topic in ["a", "b"] {
        fixture.produce(topic, batch(&[("k", &"x".repeat(200))]));
    }
    let session = fixture.call(12, &full(&["a", "b"]).with_max_bytes(1)).session_id;
    let mut served = Vec::new();
    for epoch in 1..5 {
        let response = fixture.call(12, &incremental(session, epoch).with_max_bytes(1));
        let with_records = response
            .responses
            .iter()
            .find(|topic| !offsets_in(&topic.partitions[0]).is_empty());
        served.push(with_records.unwrap().topic.to_string());
    }
    assert_eq!(served, ["a", "b", "a", "b"], "neither starves");
}
