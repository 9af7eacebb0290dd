//! When a reader is told that it has everything.

use super::*;

/// Those bytes, of a log with transactions under way: it ends at `high`, and committed records at `last_stable`.
fn undecided(records: Bytes, last_stable: i64, high: i64) -> Told {
    Told::Records(Fetched {
        records,
        watermarks: Watermarks {
            log_start: 0,
            high,
            last_stable,
        },
        aborted: Vec::new(),
    })
}

/// What was delivered of partition `id`: the offset after it, and whether that is the end.
fn delivered(f: &mut Fixture, id: u64) -> Vec<(i64, bool)> {
    let events = f.events();
    let batches = events.iter().filter_map(|event| match event {
        Event::Answered {
            id: of,
            batch: Some(batch),
            ..
        } if *of == id => Some((batch.next_offset, batch.at_end)),
        _ => None,
    });
    batches.collect()
}

#[test]
fn records_up_to_the_high_watermark_are_the_last_ones() {
    let mut f = fixture();
    f.add(0);
    for (offset, at_end) in [(0, false), (10, false), (20, true)] {
        let request = f.request();
        f.answer(&request, vec![(0, bytes(batch(offset, 10, 200), 30))]);
        assert_eq!(delivered(&mut f, 0), [(offset + 10, at_end)]);
    }
}

#[test]
fn for_readers_of_committed_records_the_last_stable_offset_is_the_end() {
    for (isolation, at_end) in [
        (IsolationLevel::ReadUncommitted, false),
        (IsolationLevel::ReadCommitted, true),
    ] {
        let mut f = with_config(|config| config.isolation = isolation);
        f.add(0);
        let request = f.request();
        f.answer(&request, vec![(0, undecided(batch(0, 10, 200), 10, 40))]);
        assert_eq!(delivered(&mut f, 0), [(10, at_end)], "{isolation:?}");
    }
}

#[test]
fn an_empty_log_is_told_to_be_read_to_the_end() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, nothing(0))]);
    assert_eq!(delivered(&mut f, 0), [(0, true)]);
}

#[test]
fn an_empty_first_partition_is_at_its_end_though_offsets_without_records_follow() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(&request, vec![(0, nothing(50)), (1, records(0))]);
    assert_eq!(
        delivered(&mut f, 0),
        [(0, true)],
        "the first gets something if there is something"
    );
}

#[test]
fn an_empty_later_partition_may_only_have_found_no_room() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(&request, vec![(0, records(0)), (1, nothing(50))]);
    assert_eq!(delivered(&mut f, 1), []);
    let request = f.request();
    assert_eq!(ids(&request), [1, 0]);
    f.answer(&request, vec![(0, nothing(50)), (1, records(10))]);
    assert_eq!(delivered(&mut f, 1), [(0, true)], "now it was the first");
}

