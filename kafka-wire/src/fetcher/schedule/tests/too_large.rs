//! Answers that are larger than what is accepted: they were not read, and do not say whose batch made them so.

use super::*;

/// What such an answer's length claims.
const BYTES: usize = 90_000;

fn refuse(f: &mut Fixture, request: &Request) {
    let (bytes, limit) = (BYTES, LARGEST_BATCH);
    f.fail(request, CallErrorKind::ResponseTooLarge { bytes, limit });
}

/// Three partitions whose answer was refused once, after the pause.
fn refused() -> Fixture {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, records(0))]);
    let request = f.request();
    (1..3).for_each(|id| f.add(id));
    f.answer(&request, vec![(0, records(10))]);
    let request = f.request();
    assert_eq!(fetch(&request), (1, Lane::Long, vec![1, 2, 0]));
    f.events();
    refuse(&mut f, &request);
    assert!(f.requests().is_empty(), "the broker is left alone for a while");
    f.wait(LONG_ENOUGH);
    f
}

#[test]
fn the_partitions_are_then_asked_for_one_by_one_without_waiting() {
    let mut f = refused();
    assert!(
        f.events().is_empty(),
        "nobody has failed, and nothing is to be looked up"
    );
    let requests = f.requests();
    let asked: Vec<_> = requests.iter().map(|request| fetch(request)).collect();
    assert_eq!(asked, [(1, Lane::Long, vec![1]), (1, Lane::Short, vec![2])]);
    for request in &requests {
        assert!(matches!(
            request.kind,
            Kind::Fetch {
                wait: Duration::ZERO,
                ..
            }
        ));
    }
    f.answer(&requests[0], vec![(0, nothing(0))]);
    let last = f.request();
    assert_eq!(fetch(&last), (1, Lane::Long, vec![0]));
    assert_eq!(last.partitions[0].want, Want::Records(20));
    f.answer(&requests[1], vec![(0, records(0))]);
    f.answer(&last, vec![(0, records(20))]);
}

#[test]
fn those_that_are_answered_alone_go_together_again() {
    let mut f = refused();
    for _ in 0..2 {
        for request in f.requests() {
            f.answer(&request, vec![(0, nothing(0))]);
        }
    }
    let together = f.requests();
    let mut ids: Vec<u64> = together.iter().flat_map(|request| ids(request)).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2]);
    assert!(together.len() < 3, "{together:?}");
}

#[test]
fn a_partition_whose_own_answer_is_refused_again_fails_and_the_others_go_on() {
    let mut f = refused();
    let requests = f.requests();
    refuse(&mut f, &requests[0]);
    let mut failures = failures(f.events());
    assert_eq!(failures.len(), 1);
    let (id, error) = failures.remove(0);
    assert_eq!(id, 1);
    let expected = FetchErrorKind::BatchTooLarge {
        bytes: BYTES,
        limit: LARGEST_BATCH,
    };
    assert_eq!(format!("{:?}", error.kind), format!("{expected:?}"));
    let text = error.to_string();
    for part in [
        "clicks-1",
        "offset 0",
        "kafka-1:9092 (broker 1)",
        "90000",
        "5000",
        "connection.max_response_bytes",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    f.answer(&requests[1], vec![(0, records(0))]);
    let mut asked = Vec::new();
    while asked.len() < 2 {
        for request in f.requests() {
            asked.extend(ids(&request));
            let told = (0..request.partitions.len()).map(|place| (place, nothing(20)));
            f.answer(&request, told.collect());
        }
    }
    asked.sort_unstable();
    assert_eq!(asked, [0, 2]);
}

#[test]
fn one_refusal_of_a_lone_partition_is_no_proof() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    refuse(&mut f, &request);
    assert_eq!(failures(f.events()).len(), 0, "a length can be garbled");
    f.wait(LONG_ENOUGH);
    let request = f.request();
    refuse(&mut f, &request);
    assert_eq!(failures(f.events()).len(), 1);
}

#[test]
fn a_new_leader_is_asked_as_if_nothing_had_been() {
    let mut f = refused();
    let requests = f.requests();
    f.image(clicks_on([2; 4], 6));
    let asked = f.requests();
    assert_eq!(
        fetch(asked.last().unwrap()),
        (2, Lane::Long, vec![1, 2]),
        "partition 0 asks for its epoch first"
    );
    f.events();
    refuse(&mut f, &requests[0]);
    assert_eq!(failures(f.events()).len(), 0, "the former leader has no say");
}

#[test]
fn no_more_is_asked_for_than_would_be_accepted() {
    let mut f = with_config(|config| {
        config.partition_max_bytes = 1 << 20;
        config.partition_buffer_bytes = 2 << 20;
    });
    (0..3).for_each(|id| f.add(id));
    let request = f.request();
    assert!(request.max_bytes < LARGEST_BATCH, "{}", request.max_bytes);
    assert!(request.partitions[0].max_bytes < LARGEST_BATCH);
}
