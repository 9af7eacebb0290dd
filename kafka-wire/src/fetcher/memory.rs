//! How many bytes fetches may hold, over all partitions and brokers: reserved before they are asked for, counted until the last
//! reader lets go of them.
//!
//! ```text
//!   plan: is there room? ──reserve──> request ──answer: as long as it is──> slices, one per partition ──last one gone──> released
//! ```
//!
//! The slices of a response share its buffer, so that a reader who keeps one keeps the whole; it is counted as a whole. While
//! more than half of the memory is in use, a slice that is a small part of what it keeps is copied, when it is put on its shelf
//! and when it is taken from there: readers that stand still then hold little but their own bytes, and the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A slice this many times smaller than what it keeps alive is copied when memory is short.
const SMALL_PART: usize = 2;

/// The bytes that fetchers hold; shared by those that have one bound together.
#[derive(Debug)]
pub(super) struct FetchMemory {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl FetchMemory {
    pub(super) fn new(limit: usize) -> Arc<FetchMemory> {
        Arc::new(FetchMemory {
            limit,
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Completes when bytes are released after this call.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    fn is_short(&self) -> bool {
        self.used() > self.limit / 2
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<FetchMemory>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(memory: &Arc<FetchMemory>, bytes: usize) -> Held {
        let mut held = Held {
            memory: Arc::clone(memory),
            bytes: 0,
        };
        held.resize(bytes);
        held
    }

    /// It takes `bytes` from now on.
    pub(super) fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.memory.used.fetch_add(bytes - before, Ordering::AcqRel);
        } else if bytes < before {
            self.memory.used.fetch_sub(before - bytes, Ordering::AcqRel);
            self.memory.freed.notify_waiters();
        }
    }

    /// Another count in the same memory.
    pub(super) fn beside(&self, bytes: usize) -> Held {
        Held::new(&self.memory, bytes)
    }

    /// Whether memory is short: what is not needed at once should be given back.
    pub(super) fn is_short(&self) -> bool {
        self.memory.is_short()
    }

    /// Copies `records` out of the response that this counts, if memory is short and that would free much.
    pub(super) fn lighten(this: &mut Arc<Held>, records: &mut Bytes) {
        if records.len() < this.bytes / SMALL_PART && this.memory.is_short() {
            *records = Bytes::copy_from_slice(records);
            *this = Arc::new(this.beside(records.len()));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_response_counts_as_a_whole_until_its_last_slice_is_gone() {
        let memory = FetchMemory::new(1_000);
        let mut reserved = Held::new(&memory, 500);
        reserved.resize(300);
        let first = Arc::new(reserved);
        let second = Arc::clone(&first);
        drop(first);
        assert_eq!(memory.used(), 300);
        drop(second);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn whoever_waits_for_room_hears_of_bytes_released_after_it_looked() {
        let memory = FetchMemory::new(1_000);
        let held = Held::new(&memory, 1_000);
        let mut freed = pin!(memory.freed());
        drop(held);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(freed.as_mut().poll(&mut cx).is_ready());
        let mut again = pin!(memory.freed());
        assert!(again.as_mut().poll(&mut cx).is_pending());
    }

    #[test]
    fn a_small_slice_is_copied_only_when_memory_is_short() {
        let memory = FetchMemory::new(1_000);
        let response = Bytes::from(vec![7; 400]);
        let mut held = Arc::new(Held::new(&memory, 400));
        let mut slice = response.slice(100..200);
        Held::lighten(&mut held, &mut slice);
        assert_eq!((slice.as_ptr(), memory.used()), (response[100..].as_ptr(), 400));
        let other = Held::new(&memory, 200);
        Held::lighten(&mut held, &mut slice);
        assert_ne!(slice.as_ptr(), response[100..].as_ptr());
        assert_eq!(slice, response.slice(100..200));
        assert_eq!(memory.used(), 300, "its own bytes and the other's");
        let mut large = response.slice(..300);
        let mut held = Arc::new(Held::new(&memory, 400));
        Held::lighten(&mut held, &mut large);
        assert_eq!(large.as_ptr(), response.as_ptr(), "a copy would free little");
        drop(other);
    }
}
