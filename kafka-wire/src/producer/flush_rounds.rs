//! When a flush is done: every batch submitted before it has its outcome.
//!
//! Batches carry the number of the round they were submitted in; a flush ends the round and waits until all rounds up to
//! it are empty. So a flush costs nothing per batch and later batches never delay it.

use std::collections::VecDeque;

use crate::producer::error::ProduceError;

/// Counts unfinished batches by round.
#[derive(Debug, Default)]
pub(super) struct FlushRounds {
    current: u64,
    /// Unfinished batches of each round, oldest first; empty rounds at the front are removed.
    open: VecDeque<(u64, usize)>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    round: u64,
    error: Option<ProduceError>,
}

/// A flush that is done: its round, and the first failure among the batches it waited for.
pub(super) type Flushed = (u64, Result<(), ProduceError>);

impl FlushRounds {
    /// A batch was submitted; it carries the returned round.
    pub(super) fn submitted(&mut self) -> u64 {
        match self.open.back_mut() {
            Some((round, count)) if *round == self.current => *count += 1,
            _ => self.open.push_back((self.current, 1)),
        }
        self.current
    }

    /// A batch of `round` has its outcome.
    pub(super) fn finished(&mut self, round: u64, error: Option<&ProduceError>) {
        if let Some((_, count)) = self.open.iter_mut().find(|(open, _)| *open == round) {
            *count -= 1;
        }
        while self.open.front().is_some_and(|(_, count)| *count == 0) {
            self.open.pop_front();
        }
        if let Some(error) = error {
            for waiting in self
                .waiting
                .iter_mut()
                .filter(|waiting| waiting.round >= round && waiting.error.is_none())
            {
                waiting.error = Some(error.clone());
            }
        }
    }

    /// Starts a flush; [`FlushRounds::poll_flushed`] names the returned round when it is done.
    pub(super) fn flush(&mut self) -> u64 {
        let round = self.current;
        self.current += 1;
        self.waiting.push_back(Waiting { round, error: None });
        round
    }

    /// The next flush that is done.
    pub(super) fn poll_flushed(&mut self) -> Option<Flushed> {
        let round = self.waiting.front()?.round;
        if self.open.front().is_some_and(|(open, _)| *open <= round) {
            return None;
        }
        let done = self.waiting.pop_front()?;
        Some((done.round, done.error.map_or(Ok(()), Err)))
    }

    /// Whether no batch is unfinished.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::error::ProduceErrorKind;

    #[test]
    fn a_flush_waits_for_earlier_batches_and_not_for_later_ones() {
        let mut rounds = FlushRounds::default();
        let first = rounds.submitted();
        let flush = rounds.flush();
        let later = rounds.submitted();
        rounds.finished(later, None);
        assert_eq!(rounds.poll_flushed(), None);
        rounds.finished(first, None);
        assert_eq!(rounds.poll_flushed(), Some((flush, Ok(()))));
        assert!(rounds.is_empty());
    }

    #[test]
    fn a_flush_with_nothing_open_is_done_at_once() {
        let mut rounds = FlushRounds::default();
        let flush = rounds.flush();
        assert_eq!(rounds.poll_flushed(), Some((flush, Ok(()))));
        assert_eq!(rounds.poll_flushed(), None);
    }

    #[test]
    fn every_flush_that_waited_for_a_failed_batch_reports_it() {
        let mut rounds = FlushRounds::default();
        let failing = rounds.submitted();
        let first = rounds.flush();
        let fine = rounds.submitted();
        let second = rounds.flush();
        let error = ProduceError::new(ProduceErrorKind::Rejected, "no");
        rounds.finished(fine, None);
        rounds.finished(failing, Some(&error));
        assert_eq!(rounds.poll_flushed(), Some((first, Err(error.clone()))));
        assert_eq!(rounds.poll_flushed(), Some((second, Err(error))));
    }

    #[test]
    fn a_failure_of_a_later_batch_is_not_blamed_on_the_flush_before_it() {
        let mut rounds = FlushRounds::default();
        let before = rounds.submitted();
        let flush = rounds.flush();
        let after = rounds.submitted();
        rounds.finished(after, Some(&ProduceError::closed()));
        rounds.finished(before, None);
        assert_eq!(rounds.poll_flushed(), Some((flush, Ok(()))));
    }
}
