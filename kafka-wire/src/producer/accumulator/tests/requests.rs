//! What is sent when, and with which numbers.

use super::*;

#[test]
fn one_batch_is_in_flight_until_the_first_ack_and_then_five() {
    let mut feed = Feed::new();
    for tag in 0..8 {
        feed.submit(0, tag, 2);
    }
    let first = feed.request();
    assert_eq!(only(&first), (0, 0, 0));
    assert!(
        feed.requests().is_empty(),
        "a broker that does not know us accepts any first sequence"
    );
    feed.accept(&first, 100);
    let sent: Vec<_> = feed.requests().iter().map(only).collect();
    assert_eq!(sent, [(1, 0, 2), (2, 0, 4), (3, 0, 6), (4, 0, 8), (5, 0, 10)]);
    assert_eq!(feed.acks(), [(0, 100)]);
}

#[test]
fn after_a_pause_one_batch_goes_alone_again() {
    let mut feed = warm_with(|_| {});
    feed.submit(0, 1, 1);
    feed.submit(0, 2, 1);
    let first = feed.request();
    assert_eq!(only(&first), (1, 0, 1), "the broker may have forgotten us meanwhile");
    feed.refuse(&first, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::RecordTooLarge, Persistence::NotPersisted)]
    );
    assert_eq!(only(&feed.request()), (2, 0, 1));
}

#[test]
fn partitions_of_one_leader_share_a_request_and_a_request_has_one_batch_of_each() {
    let mut feed = Feed::new();
    for partition in [2, 0, 1] {
        feed.submit(partition, partition as u32, 1);
        feed.submit(partition, 10 + partition as u32, 1);
    }
    let request = feed.request();
    let order: Vec<i32> = request.batches.iter().map(|(of, _)| of.partition).collect();
    assert_eq!(order, [0, 1, 2]);
    feed.accept(&request, 0);
    assert_eq!(feed.request().batches.len(), 3);
}

