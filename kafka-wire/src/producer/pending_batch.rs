//! One submitted batch on its way to the log: its bytes, its number, and what is known about its whereabouts.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::connection::CallError;
use crate::connection::Permit;
use crate::producer::error::ProduceError;
use crate::producer::outcome::Persisted;
use crate::producer::sequence::{Stamp, following};
use crate::protocol::batch::{BatchBuilder, BatchError, Batches, HEADER_LEN, SealedBatch};
use crate::protocol::{Compression, TopicPartition};

/// A sealed batch for one partition. The tag comes back with its outcome.
#[derive(Debug)]
pub(super) struct Submission<T> {
    pub(super) topic_partition: TopicPartition,
    pub(super) batch: SealedBatch,
    /// The writer whose later batches must not be written if this one is not.
    pub(super) chain: Option<u64>,
    /// Needed at the moment of sending.
    pub(super) permit: Option<Permit>,
    pub(super) tag: T,
}

/// Where a batch stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// To be sent, for the first time or again.
    Waiting,
    /// In the request of that number, unanswered.
    InFlight(u64),
    /// Decided; told once everything before it is.
    Settled(Result<Persisted, ProduceError>),
}

/// A batch in its partition's queue.
#[derive(Debug)]
pub(super) struct PendingBatch<T> {
    /// `None` in all but the last part of a batch that was split.
    pub(super) tag: Option<T>,
    pub(super) chain: Option<u64>,
    pub(super) permit: Option<Permit>,
    pub(super) round: u64,
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
    /// Its number since the first send.
    pub(super) stamp: Option<Stamp>,
    /// An attempt went unanswered or was answered vaguely: it may be in the log.
    pub(super) possibly_written: bool,
    /// How often it was handed out to be sent.
    pub(super) attempts: u32,
    /// What the last attempt met, unless it was acknowledged.
    pub(super) trouble: Option<CallError>,
    /// The broker found it damaged once.
    pub(super) damaged: bool,
    /// Its writer takes it back, unless it is in flight.
    pub(super) abandoned: bool,
    /// Index of its first record in the batch that was submitted.
    pub(super) first_record: u32,
    pub(super) is_part: bool,
    record_count: u32,
    uncompressed_len: usize,
    sealed: Option<SealedBatch>,
    /// Frozen with the first stamp; shared with the connection while a request is being written.
    frozen: Bytes,
}

impl<T> PendingBatch<T> {
    pub(super) fn new(batch: SealedBatch, tag: T, chain: Option<u64>, round: u64, deadline: Instant) -> Self {
        PendingBatch {
            tag: Some(tag),
            chain,
            permit: None,
            round,
            deadline,
            stage: Stage::Waiting,
            stamp: None,
            possibly_written: false,
            attempts: 0,
            trouble: None,
            damaged: false,
            abandoned: false,
            first_record: 0,
            is_part: false,
            record_count: batch.record_count(),
            uncompressed_len: batch.uncompressed_len(),
            sealed: Some(batch),
            frozen: Bytes::new(),
        }
    }

    /// Whether it may not be sent at this moment.
    pub(super) fn is_forbidden(&self, now: Instant) -> bool {
        self.permit.as_ref().is_some_and(|permit| !permit.is_given(now))
    }

