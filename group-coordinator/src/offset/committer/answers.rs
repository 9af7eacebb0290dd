//! What answers to commits, and their absence, mean for the offsets in them and for the membership.

use std::collections::HashMap;
use std::time::Instant;

use kafka_protocol::messages::OffsetCommitResponse;
use kafka_wire::{ErrorCode, TopicPartition};

use super::{Committer, CommitterEvent, CommitterRequest, InFlight, raise};
use crate::error::{CommitErrorKind, Failure};
use crate::membership::verdict::{Api, Verdict, verdict};

/// How often a partition unknown to the broker is tried: its metadata may be behind.
pub(super) const BRIEF_ATTEMPTS: u32 = 5;

impl Committer {
    pub(super) fn answered(
        &mut self,
        now: Instant,
        sent: InFlight,
        response: &OffsetCommitResponse,
        node: Option<i32>,
    ) {
        let mut codes: HashMap<(&str, i32), ErrorCode> = HashMap::new();
        for topic in &response.topics {
            for partition in &topic.partitions {
                codes.insert(
                    (&topic.name, partition.partition_index),
                    ErrorCode(partition.error_code),
                );
            }
        }
        let mut round = Round {
            serial: sent.serial,
            ..Round::default()
        };
        for (tp, offset) in sent.offsets {
            match codes.get(&(&*tp.topic, tp.partition)) {
                Some(&ErrorCode::NONE) => self.acknowledge(sent.serial, tp, offset),
                Some(&code) if sent.serial != self.serial => {
                    self.refuse(sent.serial, &tp, offset, &CommitErrorKind::Rebalanced(Some(code)));
                }
                Some(&code) => self.partition_refused(&mut round, tp, offset, code),
                None => {
                    let kind = CommitErrorKind::Protocol("the broker's answer leaves this partition out".into());
                    self.refuse(sent.serial, &tp, offset, &kind);
                }
            }
        }
        if round.find_coordinator {
            self.forget(node);
        }
        match round.retry {
            true => self.retry_at = Some(now + self.backoff.next()),
            false => self.backoff.reset(),
        }
        if let Some(code) = round.membership {
            self.events.push_back(CommitterEvent::Membership {
                generation: sent.generation,
                code,
            });
        }
    }

    fn partition_refused(&mut self, round: &mut Round, tp: TopicPartition, offset: i64, code: ErrorCode) {
        match verdict(Api::OffsetCommit, code) {
            Verdict::NewMember | Verdict::NewGeneration | Verdict::Rebalance => {
                round.membership = Some(code);
                self.refuse(round.serial, &tp, offset, &CommitErrorKind::Rebalanced(Some(code)));
            }
            Verdict::Fenced | Verdict::Fatal => {
                round.membership = Some(code);
                self.refuse(round.serial, &tp, offset, &CommitErrorKind::Refused(code));
            }
            Verdict::RetryBriefly if self.tried_enough(&tp) => {
                self.refuse(round.serial, &tp, offset, &CommitErrorKind::Refused(code));
            }
            Verdict::Refuse => self.refuse(round.serial, &tp, offset, &CommitErrorKind::Refused(code)),
            found => {
                round.find_coordinator |= found == Verdict::FindCoordinator;
                round.retry = true;
                tracing::warn!(group = %self.config.group_id, topic_partition = %tp, offset, %code, "commit tried again");
                self.trouble = code.to_string();
                raise(&mut self.pending, tp, offset);
            }
        }
    }

    pub(super) fn failed(&mut self, now: Instant, sent: InFlight, failure: &Failure, node: Option<i32>) {
        let (final_kind, membership) = match failure {
            Failure::Transport(_) => (None, None),
            Failure::Unsupported(text) => (Some(CommitErrorKind::Protocol(text.clone())), None),
            Failure::Closed => (Some(CommitErrorKind::Closed), None),
            Failure::Refused(code, _) => match verdict(Api::FindCoordinator, *code) {
                Verdict::Fatal => (Some(CommitErrorKind::Refused(*code)), Some(*code)),
                _ => (None, None),
            },
        };
        self.forget(node);
        let outlived = (sent.serial != self.serial).then_some(CommitErrorKind::Rebalanced(None));
        if let Some(kind) = final_kind.or(outlived) {
            sent.offsets
                .iter()
                .for_each(|(tp, offset)| self.refuse(sent.serial, tp, *offset, &kind));
        } else {
            let wait = self.backoff.next();
            tracing::warn!(group = %self.config.group_id, broker = node, %failure, retry_in = ?wait, "commit failed");
            self.trouble = failure.to_string();
            self.retry_at = Some(now + wait);
            for (tp, offset) in sent.offsets {
                raise(&mut self.pending, tp, offset);
            }
        }
        if let Some(code) = membership {
            self.events.push_back(CommitterEvent::Membership {
                generation: sent.generation,
                code,
            });
        }
    }

    fn tried_enough(&mut self, tp: &TopicPartition) -> bool {
        let attempts = self.unknown.entry(tp.clone()).or_default();
        *attempts += 1;
        *attempts >= BRIEF_ATTEMPTS
    }

    fn forget(&mut self, node: Option<i32>) {
        if let Some(node) = node {
            self.requests.push_back(CommitterRequest::ForgetCoordinator { node });
        }
    }
}

/// What one answer asks for besides settling callers.
#[derive(Debug, Default)]
struct Round {
    serial: u64,
    retry: bool,
    find_coordinator: bool,
    membership: Option<ErrorCode>,
}
