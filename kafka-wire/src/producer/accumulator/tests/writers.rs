//! Writers whose batches hang together: after the first failure none of the later ones may be written.

use super::*;
use crate::connection::Permit;

const WRITER: Option<u64> = Some(1);
const FOLLOWS: ProduceErrorKind = ProduceErrorKind::EarlierBatchFailed;

#[test]
fn after_a_failed_batch_the_writers_later_ones_fail_and_others_go_on() {
    let mut feed = Feed::new();
    feed.submit_chained(0, 0, 1, WRITER);
    feed.submit_chained(0, 1, 1, WRITER);
    feed.submit_chained(0, 2, 1, Some(2));
    feed.submit(0, 3, 1);
    let request = feed.request();
    feed.refuse(&request, ErrorCode::INVALID_RECORD);
    let failed = [
        (0, ProduceErrorKind::Rejected, Persistence::NotPersisted),
        (1, FOLLOWS, Persistence::NotPersisted),
    ];
    assert_eq!(feed.failures(), failed);
    let next = feed.request();
    assert_eq!(only(&next), (2, 0, 0));
    feed.accept(&next, 0);
    assert_eq!(only(&feed.request()), (3, 0, 1));
}

#[test]
fn batches_submitted_after_the_failure_fail_at_once_until_the_writer_is_gone() {
    let mut feed = Feed::new();
    feed.submit_chained(0, 0, 1, WRITER);
    let request = feed.request();
    feed.refuse(&request, ErrorCode::INVALID_RECORD);
    feed.failures();
    feed.submit_chained(0, 1, 1, WRITER);
    assert_eq!(feed.failures(), [(1, FOLLOWS, Persistence::NotPersisted)]);
    assert!(feed.requests().is_empty());
    feed.machine.handle_chain_closed(1);
    feed.submit_chained(0, 2, 1, WRITER);
    assert_eq!(only(&feed.request()), (2, 0, 0));
}

