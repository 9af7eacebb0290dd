//! The committer fed by hand: order, terms, and each row of the error table.

#![allow(clippy::disallowed_methods, reason = "the tests need some instant to count from")]

mod orders_of_events;

use std::time::Duration;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

use super::answers::BRIEF_ATTEMPTS;
use super::*;
use crate::error::Failure;

const NODE: i32 = 1;
const SECOND: Duration = Duration::from_secs(1);
const GENERATION: i32 = 5;

struct Rig {
    committer: Committer,
    now: Instant,
    last_id: u64,
}

impl Rig {
    /// In a term that owns input-0 and input-1.
    fn new() -> Self {
        let config = Arc::new(GroupConfig::new("group", ["input"]));
        let mut rig = Self {
            committer: Committer::new(config, 42),
            now: Instant::now(),
            last_id: 0,
        };
        rig.term(Some(GENERATION));
        rig
    }

    fn term(&mut self, generation: Option<i32>) {
        self.committer.handle_term(generation.map(|generation| Term {
            generation,
            member_id: StrBytes::from_static_str("m-1"),
            owned: [input(0), input(1)].into(),
        }));
    }

    fn commit(&mut self, offsets: &[(i32, i64)]) -> CommitId {
        self.last_id += 1;
        let id = CommitId(self.last_id);
        let offsets = offsets
            .iter()
            .map(|(partition, offset)| (input(*partition), *offset))
            .collect();
        self.committer.handle_commit(self.now, id, None, offsets);
        id
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.committer.handle_timeout(self.now);
    }

    fn request(&mut self) -> Option<CommitterRequest> {
        self.committer.poll_request(self.now)
    }

    /// The request that is due, as partition and offset pairs.
    fn sent(&mut self) -> (Ticket, Vec<(i32, i64)>) {
        match self.request() {
            Some(CommitterRequest::Commit { ticket, request }) => {
                let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                (
                    ticket,
                    partitions.map(|p| (p.partition_index, p.committed_offset)).collect(),
                )
            }
            other => panic!("expected OffsetCommit, got {other:?}"),
        }
    }

    fn answer(&mut self, ticket: Ticket, codes: &[(i32, ErrorCode)]) {
        let partitions = codes.iter().map(|(partition, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(code.0)
        });
        let topic = OffsetCommitResponseTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("input")))
            .with_partitions(partitions.collect());
        let response = OffsetCommitResponse::default().with_topics(vec![topic]);
        self.committer.handle_answer(
            self.now,
            ticket,
            Answer {
                node: Some(NODE),
                result: Ok(response),
            },
        );
    }

    fn fail(&mut self, ticket: Ticket, failure: Failure) {
        self.committer.handle_answer(
            self.now,
            ticket,
            Answer {
                node: Some(NODE),
                result: Err(failure),
            },
        );
    }

    fn settled(&mut self) -> Option<(CommitId, Result<(), CommitErrorKind>)> {
        match self.committer.poll_event()? {
            CommitterEvent::Settled { id, result } => Some((id, result.map_err(|error| error.kind))),
            other => panic!("expected a settled commit, got {other:?}"),
        }
    }

    fn forgotten(&mut self) -> bool {
        self.request() == Some(CommitterRequest::ForgetCoordinator { node: NODE })
    }
}

fn input(partition: i32) -> TopicPartition {
    TopicPartition::new("input", partition)
}

#[test]
fn a_commit_is_done_when_the_broker_has_acknowledged_all_of_it() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, 10), (1, 20)]);
    let (ticket, sent) = rig.sent();
    assert_eq!(sent, [(0, 10), (1, 20)]);
    assert_eq!(rig.settled(), None);
    rig.answer(ticket, &[(0, ErrorCode::NONE), (1, ErrorCode::NONE)]);
    assert_eq!(rig.settled(), Some((id, Ok(()))));
    assert_eq!((rig.request(), rig.committer.next_timeout()), (None, None));
}

#[test]
fn the_request_names_member_and_generation() {
    let mut rig = Rig::new();
    rig.commit(&[(0, 10)]);
    let Some(CommitterRequest::Commit { request, .. }) = rig.request() else {
        panic!("nothing sent")
    };
    assert_eq!(
        (request.generation_id_or_member_epoch, request.member_id.to_string()),
        (GENERATION, "m-1".into())
    );
    assert_eq!(
        request.topics[0].partitions[0].committed_metadata,
        Some(StrBytes::default())
    );
}

#[test]
fn one_commit_is_in_flight_and_later_ones_coalesce_to_the_highest_offsets() {
    let mut rig = Rig::new();
    let first = rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    let later = [
        rig.commit(&[(0, 12)]),
        rig.commit(&[(0, 15), (1, 3)]),
        rig.commit(&[(0, 14)]),
    ];
    assert_eq!(rig.request(), None);
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    assert_eq!(rig.settled(), Some((first, Ok(()))));
    let (ticket, sent) = rig.sent();
    assert_eq!(sent, [(0, 15), (1, 3)]);
    rig.answer(ticket, &[(0, ErrorCode::NONE), (1, ErrorCode::NONE)]);
    let mut done: Vec<CommitId> = std::iter::from_fn(|| rig.settled())
        .map(|(id, result)| {
            result.unwrap();
            id
        })
        .collect();
    done.sort_by_key(|id| id.0);
    assert_eq!(done, later);
}

