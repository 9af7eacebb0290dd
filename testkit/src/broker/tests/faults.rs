//! Faults: each meets whom it names, as often as it says, before or after the request is carried out.

use kafka_protocol::messages::{ApiVersionsRequest, FindCoordinatorRequest, InitProducerIdRequest};
use kafka_wire::ErrorCode;

use super::*;
use crate::broker::{Api, Fault};

fn fixture(fault: Fault) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.topic("t");
    fixture.core.faults.push(fault);
    fixture
}

fn end(fixture: &Fixture) -> i64 {
    fixture.core.offsets("t", 0).unwrap().log_end
}

fn produce(fixture: &mut Fixture) -> ErrorCode {
    ErrorCode(fixture.produce("t", batch(&[("a", "1")])).error_code)
}

#[test]
fn an_injected_error_answers_as_many_requests_as_it_says_and_appends_nothing() {
    let mut fixture = fixture(
        Fault::new(Api::Produce)
            .times(2)
            .error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
    );
    assert_eq!(produce(&mut fixture), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(produce(&mut fixture), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(end(&fixture), 0);
    assert_eq!(produce(&mut fixture), ErrorCode::NONE);
    assert_eq!(end(&fixture), 1);
}

#[test]
fn an_error_after_the_append_leaves_the_records_there() {
    let mut fixture = fixture(Fault::new(Api::Produce).error_after(ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!(produce(&mut fixture), ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(end(&fixture), 1);
}

#[test]
fn an_error_of_one_partition_leaves_the_others_alone() {
    let mut fixture = fixture(
        Fault::new(Api::Fetch)
            .partition("t", 1)
            .error(ErrorCode::KAFKA_STORAGE_ERROR),
    );
    fixture.core.create_topic(&NewTopic::new("two", 2)).unwrap();
    fixture.core.faults.push(
        Fault::new(Api::Fetch)
            .partition("two", 1)
            .error(ErrorCode::KAFKA_STORAGE_ERROR),
    );
    let mut request = fetch_request("two", 0).with_max_wait_ms(500);
    let second = request.topics[0].partitions[0].clone().with_partition(1);
    request.topics[0].partitions.push(second);
    let response = fixture.call(12, &request);
    let codes: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|it| ErrorCode(it.error_code))
        .collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::KAFKA_STORAGE_ERROR]);
    assert_eq!(fixture.core.faults.pending(), 1, "the rule for t-1 still waits");
}

#[test]
fn a_delayed_answer_comes_late_and_the_request_was_carried_out_at_once() {
    let mut fixture = fixture(Fault::new(Api::Produce).delay_answer(Duration::from_secs(3)));
    fixture.send(1, 12, &produce_request("t", batch(&[("a", "1")])));
    assert_eq!(end(&fixture), 1);
    fixture.pass(Duration::from_millis(2999));
    assert_eq!(fixture.output(), None);
    fixture.pass(Duration::from_millis(1));
    assert!(fixture.answer::<ProduceRequest>(12).is_some());
}

#[test]
fn a_delayed_request_is_carried_out_late_even_if_others_overtake_it() {
    let mut fixture = fixture(Fault::new(Api::Produce).delay_request(Duration::from_secs(3)));
    fixture.send(1, 12, &produce_request("t", batch(&[("late", "1")])));
    let other = fixture.core.handle_connected(1).unwrap();
    let overtaking = frame(1, 12, &produce_request("t", batch(&[("early", "1")])));
    fixture.core.handle_request(fixture.now, other, overtaking);
    fixture.pass(Duration::from_secs(3));
    let keys: Vec<_> = fixture
        .core
        .records("t", 0)
        .unwrap()
        .into_iter()
        .filter_map(|record| record.key)
        .collect();
    assert_eq!(keys, ["early", "late"]);
}

#[test]
fn a_cut_before_and_after_the_append_look_alike_to_the_client() {
    for (fault, appended) in [
        (Fault::new(Api::Produce).cut(), 0),
        (Fault::new(Api::Produce).cut_before_answer(), 1),
    ] {
        let mut fixture = fixture(fault);
        fixture.send(1, 12, &produce_request("t", batch(&[("a", "1")])));
        let output = fixture.output().unwrap();
        assert!(output.close);
        assert_eq!(output.bytes.concat().len(), 0);
        assert_eq!(end(&fixture), appended);
    }
}

#[test]
fn an_answer_may_be_cut_in_its_middle() {
    let mut fixture = fixture(Fault::new(Api::Produce).cut_answer_after(7));
    fixture.send(1, 12, &produce_request("t", batch(&[("a", "1")])));
    let output = fixture.output().unwrap();
    assert!(output.close);
    assert_eq!(output.bytes.concat().len(), 7);
    assert_eq!(fixture.core.connection_count(1), 0);
}

#[test]
fn a_swallowed_answer_never_comes_and_holds_up_the_connection() {
    for (fault, appended) in [
        (Fault::new(Api::Produce).stall(), 0),
        (Fault::new(Api::Produce).swallow_answer(), 1),
    ] {
        let mut fixture = fixture(fault);
        fixture.send(1, 12, &produce_request("t", batch(&[("a", "1")])));
        fixture.send(1, 4, &ApiVersionsRequest::default());
        fixture.pass(Duration::from_secs(3600));
        assert_eq!(fixture.output(), None);
        assert_eq!(end(&fixture), appended);
        fixture.connections[0] = fixture.core.handle_connected(1).unwrap();
        assert_eq!(produce(&mut fixture), ErrorCode::NONE, "other connections are served");
    }
}

#[test]
fn a_stalled_node_answers_nothing_and_the_others_go_on() {
    let mut fixture = Fixture::with(BrokerConfig::with_brokers(2));
    fixture.core.faults.set_stalled(1, true);
    fixture.send(1, 4, &ApiVersionsRequest::default());
    assert_eq!(fixture.output(), None);
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("x"))
        .with_client_software_version(text("1"));
    assert_eq!(fixture.call_node(2, 4, &request).error_code, 0);
    fixture.core.faults.clear();
    fixture.connections[0] = fixture.core.handle_connected(1).unwrap();
    assert_eq!(fixture.call(4, &request).error_code, 0);
}

#[test]
fn a_refusing_node_keeps_its_connections() {
    let mut fixture = Fixture::new();
    fixture.core.faults.set_refusing(1, true);
    assert_eq!(fixture.core.handle_connected(1), None);
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    assert_eq!(fixture.call(4, &request).coordinators[0].error_code, 0);
}

#[test]
fn apis_without_partitions_report_an_injected_error_at_their_top() {
    let mut fixture = fixture(Fault::new(Api::InitProducerId).error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    assert_eq!(
        fixture.call(4, &request).error_code,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0
    );
    assert_eq!(fixture.call(4, &request).error_code, 0);
}

#[test]
fn equal_seeds_and_equal_inputs_give_equal_bytes() {
    let run = || {
        let mut fixture = Fixture::with(BrokerConfig::with_brokers(3));
        fixture.topic("t");
        let leader = fixture.core.leader("t", 0).unwrap().node;
        fixture.send(leader, 12, &produce_request("t", batch(&[("a", "1")])));
        fixture.send(leader, 12, &fetch_request("t", 0));
        fixture.send(
            1,
            12,
            &kafka_protocol::messages::MetadataRequest::default().with_topics(None),
        );
        std::iter::from_fn(|| fixture.output()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
