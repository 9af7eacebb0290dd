//! What became of the records whose receipts nobody keeps.

use std::collections::VecDeque;
use std::fmt;

use kafka_wire::{ProduceError, Receipt};

/// Failures that are told in full; the others are counted.
const TOLD: usize = 10;

/// Receipts without an answer, oldest first, and the failures among those that had one.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    receipts: VecDeque<Receipt>,
    failed: u64,
    first: Vec<ProduceError>,
}

impl Unanswered {
    /// Adds a receipt; takes in the answers that have come meanwhile, at most two per call, so that no call takes long.
    pub(super) fn push(&mut self, receipt: Receipt) {
        self.receipts.push_back(receipt);
        for _ in 0..2 {
            if !self.take_answer() {
                return;
            }
        }
    }

    /// Takes in the answer to the oldest receipt; false if there is none yet.
    fn take_answer(&mut self) -> bool {
        let Some(answer) = self.receipts.front().and_then(Receipt::try_result) else {
            return false;
        };
        self.receipts.pop_front();
        if let Err(error) = answer {
            self.failed += 1;
            if self.first.len() < TOLD {
                self.first.push(error);
            }
        }
        true
    }

    /// The failures of all, after the producer answered everything.
    pub(super) fn finish(mut self, topic: &str) -> Result<(), EmitFailures> {
        while self.take_answer() {}
        self.failed += self.receipts.len() as u64;
        match self.failed {
            0 => Ok(()),
            failed => Err(EmitFailures {
                topic: topic.to_owned(),
                failed,
                first: self.first,
            }),
        }
    }
}

/// Records that an [`Emitter`](super::Emitter) could not write.
#[derive(Debug, Clone)]
pub struct EmitFailures {
    topic: String,
    failed: u64,
    first: Vec<ProduceError>,
}

impl EmitFailures {
    /// How many.
    pub fn count(&self) -> u64 {
        self.failed
    }

    /// The errors of the first ten.
    pub fn first(&self) -> &[ProduceError] {
        &self.first
    }
}

impl fmt::Display for EmitFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "topic {}: {} records were not, or perhaps not, written",
            self.topic, self.failed
        )?;
        for error in &self.first {
            write!(f, "; {error}")?;
        }
        let untold = self.failed - self.first.len() as u64;
        if untold > 0 {
            write!(f, "; and {untold} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for EmitFailures {}
