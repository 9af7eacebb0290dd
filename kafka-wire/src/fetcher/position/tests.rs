use super::*;

const LEADER: Leader = Leader { node: 1, epoch: 5 };

struct Fixture {
    position: Position,
    now: Instant,
    jitter: Jitter,
}

fn fixture(start: StartOffset, reset: OffsetReset) -> Fixture {
    let mut position = Position::new(start, reset, IsolationLevel::ReadCommitted);
    position.handle_leader(Some(LEADER));
    Fixture {
        position,
        now: Instant::now(),
        jitter: Jitter::seeded(1),
    }
}

impl Fixture {
    fn want(&self) -> Option<Want> {
        self.position.want(self.now).map(|(_, want)| want)
    }

    fn error(&mut self, code: ErrorCode) -> Outcome {
        self.position.handle_error(self.now, code, &mut self.jitter)
    }

    fn offset(&mut self, offset: i64) -> Outcome {
        self.position.handle_offset(self.now, offset, &mut self.jitter)
    }

    /// Lets the longest pause pass.
    fn wait(&mut self) -> Outcome {
        self.now += LONGEST_PAUSE;
        self.position.handle_timeout(self.now, &mut self.jitter)
    }
}

const UNCOMMITTED: IsolationLevel = IsolationLevel::ReadUncommitted;
const COMMITTED: IsolationLevel = IsolationLevel::ReadCommitted;

#[test]
fn a_given_offset_is_fetched_without_further_questions() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Error);
    assert_eq!(f.position.want(f.now), Some((LEADER, Want::Records(7))));
    f.position.handle_records(20, 5);
    assert_eq!(f.want(), Some(Want::Records(20)));
    f.position.handle_records(20, -1);
    assert_eq!((f.want(), f.position.epoch), (Some(Want::Records(20)), 5));
}

#[test]
fn the_ends_of_the_log_are_located_first() {
    for (start, bound) in [
        (StartOffset::Earliest, Bound::Earliest),
        (StartOffset::Latest, Bound::Latest),
    ] {
        let mut f = fixture(start, OffsetReset::Error);
        assert_eq!(f.want(), Some(Want::Offset(bound, COMMITTED)));
        f.offset(300);
        assert_eq!(f.want(), Some(Want::Records(300)));
    }
}

#[test]
fn without_a_leader_nothing_is_asked_but_the_picture_renewed_with_pauses() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Error);
    f.position.handle_leader(None);
    assert_eq!(f.want(), None);
    assert!(matches!(
        f.position.handle_timeout(f.now, &mut f.jitter),
        Outcome::Refresh
    ));
    assert!(f.position.next_timeout().is_some_and(|at| at > f.now));
    assert!(
        matches!(f.position.handle_timeout(f.now, &mut f.jitter), Outcome::Go),
        "still pausing"
    );
    assert!(matches!(f.wait(), Outcome::Refresh));
    f.position.handle_leader(Some(LEADER));
    assert_eq!(f.want(), Some(Want::Records(7)), "a leader ends the pause");
}

#[test]
fn leader_errors_pause_and_renew_the_picture() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Latest);
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        assert!(matches!(f.error(code), Outcome::Refresh), "{code}");
        assert_eq!(f.want(), None);
        f.wait();
        assert_eq!(f.want(), Some(Want::Records(7)), "{code} moves no position");
    }
    assert!(
        matches!(f.error(ErrorCode::UNKNOWN_LEADER_EPOCH), Outcome::Go),
        "the broker is behind, not we"
    );
}

#[test]
fn an_offset_is_out_of_range_only_if_the_bounds_confirm_it() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Latest);
    f.error(ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(f.want(), Some(Want::Offset(Bound::Earliest, UNCOMMITTED)));
    f.offset(0);
    assert_eq!(f.want(), Some(Want::Offset(Bound::Latest, UNCOMMITTED)));
    assert!(matches!(f.offset(7), Outcome::Go));
    assert_eq!(
        f.want(),
        None,
        "a pause, lest two mistaken sides ask each other forever"
    );
    f.wait();
    assert_eq!(f.want(), Some(Want::Records(7)));
}

#[test]
fn out_of_range_follows_the_policy() {
    let judged = |reset, log_start, log_end| {
        let mut f = fixture(StartOffset::Offset(50), reset);
        f.error(ErrorCode::OFFSET_OUT_OF_RANGE);
        f.offset(log_start);
        let outcome = f.offset(log_end);
        (outcome, f.want())
    };
    let (outcome, want) = judged(OffsetReset::Error, 80, 120);
    let Outcome::Fail(FetchErrorKind::OffsetOutOfRange {
        log_start: 80,
        log_end: 120,
    }) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(want, None);
    let (outcome, want) = judged(OffsetReset::Earliest, 80, 120);
    assert!(matches!(outcome, Outcome::Jumped(50)));
    assert_eq!(want, Some(Want::Records(80)));
    let (outcome, want) = judged(OffsetReset::Latest, 0, 20);
    assert!(matches!(outcome, Outcome::Jumped(50)));
    assert_eq!(want, Some(Want::Offset(Bound::Latest, COMMITTED)));
}

