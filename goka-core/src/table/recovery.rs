//! `Recovery`: from where to where a table must be read before it may be used, and how far that is.
//!
//! ```text
//!   position ──handle_progress──> ... ──position >= target──> at the target ──finish──> recovered
//! ```
//!
//! The end is judged by *position*, never by the offset of a record: compaction and transaction markers leave offsets that no
//! record carries, and a table whose last offset is such a one would otherwise never be ready (KAFKA-10167). What was read must
//! be at hand then; the owner says when it is.
//! A pure value: time comes in as an argument.

use std::time::{Duration, Instant};

/// How often progress is worth a line in the log.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(5);

/// See the module's text.
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    start: i64,
    target: i64,
    position: i64,
    records: u64,
    bytes: u64,
    started: Instant,
    finished: Option<Instant>,
    reported: Instant,
}

/// How far a table's recovery is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecoveryProgress {
    /// First changelog offset that had to be read.
    pub start: i64,
    /// Next changelog offset to read.
    pub position: i64,
    /// The changelog offset at which the table is complete.
    pub target: i64,
    /// Records read so far.
    pub records: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Time spent so far, or in all once recovered.
    pub elapsed: Duration,
    /// Offsets per second so far.
    pub rate: f64,
    /// Offsets still to read.
    pub remaining: u64,
    /// When it will be done at this rate; `None` while nothing is known.
    pub eta: Option<Duration>,
}

impl Recovery {
    /// Must read from `start` to `target`; a `target` at or below `start` is recovered at once.
    pub(crate) fn new(now: Instant, start: i64, target: i64) -> Recovery {
        Recovery {
            start,
            target,
            position: start,
            records: 0,
            bytes: 0,
            started: now,
            finished: (start >= target).then_some(now),
            reported: now,
        }
    }

    /// Feeds what was read: everything below `position` is done.
    pub(crate) fn handle_progress(&mut self, position: i64, records: u64, bytes: u64) {
        self.position = self.position.max(position);
        self.records += records;
        self.bytes += bytes;
    }

    /// Whether all is read and [`finish`](Recovery::finish) is due.
    pub(crate) fn is_at_target(&self) -> bool {
        self.finished.is_none() && self.position >= self.target
    }

    /// The table can be used from now on.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.finished.get_or_insert(now);
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.finished.is_some()
    }

    /// Whether a progress line is due; at most one per [`REPORT_EVERY`].
    pub(crate) fn report_due(&mut self, now: Instant) -> bool {
        let due = self.finished.is_none() && now.duration_since(self.reported) >= REPORT_EVERY;
        if due {
            self.reported = now;
        }
        due
    }

    pub(crate) fn progress(&self, now: Instant) -> RecoveryProgress {
        let elapsed = self.finished.unwrap_or(now).duration_since(self.started);
        let done = (self.position - self.start).max(0) as f64;
        let rate = if elapsed.is_zero() {
            0.0
        } else {
            done / elapsed.as_secs_f64()
        };
        let remaining = if self.finished.is_some() {
            0
        } else {
            (self.target - self.position).max(0) as u64
        };
        let eta = match (remaining, rate > 0.0) {
            (0, _) => Some(Duration::ZERO),
            (_, true) => Duration::try_from_secs_f64(remaining as f64 / rate).ok(),
            (_, false) => None,
        };
        RecoveryProgress {
            start: self.start,
            position: self.position,
            target: self.target,
            records: self.records,
            bytes: self.bytes,
            elapsed,
            rate,
            remaining,
            eta,
        }
    }
}

impl std::fmt::Display for RecoveryProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} offsets",
            self.position - self.start,
            self.target - self.start
        )?;
        write!(f, ", {:.0}/s, {} remaining", self.rate, self.remaining)?;
        match self.eta {
            Some(eta) => write!(f, ", done in {:.1} s", eta.as_secs_f64()),
            None => write!(f, ", end not yet known"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests {
    use super::*;

    #[test]
    fn an_up_to_date_table_is_recovered_without_reading() {
        let now = Instant::now();
        let recovery = Recovery::new(now, 7, 7);
        assert!(recovery.is_recovered());
        assert_eq!(recovery.progress(now).remaining, 0);
    }

    #[test]
    fn it_ends_by_position_even_when_the_last_offsets_hold_no_record() {
        let now = Instant::now();
        let mut recovery = Recovery::new(now, 0, 100);
        recovery.handle_progress(98, 98, 1000);
        assert!(!recovery.is_at_target());
        recovery.handle_progress(100, 0, 78);
        assert!(recovery.is_at_target() && !recovery.is_recovered());
        recovery.finish(now);
        assert!(recovery.is_recovered() && !recovery.is_at_target());
    }

    #[test]
    fn progress_tells_rate_remaining_and_when_it_will_be_done() {
        let now = Instant::now();
        let mut recovery = Recovery::new(now, 100, 1100);
        let later = now + Duration::from_secs(2);
        recovery.handle_progress(600, 400, 4000);
        let progress = recovery.progress(later);
        assert_eq!((progress.remaining, progress.records), (500, 400));
        assert!((progress.rate - 250.0).abs() < 1e-9);
        assert_eq!(progress.eta, Some(Duration::from_secs(2)));
        assert_eq!(
            progress.to_string(),
            "500 of 1000 offsets, 250/s, 500 remaining, done in 2.0 s"
        );
    }

    #[test]
    fn the_clock_stops_when_recovered() {
        let now = Instant::now();
        let mut recovery = Recovery::new(now, 0, 10);
        recovery.handle_progress(10, 10, 100);
        recovery.finish(now + Duration::from_secs(1));
        assert_eq!(
            recovery.progress(now + Duration::from_secs(60)).elapsed,
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_progress_line_is_due_every_five_seconds_only() {
        let now = Instant::now();
        let mut recovery = Recovery::new(now, 0, 10);
        assert!(!recovery.report_due(now + Duration::from_secs(4)));
        assert!(recovery.report_due(now + Duration::from_secs(5)));
        assert!(!recovery.report_due(now + Duration::from_secs(6)));
    }
}
