//! The records of fetched bytes, one after the other: the innermost loop of every reader.
//!
//! A cursor lends records out of the response's buffer. It allocates nothing per record; compressed batches go through one
//! scratch buffer that lives as long as the cursor. Per batch it checks the checksum and whether the batch counts at all
//! (markers never do, aborted transactions do not when reading committed). The position moves over everything left out, and to
//! the end of each batch whatever compaction removed from it (KAFKA-5443).

use bytes::Bytes;

use super::isolation::Isolation;
use super::memory::Held;
use super::{FetchError, FetchErrorKind, FetchedBatch};
use crate::protocol::IsolationLevel;
use crate::protocol::batch::{Batch, BatchError, BatchHeader, Batches, Layout, Record, most_records};

/// Lends the records of a [`FetchedBatch`] in order.
///
/// After an error it stays where it is and repeats the error: what follows damaged bytes must not be taken for the next records.
#[derive(Debug)]
pub struct RecordCursor {
    fetched: FetchedBatch,
    level: IsolationLevel,
    isolation: Isolation,
    /// The decompressed records of the open batch, if it is compressed.
    scratch: Vec<u8>,
    /// Counts the scratch buffer in the memory for fetches.
    scratch_held: Option<Held>,
    open: Open,
    /// Where in the fetched bytes the next batch begins.
    next_batch: usize,
    next_offset: i64,
    failed: Option<BatchError>,
}

/// The batch whose records are being lent.
#[derive(Debug)]
struct Open {
    layout: Layout,
    /// Whether its records lie in the scratch buffer, or else in the fetched bytes.
    in_scratch: bool,
    /// The next record and the end of the records, in whichever buffer they lie.
    at: usize,
    end: usize,
    left: i32,
    next_offset: i64,
}

impl RecordCursor {
    /// A cursor before the first record of `batch`.
    pub fn new(batch: FetchedBatch, isolation: IsolationLevel) -> RecordCursor {
        let next_offset = batch.fetch_offset;
        let mut cursor = RecordCursor {
            fetched: batch,
            level: isolation,
            isolation: Isolation::default(),
            scratch: Vec::new(),
            scratch_held: None,
            open: Open::nothing(next_offset),
            next_batch: 0,
            next_offset,
            failed: None,
        };
        cursor.isolation.reset(std::mem::take(&mut cursor.fetched.aborted));
        cursor
    }

    /// Goes on with another batch, keeping the buffers.
    pub fn reset(&mut self, mut batch: FetchedBatch) {
        self.isolation.reset(std::mem::take(&mut batch.aborted));
        self.next_batch = 0;
        self.next_offset = batch.fetch_offset;
        self.open = Open::nothing(self.next_offset);
        self.failed = None;
        self.fetched = batch;
    }

