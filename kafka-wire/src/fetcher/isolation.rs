//! Leaves out what aborted transactions wrote (KIP-98).
//!
//! Every response lists the aborted transactions that overlap what it holds, as (producer, first offset). A producer counts as
//! aborted from the batch that reaches a first offset on until its abort marker. Brokers need not sort the list (Redpanda does
//! not), so it is sorted here. The list of one response says nothing about the next.

use std::collections::HashSet;

use super::AbortedTransaction;
use crate::protocol::batch::{BatchHeader, ControlMarker};

/// Decides batch by batch, in log order, which ones count.
#[derive(Debug, Clone, Default)]
pub(super) struct Isolation {
    /// Not reached yet; the nearest last.
    ahead: Vec<AbortedTransaction>,
    /// Producers whose transaction at this place of the log was aborted.
    aborted: HashSet<i64>,
}

impl Isolation {
    /// Starts on another response.
    pub(super) fn reset(&mut self, mut aborted: Vec<AbortedTransaction>) {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        self.ahead = aborted;
        self.aborted.clear();
    }

    /// Whether the records of the next batch count. Markers never do.
    pub(super) fn admits(&mut self, header: &BatchHeader, marker: Option<ControlMarker>) -> bool {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset < header.next_offset()) {
            self.aborted.insert(next.producer_id);
        }
        if header.attributes.is_control() {
            if marker == Some(ControlMarker::Abort) {
                self.aborted.remove(&header.producer_id);
            }
            return false;
        }
        !header.attributes.is_transactional() || !self.aborted.contains(&header.producer_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::Attributes;

    fn header(producer_id: i64, offset: i64, attributes: i16) -> BatchHeader {
        BatchHeader {
            base_offset: offset,
            batch_length: 49,
            partition_leader_epoch: 0,
            crc: 0,
            attributes: Attributes(attributes),
            last_offset_delta: 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            record_count: 2,
        }
    }

    const DATA: i16 = 0x10;
    const MARKER: i16 = 0x30;
    const PLAIN: i16 = 0;

    fn aborted(list: &[(i64, i64)]) -> Isolation {
        let list = list.iter().map(|&(producer_id, first_offset)| AbortedTransaction {
            producer_id,
            first_offset,
        });
        let mut isolation = Isolation::default();
        isolation.reset(list.collect());
        isolation
    }

    #[test]
    fn interleaved_transactions_are_told_apart_whatever_the_order_of_the_list() {
        let mut isolation = aborted(&[(3, 20), (1, 0), (1, 40)]);
        let abort = Some(ControlMarker::Abort);
        let commit = Some(ControlMarker::Commit);
        let log = [
            (1, 0, DATA, None, false),
            (2, 4, DATA, None, true),
            (9, 8, PLAIN, None, true),
            (1, 10, MARKER, abort, false),
            (1, 12, DATA, None, true),
            (1, 14, MARKER, commit, false),
            (3, 20, DATA, None, false),
            (2, 24, MARKER, commit, false),
            (3, 30, MARKER, abort, false),
            (1, 40, DATA, None, false),
        ];
        for (producer, offset, attributes, marker, counts) in log {
            let header = header(producer, offset, attributes);
            assert_eq!(
                isolation.admits(&header, marker),
                counts,
                "producer {producer} at {offset}"
            );
        }
    }

    #[test]
    fn a_transaction_that_began_before_the_response_is_aborted_from_its_first_batch_on() {
        let mut isolation = aborted(&[(1, 5)]);
        assert!(!isolation.admits(&header(1, 100, DATA), None));
        assert!(isolation.admits(&header(2, 102, DATA), None));
    }

    #[test]
    fn records_outside_of_transactions_always_count() {
        let mut isolation = aborted(&[(1, 0)]);
        assert!(isolation.admits(&header(1, 0, PLAIN), None));
    }

    #[test]
    fn another_response_starts_anew() {
        let mut isolation = aborted(&[(1, 0)]);
        assert!(!isolation.admits(&header(1, 0, DATA), None));
        isolation.reset(Vec::new());
        assert!(isolation.admits(&header(1, 2, DATA), None));
    }
}
