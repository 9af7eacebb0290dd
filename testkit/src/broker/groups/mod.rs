//! The coordinator of classic consumer groups, as a value.
//!
//! [`GroupShard`] holds every group of the embedded broker: membership, generations and committed offsets. It
//! follows Kafka's `GroupMetadataManager`, `ClassicGroup` and `OffsetMetadataManager`:
//!
//! ```text
//!  request, timer --> handler --> Outcome { records, released }
//!                                     |          |
//!                        replay(record)          answers of requests that were held
//!                                     v
//!                               hard state = what a coordinator finds again after a fail-over
//!
//!            members join                  all rejoined, or rebalance timeout
//!  Empty -----------------> PreparingRebalance ------------------> CompletingRebalance
//!    ^                        ^    |       ^                              |      |
//!    +---- nobody left -------|----+       +--- join, leave, expiry ------+      | leader's SyncGroup
//!                             +------- join, leave, expiry ------- Stable <------+
//! ```
//!
//! Hard state (group metadata with assignments, committed offsets) changes in [`GroupShard::replay`] only. The live
//! round of a rebalance (who has joined, whose request is held, timers) is soft: [`GroupShard::fail_over`] loses it.
//!
//! Not here: the consumer protocol of KIP-848, expiry of offsets.
//!
//! Specification: KIP-62, KIP-134 (initial delay), KIP-345 (static members), KIP-814 (skipped assignment), KIP-389 (group size),
//! KIP-394 (member id required), KIP-447.

mod describe;
mod group;
mod join;
mod leave;
mod member_id;
mod offset_fetch;
mod offsets;
mod placement;
mod rebalance;
mod record;
mod shard;
mod static_member;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use placement::Placement;
pub use record::{CommittedOffset, GroupMetadata, GroupRecord, MemberMetadata};
pub use shard::{Caller, GroupShard, GroupShardConfig, Outcome, Released, Ticket};
