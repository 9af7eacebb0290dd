//! Processes that die at a chosen point: what a product does there, without a line about tests in the product.
//!
//! A processor is given a store builder and a connector; both are wrapped, in [`Hooked`](crate::hooked::Hooked) and in
//! [`CrashConnector`]. The wrappers see a partition's rows being applied and requests and answers going by, tell the [`Trigger`],
//! and it ends the process when its point is reached.
//!
//! ```text
//!   fetch ──> callback ──> Produce ──────> answer ──> apply ──────────────> OffsetCommit ──> answer
//!     |          |             |              |         | | |                 |         |
//!  InRecovery InCallback ProduceWritten ProduceAnswered Before/Inside/AfterApply  BeforeCommit CommitWritten
//! ```
//!
//! The end is `abort`: no destructor, no buffer flushed, sockets closed by the kernel, as with SIGKILL, but at once. A signal sent
//! to oneself takes milliseconds, in which other threads go past the point.

mod frames;
mod stores;
mod stream;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use self::stream::CrashConnector;

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// The first records of a table have arrived and no callback was called.
    InRecovery,
    /// Within a callback.
    InCallback,
    /// A Produce request is wholly written, its answer not read.
    ProduceWritten,
    /// The answer to a Produce request has arrived, nobody has seen it.
    ProduceAnswered,
    /// Rows that the changelog has are about to be put into the store.
    BeforeApply,
    /// They are being put into the store.
    InsideApply,
    /// They are in the store.
    AfterApply,
    /// An OffsetCommit request is about to be written.
    BeforeCommit,
    /// An OffsetCommit request is wholly written, its answer not read.
    CommitWritten,
    /// The group is to be joined anew, partitions are about to be handed over.
    InRevoke,
}

impl CrashPoint {
    /// All of them, in the order of the drawing.
    pub const ALL: [CrashPoint; 10] = [
        CrashPoint::InRecovery,
        CrashPoint::InCallback,
        CrashPoint::ProduceWritten,
        CrashPoint::ProduceAnswered,
        CrashPoint::BeforeApply,
        CrashPoint::InsideApply,
        CrashPoint::AfterApply,
        CrashPoint::BeforeCommit,
        CrashPoint::CommitWritten,
        CrashPoint::InRevoke,
    ];
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// No crash point has this name.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0} is no crash point; those are {all:?}", all = CrashPoint::ALL)]
pub struct UnknownPoint(String);

impl FromStr for CrashPoint {
    type Err = UnknownPoint;

    fn from_str(name: &str) -> Result<CrashPoint, UnknownPoint> {
        let mut all = CrashPoint::ALL.into_iter();
        all.find(|point| point.to_string() == name)
            .ok_or_else(|| UnknownPoint(name.to_owned()))
    }
}

/// Ends the process when a point is reached for the n-th time. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    point: Option<CrashPoint>,
    left: Arc<AtomicU32>,
    callbacks: Arc<AtomicU32>,
}

impl Trigger {
    /// Dies when `point` is reached for the `times`-th time; 1 is the first.
    pub fn at(point: CrashPoint, times: u32) -> Trigger {
        Trigger {
            point: Some(point),
            left: Arc::new(AtomicU32::new(times.max(1))),
            callbacks: Arc::default(),
        }
    }

    /// One that nothing sets off.
    pub fn never() -> Trigger {
        Trigger::default()
    }

    /// To be called by every callback.
    pub fn callback(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        self.reached(CrashPoint::InCallback);
    }

    /// Whether no callback was called yet.
    fn is_before_callbacks(&self) -> bool {
        self.callbacks.load(Ordering::Relaxed) == 0
    }

    /// Counts, and dies if it is time.
    fn reached(&self, point: CrashPoint) {
        if self.is_due(point) {
            std::process::abort();
        }
    }

    /// Dies a moment from now, if it is time, while the caller goes on.
    fn reached_soon(&self, point: CrashPoint, moment: Duration) {
        if self.is_due(point) {
            std::thread::spawn(move || {
                std::thread::sleep(moment);
                std::process::abort();
            });
        }
    }

    fn is_due(&self, point: CrashPoint) -> bool {
        self.point == Some(point) && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_found_by_its_name() {
        for point in CrashPoint::ALL {
            assert_eq!(point.to_string().parse::<CrashPoint>().unwrap(), point);
        }
        let error = "Nowhere".parse::<CrashPoint>().unwrap_err().to_string();
        assert!(error.contains("Nowhere") && error.contains("BeforeApply"), "{error}");
    }

    #[test]
    fn a_trigger_is_due_once_and_at_its_point_only() {
        let trigger = Trigger::at(CrashPoint::BeforeApply, 3);
        assert!(!trigger.is_due(CrashPoint::AfterApply));
        let due: Vec<_> = (0..5).map(|_| trigger.is_due(CrashPoint::BeforeApply)).collect();
        assert_eq!(due, [false, false, true, false, false]);
        assert!(!Trigger::never().is_due(CrashPoint::BeforeApply));
    }
}
