//! May a store found on disk be resumed from its checkpoint? (invariant I5)
//!
//! A store is a prefix of its changelog. It may be continued only while that is still the same changelog, still holds everything
//! after the checkpoint, and has not yet compacted away tombstones that the store never saw. Everything else is a reason to
//! start over, and the reason is said aloud. A pure function of facts.

use std::fmt;

use kafka_wire::TopicId;

use crate::storage::Checkpoint;

/// What is known about the changelog partition when a store is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changelog {
    /// Its topic id; zero if the broker does not tell.
    pub(crate) topic_id: TopicId,
    /// First offset that still exists.
    pub(crate) log_start: i64,
    /// Next offset that will be written.
    pub(crate) log_end: i64,
    /// Where the checkpoint's leader epoch ended, as the leader tells (KIP-320); `None` if it was not asked or does not know.
    pub(crate) epoch_end: Option<i64>,
    /// `delete.retention.ms`: how long tombstones survive; negative means for ever.
    pub(crate) delete_retention_ms: i64,
}

/// What to do with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on from this offset.
    Resume(i64),
    /// The store is empty; read from this offset.
    Fresh(i64),
    /// The store cannot be trusted: wipe it and read everything.
    Wipe(Distrust),
}

/// Why a store cannot be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The topic was deleted and created anew.
    OtherTopic { stored: TopicId, found: TopicId },
    /// The log ends before the checkpoint: it lost records, or is another log.
    Truncated { checkpoint: i64, log_end: i64 },
    /// The leader epoch of the checkpoint ended before it: those records were replaced.
    Diverged {
        checkpoint: i64,
        epoch: i32,
        epoch_end: i64,
    },
    /// Records after the checkpoint are gone already, deletions among them perhaps.
    LogStartPassed { checkpoint: i64, log_start: i64 },
    /// Tombstones written since may have been compacted away.
    TooOld { age_ms: i64, delete_retention_ms: i64 },
}

/// Judges `checkpoint` against the changelog; `now_ms` is the wall clock in milliseconds.
pub(crate) fn judge(checkpoint: Option<Checkpoint>, changelog: Changelog, now_ms: i64) -> Verdict {
    match checkpoint {
        None => Verdict::Fresh(changelog.log_start),
        Some(checkpoint) => match distrust(checkpoint, changelog, now_ms) {
            None => Verdict::Resume(checkpoint.offset),
            Some(reason) => Verdict::Wipe(reason),
        },
    }
}

