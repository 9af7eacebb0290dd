//! What a client takes from its machine besides sockets and the monotonic clock: chance, the wall clock, and being scheduled.
//!
//! They come from the machine as a rule. A simulation fixes them, so that a run can be repeated to the byte: chance starts from a
//! seed, the wall clock follows tokio's, which a simulation pauses, and the tasks of one process among many stop and go on as if
//! it had been sent SIGSTOP and SIGCONT.

#![allow(clippy::disallowed_methods, reason = "driver: reads the clocks and draws seeds")]

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where chance, the wall clock and time to run come from; the machine by default.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    simulated: Option<Arc<Simulated>>,
}

/// Stops the tasks of a simulated process and lets them go on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pause {
    state: Arc<Mutex<Paused>>,
}

#[derive(Debug, Default)]
struct Paused {
    stopped: bool,
    waiting: Vec<Waker>,
}

impl Pause {
    /// From now on no task of the process runs.
    pub fn begin(&self) {
        self.lock().stopped = true;
    }

    /// They run again, late.
    pub fn end(&self) {
        let waiting = {
            let mut state = self.lock();
            state.stopped = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ready while tasks may run.
    pub fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.stopped {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// The future, which is polled only while tasks may run.
    pub async fn obeyed_by<F: Future>(self, task: F) -> F::Output {
        let mut task = pin!(task);
        std::future::poll_fn(|cx| {
            ready!(self.poll_running(cx));
            task.as_mut().poll(cx)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Paused> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Simulated {
    /// What the wall clock showed at `since`, in milliseconds since 1970.
    unix_ms: i64,
    since: Instant,
    seed: AtomicU64,
    pause: Pause,
}

impl Surroundings {
    /// Chance from `seed`, a wall clock that shows `unix_ms` (milliseconds since 1970) now and goes with tokio's clock, and tasks
    /// that obey `pause`.
    pub fn simulated(seed: u64, unix_ms: i64, pause: Pause) -> Self {
        let simulated = Simulated {
            unix_ms,
            since: Instant::now(),
            seed: AtomicU64::new(seed),
            pause,
        };
        Self {
            simulated: Some(Arc::new(simulated)),
        }
    }

    /// A task that runs when the process does.
    pub async fn task<F: Future>(self, task: F) -> F::Output {
        match &self.simulated {
            Some(simulated) => simulated.pause.clone().obeyed_by(task).await,
            None => task.await,
        }
    }

    /// A number to start a generator from; another one at each call.
    pub fn seed(&self) -> u64 {
        match &self.simulated {
            Some(simulated) => simulated.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
            // The standard library's own source of randomness, which needs no crate.
            None => RandomState::new().hash_one(0),
        }
    }

    /// The wall clock in milliseconds since 1970, as Kafka counts.
    pub fn wall_ms(&self) -> i64 {
        match &self.simulated {
            Some(simulated) => simulated.unix_ms + simulated.since.elapsed().as_millis() as i64,
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_wall_clock_goes_with_the_paused_clock_and_seeds_repeat() {
        let seven = || Surroundings::simulated(7, 1000, Pause::default());
        let (one, two) = (seven(), seven());
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(one.wall_ms(), 1250);
        let seeds: Vec<_> = std::iter::repeat_with(|| one.seed()).take(3).collect();
        assert_eq!(seeds, std::iter::repeat_with(|| two.seed()).take(3).collect::<Vec<_>>());
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_does_nothing_until_it_goes_on_and_is_late_then() {
        let pause = Pause::default();
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let surroundings = Surroundings::simulated(7, 1000, pause.clone());
        let task = tokio::spawn(surroundings.task(async move {
            tokio::time::sleep(second).await;
            begun.elapsed()
        }));
        tokio::time::sleep(second / 2).await;
        pause.begin();
        tokio::time::sleep(5 * second).await;
        assert!(!task.is_finished());
        pause.end();
        assert_eq!(task.await.unwrap(), second / 2 + 5 * second);
    }
}
