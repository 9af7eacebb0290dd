//! What happened in a run: a hash over all of it, how often each situation was met, and lines for who replays a seed.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    since: Instant,
    tell: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// `DefaultHasher::new` has fixed keys: equal runs have equal hashes.
    hash: DefaultHasher,
    events: u64,
    situations: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Trace {
    /// A trace that begins now. `tell` prints every event.
    pub(super) fn new(tell: bool) -> Trace {
        let state = State {
            hash: DefaultHasher::new(),
            events: 0,
            situations: BTreeMap::new(),
            violations: Vec::new(),
        };
        Trace {
            since: Instant::now(),
            tell,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Virtual time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Something happened. What is told must not depend on anything but the seed.
    pub(super) fn event(&self, told: Arguments<'_>) {
        let told = told.to_string();
        self.bytes(told.as_bytes());
        self.tell(format_args!("{told}"));
    }

    /// Bytes that belong to the run, at this time.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let nanos = self.elapsed().as_nanos() as u64;
        let mut state = self.lock();
        state.events += 1;
        state.hash.write_u64(nanos);
        state.hash.write(bytes);
    }

    /// Only for who reads along.
    #[allow(clippy::print_stderr, reason = "who replays a seed wants to read it")]
    pub(super) fn tell(&self, told: Arguments<'_>) {
        if self.tell {
            eprintln!("{:>12.6} {told}", self.elapsed().as_secs_f64());
        }
    }

    /// One of the situations that make a simulation worth running was met.
    pub(super) fn met(&self, situation: &'static str) {
        *self.lock().situations.entry(situation).or_default() += 1;
    }

    /// Something happened that must not.
    pub(super) fn violation(&self, told: String) {
        self.event(format_args!("VIOLATION {told}"));
        self.lock().violations.push(told);
    }

    pub(super) fn hash(&self) -> u64 {
        self.lock().hash.finish()
    }

    pub(super) fn events(&self) -> u64 {
        self.lock().events
    }

    pub(super) fn situations(&self) -> BTreeMap<&'static str, u64> {
        self.lock().situations.clone()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