    pub(super) fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.sealed.as_ref().map_or(self.frozen.len(), SealedBatch::len)
    }

    /// Bytes before compression, the header included.
    pub(super) fn uncompressed_len(&self) -> usize {
        self.uncompressed_len
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled(_))
    }

    /// The bytes to send under `stamp`: the same ones as last time if the stamp is the same.
    pub(super) fn bytes(&mut self, stamp: Stamp) -> Bytes {
        if let Some(mut sealed) = self.sealed.take() {
            sealed.stamp(stamp.identity.id, stamp.identity.epoch, stamp.base_sequence);
            self.frozen = sealed.freeze();
        } else if self.stamp != Some(stamp) {
            self.frozen = restamp(std::mem::take(&mut self.frozen), stamp);
        }
        self.stamp = Some(stamp);
        self.frozen.clone()
    }

    /// The buffer of a batch that is done with, to be used again.
    pub(super) fn into_buffer(self) -> Bytes {
        self.sealed.map_or(self.frozen, SealedBatch::freeze)
    }

    /// Makes two batches of it, about equal in bytes: this one becomes the first, the second is returned. Together they have
    /// the same records and the same numbers, so batches after them need no new ones.
    ///
    /// # Errors
    /// The batch, which we built ourselves, cannot be read; it stays as it was.
    pub(super) fn split(&mut self) -> Result<PendingBatch<T>, BatchError> {
        let whole = self.sealed.as_ref().map_or(&self.frozen[..], SealedBatch::bytes);
        let (first, second) = halves(whole, self.record_count, self.uncompressed_len)?;
        let first_count = first.record_count();
        let mut rest = PendingBatch {
            tag: self.tag.take(),
            chain: self.chain,
            permit: self.permit.clone(),
            round: self.round,
            deadline: self.deadline,
            stage: Stage::Waiting,
            stamp: None,
            possibly_written: self.possibly_written,
            attempts: self.attempts,
            trouble: self.trouble.clone(),
            damaged: false,
            abandoned: self.abandoned,
            first_record: self.first_record + first_count,
            is_part: true,
            record_count: second.record_count(),
            uncompressed_len: second.uncompressed_len(),
            sealed: Some(second),
            frozen: Bytes::new(),
        };
        self.is_part = true;
        self.record_count = first_count;
        self.uncompressed_len = first.uncompressed_len();
        self.sealed = Some(first);
        if let Some(stamp) = self.stamp {
            drop(self.bytes(stamp));
            let base_sequence = following(stamp.base_sequence, first_count);
            drop(rest.bytes(Stamp { base_sequence, ..stamp }));
        }
        Ok(rest)
    }
}

fn halves(whole: &[u8], record_count: u32, uncompressed_len: usize) -> Result<(SealedBatch, SealedBatch), BatchError> {
    let unreadable = BatchError::Malformed {
        offset: 0,
        what: "no batch",
    };
    let batch = Batches::new(whole).next().ok_or(unreadable)??;
    let half = HEADER_LEN + uncompressed_len.saturating_sub(HEADER_LEN) / 2;
    let mut scratch = Vec::new();
    let mut first = BatchBuilder::new(BytesMut::with_capacity(half));
    let mut second = BatchBuilder::new(BytesMut::with_capacity(half));
    let mut headers = Vec::new();
    for record in batch.records(&mut scratch)? {
        let record = record?;
        headers.clear();
        for header in record.headers.iter() {
            headers.push(header?);
        }
        let goes_first = first.is_empty() || (first.len() < half && first.record_count() + 1 < record_count);
        let part = if goes_first && second.is_empty() {
            &mut first
        } else {
            &mut second
        };
        part.append(record.timestamp, record.key, record.value, &headers);
    }
    let codec = batch.header().attributes.codec();
    let compression = [Compression::Snappy, Compression::Lz4]
        .into_iter()
        .find(|ours| ours.codec() == codec);
    let compression = compression.unwrap_or(Compression::None);
    Ok((first.seal(compression), second.seal(compression)))
}

/// Writes another number into a batch that was frozen, in place unless someone still reads it.
fn restamp(frozen: Bytes, stamp: Stamp) -> Bytes {
    /// Where format v2 has the checksum, what it covers, and the producer's fields (KIP-98).
    const CRC: std::ops::Range<usize> = 17..21;
    const PRODUCER_ID: std::ops::Range<usize> = 43..51;
    const PRODUCER_EPOCH: std::ops::Range<usize> = 51..53;
    const BASE_SEQUENCE: std::ops::Range<usize> = 53..57;

    let mut batch = frozen
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    batch[PRODUCER_ID].copy_from_slice(&stamp.identity.id.to_be_bytes());
    batch[PRODUCER_EPOCH].copy_from_slice(&stamp.identity.epoch.to_be_bytes());
    batch[BASE_SEQUENCE].copy_from_slice(&stamp.base_sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC.end..]);
    batch[CRC].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's clock starts somewhere")]
