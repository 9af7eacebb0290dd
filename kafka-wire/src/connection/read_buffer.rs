//! Large read buffers that come back.
//!
//! A fetch response of some megabytes is read into one buffer, and records are slices of it until the last of them is dropped.
//! Allocating that buffer anew each time costs musl's malloc a map, a page fault per 4 KiB and an unmap (about 0.9 ms per MiB),
//! so buffers return to a small pool when their last slice goes away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// How many buffers wait for reuse at most.
const MOST_PARKED: usize = 16;
/// How many bytes wait for reuse at most; what came back last stays.
const MOST_PARKED_BYTES: usize = 16 << 20;
/// A buffer more than this many times larger than needed stays parked: a small slice must not pin a huge buffer.
const LARGEST_WASTE: usize = 4;

/// A handful of large buffers shared by the connections of one client. Clones share the pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadBuffers {
    parked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ReadBuffers {
    /// An empty buffer for a frame of `length` bytes: the parked one that fits best; else the largest, which will have to grow; else
    /// a new one of at most `initial` bytes, because `length` is only the peer's word.
    pub(crate) fn take(&self, length: usize, initial: usize) -> Vec<u8> {
        let mut parked = lock(&self.parked);
        let best = parked
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.capacity() / LARGEST_WASTE <= length)
            .min_by_key(|(_, buffer)| match buffer.capacity() {
                fits if fits >= length => (false, fits),
                short => (true, length - short),
            })
            .map(|(index, _)| index);
        match best {
            Some(index) => parked.remove(index),
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
        if buffer.capacity() > MOST_PARKED_BYTES {
            return;
        }
        buffer.clear();
        let mut parked = lock(&self.parked);
        parked.push(buffer);
        while parked.len() > MOST_PARKED || parked.iter().map(Vec::capacity).sum::<usize>() > MOST_PARKED_BYTES {
            // The one that nobody has wanted for longest, which may be of a size that is not wanted any more.
            parked.remove(0);
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

    #[test]
    fn a_buffer_that_is_too_short_is_grown_rather_than_left_for_a_new_one() {
        let pool = ReadBuffers::default();
        let buffer = Vec::with_capacity(3 << 20);
        let address = buffer.as_ptr();
        drop(pool.freeze(buffer));
        let larger = pool.take(5 << 20, 1 << 20);
        assert_eq!(larger.as_ptr(), address);
    }

    #[test]
    fn frames_that_became_larger_find_their_buffers_again() {
        let pool = ReadBuffers::default();
        for _ in 0..5 {
            drop(pool.freeze(Vec::with_capacity(3 << 20)));
        }
        for _ in 0..3 {
            drop(pool.freeze(Vec::with_capacity(5 << 20)));
        }
        let capacities: Vec<_> = lock(&pool.parked).iter().map(Vec::capacity).collect();
        assert_eq!(capacities, [5 << 20; 3], "those of the former size have made room");
    }
}
