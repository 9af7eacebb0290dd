//! What became of a batch: positions for those that were written, an error for the others.

use crate::producer::error::{Persistence, ProduceError};

/// A batch the broker has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persisted {
    /// Offset of the first record; -1 when the broker only said that it already has the batch, or when the batch had
    /// to be split and other producers wrote between the parts.
    pub base_offset: i64,
    /// Records in the batch; they have consecutive offsets.
    pub record_count: u32,
    /// Milliseconds since the epoch, when the topic's `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: Option<i64>,
}

/// What became of one batch of a [`PartitionWriter`](crate::producer::PartitionWriter), in the writer's batch order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The `id` the writer was made with.
    pub writer: u32,
    /// Number of the batch, from 0, as `append` returned it.
    pub batch: u64,
    /// Where the batch is, or why it is not known to be in the log.
    pub result: Result<Persisted, ProduceError>,
}

/// Where one record of a `TopicProducer` (see [`crate::producer::TopicProducer`]) went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPosition {
    /// Partition the record is in.
    pub partition: i32,
    /// Offset of the record; -1 when the broker only said that it already has it.
    pub offset: i64,
    /// The record's timestamp, milliseconds since the epoch; the broker's clock on `LogAppendTime` topics.
    pub timestamp: i64,
}

/// What became of one submitted batch, which the broker's size limit may have forced into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole(Result<Persisted, ProduceError>),
    /// In record order; together they cover the batch.
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first_record: u32,
    pub(super) result: Result<Persisted, ProduceError>,
}

impl Outcome {
    /// Offset (-1 unknown) and log append time of the record at `index` of the submitted batch.
    pub(super) fn of_record(&self, index: u32) -> Result<(i64, Option<i64>), ProduceError> {
        let (first_record, result) = match self {
            Outcome::Whole(result) => (0, result),
            Outcome::Parts(parts) => {
                let after = parts.partition_point(|part| part.first_record <= index);
                let part = &parts[after.saturating_sub(1)];
                (part.first_record, &part.result)
            }
        };
        let persisted = result.as_ref().map_err(Clone::clone)?;
        let offset = match persisted.base_offset {
            -1 => -1,
            base => base + i64::from(index - first_record),
        };
        Ok((offset, persisted.log_append_time))
    }

    /// The first failure in it.
    pub(super) fn error(&self) -> Option<&ProduceError> {
        match self {
            Outcome::Whole(result) => result.as_ref().err(),
            Outcome::Parts(parts) => parts.iter().find_map(|part| part.result.as_ref().err()),
        }
    }

    /// One answer for the whole batch: its base offset if the parts lie side by side, else the first failure, which is
    /// never "not persisted" when another part was written.
    pub(super) fn into_whole(self) -> Result<Persisted, ProduceError> {
        match self {
            Outcome::Whole(result) => result,
            Outcome::Parts(parts) => join(&parts),
        }
    }
}

fn join(parts: &[Part]) -> Result<Persisted, ProduceError> {
    let written = parts.iter().any(|part| match &part.result {
        Ok(_) => true,
        Err(error) => error.persistence == Persistence::PossiblyPersisted,
    });
    let mut joined: Option<Persisted> = None;
    for part in parts {
        let persisted = part
            .result
            .as_ref()
            .map_err(|error| error.clone().with_persistence(written))?;
        joined = Some(match joined {
            None => *persisted,
            Some(before) => {
                let adjacent = before.base_offset >= 0
                    && before.base_offset + i64::from(before.record_count) == persisted.base_offset;
                Persisted {
                    base_offset: if adjacent { before.base_offset } else { -1 },
                    record_count: before.record_count + persisted.record_count,
                    log_append_time: before.log_append_time,
                }
            }
        });
    }
    Ok(joined.unwrap_or(Persisted {
        base_offset: -1,
        record_count: 0,
        log_append_time: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::error::ProduceErrorKind;

    fn persisted(base_offset: i64, record_count: u32) -> Result<Persisted, ProduceError> {
        Ok(Persisted {
            base_offset,
            record_count,
            log_append_time: None,
        })
    }

    #[test]
    fn parts_that_lie_side_by_side_join_to_one_range() {
        let parts = vec![
            Part {
                first_record: 0,
                result: persisted(10, 3),
            },
            Part {
                first_record: 3,
                result: persisted(13, 2),
            },
        ];
        assert_eq!(Outcome::Parts(parts).into_whole(), persisted(10, 5));
    }

    #[test]
    fn parts_with_a_foreign_record_between_them_keep_their_own_offsets() {
        let outcome = Outcome::Parts(vec![
            Part {
                first_record: 0,
                result: persisted(10, 3),
            },
            Part {
                first_record: 3,
                result: persisted(14, 2),
            },
        ]);
        assert_eq!(outcome.of_record(2), Ok((12, None)));
        assert_eq!(outcome.of_record(4), Ok((15, None)));
        assert_eq!(outcome.into_whole(), persisted(-1, 5));
    }

    #[test]
    fn a_failed_part_beside_a_written_one_makes_the_whole_possibly_persisted() {
        let failed = ProduceError::new(ProduceErrorKind::RecordTooLarge, "too large");
        let outcome = Outcome::Parts(vec![
            Part {
                first_record: 0,
                result: persisted(10, 3),
            },
            Part {
                first_record: 3,
                result: Err(failed.clone()),
            },
        ]);
        assert_eq!(outcome.of_record(3), Err(failed));
        assert_eq!(
            outcome.into_whole().unwrap_err().persistence,
            Persistence::PossiblyPersisted
        );
    }

    #[test]
    fn a_duplicate_has_no_offset_for_any_record() {
        assert_eq!(Outcome::Whole(persisted(-1, 7)).of_record(5), Ok((-1, None)));
    }
}
