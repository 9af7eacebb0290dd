//! The records of a batch, borrowed.

use super::header::CRC_END;
use super::{BatchError, BatchHeader, HEADER_LEN};
use crate::protocol::compression::{CodecId, DEFAULT_LIMIT};
use crate::protocol::varint::{read_i32, read_i64};

/// Fewest bytes a record takes: its length and six empty fields.
const SMALLEST_RECORD: usize = 7;

/// One batch, its header read and its extent known.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    pub(super) fn new(header: BatchHeader, bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let malformed = |what| {
            Err(BatchError::Malformed {
                offset: header.base_offset,
                what,
            })
        };
        if header.base_offset < 0 {
            return malformed("negative base offset");
        }
        if header.last_offset_delta < 0
            || header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta) + 1)
                .is_none()
        {
            return malformed("impossible last offset delta");
        }
        if header.record_count < 0 {
            return malformed("negative record count");
        }
        Ok(Batch { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Compares the checksum with the bytes.
    ///
    /// # Errors
    /// They do not fit: the batch was damaged on disk or on the way.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.header.crc, crc32c::crc32c(&self.bytes[CRC_END..]));
        match stored == computed {
            true => Ok(()),
            false => Err(BatchError::Crc {
                offset: self.header.base_offset,
                stored,
                computed,
            }),
        }
    }

    /// Whether its records lie in the batch as they are.
    pub fn is_compressed(&self) -> bool {
        self.header.attributes.codec() != CodecId::NONE
    }

    /// The records' bytes as they lie in the batch, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Decompresses the records into `into`, which is cleared first.
    ///
    /// # Errors
    /// The codec is not ours, the bytes are damaged, or they grow beyond 128 MiB.
    pub fn decompress(&self, into: &mut Vec<u8>) -> Result<(), BatchError> {
        let offset = self.header.base_offset;
        let codec = self.header.attributes.codec();
        codec
            .decompress(self.payload(), into, DEFAULT_LIMIT)
            .map_err(|error| BatchError::Compression { offset, error })
    }

    /// The records. A compressed batch is decompressed into `scratch` first.
    ///
    /// # Errors
    /// As [`decompress`](Batch::decompress).
    pub fn records<'s>(&self, scratch: &'s mut Vec<u8>) -> Result<Records<'s>, BatchError>
    where
        'a: 's,
    {
        if self.is_compressed() {
            self.decompress(scratch)?;
            return Ok(Records::new(&self.header, scratch));
        }
        Ok(Records::new(&self.header, self.payload()))
    }

    /// What a control batch says; `None` if it is none, or of a kind unknown to us.
    pub fn control_marker(&self) -> Option<ControlMarker> {
        if !self.header.attributes.is_control() || self.is_compressed() {
            return None;
        }
        let record = Records::new(&self.header, self.payload()).next()?.ok()?;
        match record.key?.get(..4)? {
            [_, _, 0, 0] => Some(ControlMarker::Abort),
            [_, _, 0, 1] => Some(ControlMarker::Commit),
            _ => None,
        }
    }
}

/// How a transaction ended (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMarker {
    /// Its records do not count.
    Abort,
    /// Its records count.
    Commit,
}

/// What every record of a batch is told from: the parts of the header that records refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    /// On topics with `LogAppendTime` every record has this one.
    append_time: Option<i64>,
}

impl Layout {
    /// Of no batch.
    pub(crate) const NONE: Layout = Layout {
        base_offset: -1,
        last_offset_delta: 0,
        base_timestamp: 0,
        append_time: None,
    };

    pub(crate) fn of(header: &BatchHeader) -> Layout {
        let append_time = header.attributes.is_log_append_time().then_some(header.max_timestamp);
        Layout {
            base_offset: header.base_offset,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            append_time,
        }
    }

