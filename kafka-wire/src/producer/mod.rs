//! Sending records, acknowledged by all in-sync replicas and written once per attempt however often it is repeated.

mod accumulator;
mod backoff;
mod error;
mod flush_rounds;
mod identity;
mod leader_search;
mod outcome;
mod partition_queue;
mod pending_batch;
mod request;
mod response;
mod sequence;
mod verdict;

pub use self::error::{Persistence, ProduceError, ProduceErrorKind};
pub use self::outcome::{Ack, Persisted, RecordPosition};
