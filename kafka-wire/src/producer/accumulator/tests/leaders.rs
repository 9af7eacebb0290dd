//! Leaders that move, are unknown, or are only hinted at.

use super::*;

fn moved_to(partition: i32, node: i32, epoch: i32) -> PartitionAnswer {
    PartitionAnswer {
        current_leader: Some((node, epoch)),
        ..said_about(partition, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)
    }
}

#[test]
fn a_hint_moves_the_partition_without_metadata_and_without_a_pause() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    let answer = ProduceAnswer {
        topics: vec![orders(vec![moved_to(0, 2, 4)])],
        endpoints: vec![NodeEndpoint {
            node: 2,
            host: "b2".into(),
            port: 9092,
        }],
        throttle: Duration::ZERO,
    };
    feed.machine.handle_response(feed.now, request.number, &BROKER, &answer);
    let again = feed.request();
    assert_eq!((again.node, &again.batches), (2, &request.batches));
    assert_eq!(feed.refreshes, 0);
    feed.outcomes();
    let [hint] = &feed.hints[..] else { panic!("one hint") };
    assert_eq!((hint.leader.node, hint.leader.epoch), (2, 4));
    assert_eq!(hint.endpoint.as_ref().map(|endpoint| endpoint.port), Some(9092));
}

#[test]
fn a_stale_hint_is_not_followed() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.answer_with(&request, |partition| moved_to(partition, 2, 2));
    assert!(feed.requests().is_empty());
    assert_eq!(feed.refreshes, 1, "metadata decides");
    feed.wait_for_timer();
    assert_eq!(feed.request().node, 1);
}

#[test]
fn metadata_moves_the_partition_at_once() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.leaders.insert(at(0), Leadership::Node { node: 3, epoch: 4 });
    feed.refuse(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(feed.request().node, 3);
}

#[test]
fn metadata_older_than_what_we_know_is_ignored() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.answer_with(&request, |partition| moved_to(partition, 2, 9));
    feed.metadata();
    assert_eq!(feed.request().node, 2);
}

#[test]
fn a_partition_that_moved_hears_the_old_leader_out_before_it_sends_to_the_new_one() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let first = feed.request();
    feed.accept(&first, 0);
    feed.submit(0, 1, 1);
    let on_old = feed.request();
    feed.leaders.insert(at(0), Leadership::Node { node: 2, epoch: 4 });
    feed.metadata();
    feed.submit(0, 2, 1);
    assert!(feed.requests().is_empty());
    feed.accept(&on_old, 1);
    let on_new = feed.request();
    assert_eq!((on_new.node, only(&on_new)), (2, (2, 0, 2)));
    feed.submit(0, 3, 1);
    assert!(
        feed.requests().is_empty(),
        "one in flight until the new leader has acknowledged"
    );
    feed.accept(&on_new, 2);
    assert_eq!(only(&feed.request()), (3, 0, 3));
}

#[test]
fn a_partition_without_leader_waits_and_metadata_is_asked_again() {
    let mut feed = Feed::new();
    feed.leaders
        .insert(at(0), Leadership::None(ErrorCode::LEADER_NOT_AVAILABLE));
    feed.submit(0, 0, 1);
    assert!(feed.requests().is_empty());
    assert_eq!(feed.refreshes, 1);
    feed.wait_for_timer();
    assert!(feed.requests().is_empty());
    assert_eq!(feed.refreshes, 2);
    feed.leaders.insert(at(0), Leadership::Node { node: 1, epoch: 0 });
    feed.wait_for_timer();
    assert_eq!(only(&feed.request()), (0, 0, 0));
}

#[test]
fn a_topic_that_appears_within_seconds_gets_its_records() {
    let mut feed = Feed::new();
    feed.leaders.remove(&at(0));
    feed.submit(0, 0, 1);
    let end = feed.now + Duration::from_secs(2);
    while feed.now < end {
        assert!(feed.requests().is_empty());
        feed.wait_for_timer();
    }
    feed.leaders.insert(at(0), Leadership::Node { node: 1, epoch: 0 });
    feed.wait(Duration::from_secs(1));
    assert_eq!(only(&feed.request()), (0, 0, 0));
}

#[test]
fn a_topic_that_stays_unknown_fails_its_records_within_seconds() {
    let mut feed = Feed::new();
    feed.leaders.remove(&at(0));
    let start = feed.now;
    feed.submit(0, 0, 1);
    feed.submit(0, 1, 1);
    let mut failed = Vec::new();
    while failed.is_empty() {
        assert!(feed.requests().is_empty());
        failed = feed.failures();
        if failed.is_empty() {
            feed.wait_for_timer();
        }
    }
    assert_eq!(
        failed,
        [0, 1].map(|tag| (tag, ProduceErrorKind::UnknownTopic, Persistence::NotPersisted))
    );
    let took = feed.now - start;
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(8),
        "{took:?}"
    );
}

#[test]
fn a_broker_that_keeps_denying_the_partition_ends_the_wait_too() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    for _ in 0..40 {
        for request in feed.requests() {
            feed.refuse(&request, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        feed.leaders.remove(&at(0));
        feed.wait(Duration::from_millis(500));
    }
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::UnknownTopic, Persistence::NotPersisted)]
    );
    // The number was never written under: the partition's numbering goes on where it was.
    feed.leaders.insert(at(0), Leadership::Node { node: 1, epoch: 0 });
    feed.submit(0, 1, 1);
    feed.wait(Duration::from_secs(2));
    assert_eq!(only(&feed.request()), (1, 0, 0));
}

#[test]
fn a_topic_we_may_not_see_fails_at_once() {
    let mut feed = Feed::new();
    feed.leaders.insert(at(0), Leadership::NotAsked);
    feed.submit(0, 0, 1);
    feed.leaders
        .insert(at(0), Leadership::None(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert!(feed.requests().is_empty());
    assert_eq!(
        feed.failures(),
        [(0, ProduceErrorKind::Rejected, Persistence::NotPersisted)]
    );
}

#[test]
fn a_topic_that_is_briefly_missing_does_not_reset_the_sequence() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 7);
    let request = feed.request();
    feed.accept(&request, 0);
    let leader = feed.leaders.remove(&at(0)).unwrap();
    feed.metadata();
    feed.leaders.insert(at(0), leader);
    feed.metadata();
    feed.submit(0, 1, 1);
    assert_eq!(only(&feed.request()), (1, 0, 7));
}
