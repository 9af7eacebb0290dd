//! The disk of an instance: stores whose deferred writes may be lost when the process dies.
//!
//! A store is what was synced and the transactions since. While the process lives it sees all of them; when it dies, what is left
//! is a prefix: everything synced, and by chance some of what came after, as storage-redb promises.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use goka_core::storage::{
    Checkpoint, Durability, KeyRange, Opened, PartitionStore, Row, RowIter, StoreBuilder, StoreError, StoreName,
};

use super::chance::Chance;
use super::life::Life;
use super::trace::Trace;
use super::watch::Watch;

/// A disk outlives the processes that use it.
#[derive(Clone)]
pub(super) struct Disk {
    files: Arc<Mutex<BTreeMap<(String, i32), File>>>,
    /// Fails after so many more operations; never if negative.
    sound_for: Arc<AtomicI64>,
}

/// A situation.
pub(super) const FAILED: &str = "disk error";

#[derive(Default)]
struct File {
    synced: Image,
    /// The state after each transaction since.
    since: Vec<Image>,
    /// The process that has it open.
    open: Option<u64>,
}

/// Rows and their checkpoint.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) rows: BTreeMap<Bytes, Bytes>,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl File {
    fn latest(&self) -> &Image {
        self.since.last().unwrap_or(&self.synced)
    }

    fn sync(&mut self) {
        if let Some(latest) = self.since.pop() {
            self.synced = latest;
            self.since.clear();
        }
    }
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk {
            files: Arc::default(),
            sound_for: Arc::new(AtomicI64::new(-1)),
        }
    }

    /// The process that used it is dead.
    pub(super) fn crash(&self, chance: &mut Chance, trace: &Trace) {
        for file in self.lock().values_mut() {
            if file.open.take().is_none() {
                continue;
            }
            let kept = chance.below(file.since.len() + 1);
            if kept < file.since.len() {
                trace.met("deferred writes lost with a process");
            }
            file.since.truncate(kept);
            file.sync();
        }
    }

    /// Fails once, at one of its next operations.
    pub(super) fn fail_after(&self, operations: i64) {
        self.sound_for.store(operations, Ordering::Relaxed);
    }

    /// Something is read or written: whether that succeeds.
    fn is_sound(&self) -> bool {
        let left = self.sound_for.load(Ordering::Relaxed);
        if left >= 0 {
            self.sound_for.store(left - 1, Ordering::Relaxed);
        }
        left != 0
    }

    /// Whether a process has any of it open.
    pub(super) fn is_open(&self) -> bool {
        self.lock().values().any(|file| file.open.is_some())
    }

    /// What is on it, by topic and partition.
    pub(super) fn images(&self) -> Vec<(String, i32, Image)> {
        let files = self.lock();
        let images = files.iter();
        images
            .map(|((name, partition), file)| (name.clone(), *partition, file.latest().clone()))
            .collect()
    }

    /// For a process.
    pub(super) fn mounted(&self, life: &Arc<Life>, watch: &Arc<Watch>) -> Mounted {
        Mounted {
            disk: self.clone(),
            life: Arc::clone(life),
            watch: Arc::clone(watch),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, i32), File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk as one process has it.
#[derive(Clone)]
pub(super) struct Mounted {
    disk: Disk,
    life: Arc<Life>,
    watch: Arc<Watch>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.life.name)
    }
}

impl Mounted {
    fn operate(&self, (topic, partition): &(String, i32)) -> Result<(), StoreError> {
        if self.life.is_dead() || self.disk.is_sound() {
            return Ok(());
        }
        let trace = &self.watch.trace;
        trace.met(FAILED);
        trace.event(format_args!(
            "{} meets a disk error in {topic}-{partition}",
            self.life.name
        ));
        Err(StoreError::new(
            format!("simulated {topic}-{partition}"),
            "input/output error",
        ))
    }
}

