//! What the queue makes of answers, of lost requests and of news about the leader.

use std::fmt;
use std::time::{Duration, Instant};

use super::{AfterDrain, Effects, Leader, LeaderHint, PartitionQueue, Phase};
use crate::connection::{CallError, CallErrorKind};
use crate::producer::backoff::backoff;
use crate::producer::error::{ProduceError, ProduceErrorKind};
use crate::producer::leader_search::Leadership;
use crate::producer::outcome::Persisted;
use crate::producer::pending_batch::Stage;
use crate::producer::request::PRODUCE;
use crate::producer::response::{NodeEndpoint, PartitionAnswer};
use crate::producer::verdict::{Cause, Verdict, advice, verdict};
use crate::protocol::ErrorCode;

/// How long, and for how many answers in a row, a topic may be unknown before its batches fail. A broker that has not
/// heard of a new topic yet learns of it in far less.
const UNKNOWN_TOPIC_PATIENCE: (Duration, u32) = (Duration::from_secs(5), 4);

const NO_SUCH_TOPIC: &str = "the topic or partition does not exist (any more)";

impl<T> PartitionQueue<T> {
    /// Takes the answer of the broker at `from` about the batch in `request`.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        request: u64,
        from: &dyn fmt::Display,
        answer: &PartitionAnswer,
        endpoints: &[NodeEndpoint],
        effects: &mut Effects<T>,
    ) {
        let Some(index) = self.answered(request) else { return };
        match verdict(answer.code) {
            Verdict::Persisted => self.persisted(index, answer.base_offset, answer.log_append_time),
            Verdict::Duplicate => self.persisted(index, -1, None),
            refusal => {
                let possibly_written = matches!(
                    refusal,
                    Verdict::Retry {
                        possibly_written: true,
                        ..
                    } | Verdict::Reject { possibly_written: true }
                );
                let trouble = CallError::refused(PRODUCE, answer.code, answer.text.as_deref()).with_broker(from);
                if self.refused(index, trouble.with_written(possibly_written)) {
                    let then = self.after_refusal(now, index, refusal, answer, endpoints, effects);
                    self.phase = Phase::Draining(then);
                }
            }
        }
        self.settle(now, effects);
    }

    /// The request got no answer that could be read.
    pub(crate) fn handle_loss(&mut self, now: Instant, request: u64, loss: &CallError, effects: &mut Effects<T>) {
        let Some(index) = self.answered(request) else { return };
        if self.refused(index, loss.clone()) {
            let then = if loss.kind() == CallErrorKind::Unsupported {
                AfterDrain::Fail(self.error(ProduceErrorKind::Rejected, None, "trying again does not help"))
            } else {
                tracing::debug!(
                    partition = %self.topic_partition, broker = self.sending_to,
                    possibly_written = loss.possibly_written(), cause = %loss, "produce request lost, sending again",
                );
                self.leader_doubted = true;
                effects.refresh = true;
                self.retry(now, index, None)
            };
            self.phase = Phase::Draining(then);
        }
        self.settle(now, effects);
    }

    /// Takes what metadata says about the partition.
    pub(crate) fn handle_leadership(&mut self, now: Instant, news: Leadership, effects: &mut Effects<T>) {
        match news {
            Leadership::NotAsked => {}
            Leadership::Node { node, epoch } => self.lead_by(Leader { node, epoch }),
            Leadership::Unknown => {
                self.no_leader = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                if !self.batches.is_empty() && self.unknown_too_long(now) {
                    self.fail_waiting(now, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, effects);
                }
            }
            Leadership::None(code @ (ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::INVALID_TOPIC_EXCEPTION)) => {
                self.fail_waiting(now, code, effects);
            }
            Leadership::None(code) => {
                self.no_leader = Some(code);
                if self.leader_doubted {
                    self.leader = None;
                }
            }
        }
    }

    fn lead_by(&mut self, leader: Leader) {
        self.unknown = None;
        self.no_leader = None;
        let replaces = match self.leader {
            None => true,
            Some(known) => leader != known && (self.leader_doubted || leader.epoch < 0 || leader.epoch >= known.epoch),
        };
        if replaces {
            self.leader = Some(leader);
            self.not_before = None;
        }
        self.leader_doubted = false;
    }

    /// Takes the batch of `request` out of flight.
    fn answered(&mut self, request: u64) -> Option<usize> {
        let index = self
            .batches
            .iter()
            .position(|batch| matches!(batch.stage, Stage::InFlight(r) if r == request))?;
        self.in_flight -= 1;
        Some(index)
    }

    fn persisted(&mut self, index: usize, base_offset: i64, log_append_time: Option<i64>) {
        let batch = &mut self.batches[index];
        let record_count = batch.record_count();
        let base_offset = base_offset.max(-1);
        let last_offset = match base_offset {
            -1 => -1,
            base => base.saturating_add(i64::from(record_count) - 1),
        };
        batch.stage = Stage::Settled(Ok(Persisted {
            base_offset,
            record_count,
            log_append_time,
        }));
        if let Some(stamp) = batch.stamp {
            self.sequence.acknowledged(self.sending_to, stamp, last_offset);
        }
        self.failures = 0;
        self.unknown = None;
    }

    /// Puts a batch back in line. True if it is the head, whose refusal decides what happens next.
    fn refused(&mut self, index: usize, trouble: CallError) -> bool {
        let batch = &mut self.batches[index];
        batch.stage = Stage::Waiting;
        batch.possibly_written |= trouble.possibly_written();
        batch.trouble = Some(trouble);
        self.sequence.doubt();
        let decides = self.head() == Some(index);
        if !decides && matches!(self.phase, Phase::Streaming) {
            self.phase = Phase::Draining(AfterDrain::Resume);
        }
        decides
    }

    fn after_refusal(
        &mut self,
        now: Instant,
        index: usize,
        refusal: Verdict,
        answer: &PartitionAnswer,
        endpoints: &[NodeEndpoint],
        effects: &mut Effects<T>,
    ) -> AfterDrain {
        match refusal {
            Verdict::Retry { cause, .. } => {
                let followed = cause == Cause::Leader && self.follow_hint(answer, endpoints, effects);
                if !followed && cause != Cause::Broker {
                    self.leader_doubted = true;
                    effects.refresh = true;
                }
                if cause == Cause::Topic && self.unknown_too_long(now) {
                    return AfterDrain::Fail(self.error(
                        ProduceErrorKind::UnknownTopic,
                        Some(answer.code),
                        NO_SUCH_TOPIC,
                    ));
                }
                let then = self.retry(now, index, Some(answer.code));
                if followed {
                    self.not_before = None;
                }
                then
            }
            Verdict::Split => self.too_large(index, answer.code),
            Verdict::Renumber => self.sequence_refused(now, index, answer),
            Verdict::Corrupt if !self.batches[index].damaged => {
                tracing::warn!(
                    partition = %self.topic_partition, broker = self.sending_to,
                    "batch arrived damaged, sending it again",
                );
                self.batches[index].damaged = true;
                AfterDrain::Resume
            }
            _ => AfterDrain::Fail(self.error(ProduceErrorKind::Rejected, Some(answer.code), "the broker refused it")),
        }
    }

    /// Sends the head again after a pause, unless its time is over.
    fn retry(&mut self, now: Instant, index: usize, code: Option<ErrorCode>) -> AfterDrain {
        if self.batches[index].deadline <= now {
            return AfterDrain::Fail(self.timed_out(code));
        }
        self.failures += 1;
        self.not_before = Some(now + backoff(self.failures));
        if let Some(code) = code {
            tracing::debug!(
                partition = %self.topic_partition, broker = self.sending_to, %code, failures = self.failures,
                "produce refused, sending again",
            );
        }
        AfterDrain::Resume
    }

    /// Moves to the leader that the answer names (KIP-951), if that is news.
    fn follow_hint(&mut self, answer: &PartitionAnswer, endpoints: &[NodeEndpoint], effects: &mut Effects<T>) -> bool {
        let Some((node, epoch)) = answer.current_leader.filter(|(node, epoch)| *node >= 0 && *epoch >= 0) else {
            return false;
        };
        let leader = Leader { node, epoch };
        let news = self
            .leader
            .is_none_or(|known| epoch > known.epoch || (epoch == known.epoch && node != known.node));
        if news {
            tracing::debug!(partition = %self.topic_partition, leader = node, leader_epoch = epoch, "leader moved");
            self.leader = Some(leader);
            self.leader_doubted = false;
            let endpoint = endpoints.iter().find(|endpoint| endpoint.node == node).cloned();
            let topic_partition = self.topic_partition.clone();
            effects.moved.push_back(LeaderHint {
                topic_partition,
                leader,
                endpoint,
            });
        }
        news
    }

    fn too_large(&self, index: usize, code: ErrorCode) -> AfterDrain {
        let batch = &self.batches[index];
        if batch.record_count() > 1 && !batch.possibly_written {
            tracing::debug!(
                partition = %self.topic_partition, bytes = batch.len(), records = batch.record_count(),
                "batch exceeds the broker's limit, splitting it",
            );
            return AfterDrain::Split;
        }
        let text = format!(
            "a batch of {} bytes ({} before compression) with {} record(s) exceeds the topic's max.message.bytes",
            batch.len(),
            batch.uncompressed_len(),
            batch.record_count(),
        );
        AfterDrain::Fail(self.error(ProduceErrorKind::RecordTooLarge, Some(code), text))
    }

    /// The broker does not accept the head's sequence, although everything before it is settled (KIP-360).
    fn sequence_refused(&mut self, now: Instant, index: usize, answer: &PartitionAnswer) -> AfterDrain {
        let last_acked = self.sequence.last_acked_offset();
        if self.batches[index].possibly_written {
            let text = format!(
                "the broker lost this producer's state while an attempt was unanswered; last acknowledged offset \
                 {last_acked}, log start offset {}. Read the partition to find out",
                answer.log_start_offset
            );
            return AfterDrain::Fail(self.error(ProduceErrorKind::SequenceLost, Some(answer.code), text));
        }
        if last_acked >= 0 && last_acked >= answer.log_start_offset {
            tracing::warn!(
                partition = %self.topic_partition, broker = self.sending_to, code = %answer.code,
                last_acked_offset = last_acked, log_start_offset = answer.log_start_offset,
                "the broker lost this producer's state: acknowledged records may be lost \
                 (unclean election, or expired producer id)",
            );
        }
        match self.retry(now, index, Some(answer.code)) {
            AfterDrain::Resume => AfterDrain::Renumber,
            timed_out => timed_out,
        }
    }

    fn unknown_too_long(&mut self, now: Instant) -> bool {
        let (since, answers) = self.unknown.unwrap_or((now, 0));
        let answers = answers.saturating_add(1);
        self.unknown = Some((since, answers));
        let (patience, least) = UNKNOWN_TOPIC_PATIENCE;
        answers >= least && now.duration_since(since) >= patience
    }

    /// The cluster does not take what waits.
    fn fail_waiting(&mut self, now: Instant, code: ErrorCode, effects: &mut Effects<T>) {
        let (kind, what) = match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => (ProduceErrorKind::UnknownTopic, NO_SUCH_TOPIC),
            _ => (
                ProduceErrorKind::Rejected,
                "Metadata does not tell who leads the partition",
            ),
        };
        let error = self.error(kind, Some(code), format!("{what} ({})", advice(code)));
        self.fail_all(now, &error, effects);
    }

    pub(super) fn timed_out(&self, code: Option<ErrorCode>) -> ProduceError {
        self.error(ProduceErrorKind::DeliveryTimeout, code, "delivery_timeout has passed")
    }

    pub(super) fn error(
        &self,
        kind: ProduceErrorKind,
        code: Option<ErrorCode>,
        text: impl Into<String>,
    ) -> ProduceError {
        let broker = Some(self.sending_to).filter(|node| *node >= 0);
        ProduceError::new(kind, text.into())
            .at(&self.topic_partition)
            .said_by(broker, code)
    }
}
