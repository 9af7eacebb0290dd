//! Every row of the table of partition errors, and what follows it.

use super::*;

const WRITTEN_OR_NOT: [ErrorCode; 2] = [
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::REQUEST_TIMED_OUT,
];

/// A feed whose partition 0 has one acknowledged batch (tag 0, offset 0).
fn warm() -> Feed {
    warm_with(|_| {})
}

#[test]
fn a_retriable_refusal_is_answered_by_the_same_bytes_after_a_pause() {
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::CONCURRENT_TRANSACTIONS,
        ErrorCode::THROTTLING_QUOTA_EXCEEDED,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::REQUEST_TIMED_OUT,
    ] {
        let mut feed = warm();
        feed.submit(0, 1, 3);
        let request = feed.request();
        feed.refuse(&request, code);
        assert!(feed.requests().is_empty(), "{code}: no hot loop");
        feed.wait_for_timer();
        let again = feed.request();
        assert_eq!(again.batches, request.batches, "{code}");
        feed.accept(&again, 1);
        assert_eq!(feed.acks(), [(1, 1)], "{code}");
    }
}

/// Brokers recognize the last five batches only: a sixth one would make them forget the first, which may be written.
#[test]
fn nothing_new_is_sent_that_makes_the_broker_forget_an_undecided_batch() {
    let mut feed = warm_with(|feed| {
        for tag in 1..8 {
            feed.submit(0, tag, 1);
        }
    });
    let sent = feed.requests();
    assert_eq!(sent.len(), 5);
    feed.refuse(&sent[0], ErrorCode::REQUEST_TIMED_OUT);
    for (request, offset) in sent[1..].iter().zip(2..) {
        feed.accept(request, offset);
    }
    for _ in 0..3 {
        feed.wait_for_timer();
        let again = feed.request();
        assert_eq!(again.batches, sent[0].batches);
        feed.refuse(&again, ErrorCode::REQUEST_TIMED_OUT);
    }
    feed.wait_for_timer();
    let again = feed.request();
    feed.refuse(&again, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(feed.acks(), [(1, -1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(feed.requests().len(), 2);
}

#[test]
fn batches_behind_a_refused_one_come_again_after_it_in_order() {
    let mut feed = warm_with(|feed| {
        for tag in 1..5 {
            feed.submit(0, tag, 1);
        }
    });
    let sent = feed.requests();
    assert_eq!(sent.len(), 4);
    feed.refuse(&sent[0], ErrorCode::NOT_ENOUGH_REPLICAS);
    feed.wait(Duration::from_secs(1));
    assert!(feed.requests().is_empty(), "the others are still in flight");
    for request in &sent[1..] {
        feed.refuse(request, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    feed.wait(Duration::from_secs(1));
    let again = feed.request();
    assert_eq!(only(&again), (1, 0, 1), "one at a time after a refusal");
    feed.accept(&again, 1);
    let rest = feed.requests();
    assert_eq!(
        rest.iter().map(only).collect::<Vec<_>>(),
        [(2, 0, 2), (3, 0, 3), (4, 0, 4)]
    );
    for (offset, request) in (2..).zip(&rest) {
        feed.accept(request, offset);
    }
    assert_eq!(feed.acks(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[test]
fn a_duplicate_is_persisted_at_an_unknown_offset() {
    let mut feed = warm();
    feed.submit(0, 1, 1);
    let request = feed.request();
    feed.lose(&request, true);
    feed.wait_for_timer();
    let again = feed.request();
    feed.refuse(&again, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(feed.acks(), [(1, -1)]);
}

#[test]
fn a_lost_connection_repeats_all_of_its_batches_in_order() {
    let mut feed = warm_with(|feed| {
        for tag in 1..4 {
            feed.submit(0, tag, 1);
        }
    });
    let sent = feed.requests();
    for request in &sent {
        feed.lose(request, true);
    }
    let mut repeated = Vec::new();
    feed.wait_for_timer();
    for offset in 1..4 {
        let request = feed.requests().remove(0);
        repeated.push(only(&request));
        feed.accept(&request, offset);
        if offset == 1 {
            // The window is open again: the other two go together.
            let rest = feed.requests();
            assert_eq!(rest.len(), 2);
            for (offset, request) in (2..).zip(&rest) {
                repeated.push(only(request));
                feed.accept(request, offset);
            }
            break;
        }
    }
    assert_eq!(repeated, [(1, 0, 1), (2, 0, 2), (3, 0, 3)]);
    assert_eq!(feed.acks(), [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn refusals_for_good_fail_the_batch_and_free_its_numbers() {
    for code in [
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ErrorCode::INVALID_RECORD,
        ErrorCode::INVALID_TIMESTAMP,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ErrorCode::INVALID_REQUIRED_ACKS,
        ErrorCode::INVALID_TXN_STATE,
    ] {
        let mut feed = warm();
        feed.submit(0, 1, 3);
        let request = feed.request();
        feed.refuse(&request, code);
        assert_eq!(
            feed.failures(),
            [(1, ProduceErrorKind::Rejected, Persistence::NotPersisted)],
            "{code}"
        );
        feed.submit(0, 2, 1);
        assert_eq!(
            only(&feed.request()),
            (2, 0, 1),
            "{code}: nothing was written under these numbers"
        );
    }
}

#[test]
fn an_error_we_do_not_know_may_have_written_and_its_numbers_are_not_used_again() {
    for code in [ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode(9_999)] {
        let mut feed = warm();
        feed.submit(0, 1, 3);
        let request = feed.request();
        feed.refuse(&request, code);
        assert_eq!(
            feed.failures(),
            [(1, ProduceErrorKind::Rejected, Persistence::PossiblyPersisted)],
            "{code}"
        );
        feed.submit(0, 2, 1);
        assert_eq!(only(&feed.request()), (2, 1, 0), "{code}: a new epoch");
    }
}

#[test]
fn a_refusal_after_an_unanswered_attempt_is_possibly_persisted() {
    for vague in WRITTEN_OR_NOT {
        let mut feed = warm();
        feed.submit(0, 1, 1);
        let request = feed.request();
        feed.refuse(&request, vague);
        feed.wait_for_timer();
        let again = feed.request();
        feed.refuse(&again, ErrorCode::INVALID_RECORD);
        assert_eq!(
            feed.failures(),
            [(1, ProduceErrorKind::Rejected, Persistence::PossiblyPersisted)],
            "{vague}"
        );
    }
}

#[test]
fn a_connection_that_failed_before_writing_leaves_the_batch_not_persisted() {
    let mut feed = warm();
    feed.submit(0, 1, 1);
    let request = feed.request();
    feed.lose(&request, false);
    feed.wait_for_timer();
    let again = feed.request();
    feed.refuse(&again, ErrorCode::INVALID_RECORD);
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::Rejected, Persistence::NotPersisted)]
    );
}

#[test]
fn batches_of_others_behind_a_failed_one_get_new_numbers_under_a_new_epoch() {
    let mut feed = warm_with(|feed| {
        for tag in 1..4 {
            feed.submit(0, tag, 2);
        }
    });
    let sent = feed.requests();
    feed.refuse(&sent[0], ErrorCode::INVALID_RECORD);
    assert!(
        feed.outcomes().is_empty(),
        "nothing is decided before the others are answered"
    );
    for request in &sent[1..] {
        feed.refuse(request, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::Rejected, Persistence::NotPersisted)]
    );
    let first = feed.request();
    assert_eq!(
        only(&first),
        (2, 1, 0),
        "one in flight: the broker has not seen the epoch"
    );
    feed.accept(&first, 1);
    let second = feed.request();
    assert_eq!(only(&second), (3, 1, 2));
    feed.accept(&second, 3);
    assert_eq!(feed.acks(), [(2, 1), (3, 3)]);
}

#[test]
fn a_batch_that_may_be_written_is_not_renumbered_but_fails() {
    let mut feed = warm_with(|feed| {
        for tag in 1..4 {
            feed.submit(0, tag, 2);
        }
    });
    let sent = feed.requests();
    feed.refuse(&sent[0], ErrorCode::INVALID_RECORD);
    feed.lose(&sent[1], true);
    feed.refuse(&sent[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let failed = [
        (1, ProduceErrorKind::Rejected, Persistence::NotPersisted),
        (2, ProduceErrorKind::SequenceLost, Persistence::PossiblyPersisted),
    ];
    assert_eq!(feed.failures(), failed);
    assert_eq!(only(&feed.request()), (3, 1, 0));
}

#[test]
fn a_broker_that_forgot_us_gets_the_batch_again_under_a_new_epoch() {
    for code in [
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::PRODUCER_FENCED,
    ] {
        let mut feed = warm_with(|feed| {
            feed.submit(0, 1, 2);
            feed.submit(0, 2, 1);
        });
        let sent = feed.requests();
        feed.refuse(&sent[0], code);
        feed.refuse(&sent[1], code);
        feed.wait_for_timer();
        let again = feed.request();
        assert_eq!(only(&again), (1, 1, 0), "{code}");
        feed.accept(&again, 1);
        assert_eq!(only(&feed.request()), (2, 1, 2), "{code}");
        assert_eq!(feed.acks(), [(1, 1)]);
    }
}

#[test]
fn a_broker_that_forgot_us_while_an_attempt_was_unanswered_cannot_be_asked_again() {
    let mut feed = warm_with(|feed| {
        feed.submit(0, 1, 2);
        feed.submit(0, 2, 1);
    });
    let sent = feed.requests();
    feed.lose(&sent[0], true);
    feed.lose(&sent[1], false);
    feed.wait_for_timer();
    let again = feed.request();
    feed.refuse(&again, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::SequenceLost, Persistence::PossiblyPersisted)]
    );
    assert_eq!(
        only(&feed.request()),
        (2, 1, 0),
        "the other one was never sent and goes on"
    );
}

#[test]
fn other_partitions_keep_their_epoch_until_what_they_sent_is_answered() {
    let mut feed = Feed::new();
    for partition in [0, 1] {
        feed.submit(partition, partition as u32, 1);
    }
    let warm_up = feed.request();
    feed.accept(&warm_up, 0);
    feed.acks();
    feed.submit(1, 10, 1);
    let of_other = feed.request();
    feed.submit(0, 20, 1);
    let refused = feed.request();
    feed.refuse(&refused, ErrorCode::UNKNOWN_PRODUCER_ID);
    feed.submit(1, 11, 1);
    assert!(
        feed.requests().is_empty(),
        "a new epoch must not overtake what is numbered under the old one"
    );
    feed.lose(&of_other, true);
    feed.wait(Duration::from_secs(1));
    let mut sent: Vec<_> = feed
        .requests()
        .iter()
        .flat_map(|request| request.batches.clone())
        .collect();
    sent.sort_by_key(|(of, _)| of.partition);
    let numbers: Vec<_> = sent.iter().map(|(_, batch)| numbered(batch)).collect();
    assert_eq!(numbers, [(20, 1, 0), (10, 0, 1)], "repeated under the number it had");
}

#[test]
fn a_used_up_epoch_is_followed_by_a_new_producer_id() {
    let mut feed = Feed::new();
    feed.next_producer_id = Ok(ProducerIdentity {
        id: 1,
        epoch: i16::MAX - 1,
    });
    feed.submit(0, 0, 1);
    let request = feed.request();
    feed.next_producer_id = Ok(ProducerIdentity { id: 2, epoch: 0 });
    feed.refuse(&request, ErrorCode::INVALID_PRODUCER_EPOCH);
    feed.wait(Duration::from_secs(1));
    let again = feed.request();
    let header = header(&again.batches[0].1);
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (2, 0, 0)
    );
}

#[test]
fn a_batch_too_large_for_the_broker_is_split_and_later_ones_keep_their_numbers() {
    let mut feed = warm_with(|feed| {
        feed.submit(0, 1, 4);
        feed.submit(0, 2, 1);
    });
    let sent = feed.requests();
    assert_eq!(only(&sent[1]), (2, 0, 5));
    feed.refuse(&sent[0], ErrorCode::MESSAGE_TOO_LARGE);
    feed.refuse(&sent[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let mut told = Vec::new();
    for (offset, expected) in [(1, (1, 0, 1)), (3, (1, 0, 3)), (5, (2, 0, 5))] {
        let request = feed.requests().remove(0);
        assert_eq!(only(&request), expected);
        feed.accept(&request, offset);
        if offset == 1 {
            // With the first part acknowledged the rest goes together.
            let rest = feed.requests();
            assert_eq!(rest.iter().map(only).collect::<Vec<_>>(), [(1, 0, 3), (2, 0, 5)]);
            feed.accept(&rest[0], 3);
            feed.accept(&rest[1], 5);
            break;
        }
    }
    told.extend(feed.outcomes());
    let whole: Vec<_> = told
        .into_iter()
        .map(|(tag, outcome)| (tag, outcome.into_whole().unwrap().base_offset))
        .collect();
    assert_eq!(whole, [(1, 1), (2, 5)]);
}

#[test]
fn a_single_record_that_is_too_large_fails_alone_with_sizes() {
    let mut feed = warm();
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (index, len) in [10, 5_000, 10].into_iter().enumerate() {
        let key = [1u32.to_be_bytes(), (index as u32).to_be_bytes()].concat();
        builder.append(0, Some(&key), Some(&vec![b'v'; len]), &[]);
    }
    feed.submit_batch(0, 1, builder.seal(Compression::None), None);
    let mut offset = 1;
    for _ in 0..8 {
        feed.wait(Duration::from_secs(1));
        for request in feed.requests() {
            if request.batches[0].1.len() > 1_000 {
                feed.refuse(&request, ErrorCode::MESSAGE_TOO_LARGE);
            } else {
                let records = header(&request.batches[0].1).record_count;
                feed.accept(&request, offset);
                offset += i64::from(records);
            }
        }
    }
    let outcomes = feed.outcomes();
    let [(1, outcome)] = &outcomes[..] else {
        panic!("one outcome: {outcomes:?}")
    };
    assert_eq!(outcome.of_record(0), Ok((1, None)));
    assert_eq!(outcome.of_record(2), Ok((2, None)));
    let error = outcome.of_record(1).unwrap_err();
    assert_eq!(
        (error.kind, error.persistence),
        (ProduceErrorKind::RecordTooLarge, Persistence::NotPersisted)
    );
    assert!(
        error.text.contains("max.message.bytes") && error.text.contains("1 record"),
        "{error}"
    );
}

#[test]
fn a_batch_that_may_be_written_is_not_split() {
    let mut feed = warm();
    feed.submit(0, 1, 4);
    let request = feed.request();
    feed.lose(&request, true);
    feed.wait_for_timer();
    let again = feed.request();
    feed.refuse(&again, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::RecordTooLarge, Persistence::PossiblyPersisted)]
    );
}

#[test]
fn a_damaged_batch_is_sent_once_more_and_then_fails() {
    let mut feed = warm();
    feed.submit(0, 1, 1);
    for _ in 0..2 {
        let request = feed.request();
        assert_eq!(only(&request), (1, 0, 1));
        feed.refuse(&request, ErrorCode::CORRUPT_MESSAGE);
    }
    assert_eq!(
        feed.failures(),
        [(1, ProduceErrorKind::Rejected, Persistence::NotPersisted)]
    );
}

#[test]
fn the_failure_carries_the_brokers_words_and_the_broker() {
    let mut feed = warm();
    feed.submit(0, 1, 1);
    let request = feed.request();
    feed.answer_with(&request, |partition| PartitionAnswer {
        text: Some("the timestamp is from the future".to_owned()),
        ..said_about(partition, ErrorCode::INVALID_TIMESTAMP, -1)
    });
    let (_, outcome) = feed.outcomes().remove(0);
    let error = outcome.into_whole().unwrap_err();
    assert_eq!((error.broker, error.topic_partition.clone()), (Some(1), Some(at(0))));
    assert!(error.to_string().contains("from the future"), "{error}");
}

#[test]
fn log_append_time_is_passed_on() {
    let mut feed = warm();
    feed.submit(0, 1, 2);
    let request = feed.request();
    feed.answer_with(&request, |partition| PartitionAnswer {
        log_append_time: Some(777),
        ..said_about(partition, ErrorCode::NONE, 4)
    });
    let expected = Persisted {
        base_offset: 4,
        record_count: 2,
        log_append_time: Some(777),
    };
    assert_eq!(feed.outcomes(), [(1, Outcome::Whole(Ok(expected)))]);
    feed.submit(0, 2, 1);
    let request = feed.request();
    feed.accept(&request, 6);
    assert_eq!(feed.outcomes(), [(2, persisted(6, 1))]);
}
