//! Brokers that fail, ask for quiet, or answer what nobody asked.

use super::*;

const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn a_failed_request_makes_its_broker_quiet_and_asks_for_a_look_up() {
    let mut f = fixture();
    f.image(image(&[("clicks", 7, &[1, 2]), ("views", 8, &[1])], 5));
    (0..2).for_each(|id| f.add(id));
    f.add_as(
        2,
        TopicPartition::new("views", 0),
        StartOffset::Offset(0),
        OffsetReset::Error,
    );
    let requests = f.requests();
    f.events();
    f.fail(&requests[0], CallErrorKind::Disconnected { written: true });
    let events = f.events();
    let mut topics = look_ups(&events);
    topics.sort_unstable();
    assert_eq!(topics, ["clicks", "views"], "each topic once");
    assert!(f.requests().is_empty(), "the broker is left alone");
    f.answer(&requests[1], vec![(0, nothing(0))]);
    assert_eq!(fetch(&f.request()), (2, Lane::Long, vec![1]), "the other one is not");
    let due = f.schedule.next_timeout().unwrap();
    assert!(due >= f.now + PAUSE, "a pause worth its name");
    f.wait(due - f.now - Duration::from_millis(1));
    assert!(f.requests().is_empty(), "not yet");
    f.wait(Duration::from_millis(1));
    assert_eq!(fetch(&f.request()), (1, Lane::Long, vec![0, 2]));
    assert_eq!(f.schedule.next_timeout(), None);
}

#[test]
fn pauses_grow_with_each_failure_and_an_answer_ends_that() {
    let mut f = fixture();
    f.add(0);
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let request = f.request();
        f.fail(&request, CallErrorKind::Timeout);
        let pause = f.schedule.next_timeout().unwrap() - f.now;
        longest = longest.max(pause);
        f.wait(pause);
    }
    assert!(longest > Duration::from_millis(500), "{longest:?}");
    let request = f.request();
    f.answer(&request, vec![(0, nothing(0))]);
    let request = f.request();
    f.fail(&request, CallErrorKind::Timeout);
    assert!(f.schedule.next_timeout().unwrap() <= f.now + Duration::from_millis(100));
}

#[test]
fn a_throttled_answer_without_partitions_is_waited_out() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    let throttled = Answer {
        throttle: Duration::from_secs(3),
        ..answer(Vec::new())
    };
    f.answer_with(&request, throttled);
    assert!(f.events().is_empty(), "no trouble, so no look-up");
    assert_eq!(f.schedule.next_timeout(), Some(f.now + Duration::from_secs(3)));
    f.wait(Duration::from_millis(2999));
    assert!(f.requests().is_empty());
    f.wait(Duration::from_millis(1));
    let again = f.request();
    assert_eq!(fetch(&again), (1, Lane::Long, vec![0]));
    assert_eq!(again.partitions[0].want, Want::Records(0));
}

#[test]
fn another_answer_does_not_end_the_quiet_that_a_broker_asked_for_but_that_after_a_failure() {
    for is_throttled in [true, false] {
        let mut f = fixture();
        f.add(0);
        let long = f.request();
        f.add(1);
        let short = f.request();
        let throttled = Answer {
            throttle: Duration::from_secs(3),
            ..answer(Vec::new())
        };
        match is_throttled {
            true => f.answer_with(&long, throttled),
            false => f.fail(&long, CallErrorKind::Timeout),
        }
        assert!(f.schedule.next_timeout().is_some());
        f.answer(&short, vec![(0, nothing(0))]);
        match is_throttled {
            true => assert_eq!(f.schedule.next_timeout(), Some(f.now + Duration::from_secs(3))),
            false => assert_eq!(f.schedule.next_timeout(), None),
        }
        assert_eq!(f.requests().is_empty(), is_throttled);
    }
}

