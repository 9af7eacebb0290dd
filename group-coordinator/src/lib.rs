//! Being a member of a Kafka consumer group: membership, assignment, committed offsets.
//!
//! [`GroupMember::join`] starts one task that joins the group, keeps its heartbeats going whatever the application does, and
//! tells through [`GroupMember::next_event`] which partitions are ours: [`MembershipEvent::Assigned`],
//! [`MembershipEvent::Revoke`] (answered by [`GroupMember::revocation_complete`]) and [`MembershipEvent::Lost`].
//! [`Offsets`] reads and commits the group's offsets under that membership, [`Lease`] tells any thread without a lock whether
//! the membership may still be trusted, and [`ledger::Ledger`] turns completions in any order into the one offset that may be
//! committed.
//!
//! ```text
//!   GroupMember, Offsets (handles)
//!            |  commands            ^ events, answers
//!            v                      |
//!        driver [tokio] ------------+----> kafka_wire::Client
//!         |          |
//!   ClassicMember  Committer, CommittedFetch     (values: no clock, no socket, no task)
//!         |
//!      Assignor                                  (pure)
//! ```
//!
//! This crate does not fetch records and does not know what an application does with its partitions.
//!
//! Specification: the consumer group protocol of KIP-62 with KIP-345 (static members), KIP-394 (member ids first), KIP-447
//! (stable offsets), KIP-800 (reasons) and KIP-814 (returning static leaders).

mod assignor;
mod backoff;
mod config;
mod driver;
mod error;
mod group;
mod membership;
mod offset;
mod requests;

pub use assignor::{AssignError, Assignor, Copartition, GroupAssignment, MemberSubscription};
pub use config::GroupConfig;
pub use error::{CommitError, CommitErrorKind, MembershipError, MembershipErrorKind};
pub use group::{GroupMember, Offsets};
pub use kafka_wire::ConfigError;
pub use membership::{Lease, MembershipEvent};
pub use offset::ledger;