fn distrust(checkpoint: Checkpoint, log: Changelog, now_ms: i64) -> Option<Distrust> {
    let offset = checkpoint.offset;
    if !checkpoint.topic_id.is_zero() && !log.topic_id.is_zero() && checkpoint.topic_id != log.topic_id {
        return Some(Distrust::OtherTopic {
            stored: checkpoint.topic_id,
            found: log.topic_id,
        });
    }
    if offset > log.log_end {
        return Some(Distrust::Truncated {
            checkpoint: offset,
            log_end: log.log_end,
        });
    }
    if let Some(epoch_end) = log.epoch_end.filter(|&end| end < offset) {
        return Some(Distrust::Diverged {
            checkpoint: offset,
            epoch: checkpoint.leader_epoch,
            epoch_end,
        });
    }
    if offset < log.log_start {
        return Some(Distrust::LogStartPassed {
            checkpoint: offset,
            log_start: log.log_start,
        });
    }
    // A store at the very end has missed nothing, however old it is.
    let age_ms = now_ms.saturating_sub(checkpoint.written_at);
    let retention = log.delete_retention_ms;
    (offset < log.log_end && retention >= 0 && age_ms > retention).then_some(Distrust::TooOld {
        age_ms,
        delete_retention_ms: retention,
    })
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::OtherTopic { stored, found } => {
                write!(
                    f,
                    "it belongs to topic id {stored}, the changelog now has id {found}: the topic was created anew"
                )
            }
            Distrust::Truncated { checkpoint, log_end } => {
                write!(
                    f,
                    "its checkpoint {checkpoint} lies beyond the changelog's end {log_end}: the log was truncated"
                )
            }
            Distrust::Diverged {
                checkpoint,
                epoch,
                epoch_end,
            } => {
                write!(
                    f,
                    "leader epoch {epoch} ended at {epoch_end}, before its checkpoint {checkpoint}: records were replaced"
                )
            }
            Distrust::LogStartPassed { checkpoint, log_start } => {
                write!(
                    f,
                    "its checkpoint {checkpoint} lies before the changelog's start {log_start}: records between are gone"
                )
            }
            Distrust::TooOld {
                age_ms,
                delete_retention_ms,
            } => write!(
                f,
                "it is {} s old, tombstones are kept for {} s only: deletions may have been missed",
                age_ms / 1000,
                delete_retention_ms / 1000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TopicId = TopicId([7; 16]);

    fn log() -> Changelog {
        Changelog {
            topic_id: ID,
            log_start: 10,
            log_end: 100,
            epoch_end: None,
            delete_retention_ms: 1000,
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            offset: 50,
            leader_epoch: 3,
            topic_id: ID,
            written_at: 5_000,
        }
    }

    fn reason(checkpoint: Checkpoint, log: Changelog, now_ms: i64) -> Option<Distrust> {
        match judge(Some(checkpoint), log, now_ms) {
            Verdict::Wipe(reason) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_store_of_the_same_log_goes_on_where_it_stopped() {
        assert_eq!(judge(Some(checkpoint()), log(), 5_500), Verdict::Resume(50));
    }

    #[test]
    fn an_empty_store_reads_from_the_log_start() {
        assert_eq!(judge(None, log(), 0), Verdict::Fresh(10));
    }

    #[test]
    fn a_topic_created_anew_is_not_continued() {
        let found = TopicId([8; 16]);
        let log = Changelog {
            topic_id: found,
            ..log()
        };
        assert_eq!(
            reason(checkpoint(), log, 5_500),
            Some(Distrust::OtherTopic { stored: ID, found })
        );
    }

    #[test]
    fn a_broker_that_tells_no_topic_id_is_not_a_reason_to_wipe() {
        let log = Changelog {
            topic_id: TopicId::ZERO,
            ..log()
        };
        assert_eq!(judge(Some(checkpoint()), log, 5_500), Verdict::Resume(50));
    }

    #[test]
    fn a_checkpoint_beyond_the_end_means_the_log_was_truncated() {
        let checkpoint = Checkpoint {
            offset: 101,
            ..checkpoint()
        };
        assert_eq!(
            reason(checkpoint, log(), 5_500),
            Some(Distrust::Truncated {
                checkpoint: 101,
                log_end: 100
            })
        );
    }

    #[test]
    fn an_epoch_that_ended_before_the_checkpoint_means_records_were_replaced() {
        let log = Changelog {
            epoch_end: Some(49),
            ..log()
        };
        assert_eq!(
            reason(checkpoint(), log, 5_500),
            Some(Distrust::Diverged {
                checkpoint: 50,
                epoch: 3,
                epoch_end: 49
            })
        );
        assert_eq!(
            judge(
                Some(checkpoint()),
                Changelog {
                    epoch_end: Some(50),
                    ..log
                },
                5_500
            ),
            Verdict::Resume(50)
        );
    }

    #[test]
    fn a_log_that_starts_after_the_checkpoint_may_have_lost_deletions() {
        let log = Changelog { log_start: 51, ..log() };
        assert_eq!(
            reason(checkpoint(), log, 5_500),
            Some(Distrust::LogStartPassed {
                checkpoint: 50,
                log_start: 51
            })
        );
    }

    #[test]
    fn a_store_older_than_the_tombstones_is_not_continued_unless_nothing_was_written_since() {
        let old = reason(checkpoint(), log(), 6_001);
        assert_eq!(
            old,
            Some(Distrust::TooOld {
                age_ms: 1_001,
                delete_retention_ms: 1_000
            })
        );
        assert_eq!(
            judge(Some(checkpoint()), Changelog { log_end: 50, ..log() }, 1 << 40),
            Verdict::Resume(50)
        );
        assert_eq!(
            judge(
                Some(checkpoint()),
                Changelog {
                    delete_retention_ms: -1,
                    ..log()
                },
                1 << 40
            ),
            Verdict::Resume(50)
        );
    }
}
