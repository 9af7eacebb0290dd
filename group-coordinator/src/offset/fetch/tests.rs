//! A look-up fed by hand.

#![allow(clippy::disallowed_methods, reason = "the tests need some instant to count from")]

use std::time::Duration;

use super::*;

const NODE: i32 = 1;
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    fetch: CommittedFetch,
    now: Instant,
}

impl Rig {
    /// Asks for input-0 and input-1.
    fn new() -> Self {
        let now = Instant::now();
        let config = Arc::new(GroupConfig::new("group", ["input"]));
        Self {
            fetch: CommittedFetch::new(config, vec![input(1), input(0)], now, 42),
            now,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.fetch.handle_timeout(self.now);
    }

    fn asked(&mut self) -> (Ticket, Vec<i32>) {
        match self.fetch.poll_request(self.now) {
            Some(FetchRequest::Fetch { ticket, partitions }) => {
                (ticket, partitions.iter().map(|tp| tp.partition).collect())
            }
            other => panic!("expected OffsetFetch, got {other:?}"),
        }
    }

    fn answer(&mut self, code: ErrorCode, partitions: &[(i32, i64, ErrorCode)]) {
        let (ticket, _) = self.asked();
        let partitions = partitions
            .iter()
            .map(|(partition, offset, code)| (input(*partition), *offset, *code))
            .collect();
        let answer = Answer {
            node: Some(NODE),
            result: Ok(FetchedOffsets { code, partitions }),
        };
        self.fetch.handle_answer(self.now, ticket, answer);
    }

    fn fail(&mut self, failure: Failure) {
        let (ticket, _) = self.asked();
        self.fetch.handle_answer(
            self.now,
            ticket,
            Answer {
                node: Some(NODE),
                result: Err(failure),
            },
        );
    }

    fn found(&mut self) -> Vec<(i32, Option<i64>)> {
        let mut found: Vec<_> = self
            .fetch
            .poll_outcome()
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|(tp, offset)| (tp.partition, offset))
            .collect();
        found.sort_unstable();
        found
    }

    fn failed(&mut self) -> (Option<i32>, CommitErrorKind) {
        let error = self.fetch.poll_outcome().unwrap().unwrap_err();
        (error.topic_partition.map(|tp| tp.partition), error.kind)
    }

    fn forgotten(&mut self) -> bool {
        self.fetch.poll_request(self.now) == Some(FetchRequest::ForgetCoordinator { node: NODE })
    }
}

fn input(partition: i32) -> TopicPartition {
    TopicPartition::new("input", partition)
}

const OK: ErrorCode = ErrorCode::NONE;

#[test]
fn committed_offsets_are_found_and_a_negative_one_is_none() {
    let mut rig = Rig::new();
    rig.answer(OK, &[(0, 7, OK), (1, -1, OK)]);
    assert_eq!(rig.found(), [(0, Some(7)), (1, None)]);
}

#[test]
fn offset_zero_is_an_offset() {
    let mut rig = Rig::new();
    rig.answer(OK, &[(0, 0, OK), (1, i64::MIN, OK)]);
    assert_eq!(rig.found(), [(0, Some(0)), (1, None)]);
}

#[test]
fn nothing_asked_is_nothing_found_without_a_request() {
    let now = Instant::now();
    let mut fetch = CommittedFetch::new(Arc::new(GroupConfig::new("group", ["input"])), vec![], now, 42);
    assert_eq!(fetch.poll_request(now), None);
    assert_eq!(fetch.poll_outcome(), Some(Ok(HashMap::new())));
}

#[test]
fn a_partition_left_out_of_the_answer_is_an_error_and_not_nothing_committed() {
    let mut rig = Rig::new();
    rig.answer(OK, &[(0, 7, OK), (5, 3, OK)]);
    let (partition, kind) = rig.failed();
    assert_eq!(partition, Some(1));
    assert!(matches!(kind, CommitErrorKind::Protocol(_)));
}

