//! Offsets that the log does not have, and what a new leader kept of it.

use super::*;
use crate::fetcher::position::Bound;

const UNCOMMITTED: IsolationLevel = IsolationLevel::ReadUncommitted;
const COMMITTED: IsolationLevel = IsolationLevel::ReadCommitted;

/// Partition 0 was asked for offset 500, and the leader said that it does not have it; then its bounds were learned.
fn out_of_range(reset: OffsetReset, log_start: i64, log_end: i64) -> Fixture {
    let mut f = with_config(|config| config.isolation = COMMITTED);
    f.add_at(0, StartOffset::Offset(500), reset);
    let request = f.request();
    f.answer(&request, vec![(0, refusal(ErrorCode::OFFSET_OUT_OF_RANGE))]);
    for (bound, offset) in [(Bound::Earliest, log_start), (Bound::Latest, log_end)] {
        let request = f.request();
        assert_eq!(request.kind, Kind::Offsets(UNCOMMITTED));
        assert_eq!(request.partitions[0].want, Want::Offset(bound, UNCOMMITTED));
        f.answer(&request, vec![(0, Told::Offset(offset))]);
    }
    f
}

#[test]
fn an_offset_that_the_bounds_do_not_confirm_as_lost_is_fetched_again_after_a_pause() {
    for reset in [OffsetReset::Error, OffsetReset::Earliest, OffsetReset::Latest] {
        let mut f = out_of_range(reset, 0, 500);
        assert!(f.requests().is_empty());
        f.wait(LONG_ENOUGH);
        assert_eq!(f.request().partitions[0].want, Want::Records(500), "{reset:?}");
        assert!(failures(f.events()).is_empty());
    }
}

#[test]
fn a_lost_offset_is_an_error_unless_a_policy_allows_to_jump() {
    for (log_start, log_end) in [(800, 1200), (0, 499)] {
        let mut f = out_of_range(OffsetReset::Error, log_start, log_end);
        let failures = failures(f.events());
        let [(0, error)] = &failures[..] else {
            panic!("{failures:?}")
        };
        let text = error.to_string();
        assert!(text.contains("clicks-0") && text.contains("kafka-1:9092"), "{text}");
        assert_eq!(error.offset, 500);
        let FetchErrorKind::OffsetOutOfRange {
            log_start: start,
            log_end: end,
        } = error.kind
        else {
            panic!("{error}");
        };
        assert_eq!((start, end), (log_start, log_end));
        assert!(f.requests().is_empty());
    }
}

#[test]
fn the_earliest_policy_goes_on_at_the_log_start() {
    let mut f = out_of_range(OffsetReset::Earliest, 800, 1200);
    assert_eq!(f.request().partitions[0].want, Want::Records(800));
}

#[test]
fn the_latest_policy_goes_on_at_the_end_as_the_isolation_level_sees_it() {
    let mut f = out_of_range(OffsetReset::Latest, 800, 1200);
    let request = f.request();
    assert_eq!(request.kind, Kind::Offsets(COMMITTED));
    assert_eq!(request.partitions[0].want, Want::Offset(Bound::Latest, COMMITTED));
    f.answer(&request, vec![(0, Told::Offset(1150))]);
    assert_eq!(f.request().partitions[0].want, Want::Records(1150));
}

#[test]
fn bounds_and_positions_of_different_isolation_are_asked_one_after_the_other() {
    let mut f = with_config(|config| config.isolation = COMMITTED);
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, refusal(ErrorCode::OFFSET_OUT_OF_RANGE))]);
    f.add_at(1, StartOffset::Latest, OffsetReset::Error);
    f.add_at(2, StartOffset::Earliest, OffsetReset::Error);
    let bounds = f.request();
    assert_eq!((bounds.kind, ids(&bounds)), (Kind::Offsets(UNCOMMITTED), vec![0]));
    f.answer(&bounds, vec![(0, refusal(ErrorCode::REQUEST_TIMED_OUT))]);
    let located = f.request();
    assert_eq!((located.kind, ids(&located)), (Kind::Offsets(COMMITTED), vec![1, 2]));
}

#[test]
fn a_new_leader_is_asked_what_it_kept_before_it_is_fetched_from() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, records(0))]);
    f.image(clicks_on([2; 4], 6));
    let requests = f.requests();
    assert_eq!((requests[0].node, requests[0].kind), (2, Kind::EpochEnds));
    assert_eq!(requests[0].partitions[0].want, Want::EpochEnd(5));
    assert_eq!(requests.len(), 1, "and nothing else");
    let kept = Told::EpochEnd {
        epoch: 5,
        end_offset: 10,
    };
    f.answer(&requests[0], vec![(0, kept)]);
    let request = f.request();
    assert_eq!(fetch(&request), (2, Lane::Long, vec![0]));
    assert_eq!(request.partitions[0].want, Want::Records(10));
}

#[test]
fn a_leader_that_came_while_bounds_were_asked_is_asked_what_it_kept_too() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.answer(&request, vec![(0, records(0))]);
    let request = f.request();
    f.answer(&request, vec![(0, refusal(ErrorCode::OFFSET_OUT_OF_RANGE))]);
    f.image(clicks_on([2; 4], 6));
    for offset in [0, 10] {
        f.wait(LONG_ENOUGH);
        let asked = f.requests();
        let asked = asked.last().unwrap();
        assert_eq!((asked.node, asked.kind), (2, Kind::Offsets(UNCOMMITTED)));
        f.answer(asked, vec![(0, Told::Offset(offset))]);
    }
    f.wait(LONG_ENOUGH);
    assert_eq!(f.request().partitions[0].want, Want::EpochEnd(5));
}

#[test]
fn records_lost_with_a_leader_are_an_error_or_a_step_back() {
    for reset in [OffsetReset::Error, OffsetReset::Earliest] {
        let mut f = fixture();
        let resume = StartOffset::Resume {
            offset: 70,
            leader_epoch: 4,
        };
        f.add_at(0, resume, reset);
        let request = f.request();
        let lost = Told::EpochEnd {
            epoch: 3,
            end_offset: 60,
        };
        f.answer(&request, vec![(0, lost)]);
        let failures = failures(f.events());
        match reset {
            OffsetReset::Error => assert!(
                matches!(
                    failures[..],
                    [(
                        0,
                        FetchError {
                            kind: FetchErrorKind::Truncated {
                                end_offset: 60,
                                leader_epoch: 4
                            },
                            ..
                        }
                    )]
                ),
                "{failures:?}"
            ),
            _ => assert_eq!(f.request().partitions[0].want, Want::Records(60)),
        }
    }
}

#[test]
fn a_topic_that_stays_unknown_is_given_up_after_half_a_minute() {
    let mut f = fixture();
    let unknown = TopicPartition::new("clicks", 9);
    f.add_as(0, unknown, StartOffset::Offset(0), OffsetReset::Error);
    let begun = f.now;
    let failures = loop {
        f.wait(Duration::from_secs(1));
        let events = f.events();
        assert!(!events.is_empty(), "it is looked up again and again");
        let failures = failures(events);
        if !failures.is_empty() {
            break failures;
        }
    };
    assert!(matches!(
        failures[0].1.kind,
        FetchErrorKind::NotFound(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    ));
    let waited = f.now - begun;
    assert!((30..40).contains(&waited.as_secs()), "{waited:?}");
}
