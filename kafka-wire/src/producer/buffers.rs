//! Memory of the producer: how much may be unacknowledged, and buffers that are used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// An open batch reserves in steps, so that a record costs an atomic operation only now and then.
const STEP: usize = 4 << 10;
/// What a batch starts with when no used buffer is at hand; it grows as records come.
const FIRST_CAPACITY: usize = 1 << 10;
/// Buffers kept for use again, and their capacity together.
const MOST_BUFFERS: usize = 64;
const MOST_KEPT: usize = 16 << 20;

/// Counts unacknowledged bytes.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// Whether another batch may be begun. What is open may grow to its end, so the limit can be passed by that much.
    pub(super) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit
    }

    pub(super) async fn wait_for_room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.freed.notify_waiters();
        }
    }
}

/// The bytes one batch takes from the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(budget: &Arc<Budget>) -> Charge {
        Charge {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// The batch has grown to `len`.
    #[inline]
    pub(super) fn cover(&mut self, len: usize) {
        if len > self.bytes {
            let bytes = len.next_multiple_of(STEP);
            self.budget.charge(bytes - self.bytes);
            self.bytes = bytes;
        }
    }

    /// The batch is complete and takes `len`.
    pub(super) fn set(&mut self, len: usize) {
        if len > self.bytes {
            self.budget.charge(len - self.bytes);
        } else {
            self.budget.release(self.bytes - len);
        }
        self.bytes = len;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Buffers of finished batches.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<BytesMut>,
    capacity: usize,
}

impl BufferPool {
    /// A buffer for a new batch, used before if there is one.
    pub(super) fn take(&self) -> BytesMut {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(buffer) = kept.buffers.pop() else {
            drop(kept);
            return BytesMut::with_capacity(FIRST_CAPACITY);
        };
        kept.capacity -= buffer.capacity();
        buffer
    }

    /// Takes a buffer back, unless someone else still reads it or enough are kept.
    pub(super) fn give(&self, buffer: Bytes) {
        let Ok(mut buffer) = buffer.try_into_mut() else { return };
        buffer.clear();
        let capacity = buffer.capacity();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if capacity > 0 && kept.buffers.len() < MOST_BUFFERS && kept.capacity + capacity <= MOST_KEPT {
            kept.capacity += capacity;
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_charge_follows_its_batch_and_is_given_back_with_it() {
        let budget = Budget::new(10 << 10);
        let mut charge = Charge::new(&budget);
        charge.cover(100);
        assert_eq!(budget.used(), STEP);
        charge.cover(STEP + 1);
        assert_eq!(budget.used(), 2 * STEP);
        charge.set(500);
        assert_eq!(budget.used(), 500);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_full_budget_has_no_room_until_bytes_are_given_back() {
        let budget = Budget::new(1_000);
        let mut charge = Charge::new(&budget);
        charge.set(1_000);
        assert!(!budget.has_room());
        let mut waiting = pin!(budget.wait_for_room());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        charge.set(999);
        assert!(budget.has_room());
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_finished_buffer_keeps_its_capacity_for_the_next_batch() {
        let pool = BufferPool::default();
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[7; 5_000]);
        let capacity = buffer.capacity();
        let address = buffer.as_ptr();
        pool.give(buffer.freeze());
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.capacity(), again.len()), (address, capacity, 0));
    }

    #[test]
    fn a_buffer_that_is_still_read_is_not_taken() {
        let pool = BufferPool::default();
        let shared = Bytes::from(vec![1; 5_000]);
        pool.give(shared.clone());
        assert_eq!(pool.take().capacity(), FIRST_CAPACITY);
        assert_eq!(shared[0], 1);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_bytes() {
        let pool = BufferPool::default();
        for _ in 0..40 {
            pool.give(Bytes::from(vec![1; 1 << 20]));
        }
        assert!(pool.kept.lock().unwrap().capacity <= MOST_KEPT);
    }
}
