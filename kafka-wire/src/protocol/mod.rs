//! What every conversation shares: names of partitions, error codes, record batches, compression, partitioners.
//!
//! Uses nothing else of this crate. Everything here is pure: bytes and values in, values and bytes out.

pub mod batch;
pub mod compression;
mod error_code;
mod isolation_level;
mod partitioner;
pub(crate) mod short;
mod topic_partition;
mod varint;

pub use self::compression::Compression;
pub use self::error_code::{ErrorCode, Recovery};
pub use self::isolation_level::IsolationLevel;
pub use self::partitioner::{Partitioner, fnv1a_32, murmur2};
pub use self::topic_partition::{TopicId, TopicPartition};
