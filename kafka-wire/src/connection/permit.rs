//! A word that must be had at the moment of sending.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Whether a writer's batches may be sent at a given moment, asked before each attempt and before each write to the socket.
///
/// Whoever owns a partition for a limited time, as long as a lease holds, must not have it written to afterwards, and between
/// the submission of a batch and its sending there may be any time: a process can be stopped and woken up again. Without the
/// permit a batch waits; the writer's owner abandons it, or the permit is given again. A connection that holds some of a batch
/// already is closed, so that the broker never sees the rest.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn(Instant) -> bool + Send + Sync>);

impl Permit {
    /// `given` is called often and must not block.
    pub fn new(given: impl Fn(Instant) -> bool + Send + Sync + 'static) -> Permit {
        Permit(Arc::new(given))
    }

    pub(crate) fn is_given(&self, now: Instant) -> bool {
        (self.0)(now)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
