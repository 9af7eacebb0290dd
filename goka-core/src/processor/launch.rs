//! Everything a partition's task is started with.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::HashMap;
use std::sync::Arc;

use group_coordinator::Lease;
use kafka_wire::{Client, Fetcher, Producer, StartOffset, TopicPartition};
use tokio::sync::mpsc;

use super::ProcessorConfig;
use crate::graph::GroupGraphCore;
use crate::memory::Shares;
use crate::partition::{OutputTopic, Start, TaskHandle, start_task};
use crate::storage::StoreBuilder;
use crate::table::{OpenTable, Room, TableLimits};
use crate::topics::PreparedTopics;

/// Committed offsets; `None` where there is none.
pub(super) type OffsetsFound = HashMap<TopicPartition, Option<i64>>;

/// What the tasks of a processor have in common.
pub(super) struct Launch {
    pub(super) client: Client,
    pub(super) graph: Arc<GroupGraphCore>,
    pub(super) stores: Arc<dyn StoreBuilder>,
    pub(super) config: ProcessorConfig,
    pub(super) topics: PreparedTopics,
    pub(super) producer: Producer,
    pub(super) input_fetcher: Fetcher,
    pub(super) table_fetcher: Fetcher,
    pub(super) shares: Shares,
    pub(super) room: Arc<Room>,
    pub(super) lease: Lease,
    pub(super) changed: mpsc::UnboundedSender<i32>,
}

impl Launch {
    /// Starts the tasks of those partition numbers, which divide the memory among them.
    pub(super) fn start(&self, numbers: &[i32], generation: i32, committed: &OffsetsFound) -> Vec<(i32, TaskHandle)> {
        self.stores.set_cache_bytes(self.shares.per_store(numbers.len()));
        let limits = self.limits(numbers.len());
        let start = |&number: &i32| (number, self.start_one(number, (generation, committed), limits));
        numbers.iter().map(start).collect()
    }

    fn start_one(
        &self,
        partition: i32,
        (generation, committed): (i32, &OffsetsFound),
        limits: TableLimits,
    ) -> TaskHandle {
        let from = |topic: &Arc<str>| {
            let tp = TopicPartition::new(topic.clone(), partition);
            committed
                .get(&tp)
                .copied()
                .flatten()
                .map_or(self.config.initial_offset, StartOffset::Offset)
        };
        let inputs = self
            .graph
            .inputs()
            .iter()
            .map(|edge| (edge.clone(), from(&edge.topic)))
            .collect();
        let table = self.topics.table.clone().map(|topic| {
            let how = OpenTable {
                client: self.client.clone(),
                stores: self.stores.clone(),
                owner: self.graph.group().clone(),
                limits,
                room: self.room.clone(),
                delete_retention_ms: self.topics.delete_retention_ms,
            };
            (topic, how)
        });
        start_task(Start {
            client: self.client.clone(),
            partition,
            graph: self.graph.clone(),
            inputs,
            offset_reset: self.config.offset_reset,
            outputs: self.outputs(),
            table,
            input_fetcher: self.input_fetcher.clone(),
            table_fetcher: self.table_fetcher.clone(),
            producer: self.producer.clone(),
            linger: self.config.producer.linger,
            window: self.graph.coalesces().then_some(self.config.commit_interval),
            lease: self.lease.clone(),
            generation,
            changed: self.changed.clone(),
        })
    }

    fn outputs(&self) -> Vec<OutputTopic> {
        let outputs = self.topics.outputs.iter();
        outputs
            .map(|output| OutputTopic {
                topic: output.topic.clone(),
                partitions: output.partitions,
                partitioner: output.partitioner,
            })
            .collect()
    }

    /// One table's part, among so many.
    fn limits(&self, tables: usize) -> TableLimits {
        let (cache_bytes, flush_bytes) = self.shares.per_table(tables);
        TableLimits {
            cache_bytes,
            flush_bytes,
            flush_interval: self.config.flush_interval,
        }
    }
}
