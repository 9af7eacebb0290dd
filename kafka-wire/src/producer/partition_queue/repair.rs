//! What happens once nothing is in flight: failing, splitting, renumbering, and who is told what.

use std::time::Instant;

use super::{AfterDrain, Effects, PartitionQueue, Phase};
use crate::connection::CallError;
use crate::producer::causes::{Hindrance, met};
use crate::producer::error::{ProduceError, ProduceErrorKind};
use crate::producer::pending_batch::{PendingBatch, Stage};
use crate::protocol::TopicPartition;

impl<T> PartitionQueue<T> {
    /// Does what was decided if the last answer is in, then tells outcomes and looks at deadlines.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Effects<T>) {
        if self.in_flight == 0
            && let Phase::Draining(then) = std::mem::replace(&mut self.phase, Phase::Streaming)
        {
            match then {
                AfterDrain::Resume => {}
                AfterDrain::Split => self.split_head(effects),
                AfterDrain::Renumber => self.renumber(effects),
                AfterDrain::Fail(error) => self.fail_head(error, effects),
            }
        }
        self.drop_abandoned(effects);
        self.tell(effects);
        self.expire(now, effects);
    }

    /// A writer takes its batches back. What is in flight is decided by its answer, and not sent again if refused.
    pub(crate) fn abandon(&mut self, now: Instant, chain: u64, effects: &mut Effects<T>) {
        for batch in self.batches.iter_mut().filter(|batch| batch.chain == Some(chain)) {
            batch.abandoned = true;
        }
        self.settle(now, effects);
    }

    /// Ends abandoned batches once nothing is in flight, so that what has a number is known to be written or not.
    fn drop_abandoned(&mut self, effects: &mut Effects<T>) {
        if self.in_flight > 0 {
            return;
        }
        let mut dropped = 0;
        for batch in self
            .batches
            .iter_mut()
            .filter(|batch| batch.abandoned && batch.is_waiting())
        {
            let error = ProduceError::abandoned()
                .at(&self.topic_partition)
                .with_persistence(batch.possibly_written);
            batch.stage = Stage::Settled(Err(error));
            dropped += 1;
        }
        if dropped > 0 {
            tracing::info!(partition = %self.topic_partition, batches = dropped, "batches of an abandoned writer dropped");
            self.close_gap(effects);
        }
    }

    /// Fails batches whose time is over. One in flight is waited for: its answer is due within the request timeout, and
    /// until then nobody knows.
    pub(super) fn expire(&mut self, now: Instant, effects: &mut Effects<T>) {
        while let Some(head) = self.head() {
            let batch = &self.batches[head];
            if !batch.is_waiting() || batch.deadline > now || self.in_flight > 0 {
                return;
            }
            let refused_with = batch.trouble.as_ref().and_then(CallError::code);
            let error = self.timed_out(refused_with);
            self.fail_head(error, effects);
            self.tell(effects);
        }
    }

    /// Fails everything; unless something is in flight, whose answer decides first.
    pub(crate) fn fail_all(&mut self, now: Instant, error: &ProduceError, effects: &mut Effects<T>) {
        self.fail_while(now, error, effects, |_| true);
    }

    /// Fails what waits for a number, and what waits behind it.
    pub(crate) fn fail_unnumbered(&mut self, now: Instant, error: &ProduceError, effects: &mut Effects<T>) {
        self.fail_while(now, error, effects, |head| head.stamp.is_none());
    }

    fn fail_while(
        &mut self,
        now: Instant,
        error: &ProduceError,
        effects: &mut Effects<T>,
        condition: impl Fn(&PendingBatch<T>) -> bool,
    ) {
        while self.in_flight == 0
            && let Some(head) = self.head()
            && condition(&self.batches[head])
        {
            let mut error = error.clone();
            error.topic_partition = Some(self.topic_partition.clone());
            self.phase = Phase::Draining(AfterDrain::Fail(error));
            self.settle(now, effects);
        }
    }

    fn split_head(&mut self, effects: &mut Effects<T>) {
        let Some(head) = self.head() else { return };
        match self.batches[head].split() {
            Ok(rest) => self.batches.insert(head + 1, rest),
            Err(unreadable) => {
                let text = format!("the batch is too large for the broker and cannot be split: {unreadable}");
                let error = self.error(ProduceErrorKind::RecordTooLarge, None, text);
                self.fail_head(error, effects);
            }
        }
    }

    fn fail_head(&mut self, error: ProduceError, effects: &mut Effects<T>) {
        if let Some(head) = self.head() {
            self.fail(head, error, effects);
            self.close_gap(effects);
        }
    }

    /// Fails one batch and, if a writer's order hangs on it, that writer's later ones.
    fn fail(&mut self, index: usize, error: ProduceError, effects: &mut Effects<T>) {
        let error = self.with_history(index, error);
        let batch = &mut self.batches[index];
        let error = error.with_persistence(batch.possibly_written);
        tracing::warn!(partition = %self.topic_partition, records = batch.record_count(), %error, "batch failed");
        batch.stage = Stage::Settled(Err(error.clone()));
        let Some(chain) = batch.chain else { return };
        for later in self
            .batches
            .range_mut(index + 1..)
            .filter(|later| later.chain == Some(chain))
        {
            let possibly_written = match &later.stage {
                Stage::Settled(Err(_)) => continue,
                // Written behind a batch that is not known to be: the order the writer asked for is not proven.
                Stage::Settled(Ok(_)) => true,
                _ => later.possibly_written,
            };
            let follows = after_earlier_failure(&self.topic_partition, &error, possibly_written);
            later.possibly_written = possibly_written;
            later.stage = Stage::Settled(Err(follows));
        }
        effects.broken_chains.push((chain, error));
    }

    /// Adds what the batch has met on its way and, if its time is over, what it waits for.
    fn with_history(&self, index: usize, error: ProduceError) -> ProduceError {
        let batch = &self.batches[index];
        let timed_out = error.kind == ProduceErrorKind::DeliveryTimeout;
        let mut text = error.text.to_string();
        match &batch.trouble {
            Some(trouble) => text.extend(["; ", &met(batch.attempts, trouble, error.code)]),
            None if timed_out && batch.attempts == 0 => text.push_str("; it was never sent"),
            None => {}
        }
        let told = batch.trouble.is_some();
        match &self.hindrance {
            // A leader that is only doubted is not waited for.
            Some(Hindrance::Leader(None)) if told && self.no_leader.is_none() => {}
            Some(hindrance) if timed_out => {
                let since = if told { "; since then " } else { ": " };
                text.extend([since, &hindrance.told(self.no_leader)]);
            }
            None if timed_out && !told => text.push_str(": its broker had enough requests to answer, or throttled us"),
            _ => {}
        }
        ProduceError {
            text: text.into(),
            ..error
        }
    }

    /// Failed batches leave a hole in the numbering. If they were definitely refused and nothing after them was numbered,
    /// their numbers are free again; otherwise the partition needs a new epoch.
    fn close_gap(&mut self, effects: &mut Effects<T>) {
        let failed = |stage: &Stage| matches!(stage, Stage::Settled(Err(_)));
        let Some(first) = self
            .batches
            .iter()
            .position(|batch| failed(&batch.stage) && batch.stamp.is_some())
        else {
            return;
        };
        let numbered = self.batches.range(first..).filter(|batch| batch.stamp.is_some());
        let free = numbered
            .clone()
            .all(|batch| failed(&batch.stage) && !batch.possibly_written);
        match self.batches[first].stamp {
            Some(stamp) if free => {
                self.sequence.rewind(stamp);
                for batch in self.batches.range_mut(first..) {
                    batch.stamp = None;
                }
            }
            _ => self.renumber(effects),
        }
    }

    /// Leaves the epoch. Batches known not to be written get new numbers when they are sent; one that may be written
    /// cannot be sent under another number, and fails.
    fn renumber(&mut self, effects: &mut Effects<T>) {
        effects.spent.extend(self.sequence.abandon());
        for index in 0..self.batches.len() {
            let batch = &mut self.batches[index];
            if batch.stamp.take().is_some() && batch.is_waiting() && batch.possibly_written {
                let text = "the sequence was broken by an earlier failure while an attempt was unanswered";
                let error = self.error(ProduceErrorKind::SequenceLost, None, text);
                self.fail(index, error, effects);
            }
        }
    }
}

/// The failure of a batch whose writer failed before it.
pub(super) fn after_earlier_failure(
    topic_partition: &TopicPartition,
    cause: &ProduceError,
    possibly_written: bool,
) -> ProduceError {
    let text = format!("an earlier batch of the same writer failed: {cause}");
    ProduceError::new(ProduceErrorKind::EarlierBatchFailed, text)
        .at(topic_partition)
        .said_by(cause.broker, cause.code)
        .with_persistence(possibly_written)
}