    /// Reads the record at `*at` and moves `*at` past it.
    #[inline]
    pub(crate) fn read<'a>(&self, bytes: &'a [u8], at: &mut usize) -> Result<Record<'a>, BatchError> {
        let mut start = *at;
        let length =
            read_i32(bytes, &mut start).ok_or_else(|| self.malformed("more records claimed than there are"))?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length));
        let record = end
            .and_then(|end| bytes.get(start..end))
            .ok_or_else(|| self.malformed("record length"))?;
        let (fields, offset_delta, timestamp_delta) =
            parse_record(record).ok_or_else(|| self.malformed("a record's fields do not fit its length"))?;
        if offset_delta < 0 || offset_delta > self.last_offset_delta {
            return Err(self.malformed("a record's offset lies outside its batch"));
        }
        *at = start + record.len();
        Ok(Record {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: self
                .append_time
                .unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        })
    }

    #[cold]
    pub(crate) fn malformed(&self, what: &'static str) -> BatchError {
        BatchError::Malformed {
            offset: self.base_offset,
            what,
        }
    }
}

/// Records that `bytes` can hold at most, whatever a header `claims`.
pub(crate) fn most_records(claims: i32, bytes: usize) -> usize {
    (claims.max(0) as usize).min(bytes / SMALLEST_RECORD)
}

/// The records of one batch, in order. After an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    left: i32,
    layout: Layout,
}

impl<'a> Records<'a> {
    /// Reads `bytes`, the decompressed records of the batch with `header`.
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Records<'a> {
        Records {
            bytes,
            at: 0,
            left: header.record_count,
            layout: Layout::of(header),
        }
    }

    /// Records that the bytes left can hold at most, whatever the header claims.
    pub fn remaining_hint(&self) -> usize {
        most_records(self.left, self.bytes.len() - self.at)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            if self.left == 0 && self.at < self.bytes.len() {
                self.left = -1;
                return Some(Err(self.layout.malformed("bytes after the last record")));
            }
            return None;
        }
        let record = self.layout.read(self.bytes, &mut self.at);
        self.left = if record.is_ok() { self.left - 1 } else { -1 };
        Some(record)
    }
}

struct Fields<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

/// The fields of one record, its offset delta and its timestamp delta.
#[inline]
fn parse_record(bytes: &[u8]) -> Option<(Fields<'_>, i32, i64)> {
    // The first byte holds attributes, of which none is in use.
    let mut at = 1;
    let timestamp_delta = read_i64(bytes, &mut at)?;
    let offset_delta = read_i32(bytes, &mut at)?;
    let key = nullable(bytes, &mut at)?;
    let value = nullable(bytes, &mut at)?;
    let count = read_i32(bytes, &mut at)?;
    let rest = bytes.get(at..)?;
    // A header takes two bytes at least; a record without headers ends here.
    let possible = usize::try_from(count).ok().is_some_and(|count| count <= rest.len() / 2);
    if !possible || (count == 0 && !rest.is_empty()) {
        return None;
    }
    Some((
        Fields {
            key,
            value,
            headers: Headers { bytes: rest, count },
        },
        offset_delta,
        timestamp_delta,
    ))
}

/// A length and so many bytes; length -1 is null.
#[inline]
fn nullable<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = read_i32(bytes, at)?;
    if length == -1 {
        return Some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let field = bytes.get(*at..end)?;
    *at = end;
    Some(Some(field))
}

/// One record, borrowed from the fetched bytes.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the broker's on topics with `LogAppendTime`; -1 if there is none.
    pub timestamp: i64,
    /// Its key; a null key is not an empty one.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a deletion in a compacted topic, empty is a value.
    pub value: Option<&'a [u8]>,
    /// Its headers, not parsed yet.
    pub headers: Headers<'a>,
}

/// A record's headers in their order, duplicates kept; parsed while they are iterated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: i32,
}

/// One header. Its key is UTF-8 by convention, but what the producer wrote is what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; may be null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.max(0) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count <= 0
    }

    /// The headers. A malformed one ends the iteration with an error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Header<'a>, BatchError>> + use<'a> {
        let (bytes, mut at, mut left) = (self.bytes, 0, self.count);
        std::iter::from_fn(move || {
            if left <= 0 {
                return None;
            }
            left -= 1;
            let header = parse_header(bytes, &mut at);
            if header.is_none() {
                left = 0;
            }
            Some(header.ok_or(BatchError::Malformed {
                offset: -1,
                what: "a record's headers do not fit its length",
            }))
        })
    }
}

fn parse_header<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Header<'a>> {
    let key = nullable(bytes, at)??;
    let value = nullable(bytes, at)?;
    Some(Header { key, value })
}