#[test]
fn a_committed_offset_never_goes_back() {
    let mut rig = Rig::new();
    rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    rig.settled();
    let lower = rig.commit(&[(0, 9)]);
    assert_eq!(rig.settled(), Some((lower, Ok(()))));
    assert_eq!(rig.request(), None);
}

#[test]
fn a_slow_commit_cannot_undo_a_fast_one_because_the_fast_one_waits() {
    let mut rig = Rig::new();
    rig.commit(&[(0, 10)]);
    let (slow, _) = rig.sent();
    rig.commit(&[(0, 20)]);
    rig.pass(5 * SECOND);
    assert_eq!(rig.request(), None);
    rig.fail(slow, Failure::Transport("no answer in time".into()));
    assert!(rig.forgotten());
    rig.pass(SECOND);
    assert_eq!(rig.sent().1, [(0, 20)]);
}

#[test]
fn a_lower_offset_asked_for_meanwhile_waits_for_the_one_in_flight() {
    let mut rig = Rig::new();
    rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.commit(&[(0, 8)]);
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    assert_eq!(
        std::iter::from_fn(|| rig.settled())
            .filter(|(_, result)| result.is_ok())
            .count(),
        2
    );
    assert_eq!(rig.request(), None);
}

#[test]
fn nothing_is_committed_outside_a_term() {
    let mut rig = Rig::new();
    rig.term(None);
    let id = rig.commit(&[(0, 10)]);
    assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::NotAssigned))));
    assert_eq!(rig.request(), None);
}

#[test]
fn what_was_worked_off_in_a_former_generation_is_not_committed_in_this_one() {
    let mut rig = Rig::new();
    let generation = rig.committer.term().map(|term| term.generation).unwrap();
    let (former, present) = (CommitId(100), CommitId(101));
    let offsets = vec![(input(0), 10)];
    let (now, committer) = (rig.now, &mut rig.committer);
    committer.handle_commit(now, former, Some(generation - 1), offsets.clone());
    assert_eq!(rig.settled(), Some((former, Err(CommitErrorKind::Rebalanced(None)))));
    assert_eq!(rig.request(), None);
    rig.committer.handle_commit(now, present, Some(generation), offsets);
    assert_eq!(rig.sent().1, [(0, 10)]);
}

#[test]
fn a_partition_of_another_member_is_not_committed() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, 10), (7, 10)]);
    assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::NotAssigned))));
    assert_eq!(rig.request(), None);
}

#[test]
fn a_negative_offset_is_not_committed() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, -1)]);
    assert!(matches!(rig.settled(), Some((settled, Err(CommitErrorKind::Protocol(_)))) if settled == id));
}

#[test]
fn what_is_not_on_its_way_when_the_term_ends_fails() {
    let mut rig = Rig::new();
    let on_its_way = rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    let queued = rig.commit(&[(0, 11)]);
    rig.term(None);
    assert_eq!(rig.settled(), Some((queued, Err(CommitErrorKind::Rebalanced(None)))));
    assert_eq!(rig.settled(), None);
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    assert_eq!(rig.settled(), Some((on_its_way, Ok(()))));
}

#[test]
fn an_answer_that_outlives_its_term_does_not_touch_the_next_one() {
    let mut rig = Rig::new();
    let old = rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.term(None);
    rig.term(Some(GENERATION + 1));
    let new = rig.commit(&[(0, 5)]);
    assert_eq!(rig.request(), None, "still one in flight");
    rig.answer(ticket, &[(0, ErrorCode::UNKNOWN_MEMBER_ID)]);
    let rebalanced = Err(CommitErrorKind::Rebalanced(Some(ErrorCode::UNKNOWN_MEMBER_ID)));
    assert_eq!(rig.settled(), Some((old, rebalanced)));
    assert_eq!(rig.settled(), None, "the membership hears nothing of it");
    let (ticket, sent) = rig.sent();
    assert_eq!(sent, [(0, 5)], "and the old offset does not hold the new owner's back");
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    assert_eq!(rig.settled(), Some((new, Ok(()))));
}

#[test]
fn a_commit_without_an_answer_is_not_repeated_in_the_next_term() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.term(None);
    rig.term(Some(GENERATION + 1));
    rig.fail(ticket, Failure::Transport("cut off".into()));
    assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::Rebalanced(None)))));
    assert!(rig.forgotten());
    rig.pass(SECOND);
    assert_eq!(rig.request(), None);
}

