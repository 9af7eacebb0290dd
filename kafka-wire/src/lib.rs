//! The Kafka wire protocol on tokio sockets, in Rust alone.
//!
//! `transport` moves bytes, `connection` speaks to one broker, `cluster` and `client` know whom to speak to, and `producer`,
//! `fetcher` and `admin` hold the conversations. `protocol` holds what all of them share: record batches, compression,
//! partitioners and the one table that says what an error code means.

pub mod admin;
pub mod client;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod fetcher;
pub mod producer;
pub mod protocol;
mod surroundings;
pub mod transport;

#[doc(hidden)]
pub mod rpc {
    //! The seam for sibling crates: requests and responses of `kafka-protocol`, outside the public API's promises.

    pub use crate::client::{ConnectionClass, GroupLane};
    pub use crate::connection::{Connection, PendingResponse};
    pub use crate::surroundings::{Pause, Surroundings};

    pub mod short {
        //! Copies of few bytes.

        pub use crate::protocol::short::{append, copy};
    }

    pub mod guard {
        //! The check that makes bodies safe to decode, for the other side of the wire too.

        pub use crate::connection::guard::{
            Field, Kind, Malformed, Shape, allowed_memory, blob, decode, fixed, ints, response_shape,
            skip_tagged_fields, structs, structure, text, texts,
        };
    }
}

pub use admin::Admin;
pub use client::Client;
pub use cluster::ClusterImage;
pub use config::{ClientConfig, ConfigError};
pub use connection::{BrokerAddress, CallError, CallErrorKind, Permit};
pub use fetcher::{
    FetchError, FetchErrorKind, FetchedBatch, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, RecordCursor,
    StartOffset, Watermarks,
};
pub use producer::{
    Ack, PartitionWriter, Persisted, Persistence, ProduceError, ProduceErrorKind, Producer, ProducerConfig,
    ProducerRecord, Receipt, RecordPosition, TopicProducer,
};
pub use protocol::{Compression, ErrorCode, IsolationLevel, Partitioner, Recovery, TopicId, TopicPartition};
