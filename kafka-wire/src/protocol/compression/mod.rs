//! Compression of record batches: none, snappy, lz4.
//!
//! The frames are parsed here and the block codecs of `lz4_flex` and `snap` called into one buffer; the output grows as it is
//! really produced, in steps bounded by what the input can hold, never by what a length field claims.

mod lz4;
mod snappy;
mod xxhash;

/// Most bytes a batch may decompress to, unless told otherwise: far above any sane `max.message.bytes`.
pub const DEFAULT_LIMIT: usize = 128 << 20;

/// What batches are compressed with when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Snappy in the framing that the Java client writes; cheap, modest.
    Snappy,
    /// LZ4; cheap, better, and the fastest to read.
    Lz4,
}

impl Compression {
    /// The codec's number on the wire.
    pub(crate) fn codec(self) -> CodecId {
        match self {
            Compression::None => CodecId::NONE,
            Compression::Snappy => CodecId::SNAPPY,
            Compression::Lz4 => CodecId::LZ4,
        }
    }

    /// `bytes` compressed; `None` for [`Compression::None`].
    pub(crate) fn compress(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Compression::None => None,
            Compression::Snappy => Some(snappy::compress(bytes)),
            Compression::Lz4 => Some(lz4::compress(bytes)),
        }
    }
}

/// A codec by its number in a batch's attributes; may be one that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodecId(pub u8);

impl CodecId {
    /// Not compressed.
    pub const NONE: CodecId = CodecId(0);
    /// Snappy.
    pub const SNAPPY: CodecId = CodecId(2);
    /// LZ4.
    pub const LZ4: CodecId = CodecId(3);

    /// Its name in Kafka's configuration.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "gzip",
            2 => "snappy",
            3 => "lz4",
            4 => "zstd",
            _ => "unknown",
        }
    }

    /// Decompresses `bytes` into `into`, which is cleared first and gets at most `limit` bytes.
    ///
    /// # Errors
    /// The codec is not ours, the bytes are no frame of it, or the output would exceed `limit`.
    pub fn decompress(self, bytes: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
        into.clear();
        match self {
            CodecId::NONE if bytes.len() > limit => Err(CompressionError::TooLarge { limit }),
            CodecId::NONE => {
                into.extend_from_slice(bytes);
                Ok(())
            }
            CodecId::SNAPPY => snappy::decompress(bytes, into, limit),
            CodecId::LZ4 => lz4::decompress(bytes, into, limit),
            other => Err(CompressionError::Unsupported {
                codec: other.name(),
                number: other.0,
            }),
        }
    }
}

/// Records that cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// A codec that is not built in.
    #[error("compressed with {codec} (codec {number}), which is not supported; none, snappy and lz4 are")]
    Unsupported {
        /// Its name.
        codec: &'static str,
        /// Its number.
        number: u8,
    },
    /// The bytes are damaged.
    #[error("not valid {codec}: {what}")]
    Damaged {
        /// The codec.
        codec: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// More output than is allowed.
    #[error("decompresses to more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
}
