//! Sending records, acknowledged by all in-sync replicas and written once per attempt however often it is repeated.

mod backoff;
mod error;
mod flush_rounds;
mod identity;
mod outcome;
mod sequence;
mod verdict;

pub use self::error::{Persistence, ProduceError, ProduceErrorKind};
pub use self::outcome::{Ack, Persisted, RecordPosition};