#[test]
fn a_full_request_leaves_the_rest_to_the_next_one() {
    let mut feed = Feed::with(Limits {
        max_in_flight: 5,
        max_request_bytes: 2_500,
        delivery_timeout: Duration::from_secs(120),
    });
    for partition in 0..5 {
        feed.submit_batch(partition, 0, sealed(0, 1, 1_000), None);
    }
    let sizes: Vec<usize> = feed.requests().iter().map(|request| request.batches.len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn a_batch_above_the_request_limit_still_goes_alone() {
    let mut feed = Feed::with(Limits {
        max_in_flight: 5,
        max_request_bytes: 500,
        delivery_timeout: Duration::from_secs(120),
    });
    feed.submit_batch(0, 1, sealed(1, 1, 1_000), None);
    assert_eq!(feed.request().batches.len(), 1);
}

#[test]
fn a_broker_has_at_most_five_requests_and_others_are_not_held_up_by_it() {
    let mut feed = Feed::new();
    feed.leaders.insert(at(7), Leadership::Node { node: 2, epoch: 0 });
    for partition in 0..7 {
        feed.submit(partition, 0, 1);
        assert_eq!(feed.requests().len(), usize::from(partition < 5));
    }
    feed.submit(7, 0, 1);
    assert_eq!(feed.request().node, 2);
}

#[test]
fn answers_of_several_brokers_in_any_order_keep_each_partition_in_order() {
    let mut feed = Feed::new();
    feed.leaders.insert(at(1), Leadership::Node { node: 2, epoch: 0 });
    for partition in [0, 1] {
        for tag in 0..3 {
            feed.submit(partition, 10 * partition as u32 + tag, 1);
        }
    }
    let mut acks = Vec::new();
    let mut open = feed.requests();
    let mut offset = 0;
    // Always the youngest request first, as if its broker were the fastest.
    while let Some(request) = open.pop() {
        feed.accept(&request, offset);
        offset += 1;
        acks.extend(feed.acks().into_iter().map(|(tag, _)| tag));
        open.extend(feed.requests());
    }
    let of = |partition: u32| {
        acks.iter()
            .copied()
            .filter(|tag| tag / 10 == partition)
            .collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (vec![0, 1, 2], vec![10, 11, 12]));
}

#[test]
fn a_later_answer_waits_for_the_earlier_one_to_be_told() {
    let mut feed = warm_with(|feed| {
        feed.submit(0, 1, 1);
        feed.submit(0, 2, 1);
    });
    let two = feed.requests();
    feed.accept(&two[1], 2);
    assert!(feed.acks().is_empty());
    feed.accept(&two[0], 1);
    assert_eq!(feed.acks(), [(1, 1), (2, 2)]);
}

#[test]
fn sequences_wrap_at_the_largest_number() {
    // A batch cannot hold 2^31 records; the numbering is told that one did.
    let mut sequence = crate::producer::sequence::Sequence::new();
    sequence.stamp(PRODUCER, i32::MAX as u32);
    assert_eq!(sequence.stamp(PRODUCER, 3).base_sequence, i32::MAX);
    assert_eq!(sequence.stamp(PRODUCER, 1).base_sequence, 2);
}

#[test]
fn a_throttled_broker_is_left_alone_and_others_are_not() {
    let mut feed = Feed::new();
    feed.leaders.insert(at(1), Leadership::Node { node: 2, epoch: 0 });
    feed.submit(0, 0, 1);
    let request = feed.request();
    let topics = vec![orders(vec![said_about(0, ErrorCode::NONE, 0)])];
    let throttle = Duration::from_millis(500);
    feed.machine.handle_response(
        feed.now,
        request.number,
        &BROKER,
        &ProduceAnswer {
            topics,
            throttle,
            endpoints: Vec::new(),
        },
    );
    feed.submit(0, 1, 1);
    feed.submit(1, 2, 1);
    assert_eq!(feed.request().node, 2);
    feed.wait(Duration::from_millis(499));
    assert!(feed.requests().is_empty());
    feed.wait_for_timer();
    assert_eq!(only(&feed.request()), (1, 0, 1));
}

#[test]
fn a_flush_is_done_when_what_was_submitted_before_it_is() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let flush = feed.machine.handle_flush();
    feed.submit(1, 1, 1);
    let request = feed.request();
    feed.outcomes();
    assert!(feed.flushed.is_empty());
    feed.accept(&request, 0);
    feed.outcomes();
    assert_eq!(feed.flushed, [(flush, Ok(()))]);
    assert!(feed.machine.is_idle());
}

#[test]
fn an_answer_to_no_request_of_ours_changes_nothing() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.machine
        .handle_response(feed.now, 999, &BROKER, &ProduceAnswer::default());
    // Two answers for the partition, and one for a partition that was not in the request.
    let partitions = vec![
        said_about(0, ErrorCode::NONE, 5),
        said_about(0, ErrorCode::NONE, 9),
        said_about(3, ErrorCode::NONE, 7),
    ];
    let topics = vec![
        TopicAnswer {
            name: "other".into(),
            partitions: vec![said_about(0, ErrorCode::NONE, 0)],
        },
        orders(partitions),
    ];
    feed.answer_topics(&request, topics);
    assert_eq!(feed.acks(), [(0, 5)]);
    feed.accept(&request, 77);
    assert!(feed.acks().is_empty());
}

#[test]
fn a_partition_left_out_of_the_answer_is_sent_again_as_it_was() {
    let mut feed = Feed::new();
    feed.submit(0, 0, 1);
    feed.submit(1, 1, 1);
    let request = feed.request();
    feed.answer_topics(&request, vec![orders(vec![said_about(0, ErrorCode::NONE, 5)])]);
    assert_eq!(feed.acks(), [(0, 5)]);
    feed.wait_for_timer();
    let again = feed.request();
    assert_eq!(again.batches, request.batches[1..]);
}

#[test]
fn nothing_is_numbered_before_the_producer_id_is_there() {
    let mut feed = Feed::new();
    feed.next_producer_id = Err(no_id(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    feed.submit(0, 0, 1);
    assert!(feed.requests().is_empty());
    feed.next_producer_id = Ok(ProducerIdentity { id: 8, epoch: 2 });
    feed.wait_for_timer();
    let request = feed.request();
    let header = header(&request.batches[0].1);
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (8, 2, 0)
    );
}

#[test]
fn a_producer_id_refused_for_good_fails_what_waits_and_is_asked_for_again_later() {
    let mut feed = Feed::new();
    feed.next_producer_id = Err(no_id(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    feed.submit(0, 0, 1);
    feed.submit(1, 1, 1);
    assert!(feed.requests().is_empty());
    let failed = [0, 1].map(|tag| (tag, ProduceErrorKind::Rejected, Persistence::NotPersisted));
    assert_eq!(feed.failures(), failed);
    feed.next_producer_id = Ok(PRODUCER);
    feed.submit(0, 2, 1);
    assert_eq!(only(&feed.request()), (2, 0, 0));
}