#[test]
fn an_open_transaction_is_waited_for_without_limit_and_only_its_partition_is_asked_again() {
    let mut rig = Rig::new();
    rig.answer(OK, &[(0, 7, OK), (1, -1, ErrorCode::UNSTABLE_OFFSET_COMMIT)]);
    for _ in 0..200 {
        rig.pass(2 * SECOND);
        assert_eq!(rig.fetch.poll_outcome(), None);
        rig.answer(OK, &[(1, -1, ErrorCode::UNSTABLE_OFFSET_COMMIT)]);
    }
    rig.pass(2 * SECOND);
    let (ticket, asked) = rig.asked();
    assert_eq!(asked, [1]);
    let fetched = FetchedOffsets {
        code: OK,
        partitions: vec![(input(1), 9, OK)],
    };
    rig.fetch.handle_answer(
        rig.now,
        ticket,
        Answer {
            node: Some(NODE),
            result: Ok(fetched),
        },
    );
    assert_eq!(rig.found(), [(0, Some(7)), (1, Some(9))]);
}

#[test]
fn an_open_transaction_does_not_hide_a_refusal() {
    let mut rig = Rig::new();
    rig.answer(
        OK,
        &[
            (0, -1, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            (1, -1, ErrorCode::UNSTABLE_OFFSET_COMMIT),
        ],
    );
    assert_eq!(
        rig.failed(),
        (Some(0), CommitErrorKind::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED))
    );
}

#[test]
fn coordinator_trouble_is_retried_until_the_time_is_over() {
    let mut rig = Rig::new();
    for _ in 0..29 {
        rig.answer(ErrorCode::NOT_COORDINATOR, &[]);
        assert!(rig.forgotten());
        assert_eq!(rig.fetch.poll_request(rig.now), None);
        rig.pass(2 * SECOND);
    }
    rig.pass(2 * SECOND);
    let (_, kind) = rig.failed();
    assert!(matches!(kind, CommitErrorKind::Timeout(trouble) if trouble.contains("NOT_COORDINATOR")));
}

#[test]
fn no_answer_and_a_loading_coordinator_are_retried() {
    let mut rig = Rig::new();
    rig.fail(Failure::Transport("cut off".into()));
    assert!(rig.forgotten());
    rig.pass(SECOND);
    rig.answer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, &[]);
    rig.pass(SECOND);
    rig.answer(OK, &[(0, 1, OK), (1, 2, OK)]);
    assert_eq!(rig.found(), [(0, Some(1)), (1, Some(2))]);
}

#[test]
fn refusals_fail_at_once() {
    for code in [
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode::INVALID_GROUP_ID,
        ErrorCode(30_000),
    ] {
        let mut rig = Rig::new();
        rig.answer(code, &[]);
        assert_eq!(rig.failed(), (None, CommitErrorKind::Refused(code)));
    }
}

#[test]
fn a_stale_membership_is_an_error_and_never_no_offset() {
    for code in [ErrorCode::STALE_MEMBER_EPOCH, ErrorCode::UNKNOWN_MEMBER_ID] {
        let mut rig = Rig::new();
        rig.answer(code, &[]);
        assert_eq!(rig.failed(), (None, CommitErrorKind::Rebalanced(Some(code))));
    }
}

#[test]
fn an_unknown_partition_is_tried_briefly_then_refused() {
    let mut rig = Rig::new();
    for _ in 0..BRIEF_ATTEMPTS {
        assert_eq!(rig.fetch.poll_outcome(), None);
        rig.answer(OK, &[(0, 7, OK), (1, -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
        rig.pass(2 * SECOND);
    }
    assert_eq!(
        rig.failed(),
        (Some(1), CommitErrorKind::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
    );
}

#[test]
fn trouble_that_cannot_heal_fails_at_once() {
    let refused = Failure::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED, "no".into());
    let cases = [
        (Failure::Closed, CommitErrorKind::Closed),
        (
            Failure::Unsupported("too old".into()),
            CommitErrorKind::Protocol("too old".into()),
        ),
        (refused, CommitErrorKind::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED)),
    ];
    for (failure, kind) in cases {
        let mut rig = Rig::new();
        rig.fail(failure);
        assert_eq!(rig.failed(), (None, kind));
    }
}

#[test]
fn a_late_answer_is_ignored() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.asked();
    rig.pass(60 * SECOND);
    assert!(matches!(rig.failed(), (Some(0), CommitErrorKind::Timeout(_))));
    let fetched = FetchedOffsets {
        code: ErrorCode::NOT_COORDINATOR,
        partitions: vec![],
    };
    rig.fetch.handle_answer(
        rig.now,
        ticket,
        Answer {
            node: Some(NODE),
            result: Ok(fetched),
        },
    );
    assert_eq!(rig.fetch.poll_request(rig.now), None);
}
