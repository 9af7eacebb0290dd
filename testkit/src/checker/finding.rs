//! What the checker says: findings, and figures of what was legal.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An input that others went past was never applied.
    Lost,
    /// An owner began past the committed offset, or left out what it should have repeated.
    Skip,
    /// Something was applied or emitted that is not in the input.
    Phantom,
    /// Inputs were applied or emitted in another order than they lie in.
    Reorder,
    /// An input was applied again, and no replay from the committed offset explains it.
    Doubled,
    /// A row was not made from the row before it.
    DirtyBase,
    /// A former owner wrote after the next one had begun.
    LateWriter,
    /// A committed offset is past an input whose effects were not in the logs.
    CommitAhead,
    /// A committed offset went back.
    CommitBack,
    /// At rest, not everything is committed.
    Behind,
    /// An owner began at the log's start although an offset was committed.
    WrongReset,
    /// A store or view is not the fold of its changelog up to its checkpoint.
    StoreNotFold,
    /// A store's checkpoint is past the end of its changelog.
    StoreAhead,
    /// A record's bytes are not those that belong to its key and its input.
    WrongPayload,
    /// A record was emitted to another topic than it belongs to.
    WrongTopic,
    /// A committed input's output is missing.
    LostOutput,
    /// Callbacks of one owner were not called in offset order, one per record.
    CallbackOrder,
    /// A producer's sequence numbers in a log have a gap or a repetition.
    BrokenSequence,
    /// A record that was acknowledged is not where that was said.
    NotStored,
    /// A record that was sent once is in the log more than once.
    StoredTwice,
    /// A record that certainly failed is in the log.
    FailedButStored,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub kind: Kind,
    /// The partition number; -1 if it belongs to none.
    pub partition: i32,
    /// The key concerned, if it is one.
    pub key: Option<Bytes>,
    /// The offset concerned; the sentence says of which log. -1 if it is none.
    pub offset: i64,
    /// What was found, and what should have been.
    pub sentence: String,
}

/// An owner worked inputs off again, from the committed offset on, as at-least-once allows after an unclean end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The partition number.
    pub partition: i32,
    /// The input topic.
    pub topic: String,
    /// The first input that was repeated.
    pub from: i64,
    /// The last input that had been applied before.
    pub through: i64,
    /// Where the repetition begins in the changelog.
    pub changelog_offset: i64,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Repetitions that the committed offsets explain.
    pub replays: Vec<Replay>,
    /// Inputs in the logs.
    pub inputs: u64,
    /// Changelog records, each the application of one input.
    pub applied: u64,
    /// Applications beyond the first of each input.
    pub surplus: u64,
    /// Stores and views compared with their changelogs.
    pub stores: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings of each kind there are.
    pub fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for finding in &self.findings {
            *kinds.entry(finding.kind).or_default() += 1;
        }
        kinds
    }

    /// Fails the test if anything is wrong, and shows what.
    ///
    /// # Panics
    /// There is a finding.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in partition {}", self.kind, self.partition)?;
        if let Some(key) = &self.key {
            write!(f, ", key \"{}\"", key.escape_ascii())?;
        }
        if self.offset >= 0 {
            write!(f, ", offset {}", self.offset)?;
        }
        write!(f, ": {}", self.sentence)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than these say nothing new.
        const SHOWN: usize = 20;
        write!(
            f,
            "{} inputs, {} applied, {} of them again in {} replays, {} stores, {} findings",
            self.inputs,
            self.applied,
            self.surplus,
            self.replays.len(),
            self.stores,
            self.findings.len()
        )?;
        if !self.is_clean() {
            write!(f, " {:?}", self.kinds())?;
        }
        for finding in self.findings.iter().take(SHOWN) {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}
