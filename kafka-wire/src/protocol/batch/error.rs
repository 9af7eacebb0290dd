//! What can be wrong with a record batch.

use crate::protocol::compression::CompressionError;

/// Bytes that are no valid record batch, or none we can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Message format 0 or 1, older than Kafka 0.11, or something unheard of.
    #[error("record batch at offset {offset} has magic {magic}, only 2 can be read")]
    UnsupportedMagic {
        /// Base offset as read.
        offset: i64,
        /// The magic byte.
        magic: i8,
    },
    /// The batch says it is shorter than its own header.
    #[error("record batch at offset {offset} claims {length} bytes, fewer than its header has")]
    BadLength {
        /// Base offset.
        offset: i64,
        /// The batch length field.
        length: i32,
    },
    /// The checksum does not fit the bytes.
    #[error("record batch at offset {offset} is corrupt: checksum {computed:#010x}, header says {stored:#010x}")]
    Crc {
        /// Base offset.
        offset: i64,
        /// The header's checksum.
        stored: u32,
        /// The bytes' checksum.
        computed: u32,
    },
    /// A field contradicts the bytes.
    #[error("record batch at offset {offset} is malformed: {what}")]
    Malformed {
        /// Base offset.
        offset: i64,
        /// The contradiction.
        what: &'static str,
    },
    /// The records cannot be decompressed.
    #[error("record batch at offset {offset}: {error}")]
    Compression {
        /// Base offset.
        offset: i64,
        /// Why.
        error: CompressionError,
    },
}
