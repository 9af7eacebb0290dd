//! Watches a run: what callbacks were called for, what stores held, what producers were told. All of it ends up in the history that
//! the checker reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Image;
use super::life::Life;
use super::network::Network;
use super::owners;
use super::tables::Tables;
use super::trace::Trace;
use super::world::{CHANGELOG, VIEW};
use super::writes::Produced;
use crate::broker::EmbeddedBroker;
use crate::checker::{Callback, Sent};

/// Shared by everything in a run.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) trace: Trace,
    pub(super) broker: Arc<EmbeddedBroker>,
    /// What stores held.
    pub(super) tables: Tables,
    network: Arc<Network>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    callbacks: BTreeMap<i32, Vec<Callback>>,
    sent: Vec<Sent>,
    unclean_ends: u64,
}

impl Watch {
    pub(super) fn new(broker: Arc<EmbeddedBroker>, network: Arc<Network>) -> Arc<Watch> {
        Arc::new(Watch {
            trace: network.trace.clone(),
            broker,
            tables: Tables::default(),
            network,
            state: Mutex::default(),
        })
    }

    /// A process opened the store of a partition: it owns it.
    pub(super) fn owned(&self, life: &Life, partition: i32) {
        if life.who == VIEW {
            return;
        }
        let now = self.trace.elapsed();
        self.network.owners.begun(life.number, partition, now);
        self.trace
            .event(format_args!("{} owns partition {partition}", life.name));
    }

    /// A process sends these batches of the changelog with one request.
    pub(super) fn sent_batches(&self, life: &Life, sent_at: Duration, batches: &[Produced]) {
        let Some(batch) = batches.first() else {
            return;
        };
        if let Some(over) = self.network.leases.over_since(life.number, sent_at) {
            self.trace.violation(format!(
                "I3 {} writes to {CHANGELOG}-{}, {over:?} after its lease ended: no heartbeat was answered within the session",
                life.name, batch.partition
            ));
        }
    }

    /// Batches of the changelog that a process sent at `sent_at` reach a broker.
    pub(super) fn written(&self, life: &Life, sent_at: Duration, batches: &[Produced]) {
        for batch in batches {
            let (of, partition) = (&self.network.owners, batch.partition);
            // Those who own nothing write no changelog.
            let Some(sender) = of.sender(life.number, partition, sent_at) else {
                continue;
            };
            let successor = of.begun_since(partition, sent_at);
            if successor.is_some() {
                self.trace.met(owners::HELD_BACK);
                self.trace.event(format_args!(
                    "a write of {} to partition {partition} comes too late to be refused",
                    life.name
                ));
            }
            let held_back = successor.map(|until| (self.log_end(CHANGELOG, partition), until));
            self.network.writes.arrived(batch, sender, held_back);
        }
    }

    fn log_end(&self, topic: &str, partition: i32) -> i64 {
        let offsets = self.broker.offsets(topic, partition);
        offsets.map_or(0, |offsets| offsets.log_end)
    }

    /// A callback is called. Whether the process lives to do it.
    pub(super) fn called(&self, life: &Life, topic: &str, partition: i32, offset: i64) -> bool {
        if !life.step() {
            return false;
        }
        let now = self.trace.elapsed();
        let ownership = self.network.owners.sender(life.number, partition, now);
        self.lock().callbacks.entry(partition).or_default().push(Callback {
            instance: life.number,
            generation: ownership.map_or(0, |ownership| ownership.nth),
            topic: topic.to_owned(),
            offset,
        });
        self.trace.event(format_args!(
            "{} calls back for {topic}-{partition} at {offset}",
            life.name
        ));
        true
    }

    /// A store was brought into another state.
    pub(super) fn stored(&self, life: &Life, (topic, partition): &(String, i32), image: &Image) {
        let checkpoint = image.checkpoint.map_or(0, |checkpoint| checkpoint.offset);
        self.trace.event(format_args!(
            "{} stores {topic}-{partition} up to {checkpoint}: {} rows",
            life.name,
            image.rows.len()
        ));
        let end = self.log_end(topic, *partition);
        if checkpoint > end {
            self.trace.violation(format!(
                "V08 {} stores {topic}-{partition} up to {checkpoint}, the log ends at {end}",
                life.name
            ));
        }
        self.tables.stored(&life.name, *partition, image, self.trace.elapsed());
    }

    /// Somebody read a row of the view.
    pub(super) fn viewed(&self, life: &Life, key: &str, row: &str) {
        if life.is_dead() {
            return;
        }
        self.trace.met("view read");
        self.trace.event(format_args!("{} shows {row} for {key}", life.name));
        self.tables.viewed(key, row);
    }

    /// Compacts a partition of the changelog.
    pub(super) fn compact(&self, partition: i32) {
        let now = self.trace.elapsed();
        let taken = self.tables.compact(&self.broker, CHANGELOG, partition, now);
        self.trace.event(format_args!(
            "compaction takes {taken} records of partition {partition}"
        ));
    }

    /// The rows that the changelog makes, over all its partitions.
    pub(super) fn table(&self, partitions: i32) -> BTreeMap<Bytes, Bytes> {
        let mut rows = BTreeMap::new();
        for record in
            (0..partitions).flat_map(|partition| self.broker.records(CHANGELOG, partition).unwrap_or_default())
        {
            let key = record.key.unwrap_or_default();
            match record.value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        rows
    }

    pub(super) fn sent(&self, sent: Sent) {
        self.lock().sent.push(sent);
    }

    pub(super) fn ended_uncleanly(&self) {
        self.lock().unclean_ends += 1;
    }

    pub(super) fn unclean_ends(&self) -> u64 {
        self.lock().unclean_ends
    }

    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().sent)
    }

    pub(super) fn take_callbacks(&self, partition: i32) -> Vec<Callback> {
        self.lock().callbacks.remove(&partition).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
