//! Fetching: the records of partitions, from whichever broker leads them.

mod config;
mod cursor;
mod error;
mod fetched_batch;
mod isolation;

pub use self::config::FetcherConfig;
pub use self::cursor::RecordCursor;
pub use self::error::{FetchError, FetchErrorKind};
pub use self::fetched_batch::{AbortedTransaction, FetchedBatch, Watermarks};
