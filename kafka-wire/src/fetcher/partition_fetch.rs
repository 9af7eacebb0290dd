//! The reader's end: one partition's fetched batches, waiting to be taken.
//!
//! ```text
//!   driver ──push──> Shelf ──take──> PartitionFetch
//!      ^                                  |
//!      └── Taken, Paused, Removed ────────┘
//! ```
//!
//! A shelf is bounded by the schedule, which asks for no more than fits; the reader tells it what it took only when the partition
//! was full, so that taking a batch costs one uncontended lock.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use super::driver::Command;
use super::{FetchError, FetchedBatch, Watermarks};
use crate::protocol::{TopicId, TopicPartition};

/// What lies ready of one partition.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<FetchedBatch>,
    failure: Option<FetchError>,
    /// Nothing comes any more.
    ended: bool,
    watermarks: Watermarks,
    topic_id: TopicId,
    /// Bytes taken since the driver was told last.
    taken: usize,
    /// The driver wants to be told when so many are taken.
    tell_at: Option<usize>,
    waker: Option<Waker>,
}

impl Shelf {
    /// An answer came, with or without a batch.
    pub(super) fn push(&self, watermarks: Watermarks, batch: Option<FetchedBatch>) {
        let mut state = self.lock();
        state.watermarks = watermarks;
        if let Some(mut batch) = batch {
            batch.lighten();
            state.batches.push_back(batch);
            wake(state);
        }
    }

    /// Nothing comes any more, because of `failure` or because the fetcher is gone.
    pub(super) fn end(&self, failure: Option<FetchError>) {
        let mut state = self.lock();
        if !state.ended {
            (state.ended, state.failure) = (true, failure);
            wake(state);
        }
    }

    pub(super) fn set_topic_id(&self, topic_id: TopicId) {
        self.lock().topic_id = topic_id;
    }

    /// The partition is full until so many bytes more are taken; gives those that were already.
    pub(super) fn tell_at(&self, excess: usize) -> Option<usize> {
        let mut state = self.lock();
        if state.taken >= excess {
            return Some(std::mem::take(&mut state.taken));
        }
        state.tell_at = Some(excess);
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the reader, outside the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The records of one partition, as they come. Dropping it ends the fetching of the partition.
#[derive(Debug)]
pub struct PartitionFetch {
    id: u64,
    topic_partition: TopicPartition,
    shelf: Arc<Shelf>,
    commands: mpsc::UnboundedSender<Command>,
}

impl PartitionFetch {
    pub(super) fn new(
        id: u64,
        topic_partition: TopicPartition,
        shelf: Arc<Shelf>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> PartitionFetch {
        PartitionFetch {
            id,
            topic_partition,
            shelf,
            commands,
        }
    }

    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The next batch; after an error, which ends the reading, `None`.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FetchedBatch, FetchError>>> {
        let mut state = self.shelf.lock();
        if let Some(next) = self.take(&mut state) {
            return Poll::Ready(next);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for the next batch; after an error, which ends the reading, `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<FetchedBatch, FetchError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next batch, if one lies ready. `None` if not, and also after the end: see [`next`](PartitionFetch::next).
    pub fn try_next(&mut self) -> Option<Result<FetchedBatch, FetchError>> {
        self.take(&mut self.shelf.lock()).flatten()
    }

    /// Stops asking for more. What lies ready, and what is under way, is still delivered.
    pub fn pause(&self) {
        self.tell(Command::Paused {
            id: self.id,
            paused: true,
        });
    }

    /// Asks for more again.
    pub fn resume(&self) {
        self.tell(Command::Paused {
            id: self.id,
            paused: false,
        });
    }

    /// Where the log begins and ends, as of the last answer.
    pub fn watermarks(&self) -> Watermarks {
        self.shelf.lock().watermarks
    }

    /// The topic's id; zero until it is known, and on brokers without topic ids.
    pub fn topic_id(&self) -> TopicId {
        self.shelf.lock().topic_id
    }

    fn take(&self, state: &mut State) -> Option<Option<Result<FetchedBatch, FetchError>>> {
        let Some(mut batch) = state.batches.pop_front() else {
            return state.ended.then(|| state.failure.take().map(Err));
        };
        state.taken += batch.records.len();
        if state.tell_at.is_some_and(|enough| state.taken >= enough) {
            state.tell_at = None;
            self.tell(Command::Taken {
                id: self.id,
                bytes: std::mem::take(&mut state.taken),
            });
        }
        batch.lighten();
        Some(Some(Ok(batch)))
    }

    fn tell(&self, command: Command) {
        // The driver is gone only after it ended every shelf.
        let _ = self.commands.send(command);
    }
}

impl Drop for PartitionFetch {
    fn drop(&mut self) {
        self.tell(Command::Removed { id: self.id });
    }
}

#[cfg(test)]
mod tests;
