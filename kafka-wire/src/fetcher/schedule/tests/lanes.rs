//! Which partitions ride together, and in which request.

use super::*;

fn wait_of(request: &Request) -> Duration {
    match request.kind {
        Kind::Fetch { wait, .. } => wait,
        other => panic!("no fetch but {other:?}"),
    }
}

#[test]
fn all_partitions_of_a_broker_ride_one_long_request() {
    let mut f = fixture();
    (0..3).for_each(|id| f.add(id));
    let request = f.request();
    assert_eq!(fetch(&request), (1, Lane::Long, vec![0, 1, 2]));
    for (asked, partition) in request.partitions.iter().zip(0..) {
        assert_eq!(asked.topic_partition, TopicPartition::new("clicks", partition));
        assert_eq!((asked.want, asked.max_bytes), (Want::Records(0), PARTITION_MAX));
        assert_eq!(asked.topic_id, TopicId([7; 16]));
        assert_eq!((asked.leader.node, asked.leader.epoch), (1, 5));
    }
}

#[test]
fn a_partition_that_was_never_answered_does_not_wait_to_hear_that_it_is_empty() {
    let mut f = fixture();
    f.add(0);
    let first = f.request();
    assert_eq!(wait_of(&first), Duration::ZERO);
    f.answer(&first, vec![(0, nothing(0))]);
    let second = f.request();
    assert_eq!(wait_of(&second), MAX_WAIT, "its reader knows the end");
    f.add(1);
    assert_eq!(wait_of(&f.request()), Duration::ZERO);
}

#[test]
fn each_broker_is_asked_for_what_it_leads() {
    let mut f = fixture();
    f.image(clicks_on([1, 2, 1, 2], 6));
    (0..4).for_each(|id| f.add(id));
    let requests: Vec<_> = f.requests().iter().map(|request| fetch(request)).collect();
    assert_eq!(
        requests,
        [(1, Lane::Long, vec![0, 2]), (2, Lane::Long, vec![1, 3])],
        "one request each"
    );
}

#[test]
fn a_partition_rides_in_one_request_at_a_time() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let long = f.request();
    f.wait(LONG_ENOUGH);
    f.image(clicks_on([1; 4], 5));
    f.take(0, 1);
    assert!(f.requests().is_empty(), "both are under way");
    f.answer(&long, vec![(0, records(0)), (1, nothing(0))]);
    let again = f.request();
    assert_eq!(fetch(&again), (1, Lane::Long, vec![1, 0]));
    assert_eq!(again.partitions[1].want, Want::Records(10), "where the records ended");
    assert_ne!(again.ticket, long.ticket);
}

#[test]
fn a_partition_that_becomes_ready_meanwhile_takes_the_short_request() {
    let mut f = fixture();
    f.add(0);
    let long = f.request();
    f.add(1);
    let short = f.request();
    assert_eq!(fetch(&short), (1, Lane::Short, vec![1]));
    assert!(wait_of(&short) < MAX_WAIT, "it must not wait behind the Long one");
    f.add(2);
    assert!(f.requests().is_empty(), "two are under way, one of each kind");
    f.answer(&short, vec![(0, nothing(0))]);
    assert_eq!(fetch(&f.request()), (1, Lane::Short, vec![1, 2]));
    f.answer(&long, vec![(0, nothing(0))]);
    let reunion = f.request();
    assert_eq!(fetch(&reunion), (1, Lane::Long, vec![0]));
    assert!(wait_of(&reunion) < MAX_WAIT, "the others come back to it soon");
}

#[test]
fn who_has_read_to_the_end_waits_for_a_long_request_that_is_almost_over() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let first = f.request();
    f.answer(&first, vec![(0, nothing(0)), (1, nothing(0))]);
    f.schedule.handle_paused(1, true);
    let long = f.request();
    assert_eq!(fetch(&long), (1, Lane::Long, vec![0]));
    f.now += MAX_WAIT - Duration::from_millis(20);
    f.schedule.handle_paused(1, false);
    assert!(f.requests().is_empty(), "nothing new is expected of it");
    f.add(2);
    assert_eq!(fetch(&f.request()), (1, Lane::Short, vec![1, 2]), "but of this one");
    f.answer(&long, vec![(0, nothing(0))]);
    assert_eq!(fetch(&f.request()), (1, Lane::Long, vec![0]));
}

#[test]
fn a_partition_read_twice_is_in_two_requests() {
    let mut f = fixture();
    let clicks = TopicPartition::new("clicks", 0);
    for id in 0..3 {
        f.add_as(id, clicks.clone(), StartOffset::Offset(id as i64), OffsetReset::Error);
    }
    let requests = f.requests();
    let asked: Vec<_> = requests.iter().map(|request| fetch(request)).collect();
    assert_eq!(asked, [(1, Lane::Long, vec![0]), (1, Lane::Short, vec![1])]);
    f.answer(&requests[1], vec![(0, nothing(1))]);
    f.schedule.handle_removed(1);
    assert_eq!(fetch(&f.request()), (1, Lane::Short, vec![2]), "its turn comes");
}

#[test]
fn offsets_are_asked_once_at_a_time_and_fetches_do_not_wait_for_that() {
    let mut f = fixture();
    f.add(0);
    f.add_at(1, StartOffset::Earliest, OffsetReset::Error);
    let requests = f.requests();
    assert_eq!(requests[0].kind, Kind::Offsets(IsolationLevel::ReadUncommitted));
    assert_eq!(ids(&requests[0]), [1]);
    assert_eq!(fetch(&requests[1]), (1, Lane::Long, vec![0]));
    f.add_at(2, StartOffset::Latest, OffsetReset::Error);
    assert!(f.requests().is_empty());
    f.answer(&requests[0], vec![(0, Told::Offset(70))]);
    let requests = f.requests();
    assert_eq!((requests.len(), ids(&requests[0])), (2, vec![2]));
    assert_eq!(fetch(&requests[1]), (1, Lane::Short, vec![1]));
    assert_eq!(requests[1].partitions[0].want, Want::Records(70));
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, records(0))]);
    let (events, next) = (f.events().len(), f.request());
    assert_eq!((events, next.partitions[0].want), (2, Want::Records(10)));
    f.answer(&request, vec![(0, records(0))]);
    f.schedule.handle_answer(f.now, 77, Ok(answer(Vec::new())));
    assert!(f.events().is_empty());
    assert!(f.requests().is_empty());
}