#[test]
fn a_new_leader_epoch_is_validated_before_fetching_on() {
    let mut f = fixture(StartOffset::Offset(0), OffsetReset::Error);
    f.position.handle_records(100, 5);
    f.position.handle_leader(Some(Leader { node: 2, epoch: 6 }));
    assert_eq!(f.want(), Some(Want::EpochEnd(5)));
    assert!(matches!(f.position.handle_epoch_end(5, 100), Outcome::Go));
    assert_eq!(f.want(), Some(Want::Records(100)));
    f.position.handle_leader(Some(Leader { node: 3, epoch: 6 }));
    assert_eq!(f.want(), Some(Want::Records(100)), "the same epoch is validated once");
}

#[test]
fn records_lost_by_an_unclean_election_are_reported_or_left_behind() {
    let lost = |reset| {
        let mut f = fixture(
            StartOffset::Resume {
                offset: 100,
                leader_epoch: 4,
            },
            reset,
        );
        assert_eq!(f.want(), Some(Want::EpochEnd(4)));
        let outcome = f.position.handle_epoch_end(4, 90);
        (outcome, f.want())
    };
    let (outcome, want) = lost(OffsetReset::Error);
    let Outcome::Fail(FetchErrorKind::Truncated {
        end_offset: 90,
        leader_epoch: 4,
    }) = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(want, None);
    let (outcome, want) = lost(OffsetReset::Latest);
    assert!(matches!(outcome, Outcome::Jumped(100)));
    assert_eq!(want, Some(Want::Records(90)));
}

#[test]
fn an_epoch_that_the_leader_does_not_know_is_no_loss() {
    let mut f = fixture(
        StartOffset::Resume {
            offset: 100,
            leader_epoch: 4,
        },
        OffsetReset::Error,
    );
    assert!(matches!(f.position.handle_epoch_end(-1, -1), Outcome::Go));
    assert_eq!(f.want(), Some(Want::Records(100)));
}

#[test]
fn without_epochs_nothing_is_validated() {
    let mut f = fixture(
        StartOffset::Resume {
            offset: 100,
            leader_epoch: -1,
        },
        OffsetReset::Error,
    );
    assert_eq!(f.want(), Some(Want::Records(100)));
    f.position.handle_records(101, 5);
    f.position.handle_leader(Some(Leader { node: 2, epoch: -1 }));
    assert_eq!(f.want(), Some(Want::Records(101)));
}

#[test]
fn an_unknown_topic_is_waited_for_half_a_minute_and_no_longer() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Error);
    let until = f.now + PATIENCE;
    while f.now < until {
        assert!(matches!(f.error(ErrorCode::UNKNOWN_TOPIC_ID), Outcome::Refresh));
        f.wait();
    }
    let outcome = f.error(ErrorCode::UNKNOWN_TOPIC_ID);
    assert!(
        matches!(
            outcome,
            Outcome::Fail(FetchErrorKind::NotFound(ErrorCode::UNKNOWN_TOPIC_ID))
        ),
        "{outcome:?}"
    );
    assert_eq!(f.want(), None);
}

#[test]
fn success_starts_patience_anew() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Error);
    f.error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    f.now += PATIENCE;
    f.position.handle_records(8, 5);
    assert!(matches!(
        f.error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Outcome::Refresh
    ));
}

#[test]
fn what_repetition_cannot_heal_ends_the_reading() {
    for code in [
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode(999),
    ] {
        let mut f = fixture(StartOffset::Offset(7), OffsetReset::Earliest);
        assert!(matches!(f.error(code), Outcome::Fail(FetchErrorKind::Refused(c)) if c == code));
        f.wait();
        assert_eq!(f.want(), None);
    }
}

#[test]
fn a_leader_that_may_not_be_asked_about_epochs_is_trusted() {
    let mut f = fixture(
        StartOffset::Resume {
            offset: 9,
            leader_epoch: 1,
        },
        OffsetReset::Error,
    );
    assert!(matches!(f.error(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Outcome::Go));
    assert_eq!(f.want(), Some(Want::Records(9)));
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut f = fixture(StartOffset::Offset(7), OffsetReset::Earliest);
    f.offset(99);
    f.position.handle_epoch_end(1, 2);
    assert_eq!(f.want(), Some(Want::Records(7)));
}
