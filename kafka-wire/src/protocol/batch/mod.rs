//! Record batches, format v2 (KIP-98), read and written by our own codec.
//!
//! ```text
//!   bytes of one partition in a Fetch answer:  [batch][batch]..[perhaps a cut-off batch]
//!   batch:  61 bytes of header │ records, perhaps compressed         crc covers all from `attributes` on
//! ```
//!
//! Reading borrows: [`Batches`] finds the batches, [`Batch::records`] decompresses if it must, [`Records`] lends each [`Record`],
//! whose headers are parsed only when asked for. Nothing is allocated by what a length field claims. Writing appends: each record
//! is encoded into [`BatchBuilder`]'s buffer as it comes, behind a reserved header that [`SealedBatch::stamp`] completes.

mod builder;
mod error;
mod header;
mod records;

pub use self::builder::{BatchBuilder, SealedBatch};
pub use self::error::BatchError;
pub use self::header::{Attributes, BatchHeader, Batches, HEADER_LEN};
pub use self::records::{Batch, ControlMarker, Header, Headers, Record, Records};
pub(crate) use self::records::{Layout, most_records};

#[cfg(test)]
mod tests;
