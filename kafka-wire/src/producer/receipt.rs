//! The answer to one sent record: a share in its batch's outcome.
//!
//! A batch has one [`Completion`]; each receipt is a reference to it and the record's index. Waiting for a receipt registers
//! a waker, dropping one changes nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::producer::error::ProduceError;
use crate::producer::outcome::{Outcome, RecordPosition};

/// The outcome of a batch, once it is there.
#[derive(Debug, Default)]
pub(super) struct Completion {
    outcome: OnceLock<Outcome>,
    waiting: Mutex<Vec<Waker>>,
}

impl Completion {
    /// Tells the outcome to everyone who waits. Only the first outcome counts.
    pub(super) fn complete(&self, outcome: Outcome) {
        let _first = self.outcome.set(outcome);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// `seat` is the caller's place among the waiting; it is kept between polls.
    fn poll(&self, seat: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have come while we waited for the lock; after this check it finds our waker.
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        match seat.and_then(|seat| waiting.get_mut(seat)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *seat = Some(waiting.len());
                waiting.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Waits for the outcome; its first failure, if any.
    pub(super) async fn settled(&self) -> Result<(), ProduceError> {
        let mut seat = None;
        std::future::poll_fn(|cx| {
            self.poll(&mut seat, cx)
                .map(|outcome| outcome.error().map_or(Ok(()), |error| Err(error.clone())))
        })
        .await
    }
}

/// Resolves to where the record is, once its batch is acknowledged.
///
/// Dropping a receipt does not take the record back; its clones resolve alike.
#[derive(Debug)]
#[must_use = "a receipt tells whether the record was written; drop it explicitly if you do not care"]
pub struct Receipt {
    completion: Arc<Completion>,
    partition: i32,
    index: u32,
    timestamp: i64,
    seat: Option<usize>,
}

impl Receipt {
    pub(super) fn new(completion: Arc<Completion>, partition: i32, index: u32, timestamp: i64) -> Receipt {
        Receipt {
            completion,
            partition,
            index,
            timestamp,
            seat: None,
        }
    }

    /// The partition the record goes to.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The answer, if it is there.
    pub fn try_result(&self) -> Option<Result<RecordPosition, ProduceError>> {
        self.completion.outcome.get().map(|outcome| self.position(outcome))
    }

    fn position(&self, outcome: &Outcome) -> Result<RecordPosition, ProduceError> {
        let (offset, log_append_time) = outcome.of_record(self.index)?;
        let timestamp = log_append_time.unwrap_or(self.timestamp);
        Ok(RecordPosition {
            partition: self.partition,
            offset,
            timestamp,
        })
    }
}

impl Clone for Receipt {
    /// A clone waits on its own.
    fn clone(&self) -> Receipt {
        Receipt {
            completion: Arc::clone(&self.completion),
            seat: None,
            ..*self
        }
    }
}

impl Future for Receipt {
    type Output = Result<RecordPosition, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Receipt { completion, seat, .. } = &mut *self;
        let answer = completion.poll(seat, cx).map(drop);
        answer.map(|()| self.try_result().unwrap_or_else(|| Err(ProduceError::closed())))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::producer::outcome::Persisted;

    fn poll(receipt: &mut Receipt) -> Poll<Result<RecordPosition, ProduceError>> {
        Pin::new(receipt).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn every_receipt_of_a_batch_gets_its_own_offset() {
        let completion = Arc::new(Completion::default());
        let mut receipts: Vec<_> = (0..3)
            .map(|index| Receipt::new(Arc::clone(&completion), 4, index, 100))
            .collect();
        assert!(poll(&mut receipts[0]).is_pending());
        drop(receipts.remove(1));
        let persisted = Persisted {
            base_offset: 50,
            record_count: 3,
            log_append_time: None,
        };
        completion.complete(Outcome::Whole(Ok(persisted)));
        for (mut receipt, offset) in receipts.into_iter().zip([50, 52]) {
            let position = RecordPosition {
                partition: 4,
                offset,
                timestamp: 100,
            };
            assert_eq!(poll(&mut receipt), Poll::Ready(Ok(position)));
        }
    }

    #[test]
    fn polling_again_does_not_queue_again() {
        let completion = Arc::new(Completion::default());
        let mut receipt = Receipt::new(Arc::clone(&completion), 0, 0, 0);
        for _ in 0..5 {
            assert!(poll(&mut receipt).is_pending());
        }
        assert_eq!(completion.waiting.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_brokers_clock_replaces_the_timestamp() {
        let completion = Arc::new(Completion::default());
        let persisted = Persisted {
            base_offset: 1,
            record_count: 1,
            log_append_time: Some(999),
        };
        completion.complete(Outcome::Whole(Ok(persisted)));
        let mut receipt = Receipt::new(completion, 0, 0, 5);
        let Poll::Ready(Ok(position)) = poll(&mut receipt) else {
            panic!("complete")
        };
        assert_eq!(position.timestamp, 999);
    }

    #[test]
    fn a_second_outcome_does_not_replace_the_first() {
        let completion = Completion::default();
        completion.complete(Outcome::Whole(Err(ProduceError::closed())));
        completion.complete(Outcome::Whole(Ok(Persisted {
            base_offset: 1,
            record_count: 1,
            log_append_time: None,
        })));
        let settled = pin!(completion.settled()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(settled, Poll::Ready(Err(ProduceError::closed())));
    }
}