#[test]
fn a_later_partition_behind_empty_ones_had_all_the_room() {
    let mut f = fixture();
    (0..4).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(
        &request,
        vec![
            // The order of the answer does not matter.
            (3, nothing(50)),
            (2, records(0)),
            (1, nothing(50)),
            (0, refusal(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        ],
    );
    let events = f.events();
    let ended = events.iter().filter_map(|event| match event {
        Event::Answered { id, batch, .. } => Some((*id, batch.as_ref().is_some_and(|batch| batch.at_end))),
        _ => None,
    });
    let ended: Vec<_> = ended.collect();
    assert_eq!(ended, [(3, false), (2, false), (1, true)]);
}

#[test]
fn a_later_partition_that_is_cut_off_took_the_room_too() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    let cut = bytes(batch(0, 10, 200).slice(..100), 1000);
    f.answer(&request, vec![(0, cut), (1, nothing(50))]);
    assert_eq!(delivered(&mut f, 1), []);
}

#[test]
fn the_end_after_records_is_told_once_and_again_after_the_next_ones() {
    let mut f = fixture();
    f.add(0);
    f.events();
    let mut answered = |told| {
        let request = f.request();
        f.answer(&request, vec![(0, told)]);
        let events = f.events();
        assert_eq!(
            events.len(),
            1,
            "whatever is delivered, the watermarks are told: {events:?}"
        );
        events.into_iter().find_map(|event| match event {
            Event::Answered { batch, .. } => batch.map(|batch| (batch.records.len(), batch.next_offset, batch.at_end)),
            other => panic!("{other:?}"),
        })
    };
    answered(nothing(0));
    assert_eq!(answered(bytes(batch(0, 10, 200), 12)), Some((200, 10, false)));
    assert_eq!(answered(nothing(12)), Some((0, 10, true)));
    assert_eq!(answered(nothing(12)), None);
    assert_eq!(answered(nothing(12)), None);
    assert_eq!(answered(bytes(batch(12, 10, 200), 22)), Some((200, 22, true)));
    assert_eq!(answered(nothing(22)), None, "it was told with the records");
    assert_eq!(answered(bytes(batch(22, 10, 200), 40)), Some((200, 32, false)));
    assert_eq!(answered(nothing(40)), Some((0, 32, true)));
}

#[test]
fn a_reader_that_the_policy_moved_is_told_the_end_again_where_it_is_now() {
    for (reset, (log_start, log_end), moved_to) in [
        (OffsetReset::Earliest, (800, 800), 800),
        (OffsetReset::Latest, (0, 300), 300),
    ] {
        let mut f = fixture();
        f.add_at(0, StartOffset::Offset(500), reset);
        let request = f.request();
        f.answer(&request, vec![(0, nothing(500))]);
        assert_eq!(delivered(&mut f, 0), [(500, true)]);
        let request = f.request();
        f.answer(&request, vec![(0, refusal(ErrorCode::OFFSET_OUT_OF_RANGE))]);
        for bound in [log_start, log_end] {
            let request = f.request();
            f.answer(&request, vec![(0, Told::Offset(bound))]);
        }
        if reset == OffsetReset::Latest {
            let request = f.request();
            f.answer(&request, vec![(0, Told::Offset(log_end))]);
        }
        let request = f.request();
        assert_eq!(request.partitions[0].want, Want::Records(moved_to));
        f.answer(&request, vec![(0, nothing(moved_to))]);
        assert_eq!(delivered(&mut f, 0), [(moved_to, true)], "{reset:?}");
    }
}

#[test]
fn a_batch_tells_all_that_the_broker_said() {
    let mut f = with_config(|config| config.isolation = IsolationLevel::ReadCommitted);
    f.add_at(0, StartOffset::Offset(13), OffsetReset::Error);
    let request = f.request();
    f.events();
    let aborted = vec![AbortedTransaction {
        producer_id: 4,
        first_offset: 11,
    }];
    let watermarks = Watermarks {
        log_start: 3,
        high: 40,
        last_stable: 35,
    };
    let sent = batch(10, 10, 200);
    let told = Told::Records(Fetched {
        records: Bytes::from([&sent[..], &batch(20, 10, 200)[..150]].concat()),
        watermarks,
        aborted: aborted.clone(),
    });
    f.answer(&request, vec![(0, told)]);
    let Some(Event::Answered {
        id: 0,
        watermarks: told,
        batch: Some(batch),
    }) = f.schedule.poll_event()
    else {
        panic!("nothing delivered");
    };
    assert_eq!((told, batch.aborted), (watermarks, aborted));
    assert_eq!(batch.records, sent, "whole batches only");
    assert_eq!((batch.fetch_offset, batch.next_offset, batch.leader_epoch), (13, 20, 5));
    let ends = (batch.log_start_offset, batch.last_stable_offset, batch.high_watermark);
    assert_eq!(ends, (3, 35, 40));
    assert_eq!(f.request().partitions[0].want, Want::Records(20));
}

#[test]
fn records_below_the_offset_alone_are_not_delivered_again_and_again() {
    let mut f = fixture();
    f.add_at(0, StartOffset::Offset(50), OffsetReset::Error);
    let request = f.request();
    f.events();
    f.answer(&request, vec![(0, records(20))]);
    assert!(f.events().is_empty() && f.requests().is_empty());
    f.wait(LONG_ENOUGH);
    assert_eq!(f.request().partitions[0].want, Want::Records(50));
}

#[test]
fn bytes_that_are_no_batch_fail_their_partition() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    let mut damaged = batch(0, 10, 200).to_vec();
    damaged[16] = 9;
    f.answer(&request, vec![(0, bytes(damaged.into(), 1000)), (1, nothing(0))]);
    let failures = failures(f.events());
    assert!(
        matches!(&failures[..], [(0, error)] if matches!(error.kind, FetchErrorKind::Corrupt(_))),
        "{failures:?}"
    );
    assert_eq!(ids(&f.request()), [1]);
}
