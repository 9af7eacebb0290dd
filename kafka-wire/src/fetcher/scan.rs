//! Finds out how far the bytes of a fetch reach, without looking at records.

use bytes::Bytes;

use crate::protocol::batch::{BatchError, Batches};

/// What the bytes of one partition hold.
#[derive(Debug)]
pub(super) struct Scan {
    /// The complete batches.
    pub(super) complete: Bytes,
    /// The offset after the last of them, or the offset asked for.
    pub(super) next_offset: i64,
    /// Leader epoch of the last of them, -1 if there is none.
    pub(super) leader_epoch: i32,
    /// Why there is not even one, if there is something.
    pub(super) trouble: Option<Trouble>,
}

/// What can be instead of a complete first batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The first batch takes so many bytes, which are more than there are.
    TooShort(usize),
    /// It is no batch.
    Corrupt(BatchError),
}

/// Looks through `records`, fetched from `offset` on. What follows a damaged batch is left for the next fetch to meet.
pub(super) fn scan(records: &Bytes, offset: i64) -> Scan {
    let mut batches = Batches::new(records);
    let (mut end, mut next_offset, mut leader_epoch, mut trouble) = (0, offset, -1, None);
    while let Some(batch) = batches.next() {
        match batch {
            Ok(batch) => {
                end = batches.position();
                next_offset = next_offset.max(batch.header().next_offset());
                leader_epoch = batch.header().partition_leader_epoch;
            }
            Err(error) => trouble = Some(Trouble::Corrupt(error)),
        }
    }
    if batches.is_truncated() {
        trouble = Some(Trouble::TooShort(needed(records)));
    }
    Scan {
        complete: records.slice(..end),
        next_offset,
        leader_epoch,
        trouble: trouble.filter(|_| end == 0),
    }
}

/// The bytes of the first batch, by its own word.
fn needed(records: &[u8]) -> usize {
    let length = records.get(8..).and_then(|rest| rest.first_chunk());
    let claimed = length.and_then(|length| usize::try_from(i32::from_be_bytes(*length)).ok());
    claimed.map_or(records.len() + 1, |length| length + 12)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::protocol::Compression;
    use crate::protocol::batch::BatchBuilder;

    fn batch(offset: i64, count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for _ in 0..count {
            builder.append(0, Some(b"key"), Some(b"value"), &[]);
        }
        let mut bytes = builder.seal(Compression::None).freeze().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&7i32.to_be_bytes());
        bytes
    }

    #[test]
    fn complete_batches_count_and_a_cut_off_tail_does_not() {
        let whole = [batch(5, 2), batch(7, 3)].concat();
        let cut = Bytes::from([&whole[..], &batch(10, 9)[..80]].concat());
        let scan = scan(&cut, 6);
        assert_eq!(
            (scan.complete.len(), scan.next_offset, scan.leader_epoch),
            (whole.len(), 10, 7)
        );
        assert_eq!(scan.trouble, None);
    }

    #[test]
    fn a_first_batch_that_is_cut_off_tells_how_much_it_takes() {
        let whole = batch(5, 9);
        for cut in [12, 40, whole.len() - 1] {
            let scan = scan(&Bytes::copy_from_slice(&whole[..cut]), 5);
            assert_eq!(scan.trouble, Some(Trouble::TooShort(whole.len())), "cut at {cut}");
            assert_eq!((scan.complete.len(), scan.next_offset), (0, 5));
        }
        assert_eq!(
            scan(&Bytes::copy_from_slice(&whole[..5]), 5).trouble,
            Some(Trouble::TooShort(6))
        );
    }

    #[test]
    fn damage_counts_only_when_nothing_comes_before_it() {
        let mut damaged = batch(7, 1);
        damaged[16] = 1;
        let scanned = scan(&Bytes::from([batch(5, 2), damaged.clone()].concat()), 5);
        assert_eq!((scanned.next_offset, scanned.trouble), (7, None));
        let expected = BatchError::UnsupportedMagic { offset: 7, magic: 1 };
        assert_eq!(scan(&Bytes::from(damaged), 7).trouble, Some(Trouble::Corrupt(expected)));
    }

    #[test]
    fn nothing_is_no_trouble() {
        let scan = scan(&Bytes::new(), 5);
        assert_eq!((scan.next_offset, scan.trouble), (5, None));
    }
}
