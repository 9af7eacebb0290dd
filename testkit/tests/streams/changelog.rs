//! What the group's changelog and stores hold, read by nothing of the processor.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use goka_core::Partitioner;
use goka_core::storage::{KeyRange, Opened, StoreBuilder, StoreName};
use storage_redb::Redb;

use crate::app::{App, PARTITIONS};

impl App {
    /// The fold of the table's changelog; each row must lie where goka looks for it.
    pub(crate) async fn fold(&self) -> BTreeMap<String, i64> {
        let mut rows = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for record in self.cluster.records(&self.table, partition).await {
                let key = record.key.clone().expect("a changelog record has a key");
                assert_eq!(Partitioner::Fnv1a.partition(&key, PARTITIONS), partition, "row {key:?}");
                let key = String::from_utf8(key).unwrap();
                match &record.value {
                    Some(_) => rows.insert(key, record.text().parse().unwrap()),
                    None => rows.remove(&key),
                };
            }
        }
        rows
    }

    /// The fold of a changelog in which every record is one counted click: each row must have grown by ones, or somebody
    /// counted on from a row that was not the last.
    pub(crate) async fn counts(&self) -> BTreeMap<String, i64> {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for record in self.cluster.records(&self.table, partition).await {
                let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
                let (count, written) = (counts.entry(key).or_default(), record.text().parse::<i64>().unwrap());
                let at = (partition, record.offset, &record.key);
                assert_eq!(written, *count + 1, "the changelog's record at {at:?} follows {count}");
                *count = written;
            }
        }
        counts
    }

    /// Each store in `directory` is the fold of its changelog up to its checkpoint (I1); gives how many changelog records the
    /// checkpoints cover.
    pub(crate) async fn check_prefix(&self, directory: &Path) -> i64 {
        let mut covered = 0;
        let stores = Redb::at(directory);
        for partition in 0..PARTITIONS {
            let opened = self.open_store(&stores, partition).await;
            assert_eq!(opened.rebuilt, None, "a crash must not damage a store");
            let stored = opened.store.scan(KeyRange::all()).unwrap();
            let rows: BTreeMap<_, _> = stored.map(|row| row.unwrap()).collect();
            let checkpoint = opened.store.checkpoint().unwrap();
            let end = checkpoint.map_or(0, |checkpoint| checkpoint.offset);
            let mut fold = BTreeMap::new();
            for record in self.cluster.records(&self.table, partition).await {
                match record.value.filter(|_| record.offset < end) {
                    Some(value) => fold.insert(record.key.unwrap(), value),
                    None if record.offset < end => fold.remove(&record.key.unwrap()),
                    None => None,
                };
            }
            assert_eq!(rows, fold, "store of partition {partition} at checkpoint {end}");
            opened.store.close().unwrap();
            covered += end;
        }
        covered
    }

    /// Opens a store of the table once whoever had it has let go.
    async fn open_store(&self, stores: &Redb, partition: i32) -> Opened {
        let name = StoreName {
            owner: &self.group,
            topic: &self.table,
            partition,
        };
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match stores.open(name) {
                Ok(opened) => return opened,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
