//! Defects, each planted into a correct history.

use super::run::{Random, Run};
use crate::checker::{History, Kind};

/// A way in which a processor, its broker or its store can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Drop,
    ApplyTwice,
    Swap,
    ApplyAborted,
    ResurrectInStore,
    ResurrectInTable,
    CommitPlusOne,
    CommitMinusOne,
    RestartPastCommit,
    OtherKeysRow,
    CutLastRecord,
    ReplayWithoutOwnership,
    CommitEarly,
    MoveOutput,
    DropOutput,
    StaleView,
    StoreAhead,
    StaleBase,
    ResetToStart,
    LateWriter,
    CommitBack,
    RepeatSequence,
    CallbackTwice,
    LoseAcked,
    StoreTwice,
    StoreFailed,
}

impl Defect {
    pub(super) const ALL: [Defect; 26] = [
        Defect::Drop,
        Defect::ApplyTwice,
        Defect::Swap,
        Defect::ApplyAborted,
        Defect::ResurrectInStore,
        Defect::ResurrectInTable,
        Defect::CommitPlusOne,
        Defect::CommitMinusOne,
        Defect::RestartPastCommit,
        Defect::OtherKeysRow,
        Defect::CutLastRecord,
        Defect::ReplayWithoutOwnership,
        Defect::CommitEarly,
        Defect::MoveOutput,
        Defect::DropOutput,
        Defect::StaleView,
        Defect::StoreAhead,
        Defect::StaleBase,
        Defect::ResetToStart,
        Defect::LateWriter,
        Defect::CommitBack,
        Defect::RepeatSequence,
        Defect::CallbackTwice,
        Defect::LoseAcked,
        Defect::StoreTwice,
        Defect::StoreFailed,
    ];

    /// The name it must be found by.
    pub(super) fn name(self) -> Kind {
        match self {
            Defect::Drop => Kind::Lost,
            Defect::ApplyTwice | Defect::ReplayWithoutOwnership => Kind::Doubled,
            Defect::Swap => Kind::Reorder,
            Defect::ApplyAborted => Kind::Phantom,
            Defect::ResurrectInStore | Defect::StaleView => Kind::StoreNotFold,
            Defect::ResurrectInTable | Defect::StaleBase => Kind::DirtyBase,
            Defect::CommitPlusOne | Defect::CutLastRecord | Defect::CommitEarly => Kind::CommitAhead,
            Defect::CommitMinusOne => Kind::Behind,
            Defect::RestartPastCommit => Kind::Skip,
            Defect::OtherKeysRow => Kind::WrongPayload,
            Defect::MoveOutput => Kind::WrongTopic,
            Defect::DropOutput => Kind::LostOutput,
            Defect::StoreAhead => Kind::StoreAhead,
            Defect::ResetToStart => Kind::WrongReset,
            Defect::LateWriter => Kind::LateWriter,
            Defect::CommitBack => Kind::CommitBack,
            Defect::RepeatSequence => Kind::BrokenSequence,
            Defect::CallbackTwice => Kind::CallbackOrder,
            Defect::LoseAcked => Kind::NotStored,
            Defect::StoreTwice => Kind::StoredTwice,
            Defect::StoreFailed => Kind::FailedButStored,
        }
    }

    /// What else is then true, and may be told too.
    pub(super) fn consequences(self) -> &'static [Kind] {
        match self {
            // Owners whose steps were changed also called back so.
            Defect::Drop | Defect::ApplyTwice | Defect::ReplayWithoutOwnership | Defect::Swap => &[Kind::CallbackOrder],
            // What one log lacks, others show.
            Defect::CutLastRecord => &[Kind::StoreAhead],
            Defect::OtherKeysRow => &[Kind::StoreNotFold, Kind::DirtyBase],
            Defect::MoveOutput => &[Kind::LostOutput, Kind::BrokenSequence],
            Defect::DropOutput => &[Kind::BrokenSequence],
            Defect::CommitMinusOne => &[Kind::CommitBack],
            _ => &[],
        }
    }

    /// A history with this defect; `None` if the one drawn has no place for it.
    pub(super) fn plant(self, random: &mut Random) -> Option<History> {
        let mut run = Run::new(random);
        let part = random.below(run.parts.len());
        if let Some(steps) = super::steps::plant(self, &run.parts[part], random) {
            run.parts[part].steps = steps?;
            return Some(run.history());
        }
        let mut history = run.history();
        super::histories::plant(self, &mut history, part as i32, random)?;
        Some(history)
    }
}
