//! `Room`: what the tables of one instance hold above their stores, and whose turn it is to hold more than its part.
//!
//! ```text
//!   a table that recovers ──its own part is full──> waits for a turn ──> holds more ──flushed──> gives the turn back
//! ```
//!
//! A store that is filled in one go costs a third of one that is filled little by little. So tables that are too large for their
//! part do not all recover at once: some borrow what nobody uses now, and the others wait, with their part full. Turns are given
//! in the order in which they were asked for and end with a flush, which is due when what was lent is full, and by age: a table too
//! large even for that, or slow, asks again, behind the others. So whoever has a turn waits for none of those that wait, and whoever
//! waits gets one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns at a time: enough to read and write beside each other, from several brokers.
const TURNS: usize = 4;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    held: AtomicUsize,
    turns: Arc<Semaphore>,
}

impl Room {
    /// Room for so many bytes, beside what each table may hold before it flushes.
    pub(crate) fn new(bytes: usize) -> Arc<Room> {
        Arc::new(Room {
            bytes,
            held: AtomicUsize::new(0),
            turns: Arc::new(Semaphore::new(TURNS)),
        })
    }

    /// Waits for a turn. Who stops waiting loses its place.
    pub(crate) async fn turn(self: Arc<Self>) -> Turn {
        let permit = Arc::clone(&self.turns).acquire_owned().await;
        Turn {
            bytes: self.to_lend(),
            _permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// Bytes for each turn, of those that no overlay holds.
    fn to_lend(&self) -> usize {
        self.bytes.saturating_sub(self.held()) / TURNS
    }

    /// Bytes that overlays hold.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// The right to hold so many bytes more, while it is kept.
#[derive(Debug)]
pub(crate) struct Turn {
    bytes: usize,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What one table's overlay holds of the room.
#[derive(Debug)]
pub(super) struct Holding {
    room: Arc<Room>,
    bytes: usize,
}

impl Holding {
    pub(super) fn new(room: Arc<Room>) -> Holding {
        Holding { room, bytes: 0 }
    }

    /// What is left of the bytes that were lent: overlays have come to hold more meanwhile.
    pub(super) fn left_of(&self, lent: usize) -> usize {
        lent.min(self.room.to_lend())
    }

    /// It holds `bytes` from now on.
    pub(super) fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.room.held.fetch_add(bytes - before, Ordering::Relaxed);
        } else if bytes < before {
            self.room.held.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_lends_a_part_of_what_nobody_holds() {
        let room = Room::new(4_000);
        assert_eq!(room.clone().turn().await.bytes(), 1_000);
        let (mut one, mut other) = (Holding::new(room.clone()), Holding::new(room.clone()));
        one.resize(1_500);
        other.resize(500);
        assert_eq!(room.clone().turn().await.bytes(), 500);
        one.resize(100_000);
        assert_eq!(room.clone().turn().await.bytes(), 0);
        drop(one);
        other.resize(0);
        assert_eq!(room.clone().turn().await.bytes(), 1_000);
    }

    #[tokio::test]
    async fn who_asks_first_gets_the_next_turn() {
        let room = Room::new(4_000);
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(room.clone().turn().await);
        }
        let mut first = Box::pin(room.clone().turn());
        let mut second = Box::pin(room.clone().turn());
        tokio::select! {
            biased;
            _ = &mut first => panic!("there is no turn left"),
            _ = &mut second => panic!("there is no turn left"),
            () = std::future::ready(()) => {}
        }
        turns.pop();
        tokio::select! {
            biased;
            _ = &mut second => panic!("the other asked first"),
            _ = &mut first => {}
        }
    }
}
