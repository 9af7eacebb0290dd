//! An embedded Kafka cluster on the real protocol: one to three brokers in this process, for tests and examples.
//!
//! ```text
//!   EmbeddedBroker ---- create_topic, records, faults ... what a test says and asks
//!        |
//!   driver [tokio] ---- listeners, connections, one timer; moves bytes and time
//!        |
//!   BrokerCore -------- all state of the cluster, without sockets, clock or chance
//!        |--- wire      request headers, safe decoding, answer frames
//!        |--- apis      one file per API
//!        |--- cluster   brokers, topics, leaders
//!        |--- log       record batches, offsets, idempotent producers, compaction
//!        |--- groups    the group coordinator
//!        '--- faults    what is to go wrong
//! ```
//!
//! What a client can see equals Apache Kafka 4.1, error codes included; what the embedded cluster does not do is listed
//! here: transactions, ACLs and quotas, SASL and TLS, KIP-848 groups, real replication (a record counts as replicated at
//! once), retention by time or size. Listens on 127.0.0.1 only, or nowhere: in memory, on virtual time.

mod api;
mod apis;
mod cluster;
mod config;
mod core;
mod driver;
mod embedded;
mod faults;
pub mod groups;
mod inspect;
mod log;
#[cfg(test)]
mod tests;
mod wire;

pub use self::api::Api;
pub use self::config::BrokerConfig;
pub use self::core::{BrokerCore, ConnectionId, Output};
pub use self::embedded::{EmbeddedBroker, StartError};
pub use self::faults::{Fault, FaultControl};
pub use self::inspect::{
    AcceptedCommit, KeyValue, LostTail, NewTopic, PartitionLeader, PartitionOffsets, RecordWriter, StoredRecord,
    TopicError,
};
pub use self::log::Tombstones;
