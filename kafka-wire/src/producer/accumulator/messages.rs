//! What the accumulator obeys, wants and tells.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::Permit;
use crate::producer::error::ProduceError;
use crate::producer::outcome::Outcome;
use crate::producer::partition_queue::LeaderHint;
use crate::protocol::TopicPartition;

/// The settings that the machine obeys.
#[derive(Debug, Clone, Copy)]
pub(in crate::producer) struct Limits {
    pub(in crate::producer) max_in_flight: usize,
    pub(in crate::producer) max_request_bytes: usize,
    pub(in crate::producer) delivery_timeout: Duration,
}

/// What the machine wants to be done.
#[derive(Debug)]
pub(in crate::producer) enum Request {
    /// Answered by [`Accumulator::handle_producer_id`].
    InitProducerId,
    /// Answered by [`Accumulator::handle_metadata`] if it succeeds, and always by [`Accumulator::handle_refreshed`].
    RefreshMetadata(Vec<Arc<str>>),
    /// Answered by [`Accumulator::handle_response`] or [`Accumulator::handle_loss`].
    Produce(ProduceRequest),
}

/// Batches for one broker, partitions of a topic side by side.
#[derive(Debug)]
pub(in crate::producer) struct ProduceRequest {
    pub(in crate::producer) number: u64,
    pub(in crate::producer) node: i32,
    pub(in crate::producer) batches: Vec<(TopicPartition, Bytes)>,
    /// Those of the batches.
    pub(in crate::producer) permits: Vec<Permit>,
}

/// What happened.
#[derive(Debug)]
pub(in crate::producer) enum Event<T> {
    /// A submitted batch has its outcome; `buffer` is free again.
    Finished { tag: T, outcome: Outcome, buffer: Bytes },
    /// All batches submitted before that flush have their outcome; the first failure among them, if any.
    Flushed {
        flush: u64,
        result: Result<(), ProduceError>,
    },
    /// An answer named another leader (KIP-951).
    LeaderMoved(LeaderHint),
}