mod tests {
    use super::*;
    use crate::producer::sequence::ProducerIdentity;
    use crate::protocol::batch::Header;

    const STAMP: Stamp = Stamp {
        identity: ProducerIdentity { id: 5, epoch: 1 },
        base_sequence: i32::MAX - 1,
    };

    fn pending(values: &[&[u8]], compression: Compression) -> PendingBatch<u32> {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for (index, value) in values.iter().enumerate() {
            let headers = [
                Header { key: b"h", value: None },
                Header {
                    key: b"h",
                    value: Some(value),
                },
            ];
            builder.append(1_000 + index as i64, Some(b"key"), Some(value), &headers);
        }
        PendingBatch::new(builder.seal(compression), 1, None, 0, Instant::now())
    }

    fn values(bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let batch = Batches::new(bytes).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        let mut scratch = Vec::new();
        batch
            .records(&mut scratch)
            .unwrap()
            .map(|record| {
                let record = record.unwrap();
                assert_eq!((record.key, record.headers.len()), (Some(&b"key"[..]), 2));
                (record.timestamp, record.value.unwrap().to_vec())
            })
            .collect()
    }

    fn stamp_of(bytes: &[u8]) -> Stamp {
        let header = *Batches::new(bytes).next().unwrap().unwrap().header();
        let identity = ProducerIdentity {
            id: header.producer_id,
            epoch: header.producer_epoch,
        };
        Stamp {
            identity,
            base_sequence: header.base_sequence,
        }
    }

    #[test]
    fn a_retry_sends_the_very_same_bytes() {
        let mut batch = pending(&[b"a"], Compression::None);
        let first = batch.bytes(STAMP);
        let again = batch.bytes(STAMP);
        assert_eq!(first.as_ptr(), again.as_ptr());
        assert_eq!(stamp_of(&again), STAMP);
    }

    #[test]
    fn a_new_number_leaves_bytes_that_are_still_being_written_alone() {
        let mut batch = pending(&[b"a", b"b"], Compression::None);
        let old = batch.bytes(STAMP);
        let bumped = Stamp {
            identity: ProducerIdentity { id: 5, epoch: 2 },
            base_sequence: 0,
        };
        let new = batch.bytes(bumped);
        assert_eq!((stamp_of(&old), stamp_of(&new)), (STAMP, bumped));
        assert_eq!(values(&old), values(&new));
    }

    #[test]
    fn halves_keep_records_order_numbers_and_compression() {
        let large = vec![b'x'; 3_000];
        for compression in [Compression::None, Compression::Snappy, Compression::Lz4] {
            let mut first = pending(&[b"one", b"two", &large, b"four"], compression);
            let whole = values(&first.bytes(STAMP));
            let mut second = first.split().unwrap();
            assert_eq!(
                (first.tag, second.tag),
                (None, Some(1)),
                "the last part answers for the batch"
            );
            let (a, b) = (first.bytes(first.stamp.unwrap()), second.bytes(second.stamp.unwrap()));
            assert_eq!([values(&a), values(&b)].concat(), whole);
            assert_eq!(stamp_of(&a), STAMP);
            let expected = following(STAMP.base_sequence, first.record_count());
            assert_eq!(
                stamp_of(&b),
                Stamp {
                    base_sequence: expected,
                    ..STAMP
                }
            );
            assert_eq!(second.first_record, first.record_count());
            assert!(first.record_count() > 0 && second.record_count() > 0);
        }
    }

    #[test]
    fn a_large_first_record_is_split_off_alone() {
        let large = vec![b'x'; 3_000];
        let mut first = pending(&[&large, b"two"], Compression::None);
        let second = first.split().unwrap();
        assert_eq!((first.record_count(), second.record_count()), (1, 1));
    }
}
