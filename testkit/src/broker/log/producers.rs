//! What a partition remembers of its idempotent producers (`ProducerStateManager`, `ProducerAppendInfo`, KIP-98, KIP-360).
//!
//! Per producer id: the epoch and the last five batches. A batch that is one of the five is a duplicate and answered with
//! its first position; else its first sequence must follow the last one, or be 0 in a new epoch. A producer the partition
//! does not know may begin anywhere: its earlier records may have been deleted.

use std::collections::{BTreeMap, VecDeque};

use kafka_wire::ErrorCode;

use super::AppendError;

const RETAINED_BATCHES: usize = 5;

/// The sequence numbers of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    /// `lastOffsetDelta` of the batch: records - 1 as the producer sent it.
    pub(crate) delta: i32,
}

impl Sequence {
    /// Sequences wrap around to 0.
    fn last(self) -> i32 {
        let last = (i64::from(self.first) + i64::from(self.delta)) % (i64::from(i32::MAX) + 1);
        i32::try_from(last).unwrap_or(i32::MAX)
    }
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenBatch {
    first_sequence: i32,
    last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    /// The batch's largest timestamp.
    pub(crate) timestamp: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<SeenBatch>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: BTreeMap<i64, Producer>,
}

impl Producers {
    /// Whether a batch may be appended; a duplicate gives the batch it repeats.
    ///
    /// # Errors
    ///
    /// INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER.
    pub(crate) fn check(&self, sequence: Sequence) -> Result<Option<SeenBatch>, AppendError> {
        let Some(producer) = self.known.get(&sequence.producer_id) else {
            return Ok(None);
        };
        if producer.epoch == sequence.epoch {
            let same =
                |batch: &&SeenBatch| batch.first_sequence == sequence.first && batch.last_sequence == sequence.last();
            if let Some(seen) = producer.batches.iter().find(same) {
                return Ok(Some(*seen));
            }
        }
        if sequence.epoch < producer.epoch {
            let (old, new) = (sequence.epoch, producer.epoch);
            return Err(AppendError::new(
                ErrorCode::INVALID_PRODUCER_EPOCH,
                format!(
                    "producer {} has epoch {old}, the last seen one is {new}",
                    sequence.producer_id
                ),
            ));
        }
        let last = producer.batches.back().map_or(-1, |batch| batch.last_sequence);
        let in_order = match sequence.epoch > producer.epoch {
            true => sequence.first == 0,
            false => follows(last, sequence.first),
        };
        if in_order {
            Ok(None)
        } else {
            Err(out_of_order(sequence, last))
        }
    }

    /// Remembers an appended batch.
    pub(crate) fn append(&mut self, sequence: Sequence, base_offset: i64, timestamp: i64) {
        let fresh = || Producer {
            epoch: sequence.epoch,
            batches: VecDeque::with_capacity(RETAINED_BATCHES),
        };
        let producer = self.known.entry(sequence.producer_id).or_insert_with(fresh);
        if producer.epoch != sequence.epoch {
            producer.epoch = sequence.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == RETAINED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(SeenBatch {
            first_sequence: sequence.first,
            last_sequence: sequence.last(),
            base_offset,
            last_offset: base_offset + i64::from(sequence.delta),
            timestamp,
        });
    }

    /// The last offset the producer wrote, if it is known.
    pub(crate) fn last_offset(&self, producer_id: i64) -> Option<i64> {
        self.known
            .get(&producer_id)?
            .batches
            .back()
            .map(|batch| batch.last_offset)
    }

    /// Forgets every producer, as expiry does (`producer.id.expiration.ms`); how many there were.
    pub(crate) fn expire_all(&mut self) -> usize {
        std::mem::take(&mut self.known).len()
    }
}

fn follows(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || (next == 0 && last == i32::MAX)
}

fn out_of_order(sequence: Sequence, last: i32) -> AppendError {
    let Sequence {
        producer_id,
        epoch,
        first,
        ..
    } = sequence;
    AppendError::new(
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        format!("producer {producer_id} epoch {epoch} sent sequence {first}, the last one in the log is {last}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(epoch: i16, first: i32, count: i32) -> Sequence {
        Sequence {
            producer_id: 7,
            epoch,
            first,
            delta: count - 1,
        }
    }

    /// Producer 7 wrote `count` batches of ten records each in epoch 0, from sequence and offset 0 on.
    fn after_batches(count: i32) -> Producers {
        let mut producers = Producers::default();
        for batch in 0..count {
            let sequence = sequence(0, batch * 10, 10);
            assert_eq!(producers.check(sequence).unwrap(), None);
            producers.append(sequence, i64::from(batch * 10), 1000);
        }
        producers
    }

    fn refusal(producers: &Producers, sequence: Sequence) -> ErrorCode {
        producers.check(sequence).unwrap_err().code
    }

    #[test]
    fn each_of_the_last_five_batches_is_a_duplicate_and_older_ones_are_out_of_order() {
        let producers = after_batches(6);
        for batch in 1..6 {
            let seen = producers.check(sequence(0, batch * 10, 10)).unwrap().unwrap();
            assert_eq!(
                (seen.base_offset, seen.last_offset),
                (i64::from(batch * 10), i64::from(batch * 10 + 9))
            );
        }
        assert_eq!(
            refusal(&producers, sequence(0, 0, 10)),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        );
    }

    #[test]
    fn a_gap_and_a_batch_of_another_size_are_out_of_order() {
        let producers = after_batches(2);
        assert_eq!(
            refusal(&producers, sequence(0, 30, 10)),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        );
        assert_eq!(
            refusal(&producers, sequence(0, 10, 5)),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        );
        assert_eq!(producers.check(sequence(0, 20, 3)).unwrap(), None);
    }

    #[test]
    fn a_new_epoch_begins_at_sequence_zero_and_fences_the_old_one() {
        let mut producers = after_batches(2);
        assert_eq!(
            refusal(&producers, sequence(1, 20, 10)),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        );
        assert_eq!(producers.check(sequence(1, 0, 10)).unwrap(), None);
        producers.append(sequence(1, 0, 10), 20, 1000);
        assert_eq!(
            refusal(&producers, sequence(0, 20, 10)),
            ErrorCode::INVALID_PRODUCER_EPOCH
        );
        assert_eq!(
            refusal(&producers, sequence(0, 10, 10)),
            ErrorCode::INVALID_PRODUCER_EPOCH,
            "not even a duplicate"
        );
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        let mut producers = after_batches(2);
        let stranger = Sequence {
            producer_id: 8,
            epoch: 3,
            first: 41,
            delta: 0,
        };
        assert_eq!(producers.check(stranger).unwrap(), None);
        assert_eq!(producers.expire_all(), 1);
        assert_eq!(producers.check(sequence(0, 500, 1)).unwrap(), None);
    }

    #[test]
    fn sequences_wrap_around_to_zero() {
        let mut producers = Producers::default();
        producers.append(sequence(0, i32::MAX - 1, 2), 0, 1000);
        assert_eq!(producers.check(sequence(0, 0, 1)).unwrap(), None);
        let mut producers = Producers::default();
        let over_the_edge = sequence(0, i32::MAX, 3);
        producers.append(over_the_edge, 0, 1000);
        assert!(producers.check(over_the_edge).unwrap().is_some());
        assert_eq!(producers.check(sequence(0, 2, 1)).unwrap(), None);
    }
}
