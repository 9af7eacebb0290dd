//! Buffers that are full, partitions that are paused, and who is served first.

use super::*;

/// How much has to be taken of each full partition.
fn full(events: &[Event]) -> Vec<(u64, usize)> {
    let full = events.iter().filter_map(|event| match event {
        Event::Full { id, excess } => Some((*id, *excess)),
        _ => None,
    });
    full.collect()
}

/// So many bytes in one batch, from `offset` on.
fn much(offset: i64, length: usize) -> Told {
    bytes(batch(offset, 10, length), 1000)
}

#[test]
fn a_full_partition_is_left_out_and_holds_nobody_up() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(&request, vec![(0, much(0, 900)), (1, records(0))]);
    assert_eq!(full(&f.events()), [], "900 bytes and the next 1000 fit");
    let request = f.request();
    assert_eq!(ids(&request), [0, 1]);
    f.answer(&request, vec![(0, much(10, 300)), (1, records(10))]);
    assert_eq!(full(&f.events()), [(0, 200)], "1200 bytes and 1000 are 200 too many");
    assert_eq!(fetch(&f.request()), (1, Lane::Long, vec![1]));
}

#[test]
fn a_full_partition_is_asked_for_again_when_enough_is_taken() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, much(0, 1500))]);
    assert_eq!(full(&f.events()), [(0, 500)]);
    assert!(f.requests().is_empty());
    f.take(0, 499);
    assert_eq!(full(&f.events()), [(0, 1)], "one byte is missing");
    assert!(f.requests().is_empty());
    f.take(0, 1);
    assert_eq!(full(&f.events()), []);
    let request = f.request();
    assert_eq!(fetch(&request), (1, Lane::Long, vec![0]));
    assert_eq!(request.partitions[0].want, Want::Records(10));
}

#[test]
fn an_empty_buffer_always_has_room_and_to_take_it_all_is_always_enough() {
    let mut f = with_config(|config| config.partition_buffer_bytes = PARTITION_MAX);
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, much(0, 4000))]);
    assert_eq!(full(&f.events()), [(0, 4000)]);
    f.take(0, 4000);
    assert_eq!(ids(&f.request()), [0]);
}

#[test]
fn a_paused_partition_is_left_out_until_it_is_resumed() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    f.schedule.handle_paused(0, true);
    let request = f.request();
    assert_eq!(fetch(&request), (1, Lane::Long, vec![1]));
    f.schedule.handle_paused(0, false);
    assert_eq!(fetch(&f.request()), (1, Lane::Short, vec![0]));
}

#[test]
fn what_was_under_way_when_a_partition_was_paused_is_delivered() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    f.schedule.handle_paused(0, true);
    f.answer(&request, vec![(0, records(0))]);
    assert!(matches!(f.events()[..], [Event::Answered { batch: Some(_), .. }]));
    assert!(f.requests().is_empty());
}

#[test]
fn a_paused_partition_still_finds_out_where_it_begins() {
    let mut f = fixture();
    f.add_at(0, StartOffset::Earliest, OffsetReset::Error);
    f.schedule.handle_paused(0, true);
    let request = f.request();
    assert_eq!(request.kind, Kind::Offsets(IsolationLevel::ReadUncommitted));
    f.answer(&request, vec![(0, Told::Offset(5))]);
    assert!(f.requests().is_empty());
}

#[test]
fn partitions_served_longest_ago_come_first() {
    let mut f = fixture();
    (0..3).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(&request, vec![(0, records(0)), (1, nothing(0)), (2, records(0))]);
    let request = f.request();
    assert_eq!(ids(&request), [1, 0, 2], "1 got nothing");
    f.answer(&request, vec![(0, records(0)), (1, nothing(10)), (2, records(10))]);
    let request = f.request();
    assert_eq!(ids(&request), [0, 1, 2]);
    f.answer(&request, vec![(0, records(10)), (1, nothing(10)), (2, nothing(20))]);
    assert_eq!(ids(&f.request()), [1, 2, 0]);
}

#[test]
fn a_batch_that_did_not_fit_is_asked_for_first_and_with_all_it_needs() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    f.answer(&request, vec![(0, records(0)), (1, records(0))]);
    f.take(1, 200);
    let request = f.request();
    f.events();
    let cut = batch(10, 10, 3000).slice(..700);
    f.answer(&request, vec![(0, records(10)), (1, bytes(cut, 1000))]);
    assert!(
        matches!(f.events()[..], [Event::Answered { id: 0, .. }]),
        "nothing to deliver of 1"
    );
    let request = f.request();
    let asked: Vec<_> = request
        .partitions
        .iter()
        .map(|asked| (asked.id, asked.want, asked.max_bytes))
        .collect();
    assert_eq!(
        asked,
        [(1, Want::Records(10), 3000), (0, Want::Records(20), PARTITION_MAX)]
    );
    f.answer(&request, vec![(0, much(10, 3000)), (1, nothing(20))]);
    f.take(1, 3000);
    let request = f.request();
    assert_eq!(ids(&request), [0, 1]);
    assert_eq!(
        request.partitions[1].max_bytes, PARTITION_MAX,
        "only that batch needed more"
    );
}

#[test]
fn a_broker_that_cuts_a_batch_although_it_was_first_is_given_a_pause() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, bytes(batch(0, 10, 3000).slice(..700), 1000))]);
    let request = f.request();
    assert_eq!(request.partitions[0].max_bytes, 3000);
    f.answer(&request, vec![(0, bytes(batch(0, 10, 3000).slice(..700), 1000))]);
    assert!(f.requests().is_empty(), "it would go on like that for ever");
    f.wait(LONG_ENOUGH);
    assert_eq!(f.request().partitions[0].max_bytes, 3000);
}