    /// The next record that counts; `None` after the last one.
    ///
    /// # Errors
    /// A batch is damaged, or compressed in a way that is not supported. [`next_offset`](RecordCursor::next_offset) then stands
    /// before the first record that was not lent.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, FetchError> {
        if self.open.left <= 0 && !self.open_next()? {
            return Ok(None);
        }
        let bytes = match self.open.in_scratch {
            true => &self.scratch[..self.open.end],
            false => &self.fetched.records[..self.open.end],
        };
        match self.open.layout.read(bytes, &mut self.open.at) {
            Ok(record) if record.offset >= self.next_offset => {
                self.open.left -= 1;
                self.next_offset = record.offset + 1;
                Ok(Some(record))
            }
            outcome => {
                // The first record of a batch at or above the position was found already, so one below it goes backwards.
                let error = outcome
                    .err()
                    .unwrap_or_else(|| self.open.layout.malformed("offsets do not increase"));
                self.open.left = 0;
                Err(fail(&mut self.failed, &self.fetched, self.next_offset, error))
            }
        }
    }

    /// The position after everything lent and left out so far; after the end, past the last batch.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Records that are left at most; may be more than will be lent.
    pub fn remaining_hint(&self) -> usize {
        let mut left = most_records(self.open.left, self.open.end - self.open.at);
        for batch in Batches::at(&self.fetched.records, self.next_batch).flatten() {
            let claims = batch.header().record_count;
            left += match batch.is_compressed() {
                // Compression hides how many records fit; nobody should reserve more on a header's word.
                true => (claims.max(0) as usize).min(batch.payload().len()),
                false => most_records(claims, batch.payload().len()),
            };
        }
        left
    }

    /// What is being read.
    pub fn batch(&self) -> &FetchedBatch {
        &self.fetched
    }

    /// Opens the next batch that has a record at or above the position. `false` at the end.
    #[cold]
    fn open_next(&mut self) -> Result<bool, FetchError> {
        self.try_open_next().map_err(|error| {
            self.open.left = 0;
            fail(&mut self.failed, &self.fetched, self.next_offset, error)
        })
    }

    fn try_open_next(&mut self) -> Result<bool, BatchError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            if self.open.at < self.open.end {
                return Err(self.open.layout.malformed("bytes after the last record"));
            }
            self.next_offset = self.next_offset.max(self.open.next_offset);
            // The bytes are shared, so this clone is a reference count; it frees `self` to be changed below.
            let records = self.fetched.records.clone();
            let mut batches = Batches::at(&records, self.next_batch);
            let Some(batch) = batches.next().transpose()? else {
                drop(records);
                self.let_go();
                return Ok(false);
            };
            batch.verify_crc()?;
            self.next_batch = batches.position();
            self.open = Open::nothing(batch.header().next_offset());
            if self.counts(&batch) {
                self.open_batch(&batch)?;
                self.skip_read()?;
            }
            if self.open.left > 0 {
                return Ok(true);
            }
        }
    }

    /// Keeps nothing alive once everything is lent, however long the next batch is in coming.
    #[cold]
    fn let_go(&mut self) {
        (self.fetched.records, self.next_batch) = (Bytes::new(), 0);
        self.open = Open::nothing(self.next_offset);
        self.fetched.held = None;
        if self.scratch_held.as_ref().is_some_and(Held::is_short) {
            self.scratch = Vec::new();
            self.scratch_held = None;
        }
    }

    fn count_scratch(&mut self) {
        let bytes = self.scratch.capacity();
        match (&mut self.scratch_held, &self.fetched.held) {
            (Some(held), _) => held.resize(bytes),
            (none, Some(fetched)) => *none = Some(fetched.beside(bytes)),
            (None, None) => {}
        }
    }

    fn counts(&mut self, batch: &Batch<'_>) -> bool {
        match self.level {
            IsolationLevel::ReadUncommitted => !batch.header().attributes.is_control(),
            IsolationLevel::ReadCommitted => self.isolation.admits(batch.header(), batch.control_marker()),
        }
    }

    fn open_batch(&mut self, batch: &Batch<'_>) -> Result<(), BatchError> {
        let header = batch.header();
        // A batch that lies below the position altogether is not worth decompressing.
        if header.next_offset() <= self.next_offset {
            return Ok(());
        }
        let in_scratch = batch.is_compressed();
        let (at, end) = match in_scratch {
            true => {
                batch.decompress(&mut self.scratch)?;
                self.count_scratch();
                (0, self.scratch.len())
            }
            false => (self.next_batch - batch.payload().len(), self.next_batch),
        };
        self.open = Open {
            in_scratch,
            at,
            end,
            ..Open::of(header)
        };
        Ok(())
    }

    /// Brokers send whole batches; the records below the position were not asked for.
    fn skip_read(&mut self) -> Result<(), BatchError> {
        let bytes = match self.open.in_scratch {
            true => &self.scratch[..self.open.end],
            false => &self.fetched.records[..self.open.end],
        };
        while self.open.left > 0 {
            let mut at = self.open.at;
            if self.open.layout.read(bytes, &mut at)?.offset >= self.next_offset {
                break;
            }
            self.open.at = at;
            self.open.left -= 1;
        }
        Ok(())
    }
}

