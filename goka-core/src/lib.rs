//! Stateful stream processing on Kafka, after goka.
//!
//! **A processor** is a consumer group with one function per input topic. It declares a [`GroupGraph`]: which topics it reads
//! (inputs), which it writes (outputs), and whether it keeps a **group table**, one row per key. For each record the function gets
//! a [`Context`]: it reads the row of the record's key, sets or deletes it, emits to outputs. Records of one key come one at a
//! time and in order, so a function needs no lock.
//!
//! **The group table** of a partition lives in a local store beside the function and is replicated by a compacted topic, its
//! changelog `<group>-table`. Adding an instance moves partitions to it; an instance that lost its disk reads the changelog
//! again. The local store is always a prefix of the changelog, whatever crashes when.
//!
//! **A view** is a read-only copy of any group table, in any process. **An emitter** writes a topic from outside a processor.
//!
//! ```text
//!   Emitter --> topic user-click --> Processor: (key, record, row) -> new row, emits --> output topics
//!                                        |   ^
//!                                        v   |
//!                                group table click-counter-table --> View::get("bob")
//! ```
//!
//! Names, codecs, partitioning and the group protocol are goka's, so that Go and Rust instances can share topics and tables.
//!
//! ```
//! use goka_core::{GroupGraph, Int64, Utf8};
//!
//! let graph = GroupGraph::builder("click-counter")
//!     .persist(Int64)
//!     .input("user-click", Utf8, |ctx, _click| {
//!         let count = ctx.value()?.unwrap_or(0) + 1;
//!         ctx.set_value(&count)
//!     })
//!     .build()?;
//! assert_eq!(graph.table_topic(), Some("click-counter-table"));
//! # Ok::<(), goka_core::GraphError>(())
//! ```

mod codec;
mod context;
mod emitter;
mod graph;
mod into_client;
mod memory;
mod partition;
mod processor;
pub mod storage;
mod table;
mod topics;
mod view;

#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Bytes, Codec, CodecError, Int64, Nullable, Undecoded, Utf8};
pub use context::{CallbackError, CallbackErrorKind, Context, RecordMeta};
pub use emitter::{EmitError, EmitFailure, EmitFailures, Emitter, EmitterConfig};
pub use graph::{Builder, GraphError, GroupGraph, Loop, Output, Stateless, TopicNameError, group_table};
pub use into_client::IntoClient;
pub use kafka_wire::protocol::batch::{Header, Headers};
pub use kafka_wire::{
    Client, ClientConfig, ConfigError, Partitioner, ProduceError, Receipt, RecordPosition, TopicPartition,
};
pub use partition::{InputStats, PartitionState, PartitionStats, RecordPlace, RunError, TableStats};
pub use processor::{GetError, Processor, ProcessorConfig, ProcessorStats, Running, Stopper};
pub use table::{RecoveryProgress, TableError};
pub use topics::{TopicError, TopicsConfig};
pub use view::{Rows, RunningView, View, ViewConfig, ViewError, ViewPartitionStats, ViewStats};