#[test]
fn a_late_failure_of_a_broken_writer_is_told_in_order() {
    let mut feed = warm_with(|feed| {
        feed.submit_chained(0, 0, 1, WRITER);
        feed.submit(0, 8, 1);
        feed.submit_chained(0, 1, 1, WRITER);
    });
    let sent = feed.requests();
    assert_eq!(sent.len(), 3);
    feed.refuse(&sent[0], ErrorCode::INVALID_RECORD);
    feed.refuse(&sent[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    feed.refuse(&sent[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::Rejected, Persistence::NotPersisted)]
    );
    let other = feed.request();
    assert_eq!(only(&other), (8, 1, 0));
    feed.accept(&other, 1);
    let outcomes = feed.outcomes();
    assert_eq!(outcomes.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [8, 1]);
    let error = outcomes[1].1.error().unwrap();
    assert_eq!((error.kind, error.persistence), (FOLLOWS, Persistence::NotPersisted));
}

#[test]
fn a_later_batch_with_an_unanswered_attempt_is_possibly_persisted() {
    let mut feed = warm_with(|feed| {
        for tag in 0..3 {
            feed.submit_chained(0, tag, 1, WRITER);
        }
    });
    let sent = feed.requests();
    feed.refuse(&sent[0], ErrorCode::INVALID_RECORD);
    feed.lose(&sent[1], true);
    feed.refuse(&sent[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let failed = [
        (0, ProduceErrorKind::Rejected, Persistence::NotPersisted),
        (1, FOLLOWS, Persistence::PossiblyPersisted),
        (2, FOLLOWS, Persistence::NotPersisted),
    ];
    assert_eq!(feed.failures(), failed);
}

#[test]
fn abandoned_batches_are_not_sent_and_those_of_others_go_on() {
    let mut feed = Feed::new();
    for tag in 0..3 {
        feed.submit_chained(0, tag, 1, WRITER);
    }
    feed.submit(0, 3, 1);
    let in_flight = feed.request();
    feed.machine.handle_abandoned(feed.now, &at(0), 1);
    feed.submit_chained(0, 4, 1, WRITER);
    assert!(feed.outcomes().is_empty(), "in order: the first is in flight");
    feed.accept(&in_flight, 0);
    let outcomes = feed.outcomes();
    assert_eq!(outcomes[0], (0, persisted(0, 1)), "what the broker has written is told");
    for (tag, outcome) in &outcomes[1..] {
        let error = outcome.error().unwrap();
        let expected = (ProduceErrorKind::Abandoned, Persistence::NotPersisted);
        assert_eq!((error.kind, error.persistence), expected, "{tag}");
    }
    assert_eq!(outcomes.len(), 3);
    let others = feed.request();
    assert_eq!(only(&others), (3, 0, 1));
    feed.accept(&others, 1);
    assert_eq!(feed.outcomes()[0], (3, persisted(1, 1)));
}

#[test]
fn abandoning_with_nothing_in_flight_answers_at_once() {
    let mut feed = Feed::new();
    feed.leaders
        .insert(at(0), Leadership::None(ErrorCode::LEADER_NOT_AVAILABLE));
    feed.submit_chained(0, 0, 1, WRITER);
    feed.requests();
    feed.machine.handle_abandoned(feed.now, &at(0), 1);
    feed.submit_chained(0, 1, 1, WRITER);
    let failed = [
        (0, ProduceErrorKind::Abandoned, Persistence::NotPersisted),
        (1, FOLLOWS, Persistence::NotPersisted),
    ];
    assert_eq!(feed.failures(), failed);
}

#[test]
fn an_abandoned_batch_whose_attempt_was_lost_is_not_repeated_but_possibly_persisted() {
    let mut feed = Feed::new();
    feed.submit_chained(0, 0, 1, WRITER);
    feed.submit_chained(0, 1, 1, WRITER);
    let request = feed.request();
    feed.machine.handle_abandoned(feed.now, &at(0), 1);
    feed.lose(&request, true);
    let failed = [
        (0, ProduceErrorKind::Abandoned, Persistence::PossiblyPersisted),
        (1, ProduceErrorKind::Abandoned, Persistence::NotPersisted),
    ];
    assert_eq!(feed.failures(), failed);
    feed.wait(Duration::from_secs(10));
    assert!(feed.requests().is_empty());
    feed.submit(0, 2, 1);
    assert_eq!(
        only(&feed.request()),
        (2, 1, 0),
        "numbers that may be taken are not used again"
    );
}

#[test]
fn a_chain_of_one_partition_does_not_touch_another() {
    let mut feed = Feed::new();
    feed.submit_chained(0, 0, 1, WRITER);
    feed.submit_chained(1, 1, 1, Some(2));
    let request = feed.request();
    feed.answer_with(&request, |partition| match partition {
        0 => said_about(0, ErrorCode::INVALID_RECORD, -1),
        _ => said_about(1, ErrorCode::NONE, 6),
    });
    let outcomes = feed.outcomes();
    assert!(
        outcomes
            .iter()
            .any(|(tag, outcome)| *tag == 1 && *outcome == persisted(6, 1))
    );
    assert!(
        outcomes
            .iter()
            .any(|(tag, outcome)| *tag == 0 && outcome.error().is_some())
    );
}

/// Nobody tells when a permit is given: the machine looks for itself, and a batch behind it keeps its place.
#[test]
fn what_lacks_its_permit_waits_and_is_looked_at_again() {
    let mut feed = Feed::new();
    let ends = feed.now + Duration::from_secs(6);
    let opens = feed.now + Duration::from_secs(9);
    let permit = Permit::new(move |now| now < ends || now >= opens);
    let submit = |feed: &mut Feed, tag| {
        feed.submit_submission(Submission {
            topic_partition: at(0),
            batch: sealed(tag, 1, 10),
            chain: WRITER,
            permit: Some(permit.clone()),
            tag,
        });
    };
    submit(&mut feed, 0);
    let first = feed.request();
    assert_eq!(only(&first), (0, 0, 0));
    feed.now = ends;
    submit(&mut feed, 1);
    feed.submit_chained(0, 2, 1, None);
    feed.accept(&first, 0);
    assert!(
        feed.requests().is_empty(),
        "neither without the permit nor past the batch that lacks it"
    );
    while feed.now < opens {
        let next = feed.machine.next_timeout().unwrap();
        assert!(next > feed.now && next <= feed.now + Duration::from_millis(100));
        feed.now = next;
        feed.machine.handle_timeout(next);
        assert_eq!(feed.requests().is_empty(), next < opens);
    }
}

/// A retry is a sending too.
#[test]
fn a_retry_needs_the_permit_as_well() {
    let mut feed = Feed::new();
    let ends = feed.now + Duration::from_secs(6);
    feed.submit_submission(Submission {
        topic_partition: at(0),
        batch: sealed(0, 1, 10),
        chain: WRITER,
        permit: Some(Permit::new(move |now| now < ends)),
        tag: 0,
    });
    let first = feed.request();
    feed.now = ends;
    feed.refuse(&first, ErrorCode::NOT_ENOUGH_REPLICAS);
    feed.now += Duration::from_secs(5);
    feed.machine.handle_timeout(feed.now);
    assert!(feed.requests().is_empty());
}

/// The driver may have to open a connection first, which may take as long as it likes.
#[test]
fn a_request_that_waits_for_its_connection_is_asked_for_its_permits_and_writers_again() {
    let mut feed = Feed::new();
    let ends = feed.now + Duration::from_secs(6);
    feed.submit_submission(Submission {
        topic_partition: at(0),
        batch: sealed(0, 1, 10),
        chain: WRITER,
        permit: Some(Permit::new(move |now| now < ends)),
        tag: 0,
    });
    let first = feed.request();
    assert!(feed.machine.may_send(feed.now, first.number));
    assert!(!feed.machine.may_send(ends, first.number), "without its permit");
    feed.machine.handle_abandoned(feed.now, &at(0), WRITER.unwrap());
    assert!(
        !feed.machine.may_send(feed.now, first.number),
        "of a writer that took it back"
    );
}
