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

    /// Whether the next record lies in decompressed bytes, which count as memory for fetches until they are read.
    #[inline]
    pub fn is_in_scratch(&self) -> bool {
        self.open.in_scratch && self.open.left > 0
    }

    /// Gives the buffer for decompressed bytes back, unless there are records in it: for whoever will not read on soon.
    pub fn rest(&mut self) {
        if !self.is_in_scratch() {
            self.scratch = Vec::new();
            self.scratch_held = None;
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
            self.rest();
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
mod tests;
