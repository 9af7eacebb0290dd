//! What a failure tells: API, address, the last trouble, the number of attempts, and what to do.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(120);

impl Feed {
    /// The words of everything that failed; anything else fails the test.
    fn texts(&mut self) -> Vec<String> {
        let text = |(_, outcome): (u32, Outcome)| outcome.into_whole().expect_err("failed").to_string();
        self.outcomes().into_iter().map(text).collect()
    }

    /// Attempts until the time is over, each of which meets `trouble`; how many.
    fn in_vain(&mut self, trouble: impl Fn(&mut Feed, &ProduceRequest)) -> usize {
        let mut attempts = 0;
        while self.machine.effects.finished.is_empty() {
            for request in self.requests() {
                attempts += 1;
                trouble(self, &request);
            }
            match self.machine.next_timeout() {
                Some(at) => self.wait(at.saturating_duration_since(self.now)),
                None => break,
            }
        }
        attempts
    }
}

fn last_of(attempts: usize, what: &str) -> String {
    format!("delivery_timeout has passed; {attempts} attempts, the last: {what}")
}

#[test]
fn requests_without_an_answer_are_told_with_their_number_address_and_advice() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let attempts = feed.in_vain(|feed, request| {
        let loss = CallError::new(CallErrorKind::Timeout, "within 30s").with_written(true);
        feed.lose_by(request, loss);
    });
    assert!(attempts > 3);
    let what = "Produce to kafka-1:9092 (broker 1): no answer in time: within 30s (the broker is overloaded or the \
                network swallows packets)";
    let expected = format!(
        "produce to orders-0 at broker 1 failed: {} (possibly persisted)",
        last_of(attempts, what)
    );
    assert_eq!(feed.texts(), [expected]);
}

#[test]
fn a_malformed_answer_is_told_although_the_time_ends_in_the_pause_after_it() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.lose_by(
        &request,
        CallError::new(CallErrorKind::Protocol, "malformed response of version 9"),
    );
    feed.wait(TIMEOUT);
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    for part in [
        "1 attempt: Produce to kafka-1:9092 (broker 1): protocol violated by the peer: malformed response of version 9",
        "check that nothing but a Kafka broker answers",
        "(possibly persisted)",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn a_partition_that_the_answers_leave_out_is_told() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let attempts = feed.in_vain(|feed, request| {
        let empty = ProduceAnswer::default();
        feed.machine.handle_response(feed.now, request.number, &BROKER, &empty);
    });
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    let what = "Produce to kafka-1:9092 (broker 1): protocol violated by the peer: the answer leaves the partition out";
    assert!(text.contains(&last_of(attempts, what)), "{text}");
}

#[test]
fn an_error_code_is_told_once_with_address_and_advice() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let attempts = feed.in_vain(|feed, request| feed.refuse(request, ErrorCode::NOT_ENOUGH_REPLICAS));
    let expected = format!(
        "produce to orders-0 at broker 1 failed: NOT_ENOUGH_REPLICAS: {} (not persisted)",
        last_of(
            attempts,
            "Produce to kafka-1:9092 (broker 1) (fewer replicas are in sync than min.insync.replicas asks for, look after \
             the brokers that are behind)"
        )
    );
    assert_eq!(feed.texts(), [expected]);
}

#[test]
fn a_refusal_for_good_tells_the_brokers_words_and_address() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.answer_with(&request, |partition| PartitionAnswer {
        text: Some("record 0 has no key".to_owned()),
        ..said_about(partition, ErrorCode::INVALID_RECORD, -1)
    });
    assert_eq!(
        feed.texts(),
        [
            "produce to orders-0 at broker 1 failed: INVALID_RECORD: the broker refused it; 1 attempt: Produce to kafka-1:9092 \
          (broker 1): record 0 has no key (a compacted topic takes no record without a key) (not persisted)"
        ]
    );
}

#[test]
fn a_batch_without_a_producer_id_tells_what_init_producer_id_met() {
    let mut feed = Feed::new();
    feed.next_producer_id = Err(no_id(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    feed.submit(0, 0, 1);
    assert_eq!(feed.in_vain(|_, _| panic!("nothing can be sent")), 0);
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    let (before, after) = text.split_once(" attempts, the last: ").expect("more than one attempt");
    let before = before.trim_end_matches(char::is_numeric);
    assert_eq!(
        before,
        "produce to orders-0 failed: delivery_timeout has passed; it was never sent: there is no producer id; "
    );
    assert_eq!(
        after,
        "InitProducerId to kafka-1:9092 (broker 1): refused with COORDINATOR_LOAD_IN_PROGRESS (the broker is still starting, \
         or its internal topics have no leader) (not persisted)"
    );
}

#[test]
fn a_batch_of_later_is_told_what_init_producer_id_met_before() {
    let mut feed = Feed::new();
    feed.next_producer_id = Err(CallError::new(CallErrorKind::Unreachable, "").with_api(INIT_PRODUCER_ID));
    feed.submit(0, 0, 1);
    feed.requests();
    feed.submit(1, 1, 1);
    feed.wait(TIMEOUT);
    for text in feed.texts() {
        assert!(text.contains("1 attempt: InitProducerId: broker unreachable"), "{text}");
    }
}

#[test]
fn a_batch_without_a_leader_tells_what_metadata_says_or_met() {
    let mut feed = Feed::new();
    feed.leaders
        .insert(at(0), Leadership::None(ErrorCode::LEADER_NOT_AVAILABLE));
    feed.submit(0, 0, 1);
    feed.requests();
    feed.wait(TIMEOUT);
    assert_eq!(
        feed.texts(),
        [
            "produce to orders-0 failed: delivery_timeout has passed; it was never sent: nobody is known to lead the partition, \
          Metadata says LEADER_NOT_AVAILABLE (leaders keep moving or are down, look after the brokers) (not persisted)"
        ]
    );
    feed.metadata_trouble = Some(CallError::new(CallErrorKind::Unreachable, "none answered").with_api(3));
    feed.submit(0, 1, 1);
    feed.in_vain(|_, _| panic!("nobody to send to"));
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    assert!(
        text.contains("; Metadata: broker unreachable: none answered (check the address"),
        "{text}"
    );
}

#[test]
fn trouble_with_metadata_after_the_last_attempt_is_told_beside_it() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.metadata_trouble = Some(CallError::new(CallErrorKind::Unreachable, "none answered").with_api(3));
    feed.lose(&request, true);
    feed.requests();
    feed.wait(TIMEOUT);
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    let both = "1 attempt: Produce to kafka-1:9092 (broker 1): connection lost after the request was (partly) sent: connection \
                lost (the broker's log tells if it was the one who closed it); since then nobody is known to lead the \
                partition; Metadata: broker unreachable: none answered";
    assert!(text.contains(both), "{text}");
}

#[test]
fn parts_of_a_split_batch_remember_what_the_whole_met() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 2);
    let request = feed.request();
    feed.refuse(&request, ErrorCode::MESSAGE_TOO_LARGE);
    let request = feed.request();
    feed.refuse(&request, ErrorCode::MESSAGE_TOO_LARGE);
    let second = feed.request();
    feed.accept(&second, 0);
    let [text] = &feed.texts()[..] else { panic!("one batch") };
    for part in [
        "MESSAGE_TOO_LARGE: a batch of ",
        "2 attempts, the last: Produce to kafka-1:9092 (broker 1) (raise the topic's max.message.bytes",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}
