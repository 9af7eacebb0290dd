//! Writing batches: records are encoded as they come, the header is filled in at the end.

use bytes::{BufMut, Bytes, BytesMut};

use super::header::{CRC_END, LENGTH_END};
use super::{HEADER_LEN, Header};
use crate::protocol::compression::Compression;
use crate::protocol::short;
use crate::protocol::varint::{len_i64, put_i32, put_i64};

/// An open batch. Appending encodes straight into its buffer.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: BytesMut,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch in `buffer`, whose content is discarded and whose capacity is kept.
    pub fn new(mut buffer: BytesMut) -> BatchBuilder {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        BatchBuilder {
            buffer,
            count: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
        }
    }

    /// Appends a record and gives its number within the batch. `timestamp` is in milliseconds since 1970.
    ///
    /// The caller sees to it that the batch stays small enough for the topic ([`len`](BatchBuilder::len),
    /// [`size_upper_bound`](BatchBuilder::size_upper_bound)).
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> u32 {
        let number = self.count;
        if number == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let body = 1
            + len_i64(timestamp_delta)
            + len_i64(i64::from(number))
            + nullable_len(key)
            + nullable_len(value)
            + len_i64(headers.len() as i64)
            + headers.iter().map(header_len).sum::<usize>();
        self.buffer.reserve(body + 5 + short::MOST);
        put_i64(&mut self.buffer, body as i64);
        self.buffer.put_u8(0);
        put_i64(&mut self.buffer, timestamp_delta);
        put_i64(&mut self.buffer, i64::from(number));
        put_nullable(&mut self.buffer, key);
        put_nullable(&mut self.buffer, value);
        put_i64(&mut self.buffer, headers.len() as i64);
        for header in headers {
            put_nullable(&mut self.buffer, Some(header.key));
            put_nullable(&mut self.buffer, header.value);
        }
        number
    }

    /// Bytes so far, the header included.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no record was appended.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Records appended.
    pub fn record_count(&self) -> u32 {
        self.count
    }

    /// Bytes that such a record takes at most.
    pub fn size_upper_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
        const NUMBERS: usize = 5 + 1 + 10 + 5 + 5;
        NUMBERS + nullable_len(key) + nullable_len(value) + headers.iter().map(header_len).sum::<usize>()
    }

    /// Ends the batch: compresses the records, if that makes them smaller, and fills in all of the header but what
    /// [`SealedBatch::stamp`] adds.
    pub fn seal(mut self, compression: Compression) -> SealedBatch {
        let uncompressed_len = self.buffer.len();
        let mut attributes = 0;
        if let Some(compressed) = compression.compress(&self.buffer[HEADER_LEN..])
            && compressed.len() < uncompressed_len - HEADER_LEN
        {
            self.buffer.truncate(HEADER_LEN);
            self.buffer.extend_from_slice(&compressed);
            attributes = i16::from(compression.codec().0);
        }
        let length = (self.buffer.len() - LENGTH_END) as i32;
        let max_timestamp = if self.count == 0 { -1 } else { self.max_timestamp };
        let mut header = &mut self.buffer[..HEADER_LEN];
        header.put_i64(0);
        header.put_i32(length);
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(attributes);
        header.put_i32(self.count.saturating_sub(1) as i32);
        header.put_i64(self.base_timestamp);
        header.put_i64(max_timestamp);
        header.put_i64(-1);
        header.put_i16(-1);
        header.put_i32(-1);
        header.put_i32(self.count as i32);
        let mut sealed = SealedBatch {
            buffer: self.buffer,
            record_count: self.count,
            uncompressed_len,
        };
        sealed.write_crc();
        sealed
    }
}

/// A complete batch, to be stamped with a producer's id and sequence before it is sent.
#[derive(Debug)]
pub struct SealedBatch {
    buffer: BytesMut,
    record_count: u32,
    uncompressed_len: usize,
}

impl SealedBatch {
    /// Its records.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Bytes it takes.
    #[expect(clippy::len_without_is_empty, reason = "a sealed batch has its header at least")]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes it took before compression.
    pub fn uncompressed_len(&self) -> usize {
        self.uncompressed_len
    }

    /// The bytes as they are.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Writes the idempotent producer's id, epoch and the first record's sequence (KIP-98), and the checksum anew.
    pub fn stamp(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        let mut fields = &mut self.buffer[43..57];
        fields.put_i64(producer_id);
        fields.put_i16(producer_epoch);
        fields.put_i32(base_sequence);
        self.write_crc();
    }

    /// The bytes, shared from now on.
    pub fn freeze(self) -> Bytes {
        self.buffer.freeze()
    }

    fn write_crc(&mut self) {
        let crc = crc32c::crc32c(&self.buffer[CRC_END..]);
        self.buffer[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_be_bytes());
    }
}

fn nullable_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| len_i64(bytes.len() as i64) + bytes.len())
}

fn header_len(header: &Header<'_>) -> usize {
    nullable_len(Some(header.key)) + nullable_len(header.value)
}

#[inline]
fn put_nullable(into: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        None => put_i32(into, -1),
        Some(bytes) => {
            put_i64(into, bytes.len() as i64);
            short::put(into, bytes);
        }
    }
}
