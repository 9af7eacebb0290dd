//! Which offset of a partition may be committed (I2).
//!
//! Input is taken in order, its effects are acknowledged in any order, and the offset that is committed must never pass an
//! input whose effects are still open: whoever takes over starts there. goka marks each message as it finishes and commits the
//! highest mark, which loses what was open below it.
//!
//! ```text
//!  begun      [0..10) [10..14) [14..30) [30..31)
//!  completed     x        x                x
//!  committable            ^ 14
//! ```
//! An entry is a run of consecutive input (one batch, one chunk of it, or one record) with a count of *holds*: one for the
//! processing itself and one for each effect still to be acknowledged. All operations are O(1), `complete` amortised; memory
//! is one entry per run that is begun and not yet behind the watermark.

use std::collections::VecDeque;
use std::ops::Range;

/// Finds the low watermark of completed input of one topic-partition during one ownership. When the position is reset (out of
/// range, truncation), start a new one.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Everything below is complete.
    committable: i64,
    /// Where the next entry begins at the earliest.
    position: i64,
    /// Begun, in input order; the first is never complete.
    entries: VecDeque<Open>,
    /// The id of `entries[0]`.
    first: u64,
}

/// A run of input handed to [`Ledger::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(u64);

#[derive(Debug, Clone, Copy)]
struct Open {
    /// The offset after the run.
    next: i64,
    holds: u32,
}

impl Ledger {
    /// Starts at the position from which the partition is read: the committed offset, or where the reset policy led.
    pub fn new(position: i64) -> Self {
        Self {
            committable: position,
            position,
            entries: VecDeque::new(),
            first: 0,
        }
    }

    /// Takes a run of input into account, with one hold on it. Runs must come in ascending order; offsets between them are
    /// gaps left by compaction or control records, and are passed with the run behind them.
    ///
    /// A run that reaches back below the position is a caller's mistake; it can hold the watermark but never take it back.
    pub fn begin(&mut self, offsets: Range<i64>) -> EntryId {
        debug_assert!(
            offsets.start >= self.position && offsets.end > offsets.start,
            "{offsets:?} after {}",
            self.position
        );
        self.position = self.position.max(offsets.end);
        self.entries.push_back(Open {
            next: self.position,
            holds: 1,
        });
        EntryId(self.first + self.entries.len() as u64 - 1)
    }

    /// Adds a hold: one more effect of this run must be acknowledged. Of no effect once the run is complete.
    pub fn hold(&mut self, id: EntryId) {
        if let Some(entry) = self.entry(id)
            && entry.holds > 0
        {
            entry.holds += 1;
        }
    }

    /// Gives up one hold and says whether [`Self::next_committable`] moved by it. Of no effect once the run is complete.
    pub fn complete(&mut self, id: EntryId) -> bool {
        let Some(entry) = self.entry(id) else { return false };
        entry.holds = entry.holds.saturating_sub(1);
        let before = self.committable;
        while let Some(Open { next, holds: 0 }) = self.entries.front() {
            self.committable = *next;
            self.entries.pop_front();
            self.first += 1;
        }
        self.committable > before
    }

    /// The offset that may be committed: the next input after the unbroken run of completed ones. The starting position as long
    /// as nothing is complete. Never decreases.
    pub fn next_committable(&self) -> i64 {
        self.committable
    }

    /// The offset after everything begun.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether everything begun is complete.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&mut self, id: EntryId) -> Option<&mut Open> {
        let index = usize::try_from(id.0.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_open_run_holds_back_the_completed_ones_behind_it() {
        let mut ledger = Ledger::new(42);
        let (first, second) = (ledger.begin(42..43), ledger.begin(43..44));
        assert!(!ledger.complete(second));
        assert_eq!(ledger.next_committable(), 42);
        assert!(ledger.complete(first));
        assert_eq!(ledger.next_committable(), 44);
        assert!(ledger.is_idle());
    }

    #[test]
    fn a_run_is_complete_when_its_processing_and_all_its_effects_are() {
        let mut ledger = Ledger::new(0);
        let run = ledger.begin(0..100);
        ledger.hold(run);
        ledger.hold(run);
        assert!(!ledger.complete(run));
        assert!(!ledger.complete(run));
        assert_eq!(ledger.next_committable(), 0);
        assert!(ledger.complete(run));
        assert_eq!(ledger.next_committable(), 100);
    }

    #[test]
    fn completing_what_is_already_complete_changes_nothing() {
        let mut ledger = Ledger::new(0);
        let (first, second, third) = (ledger.begin(0..1), ledger.begin(1..2), ledger.begin(2..3));
        ledger.complete(second);
        ledger.complete(second);
        ledger.hold(second);
        ledger.complete(first);
        ledger.complete(first);
        assert_eq!(ledger.next_committable(), 2);
        assert!(ledger.complete(third));
    }

    #[test]
    fn a_gap_left_by_compaction_is_passed_with_the_run_behind_it() {
        let mut ledger = Ledger::new(5);
        let (first, second) = (ledger.begin(7..9), ledger.begin(20..21));
        ledger.complete(first);
        assert_eq!(ledger.next_committable(), 9);
        ledger.complete(second);
        assert_eq!(ledger.next_committable(), 21);
        assert_eq!(ledger.position(), 21);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin { gap: i64, len: i64 },
        Hold(usize),
        Complete(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0_i64..3, 1_i64..5).prop_map(|(gap, len)| Step::Begin { gap, len }),
            1 => any::<usize>().prop_map(Step::Hold),
            4 => any::<usize>().prop_map(Step::Complete),
        ]
    }

    /// Every run ever begun with its holds; the watermark is found by looking at all of them.
    #[derive(Default)]
    struct Model(Vec<(i64, u32)>);

    impl Model {
        fn watermark(&self, start: i64) -> i64 {
            self.0
                .iter()
                .take_while(|(_, holds)| *holds == 0)
                .last()
                .map_or(start, |(next, _)| *next)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_watermark_is_that_of_the_naive_model(start in 0_i64..1000, steps in proptest::collection::vec(step(), 0..120)) {
            let (mut ledger, mut model, mut ids) = (Ledger::new(start), Model::default(), Vec::new());
            for step in steps {
                let before = ledger.next_committable();
                match step {
                    Step::Begin { gap, len } => {
                        let from = ledger.position() + gap;
                        ids.push(ledger.begin(from..from + len));
                        model.0.push((from + len, 1));
                    }
                    Step::Hold(_) | Step::Complete(_) if ids.is_empty() => continue,
                    Step::Hold(pick) => {
                        let pick = pick % ids.len();
                        ledger.hold(ids[pick]);
                        if model.0[pick].1 > 0 { model.0[pick].1 += 1 }
                    }
                    Step::Complete(pick) => {
                        let pick = pick % ids.len();
                        let moved = ledger.complete(ids[pick]);
                        model.0[pick].1 = model.0[pick].1.saturating_sub(1);
                        prop_assert_eq!(moved, ledger.next_committable() > before);
                    }
                }
                prop_assert_eq!(ledger.next_committable(), model.watermark(start));
                prop_assert!(ledger.next_committable() >= before);
                prop_assert_eq!(ledger.is_idle(), model.0.iter().all(|(_, holds)| *holds == 0));
            }
        }
    }
}
