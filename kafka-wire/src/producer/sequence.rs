//! Numbering of one partition's records (KIP-98): what makes a retry harmless.
//!
//! A batch carries producer id, producer epoch and the sequence of its first record; records count up by one and wrap
//! from `i32::MAX` to 0. The broker appends a batch only if it continues the sequence it has, and answers a repeated one
//! without appending it. Three rules keep that true on our side:
//!
//! * A number is given at the first send and stays with those bytes. It is taken back only when the batch was definitely
//!   not written and nothing after it was numbered.
//! * A broker that has never seen our (producer id, epoch) accepts *any* first sequence. So at most one batch of the
//!   partition is in flight until that broker has acknowledged one; then up to `max_in_flight`, which the broker's memory
//!   of five batches bounds. The proof ends with the queue: a broker forgets producers that are silent, so the first batch
//!   after a pause goes alone again.
//! * A new epoch starts every partition from 0, once nothing numbered under the old one is left there (KIP-360).

/// Producer id and epoch, as `InitProducerId` gave them or a local bump made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerIdentity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// The number a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) identity: ProducerIdentity,
    pub(super) base_sequence: i32,
}

/// Next number of one partition, and how far its leader is known to follow.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    identity: Option<ProducerIdentity>,
    next: i32,
    /// The leader that acknowledged a batch of `identity` since the last doubt.
    proven_on: Option<i32>,
    /// Offset of the last record known to be written, -1 if none: tells lost state from lost data.
    last_acked_offset: i64,
}

impl Sequence {
    pub(super) fn new() -> Sequence {
        Sequence {
            last_acked_offset: -1,
            ..Sequence::default()
        }
    }

    /// Numbers `record_count` records; a new identity starts from 0.
    pub(super) fn stamp(&mut self, identity: ProducerIdentity, record_count: u32) -> Stamp {
        if self.identity != Some(identity) {
            self.identity = Some(identity);
            self.next = 0;
            self.proven_on = None;
        }
        let stamp = Stamp {
            identity,
            base_sequence: self.next,
        };
        self.next = following(self.next, record_count);
        stamp
    }

    /// Takes numbers back: nothing from `stamp` on was written, and nothing from it on will be sent.
    pub(super) fn rewind(&mut self, stamp: Stamp) {
        if self.identity == Some(stamp.identity) {
            self.next = stamp.base_sequence;
        }
    }

    /// `node` has written a batch with this stamp; `last_offset` is -1 if it did not say where.
    pub(super) fn acknowledged(&mut self, node: i32, stamp: Stamp, last_offset: i64) {
        if self.identity == Some(stamp.identity) {
            self.proven_on = Some(node);
        }
        self.last_acked_offset = self.last_acked_offset.max(last_offset);
    }

    /// An answer was missing or bad, or nothing was sent for a while: one batch at a time until the next acknowledgement.
    pub(super) fn doubt(&mut self) {
        self.proven_on = None;
    }

    /// Leaves the identity; the next stamp starts from 0 under a new one.
    pub(super) fn abandon(&mut self) -> Option<ProducerIdentity> {
        self.proven_on = None;
        self.identity.take()
    }

    /// How many batches may be in flight to `node`.
    pub(super) fn window(&self, node: i32, max_in_flight: usize) -> usize {
        if self.proven_on == Some(node) { max_in_flight } else { 1 }
    }

    pub(super) fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    pub(super) fn last_acked_offset(&self) -> i64 {
        self.last_acked_offset
    }
}

/// The sequence `record_count` records after `sequence`, wrapping to 0 after `i32::MAX` as the broker counts.
pub(super) fn following(sequence: i32, record_count: u32) -> i32 {
    const CYCLE: i64 = i32::MAX as i64 + 1;
    let next = (i64::from(sequence) + i64::from(record_count)) % CYCLE;
    i32::try_from(next).expect("a remainder of 2^31 is below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
    const BUMPED: ProducerIdentity = ProducerIdentity { id: 7, epoch: 1 };

    #[test]
    fn numbers_count_records_and_wrap_to_zero_after_the_largest() {
        assert_eq!(following(0, 3), 3);
        assert_eq!(following(i32::MAX, 1), 0);
        assert_eq!(following(i32::MAX - 1, 5), 3);
        let mut sequence = Sequence::new();
        sequence.stamp(FIRST, i32::MAX as u32);
        assert_eq!(sequence.stamp(FIRST, 2).base_sequence, i32::MAX);
        assert_eq!(sequence.stamp(FIRST, 1).base_sequence, 1);
    }

    #[test]
    fn a_new_epoch_starts_from_zero() {
        let mut sequence = Sequence::new();
        sequence.stamp(FIRST, 10);
        assert_eq!(
            sequence.stamp(BUMPED, 1),
            Stamp {
                identity: BUMPED,
                base_sequence: 0
            }
        );
    }

    #[test]
    fn the_window_opens_with_the_first_ack_on_that_leader_and_closes_on_doubt_or_epoch() {
        let mut sequence = Sequence::new();
        let stamp = sequence.stamp(FIRST, 1);
        assert_eq!(sequence.window(1, 5), 1);
        sequence.acknowledged(1, stamp, 0);
        assert_eq!(sequence.window(1, 5), 5);
        assert_eq!(sequence.window(2, 5), 1, "another leader has not seen us");
        sequence.doubt();
        assert_eq!(sequence.window(1, 5), 1);
        sequence.acknowledged(1, stamp, 1);
        sequence.stamp(BUMPED, 1);
        assert_eq!(sequence.window(1, 5), 1);
    }

    #[test]
    fn an_ack_of_an_old_epoch_proves_nothing_for_the_new_one() {
        let mut sequence = Sequence::new();
        let old = sequence.stamp(FIRST, 1);
        sequence.stamp(BUMPED, 1);
        sequence.acknowledged(1, old, 0);
        assert_eq!(sequence.window(1, 5), 1);
    }

    #[test]
    fn rewinding_gives_the_same_number_again() {
        let mut sequence = Sequence::new();
        sequence.stamp(FIRST, 4);
        let refused = sequence.stamp(FIRST, 3);
        sequence.rewind(refused);
        assert_eq!(sequence.stamp(FIRST, 2), refused);
    }
}