impl StoreBuilder for Mounted {
    fn may_block(&self) -> bool {
        false
    }

    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        let key = (name.topic.to_owned(), name.partition);
        let store = Store {
            mounted: self.clone(),
            name: key.clone(),
        };
        self.operate(&store.name)?;
        if self.life.step() {
            let mut files = self.disk.lock();
            let file = files.entry(key).or_default();
            if file.open.is_some() {
                return Err(StoreError::new(format!("simulated {name}"), "it is already open"));
            }
            file.open = Some(self.life.number);
            self.watch.owned(&self.life, name.partition);
        }
        Ok(Opened {
            store: Arc::new(store),
            rebuilt: None,
        })
    }
}

struct Store {
    mounted: Mounted,
    name: (String, i32),
}

impl Store {
    fn read<R>(&self, f: impl FnOnce(&Image) -> R) -> Result<R, StoreError> {
        self.mounted.operate(&self.name)?;
        let files = self.mounted.disk.lock();
        let file = files
            .get(&self.name)
            .filter(|file| file.open == Some(self.mounted.life.number));
        file.map(|file| f(file.latest())).ok_or_else(|| self.gone())
    }

    fn write(&self, f: impl FnOnce(&mut Image), durability: Durability) -> Result<(), StoreError> {
        if !self.mounted.life.step() {
            return Err(self.gone());
        }
        self.mounted.operate(&self.name)?;
        let image = {
            let mut files = self.mounted.disk.lock();
            let own = |file: &&mut File| file.open == Some(self.mounted.life.number);
            let file = files.get_mut(&self.name).filter(own).ok_or_else(|| self.gone())?;
            let mut image = file.latest().clone();
            f(&mut image);
            file.since.push(image.clone());
            if durability == Durability::Immediate {
                file.sync();
            }
            image
        };
        self.mounted.watch.stored(&self.mounted.life, &self.name, &image);
        Ok(())
    }

    fn gone(&self) -> StoreError {
        let (topic, partition) = &self.name;
        StoreError::new(format!("simulated {topic}-{partition}"), "it is closed")
    }
}

#[async_trait]
impl PartitionStore for Store {
    fn may_block(&self) -> bool {
        false
    }

    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        into.clear();
        self.read(|image| match image.rows.get(key) {
            Some(value) => {
                into.extend_from_slice(value);
                true
            }
            None => false,
        })
    }

    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, durability: Durability) -> Result<(), StoreError> {
        let change = |image: &mut Image| {
            for row in rows {
                let key = Bytes::copy_from_slice(row.key);
                match row.value {
                    Some(value) => image.rows.insert(key, Bytes::copy_from_slice(value)),
                    None => image.rows.remove(&key),
                };
            }
            image.checkpoint = Some(checkpoint);
        };
        self.write(change, durability)
    }

    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        let copy = |bytes| Bytes::copy_from_slice(bytes);
        let change = |image: &mut Image| {
            image.rows = rows.map(|(key, value)| (copy(key), copy(value))).collect();
            image.checkpoint = Some(checkpoint);
        };
        self.write(change, Durability::Deferred)
    }

    fn scan(&self, range: KeyRange) -> Result<RowIter, StoreError> {
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let start = range.start.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows: Vec<_> = self.read(|image| {
            let found = image.rows.range::<[u8], _>((start, end));
            found.map(|(key, value)| Ok((key.to_vec(), value.to_vec()))).collect()
        })?;
        Ok(Box::new(rows.into_iter()))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.read(|image| image.checkpoint)
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|image| image.rows.is_empty())
    }

    fn wipe(&self) -> Result<(), StoreError> {
        self.mounted.watch.trace.met("store wiped");
        self.write(|image| *image = Image::default(), Durability::Immediate)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.write(|_| {}, Durability::Immediate)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.sync()?;
        let mut files = self.mounted.disk.lock();
        if let Some(file) = files.get_mut(&self.name) {
            file.open = None;
        }
        Ok(())
    }
}