#[test]
fn a_partition_that_needs_more_room_than_is_left_says_how_much_has_to_be_taken() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, much(0, 900))]);
    let request = f.request();
    assert_eq!(full(&f.events()), []);
    f.answer(&request, vec![(0, bytes(batch(10, 10, 1500).slice(..700), 1000))]);
    assert!(f.requests().is_empty(), "900 bytes and 1500 are too many");
    assert_eq!(
        full(&f.events()),
        [(0, 400)],
        "or its reader would never say that it took them"
    );
    f.take(0, 900);
    assert_eq!(f.request().partitions[0].max_bytes, 1500);
}

#[test]
fn a_batch_larger_than_any_response_fails_its_partition() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(
        &request,
        vec![(0, bytes(batch(0, 1, LARGEST_BATCH + 1).slice(..700), 1000))],
    );
    let failures = failures(f.events());
    assert_eq!(failures.len(), 1);
    let FetchErrorKind::BatchTooLarge { bytes, limit } = failures[0].1.kind else {
        panic!("{:?}", failures[0]);
    };
    assert_eq!((bytes, limit), (LARGEST_BATCH + 1, LARGEST_BATCH));
    assert!(f.requests().is_empty());
}

/// What is held of the memory, as the driver tells it, and what is asked for then.
fn asked_with(f: &mut Fixture, used: usize) -> Vec<usize> {
    f.schedule.handle_memory(used);
    f.requests().iter().map(|request| request.max_bytes).collect()
}

#[test]
fn nothing_is_asked_for_without_memory_and_all_again_when_there_is_some() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    assert_eq!(asked_with(&mut f, LIMIT), [0; 0]);
    assert!(f.schedule.wants_memory(), "it has to be told of memory");
    assert_eq!(
        asked_with(&mut f, LIMIT - PARTITION_MAX + 1),
        [0; 0],
        "one byte is missing"
    );
    assert_eq!(
        asked_with(&mut f, LIMIT - PARTITION_MAX),
        [PARTITION_MAX],
        "enough for the first of the two"
    );
    assert!(!f.schedule.wants_memory());
}

#[test]
fn a_request_asks_for_no_more_than_its_partitions_may_send() {
    let mut f = fixture();
    (0..3).for_each(|id| f.add(id));
    assert_eq!(asked_with(&mut f, 0), [3 * PARTITION_MAX]);
}

#[test]
fn brokers_share_the_memory_so_that_none_waits_for_the_answers_of_another() {
    let mut f = with_config(|config| {
        config.partition_max_bytes = LIMIT;
        config.partition_buffer_bytes = LIMIT;
    });
    f.schedule.handle_image(f.now, clicks_on([1, 2, 1, 2], 5));
    (0..4).for_each(|id| f.add(id));
    let asked = asked_with(&mut f, 0);
    assert_eq!(asked.len(), 2, "one request for each broker");
    assert!(asked.iter().sum::<usize>() <= LIMIT / 2, "{asked:?}");
}

#[test]
fn a_batch_larger_than_usual_is_asked_for_although_it_exceeds_the_memory_but_only_one() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let large = LIMIT / 2;
    for slot in f.schedule.slots.values_mut() {
        slot.needs = Some(large);
    }
    assert_eq!(asked_with(&mut f, LIMIT), [0; 0], "all of the memory is in use");
    let asked = asked_with(&mut f, LIMIT - 1);
    assert_eq!(asked, [large], "enough for one of the two");
}

/// One partition may take a good part of the memory, and an answer as much as that.
fn roomy() -> Fixture {
    let mut f = with_config(|config| {
        config.partition_max_bytes = LIMIT / 4;
        config.partition_buffer_bytes = LIMIT / 2;
    });
    f.schedule.largest_batch = LIMIT;
    f
}

#[test]
fn many_partitions_have_less_room_each_and_more_again_when_others_are_gone() {
    let mut f = roomy();
    f.add(0);
    let alone = f.request().partitions[0].max_bytes;
    assert_eq!(alone, LIMIT / 4);
    let mut f = roomy();
    (0..4).for_each(|id| f.add(id));
    let request = f.request();
    assert_eq!(request.partitions[0].max_bytes, LIMIT / 16);
    f.answer(
        &request,
        vec![
            (0, much(0, LIMIT / 10)),
            (1, nothing(0)),
            (2, nothing(0)),
            (3, nothing(0)),
        ],
    );
    assert!(
        !ids(&f.request()).contains(&0),
        "a quarter of half the memory is nearly full"
    );
    (1..4).for_each(|id| f.schedule.handle_removed(id));
    assert_eq!(ids(&f.request()), [0]);
}

#[test]
fn a_partition_that_others_make_full_hears_when_its_bytes_are_taken() {
    let mut f = with_config(|config| {
        config.partition_max_bytes = LIMIT / 8;
        config.partition_buffer_bytes = LIMIT / 4;
    });
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, much(0, LIMIT / 8))]);
    assert_eq!(full(&f.events()), [], "alone, it has room for as much again");
    (1..4).for_each(|id| f.add(id));
    let full = full(&f.events());
    let Some((0, excess)) = full.last().copied() else {
        panic!("{full:?}: nobody asks its reader for what it takes");
    };
    let _ = f.requests();
    f.take(0, excess);
    let _ = f.events();
    f.schedule.handle_memory(0);
    assert!(f.schedule.slots[&0].has_room(f.schedule.partition_room()));
}