#[test]
fn a_throttled_answer_with_records_delivers_them_first() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    let throttled = Answer {
        throttle: Duration::from_secs(1),
        ..answer(vec![(0, records(0))])
    };
    f.answer_with(&request, throttled);
    assert!(matches!(f.events()[..], [Event::Answered { batch: Some(_), .. }]));
    assert!(f.requests().is_empty());
    f.wait(Duration::from_secs(1));
    assert_eq!(f.request().partitions[0].want, Want::Records(10));
}

#[test]
fn a_partition_that_an_answer_leaves_out_pauses_and_is_looked_up() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.events();
    f.answer(&request, vec![(1, nothing(0))]);
    assert_eq!(look_ups(&f.events()), ["clicks"]);
    assert_eq!(fetch(&f.request()), (1, Lane::Long, vec![1]));
    f.wait(LONG_ENOUGH);
    assert_eq!(fetch(&f.request()), (1, Lane::Short, vec![0]));
}

#[test]
fn an_error_of_the_whole_answer_counts_for_every_partition() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.events();
    let refused = Answer {
        code: ErrorCode::UNKNOWN_TOPIC_ID,
        ..answer(Vec::new())
    };
    f.answer_with(&request, refused);
    assert_eq!(look_ups(&f.events()), ["clicks", "clicks"]);
    assert!(f.requests().is_empty());
    f.wait(LONG_ENOUGH);
    assert_eq!(fetch(&f.request()), (1, Lane::Long, vec![0, 1]));
}

#[test]
fn what_was_not_asked_or_comes_twice_is_ignored() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.events();
    f.answer(
        &request,
        vec![
            (7, records(0)),
            (0, records(0)),
            (0, records(10)),
            (0, refusal(ErrorCode::TOPIC_AUTHORIZATION_FAILED)),
            (1, nothing(0)),
        ],
    );
    let answered = f.events().into_iter().map(|event| match event {
        Event::Answered { id, batch, .. } => (id, batch.map(|batch| batch.next_offset)),
        other => panic!("{other:?}"),
    });
    let answered: Vec<_> = answered.collect();
    assert_eq!(answered, [(0, Some(10)), (1, Some(0))]);
    let again = f.request();
    assert_eq!(ids(&again), [1, 0]);
    assert_eq!(again.partitions[1].want, Want::Records(10));
}

#[test]
fn an_answer_for_a_removed_partition_is_dropped() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.events();
    f.schedule.handle_removed(0);
    f.answer(&request, vec![(0, records(0)), (1, nothing(0))]);
    let events = f.events();
    assert!(matches!(events[..], [Event::Answered { id: 1, .. }]), "{events:?}");
    assert_eq!(ids(&f.request()), [1]);
    f.take(0, 200);
    f.schedule.handle_paused(0, false);
    assert!(f.events().is_empty());
}

#[test]
fn a_closed_client_fails_every_partition() {
    let mut f = fixture();
    f.image(clicks_on([1, 2, -1, 1], 5));
    (0..3).for_each(|id| f.add(id));
    let requests = f.requests();
    f.events();
    f.fail(&requests[0], CallErrorKind::Closed);
    let failures = failures(f.events());
    let ids: Vec<_> = failures.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [0, 1, 2], "whoever was asked, or not");
    for (_, error) in failures {
        assert!(
            matches!(&error.kind, FetchErrorKind::Call(error) if error.kind == CallErrorKind::Closed),
            "{error}"
        );
    }
    f.fail(&requests[1], CallErrorKind::Closed);
    assert!(f.events().is_empty() && f.requests().is_empty());
    assert_eq!(f.schedule.next_timeout(), None);
}

#[test]
fn a_broker_too_old_to_fetch_from_fails_what_it_was_asked_for() {
    let mut f = fixture();
    f.image(clicks_on([1, 2, 1, 1], 5));
    (0..2).for_each(|id| f.add(id));
    let requests = f.requests();
    f.events();
    f.fail(&requests[1], CallErrorKind::Unsupported);
    let failures = failures(f.events());
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (failures[0].0, failures[0].1.broker.as_deref()),
        (1, Some("kafka-2:9092 (broker 2)"))
    );
}
