//! The batch header, and finding batches in fetched bytes.

use super::{Batch, BatchError};
use crate::protocol::compression::CodecId;

/// Bytes of a batch header.
pub const HEADER_LEN: usize = 61;
/// Bytes before those that `batch_length` counts: base offset and the length itself.
pub(super) const LENGTH_END: usize = 12;
/// Where the bytes begin that the checksum covers.
pub(super) const CRC_END: usize = 21;

/// The 61 bytes before a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also if compaction removed it.
    pub base_offset: i64,
    /// Bytes of the batch after this field.
    pub batch_length: i32,
    /// The leader epoch in which it was written; -1 if unknown.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Offset of the last record less [`base_offset`](BatchHeader::base_offset), also if compaction removed it.
    pub last_offset_delta: i32,
    /// Timestamp to which records give theirs as a difference; milliseconds.
    pub base_timestamp: i64,
    /// Greatest timestamp; the append time on topics with `LogAppendTime`; milliseconds.
    pub max_timestamp: i64,
    /// The idempotent producer's id; -1 if there is none.
    pub producer_id: i64,
    /// The idempotent producer's epoch; -1 if there is none.
    pub producer_epoch: i16,
    /// Sequence number of the first record; -1 if there is none.
    pub base_sequence: i32,
    /// Records that follow.
    pub record_count: i32,
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    /// The codec of the records.
    pub fn codec(self) -> CodecId {
        CodecId((self.0 & 0x07) as u8)
    }

    /// Whether the broker's append time counts instead of the records' own.
    pub fn is_log_append_time(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Whether it holds a marker instead of records.
    pub fn is_control(self) -> bool {
        self.0 & 0x20 != 0
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; `None` if they are too few.
    pub fn parse(bytes: &[u8]) -> Option<BatchHeader> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        Some(BatchHeader {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The offset after the last one of this batch, whatever of it compaction left (KAFKA-5443).
    pub fn next_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
            .saturating_add(1)
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

/// The batches in the bytes that a broker sent for one partition.
///
/// A batch cut off at the end is legal and ends the iteration; [`is_truncated`](Batches::is_truncated) tells of it.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
    truncated: bool,
}

impl<'a> Batches<'a> {
    /// Looks through `bytes`.
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches::at(bytes, 0)
    }

    /// Looks through `bytes` from position `at`, the end of an earlier batch, on.
    pub fn at(bytes: &'a [u8], at: usize) -> Batches<'a> {
        Batches {
            bytes,
            at,
            truncated: false,
        }
    }

    /// Where the next batch begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether the bytes ended within a batch. If no batch was complete the broker was allowed too few bytes.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    fn read(&mut self) -> Result<Option<Batch<'a>>, BatchError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // The magic byte lies before formats differ, so an old batch is told from a cut-off one as early as possible.
        if let Some(&magic) = rest.get(16)
            && magic != 2
        {
            let offset = rest.first_chunk().map_or(-1, |bytes| i64::from_be_bytes(*bytes));
            return Err(BatchError::UnsupportedMagic {
                offset,
                magic: magic as i8,
            });
        }
        let Some(header) = BatchHeader::parse(rest) else {
            self.truncated = !rest.is_empty();
            return Ok(None);
        };
        let offset = header.base_offset;
        let length = usize::try_from(header.batch_length)
            .ok()
            .filter(|length| *length >= HEADER_LEN - LENGTH_END);
        let Some(length) = length else {
            return Err(BatchError::BadLength {
                offset,
                length: header.batch_length,
            });
        };
        let Some(bytes) = rest.get(..LENGTH_END + length) else {
            self.truncated = true;
            return Ok(None);
        };
        self.at += bytes.len();
        Batch::new(header, bytes).map(Some)
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read().transpose();
        if matches!(result, Some(Err(_)) | None) {
            // What follows a malformed batch cannot be told apart from it.
            self.at = self.bytes.len();
        }
        result
    }
}
