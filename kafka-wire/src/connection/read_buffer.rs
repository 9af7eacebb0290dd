//! Large read buffers that come back.
//!
//! A fetch response of some megabytes is read into one buffer, and records are slices of it until the last of them is dropped.
//! Allocating that buffer anew each time costs musl's malloc a map, a page fault per 4 KiB and an unmap (about 0.9 ms per MiB),
//! so buffers return to a small pool when their last slice goes away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// How many buffers wait for reuse at most.
const MOST_PARKED: usize = 16;
/// How many bytes wait for reuse at most.
const MOST_PARKED_BYTES: usize = 16 << 20;
/// A buffer more than this many times larger than needed stays parked: a small slice must not pin a huge buffer.
const LARGEST_WASTE: usize = 4;

/// A handful of large buffers shared by the connections of one client. Clones share the pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadBuffers {
    parked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ReadBuffers {
    /// An empty buffer for a frame of `length` bytes: a parked one if one fits, else a new one of at most `initial` bytes,
    /// because `length` is only the peer's word.
    pub(crate) fn take(&self, length: usize, initial: usize) -> Vec<u8> {
        let mut parked = lock(&self.parked);
        let fitting = parked
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.capacity() >= length && buffer.capacity() / LARGEST_WASTE <= length)
            .min_by_key(|(_, buffer)| buffer.capacity())
            .map(|(index, _)| index);
        match fitting {
            Some(index) => parked.swap_remove(index),
            None => Vec::with_capacity(length.min(initial)),
        }
    }

    /// Makes a filled buffer into bytes whose last slice parks it again.
    pub(crate) fn freeze(&self, filled: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent {
            buffer: filled,
            home: self.clone(),
        })
    }

    fn park(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut parked = lock(&self.parked);
        let bytes: usize = parked.iter().map(Vec::capacity).sum();
        if parked.len() < MOST_PARKED && bytes + buffer.capacity() <= MOST_PARKED_BYTES {
            parked.push(buffer);
        }
    }
}

/// A buffer out in the world; dropping it brings it home.
struct Lent {
    buffer: Vec<u8>,
    home: ReadBuffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.park(std::mem::take(&mut self.buffer));
    }
}

fn lock(parked: &Mutex<Vec<Vec<u8>>>) -> MutexGuard<'_, Vec<Vec<u8>>> {
    // Nothing that can panic runs under the lock; if it did, a list of buffers is still a list of buffers.
    parked.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_when_its_last_slice_is_dropped() {
        let pool = ReadBuffers::default();
        let mut buffer = pool.take(300_000, 1 << 20);
        buffer.resize(300_000, 1);
        let address = buffer.as_ptr();
        let frame = pool.freeze(buffer);
        let slice = frame.slice(10..20);
        drop(frame);
        let another = pool.take(300_000, 1 << 20);
        assert_ne!(another.as_ptr(), address, "still referenced");
        assert_eq!(&slice[..], &[1; 10]);
        drop(slice);
        let again = pool.take(250_000, 1 << 20);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn a_claimed_length_allocates_no_more_than_the_first_step() {
        assert!(ReadBuffers::default().take(1 << 30, 1 << 20).capacity() <= 1 << 20);
    }

    #[test]
    fn a_huge_buffer_is_not_spent_on_a_small_frame() {
        let pool = ReadBuffers::default();
        drop(pool.freeze(Vec::with_capacity(8 << 20)));
        assert!(pool.take(100_000, 1 << 20).capacity() < 1 << 20);
        assert!(pool.take(4 << 20, 1 << 20).capacity() >= 8 << 20);
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = ReadBuffers::default();
        for _ in 0..40 {
            drop(pool.freeze(Vec::with_capacity(1 << 20)));
        }
        assert_eq!(lock(&pool.parked).len(), MOST_PARKED);
        drop(pool.freeze(Vec::with_capacity(100 << 20)));
        assert_eq!(lock(&pool.parked).len(), MOST_PARKED);
    }
}
