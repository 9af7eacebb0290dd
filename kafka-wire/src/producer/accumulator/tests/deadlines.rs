//! `delivery_timeout`: every batch gets its outcome, and none is called "not persisted" that may be in the log.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn a_batch_that_was_never_sent_fails_as_not_persisted() {
    let mut feed = Feed::new();
    feed.leaders
        .insert(at(0), Leadership::None(ErrorCode::LEADER_NOT_AVAILABLE));
    feed.submit(0, 0, 1);
    feed.requests();
    feed.wait(TIMEOUT);
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::DeliveryTimeout, Persistence::NotPersisted)]
    );
}

#[test]
fn a_batch_that_was_only_refused_fails_as_not_persisted_and_its_number_is_used_again() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.refuse(&request, ErrorCode::NOT_ENOUGH_REPLICAS);
    feed.wait(TIMEOUT);
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::DeliveryTimeout, Persistence::NotPersisted)]
    );
    feed.submit(0, 1, 1);
    assert_eq!(only(&feed.request()), (1, 0, 0));
}

#[test]
fn a_batch_with_an_unanswered_attempt_fails_as_possibly_persisted_and_the_epoch_moves_on() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.lose(&request, true);
    feed.wait(TIMEOUT);
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::DeliveryTimeout, Persistence::PossiblyPersisted)]
    );
    feed.submit(0, 1, 1);
    assert_eq!(only(&feed.request()), (1, 1, 0));
}

#[test]
fn a_batch_in_flight_is_waited_for_and_its_answer_counts() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.wait(TIMEOUT + Duration::from_secs(1));
    assert!(feed.outcomes().is_empty());
    assert_eq!(feed.machine.next_timeout(), None, "nothing to wake up for");
    feed.accept(&request, 3);
    assert_eq!(feed.acks(), [(0, 3)]);
}

#[test]
fn a_late_batch_that_is_refused_is_not_sent_again() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    feed.submit(0, 1, 1);
    let request = feed.request();
    feed.wait(TIMEOUT);
    feed.lose(&request, true);
    let failed = [
        (0, ProduceErrorKind::DeliveryTimeout, Persistence::PossiblyPersisted),
        (1, ProduceErrorKind::DeliveryTimeout, Persistence::NotPersisted),
    ];
    assert_eq!(feed.failures(), failed);
    assert!(feed.requests().is_empty());
}

#[test]
fn a_later_success_is_told_after_the_earlier_failure() {
    let mut feed = warm_with(|feed| {
        feed.submit(0, 1, 1);
        feed.wait(Duration::from_secs(60));
        feed.submit(0, 2, 1);
    });
    let sent = feed.requests();
    feed.refuse(&sent[0], ErrorCode::REQUEST_TIMED_OUT);
    feed.accept(&sent[1], 2);
    assert!(feed.outcomes().is_empty(), "in order: the first is not decided");
    feed.wait(TIMEOUT);
    let outcomes = feed.outcomes();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(
        outcomes[0].1.error().map(|error| error.persistence),
        Some(Persistence::PossiblyPersisted)
    );
    assert_eq!(outcomes[1], (2, persisted(2, 1)));
    feed.submit(0, 3, 1);
    assert_eq!(
        only(&feed.request()),
        (3, 1, 0),
        "numbers after a doubtful one are not used again"
    );
}

#[test]
fn a_lost_writing_that_later_turns_out_fine_is_persisted() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    for _ in 0..20 {
        let request = feed.request();
        feed.lose(&request, true);
        feed.wait_for_timer();
    }
    let request = feed.request();
    assert_eq!(only(&request), (0, 0, 0));
    feed.accept(&request, 12);
    assert_eq!(feed.acks(), [(0, 12)]);
}
