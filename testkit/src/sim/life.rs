//! The life of one process: an instance between its start and its death. It may be stopped for a while, as by SIGSTOP.
//!
//! Its tasks live in the simulation's runtime, which cannot end a part of its tasks. But all that a process does to the world goes
//! through its connections, its disk, and what its callbacks tell: from the instant of its death on, all three ignore it. So it may
//! die between any two of its steps, and what is left of it is cleared away without anybody noticing.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use kafka_wire::rpc::Pause;
use tokio::sync::Notify;

/// Shared by everything that belongs to one process.
#[derive(Debug)]
pub(super) struct Life {
    /// A name for the trace.
    pub(super) name: String,
    /// The instance, or a number of its own for who is none.
    pub(super) who: u32,
    /// Counts processes of the run.
    pub(super) number: u64,
    /// Stops its tasks, and what it reads and writes.
    pub(super) pause: Pause,
    dead: AtomicBool,
    /// Whether what it sent just before its death still arrives.
    arrives: AtomicBool,
    /// Dies after so many more steps; never if negative.
    steps_left: AtomicI64,
    died: Notify,
}

impl Life {
    pub(super) fn new(name: String, who: u32, number: u64) -> Life {
        Life {
            name,
            who,
            number,
            pause: Pause::default(),
            dead: AtomicBool::new(false),
            arrives: AtomicBool::new(false),
            steps_left: AtomicI64::new(-1),
            died: Notify::new(),
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn last_words_arrive(&self) -> bool {
        self.arrives.load(Ordering::Relaxed)
    }

    /// Dies now.
    pub(super) fn kill(&self, last_words_arrive: bool) {
        self.arrives.store(last_words_arrive, Ordering::Relaxed);
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_waiters();
        // Its tasks end themselves, unheard.
        self.pause.end();
    }

    /// Dies at one of its next steps: a frame sent or received, a callback, a write to its disk.
    pub(super) fn kill_after(&self, steps: i64) {
        self.steps_left.store(steps, Ordering::Relaxed);
    }

    /// The process does something that others can see. Whether it lived to do it.
    pub(super) fn step(&self) -> bool {
        if self.is_dead() {
            return false;
        }
        let left = self.steps_left.load(Ordering::Relaxed);
        if left < 0 {
            return true;
        }
        self.steps_left.store(left - 1, Ordering::Relaxed);
        if left == 0 {
            self.kill(self.number.is_multiple_of(2));
        }
        left > 0
    }

    /// Waits for its death.
    pub(super) async fn died(&self) {
        let mut died = std::pin::pin!(self.died.notified());
        died.as_mut().enable();
        if !self.is_dead() {
            died.await;
        }
    }
}