impl Open {
    fn of(header: &BatchHeader) -> Open {
        Open {
            layout: Layout::of(header),
            in_scratch: false,
            at: 0,
            end: 0,
            left: header.record_count,
            next_offset: header.next_offset(),
        }
    }

    /// No record, and the position to go on from.
    fn nothing(next_offset: i64) -> Open {
        Open {
            layout: Layout::NONE,
            in_scratch: false,
            at: 0,
            end: 0,
            left: 0,
            next_offset,
        }
    }
}

/// Notes the error, so that it is repeated, and tells it.
#[cold]
fn fail(failed: &mut Option<BatchError>, fetched: &FetchedBatch, offset: i64, error: BatchError) -> FetchError {
    *failed = Some(error.clone());
    FetchError::new(FetchErrorKind::Corrupt(error), fetched.topic_partition.clone(), offset)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::fetcher::AbortedTransaction;
    use crate::protocol::batch::BatchBuilder;
    use crate::protocol::{Compression, TopicPartition};

    /// A batch at `offset` whose values are the offsets in text, changed by `change` before its checksum is written.
    fn batch(offset: i64, count: i64, compression: Compression, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BytesMut::new());
        for number in 0..count {
            builder.append(0, None, Some((offset + number).to_string().as_bytes()), &[]);
        }
        let mut bytes = builder.seal(compression).freeze().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        change(&mut bytes);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn plain(offset: i64, count: i64) -> Vec<u8> {
        batch(offset, count, Compression::None, |_| {})
    }

    /// A batch of a transaction of `producer`, or its marker.
    fn transactional(offset: i64, producer: i64, attributes: u8) -> Vec<u8> {
        batch(offset, 2, Compression::None, |bytes| {
            bytes[22] |= attributes;
            bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        })
    }

    fn marker(offset: i64, producer: i64, kind: u8) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.append(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]);
        let mut bytes = builder.seal(Compression::None).freeze().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[22] |= 0x30;
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn fetched(fetch_offset: i64, batches: &[Vec<u8>]) -> FetchedBatch {
        FetchedBatch {
            records: Bytes::from(batches.concat()),
            ..FetchedBatch::empty(TopicPartition::new("clicks", 0), fetch_offset)
        }
    }

    fn offsets(cursor: &mut RecordCursor) -> Result<Vec<i64>, FetchError> {
        let mut offsets = Vec::new();
        while let Some(record) = cursor.next_record()? {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset);
        }
        Ok(offsets)
    }

    fn read(fetched: FetchedBatch, level: IsolationLevel) -> (Vec<i64>, i64) {
        let mut cursor = RecordCursor::new(fetched, level);
        (offsets(&mut cursor).unwrap(), cursor.next_offset())
    }

    #[test]
    fn records_below_the_position_are_left_out_in_every_codec() {
        for compression in [Compression::None, Compression::Snappy, Compression::Lz4] {
            let first = batch(10, 100, compression, |_| {});
            let fetched = fetched(105, &[first, plain(110, 2)]);
            let (read, next) = read(fetched, IsolationLevel::ReadUncommitted);
            assert_eq!((read, next), ((105..112).collect(), 112), "{compression:?}");
        }
    }

    #[test]
    fn batches_that_lie_below_the_position_altogether_are_left_out() {
        let (read, next) = read(
            fetched(20, &[plain(10, 5), plain(15, 5), plain(20, 1)]),
            IsolationLevel::default(),
        );
        assert_eq!((read, next), (vec![20], 21));
    }

    #[test]
    fn the_position_moves_past_what_compaction_removed() {
        let tail_removed = batch(0, 2, Compression::None, |bytes| {
            bytes[23..27].copy_from_slice(&9i32.to_be_bytes())
        });
        let emptied = batch(10, 0, Compression::None, |bytes| {
            bytes[23..27].copy_from_slice(&4i32.to_be_bytes())
        });
        let mut cursor = RecordCursor::new(fetched(0, &[tail_removed, emptied]), IsolationLevel::default());
        cursor.next_record().unwrap();
        cursor.next_record().unwrap();
        assert_eq!(cursor.next_offset(), 2);
        assert!(cursor.next_record().unwrap().is_none());
        assert_eq!(cursor.next_offset(), 15);
    }

    #[test]
    fn markers_are_never_lent_but_move_the_position() {
        for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
            let (read, next) = read(fetched(0, &[plain(0, 1), marker(1, 7, 1)]), level);
            assert_eq!((read, next), (vec![0], 2), "{level:?}");
        }
    }

    #[test]
    fn aborted_records_are_lent_only_when_reading_uncommitted() {
        let log = [
            transactional(0, 7, 0x10),
            transactional(2, 8, 0x10),
            marker(4, 7, 0),
            marker(5, 8, 1),
            transactional(6, 7, 0x10),
        ];
        let fetched = FetchedBatch {
            aborted: vec![AbortedTransaction {
                producer_id: 7,
                first_offset: 0,
            }],
            ..fetched(0, &log)
        };
        assert_eq!(
            read(fetched.clone(), IsolationLevel::ReadCommitted),
            (vec![2, 3, 6, 7], 8)
        );
        assert_eq!(
            read(fetched, IsolationLevel::ReadUncommitted),
            (vec![0, 1, 2, 3, 6, 7], 8)
        );
    }

    #[test]
    fn a_damaged_batch_stops_the_cursor_for_good_and_names_the_place() {
        let mut damaged = plain(2, 3);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let mut cursor = RecordCursor::new(
            fetched(0, &[plain(0, 2), damaged, plain(5, 1)]),
            IsolationLevel::default(),
        );
        assert!(cursor.next_record().unwrap().is_some());
        assert!(cursor.next_record().unwrap().is_some());
        for _ in 0..3 {
            let error = cursor.next_record().unwrap_err();
            assert!(
                matches!(error.kind, FetchErrorKind::Corrupt(BatchError::Crc { offset: 2, .. })),
                "{error}"
            );
            assert_eq!((error.offset, cursor.next_offset()), (2, 2));
        }
    }

    #[test]
    fn a_record_that_claims_an_earlier_offset_is_an_error() {
        // Both records get offset delta 0.
        let bytes = batch(0, 2, Compression::None, |bytes| {
            let second = 61 + (bytes.len() - 61) / 2;
            bytes[second + 3] = 0;
        });
        let mut cursor = RecordCursor::new(fetched(0, &[bytes]), IsolationLevel::default());
        assert!(cursor.next_record().unwrap().is_some());
        assert!(
            cursor
                .next_record()
                .unwrap_err()
                .to_string()
                .contains("offsets do not increase")
        );
        assert!(cursor.next_record().is_err());
    }

    #[test]
    fn a_reused_cursor_starts_over() {
        let mut cursor = RecordCursor::new(fetched(0, &[plain(0, 3)]), IsolationLevel::default());
        assert_eq!(cursor.remaining_hint(), 3);
        cursor.next_record().unwrap();
        cursor.reset(fetched(3, &[batch(3, 50, Compression::Lz4, |_| {})]));
        assert_eq!(cursor.remaining_hint(), 50);
        assert_eq!(offsets(&mut cursor).unwrap(), (3..53).collect::<Vec<_>>());
        assert_eq!(cursor.remaining_hint(), 0);
    }

    #[test]
    fn nothing_fetched_leaves_the_position_where_it_was() {
        assert_eq!(read(fetched(42, &[]), IsolationLevel::ReadCommitted), (vec![], 42));
    }
}