#[test]
fn retriable_codes_are_tried_again_after_a_back_off() {
    let find = [
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::REQUEST_TIMED_OUT,
    ];
    for code in [&find[..], &[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]].concat() {
        let mut rig = Rig::new();
        let id = rig.commit(&[(0, 10)]);
        let (ticket, _) = rig.sent();
        rig.answer(ticket, &[(0, code)]);
        assert_eq!(rig.forgotten(), find.contains(&code), "{code}");
        assert_eq!((rig.settled(), rig.request()), (None, None));
        rig.pass(Duration::from_millis(120));
        let (ticket, _) = rig.sent();
        rig.answer(ticket, &[(0, ErrorCode::NONE)]);
        assert_eq!(rig.settled(), Some((id, Ok(()))));
    }
}

#[test]
fn membership_codes_fail_the_commit_and_are_passed_on() {
    for code in [
        ErrorCode::UNKNOWN_MEMBER_ID,
        ErrorCode::ILLEGAL_GENERATION,
        ErrorCode::REBALANCE_IN_PROGRESS,
    ] {
        let mut rig = Rig::new();
        let id = rig.commit(&[(0, 10), (1, 10)]);
        let (ticket, _) = rig.sent();
        rig.answer(ticket, &[(0, code), (1, code)]);
        assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::Rebalanced(Some(code))))));
        let passed_on = CommitterEvent::Membership {
            generation: GENERATION,
            code,
        };
        assert_eq!(rig.committer.poll_event(), Some(passed_on));
        assert_eq!((rig.committer.poll_event(), rig.request()), (None, None));
    }
}

#[test]
fn a_fence_or_missing_rights_on_the_group_fail_the_commit_and_are_passed_on() {
    for code in [
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
        ErrorCode::UNSUPPORTED_VERSION,
    ] {
        let mut rig = Rig::new();
        let id = rig.commit(&[(0, 10)]);
        let (ticket, _) = rig.sent();
        rig.answer(ticket, &[(0, code)]);
        assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::Refused(code)))));
        assert!(matches!(
            rig.committer.poll_event(),
            Some(CommitterEvent::Membership { .. })
        ));
    }
}

#[test]
fn a_refused_partition_fails_its_callers_only() {
    for code in [
        ErrorCode::OFFSET_METADATA_TOO_LARGE,
        ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
    ] {
        let mut rig = Rig::new();
        let (refused, accepted) = (rig.commit(&[(0, 10)]), rig.commit(&[(1, 10)]));
        let (ticket, _) = rig.sent();
        rig.answer(ticket, &[(0, code), (1, ErrorCode::NONE)]);
        assert_eq!(rig.settled(), Some((refused, Err(CommitErrorKind::Refused(code)))));
        assert_eq!(rig.settled(), Some((accepted, Ok(()))));
        assert_eq!(rig.request(), None);
    }
}

#[test]
fn an_unknown_partition_is_tried_briefly_then_refused() {
    for code in [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID] {
        let mut rig = Rig::new();
        let id = rig.commit(&[(0, 10)]);
        for _ in 0..BRIEF_ATTEMPTS {
            assert_eq!(rig.settled(), None);
            let (ticket, _) = rig.sent();
            rig.answer(ticket, &[(0, code)]);
            rig.pass(2 * SECOND);
        }
        assert_eq!(rig.settled(), Some((id, Err(CommitErrorKind::Refused(code)))));
        assert_eq!(rig.request(), None);
    }
}

#[test]
fn a_partition_left_out_of_the_answer_is_an_error() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, 10), (1, 10)]);
    let (ticket, _) = rig.sent();
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    assert!(matches!(rig.settled(), Some((settled, Err(CommitErrorKind::Protocol(_)))) if settled == id));
}

#[test]
fn a_caller_gets_an_error_when_its_time_is_over_and_the_commit_goes_on() {
    let mut rig = Rig::new();
    let id = rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.fail(ticket, Failure::Transport("connection refused".into()));
    assert!(rig.forgotten());
    rig.pass(60 * SECOND);
    assert_eq!(
        rig.settled(),
        Some((id, Err(CommitErrorKind::Timeout("connection refused".into()))))
    );
    assert_eq!(rig.sent().1, [(0, 10)]);
}

#[test]
fn trouble_that_cannot_heal_fails_at_once() {
    let cases = [
        (
            Failure::Unsupported("too old".into()),
            CommitErrorKind::Protocol("too old".into()),
        ),
        (Failure::Closed, CommitErrorKind::Closed),
        (
            Failure::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED, "no".into()),
            CommitErrorKind::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        ),
    ];
    for (failure, kind) in cases {
        let mut rig = Rig::new();
        let id = rig.commit(&[(0, 10)]);
        let (ticket, _) = rig.sent();
        rig.fail(ticket, failure);
        assert_eq!(rig.settled(), Some((id, Err(kind))));
    }
}

#[test]
fn an_answer_nobody_waits_for_is_ignored() {
    let mut rig = Rig::new();
    rig.commit(&[(0, 10)]);
    let (ticket, _) = rig.sent();
    rig.answer(ticket, &[(0, ErrorCode::NONE)]);
    rig.settled();
    rig.answer(ticket, &[(0, ErrorCode::UNKNOWN_MEMBER_ID)]);
    assert_eq!(rig.committer.poll_event(), None);
}
