//! A store's life: what was written to it when, and what its disk saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use goka_core::storage::{Durability, PartitionStore, Row, StoreError};
use testkit::store_contract::checkpoint;

use crate::chance::Chance;
use crate::disk::{Content, Disk, Event};
use crate::machine::Machine;

pub(crate) type Bytes = Arc<[u8]>;
pub(crate) type Rows = BTreeMap<Bytes, Bytes>;
pub(crate) type Batch = BTreeMap<Bytes, Option<Bytes>>;

/// The changelog: a table is the fold of its first records.
pub(crate) struct Changelog {
    batches: Vec<Batch>,
    /// The rows after so many batches.
    folds: Vec<Rows>,
}

impl Changelog {
    pub(crate) fn new() -> Changelog {
        Changelog {
            batches: Vec::new(),
            folds: vec![Rows::new()],
        }
    }

    pub(crate) fn end(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn fold(&self, offset: usize) -> &Rows {
        &self.folds[offset]
    }

    /// The same, unless it is not that long.
    pub(crate) fn get(&self, offset: i64) -> Option<&Rows> {
        self.folds.get(usize::try_from(offset).ok()?)
    }

    /// What a table at `offset` lacks.
    pub(crate) fn since(&self, offset: usize) -> Batch {
        self.between(offset, self.end())
    }

    /// What brings a table from one offset to another: the last value of each key.
    pub(crate) fn between(&self, from: usize, to: usize) -> Batch {
        let mut missing = Batch::new();
        for batch in &self.batches[from..to] {
            missing.extend(batch.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        missing
    }

    pub(crate) fn append(&mut self, batch: Batch) {
        let mut rows = self.fold(self.end()).clone();
        for (key, value) in &batch {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        self.batches.push(batch);
        self.folds.push(rows);
    }
}

/// One call that changed, or made durable, the store.
pub(crate) struct Step {
    /// The disk's events when it was called, and when it returned.
    pub(crate) events: std::ops::Range<usize>,
    /// The checkpoint it leaves.
    pub(crate) checkpoint: Option<usize>,
    pub(crate) durable: bool,
}

/// The whole life.
pub(crate) struct History {
    pub(crate) log: Changelog,
    pub(crate) steps: Vec<Step>,
    pub(crate) events: Vec<Event>,
    /// What the disk holds in the end.
    pub(crate) content: Content,
}

/// How a store is written to; a wrong one must be found out.
pub(crate) type Apply = fn(&dyn PartitionStore, &[Row<'_>], usize, usize, Durability) -> Result<(), StoreError>;

/// Rows and checkpoint in one transaction.
pub(crate) fn together(
    store: &dyn PartitionStore,
    rows: &[Row<'_>],
    _from: usize,
    to: usize,
    durability: Durability,
) -> Result<(), StoreError> {
    store.apply(rows, checkpoint(to as i64), durability)
}

/// Rows first, then the checkpoint: wrong.
pub(crate) fn apart(
    store: &dyn PartitionStore,
    rows: &[Row<'_>],
    from: usize,
    to: usize,
    durability: Durability,
) -> Result<(), StoreError> {
    if from > 0 {
        store.apply(rows, checkpoint(from as i64), durability)?;
    }
    store.apply(if from > 0 { &[] } else { rows }, checkpoint(to as i64), durability)
}

/// What a store's rows look like in one history.
struct Shape {
    keys: u64,
    values: u64,
    batch: u64,
    steps: u64,
    deletes: u64,
    durable: u64,
    /// It grows beyond what is worth compacting, and shrinks.
    bulky: bool,
}

impl Shape {
    fn choose(chance: &mut Chance) -> Shape {
        let bulky = chance.odds(1, 12);
        Shape {
            keys: *chance.one_of(&[20, 100, 400]),
            values: match bulky {
                true => 60_000,
                false => *chance.one_of(&[8, 100, 700, 3000]),
            },
            batch: *chance.one_of(&[2, 10, 40]),
            steps: 10 + chance.below(16),
            deletes: *chance.one_of(&[0, 10, 40]),
            durable: *chance.one_of(&[10, 25, 50, 100]),
            bulky,
        }
    }

    fn batch(&self, chance: &mut Chance, present: &Rows) -> Batch {
        if chance.odds(1, 16) {
            // All but a few go.
            let gone = present.keys().skip(chance.below(4) as usize);
            return gone.map(|key| (key.clone(), None)).collect();
        }
        let rows = 1 + chance.below(self.batch);
        let mut batch = Batch::new();
        for _ in 0..rows {
            let key = chance.below(self.keys);
            let key: Bytes = match chance.odds(1, 50) {
                true => Bytes::from(vec![b'k'; key as usize * 3]),
                false => Bytes::from(key.to_be_bytes()),
            };
            let value = (!chance.odds(self.deletes, 100)).then(|| self.value(chance));
            batch.insert(key, value);
        }
        batch
    }

    fn value(&self, chance: &mut Chance) -> Bytes {
        let len = match chance.odds(1, 40) {
            true => 4 * self.values,
            false => self.values,
        };
        let len = chance.below(len + 1) as usize;
        let mut value = Vec::with_capacity(len + 8);
        while value.len() < len {
            value.extend(chance.next().to_be_bytes());
        }
        value.truncate(len);
        value.into()
    }
}

/// A store while it lives.
struct Life {
    machine: Machine,
    disk: Disk,
    store: Arc<dyn PartitionStore>,
    log: Changelog,
    steps: Vec<Step>,
    checkpoint: Option<usize>,
}

impl History {
    /// The life that `seed` stands for.
    pub(crate) fn of(seed: u64, apply: Apply) -> History {
        let mut chance = Chance::new(seed);
        let shape = Shape::choose(&mut chance);
        // A small page cache writes pages before they are committed.
        let cache_bytes = *chance.one_of(&[16 << 10, 256 << 10, 4 << 20]);
        let mut life = Life::begin(cache_bytes);
        let mut scan = None;
        for number in 0..shape.steps {
            match chance.below(32) {
                0 => life.step(None, true, |store, _| store.wipe()),
                1 | 2 => life.step(life.checkpoint, true, |store, _| store.sync()),
                3 | 4 => {
                    // One that is still read keeps its pages, and its file from being compacted.
                    scan = None;
                    life.reopen();
                }
                5 => scan = life.store.scan(goka_core::storage::KeyRange::all()).ok(),
                6 => scan = None,
                _ if life.checkpoint.is_none() && chance.odds(1, 2) => {
                    let batch = shape.batch(&mut chance, life.log.fold(life.log.end()));
                    life.log.append(batch);
                    life.load();
                }
                _ => {
                    let batch = shape.batch(&mut chance, life.log.fold(life.log.end()));
                    life.log.append(batch);
                    let durable = chance.odds(shape.durable, 100);
                    life.apply(apply, durable);
                }
            }
            if shape.bulky && number == shape.steps / 2 {
                scan = None;
                life.shrink(apply);
            }
        }
        drop(scan);
        life.end(chance.odds(1, 2))
    }
}

impl Life {
    fn begin(cache_bytes: usize) -> Life {
        let machine = Machine::new(cache_bytes);
        let disk = Disk::default().logged();
        let opened = machine.open(&disk).unwrap();
        assert_eq!(opened.rebuilt, None);
        Life {
            machine,
            disk,
            store: opened.store,
            log: Changelog::new(),
            steps: Vec::new(),
            checkpoint: None,
        }
    }

    fn step(
        &mut self,
        checkpoint: Option<usize>,
        durable: bool,
        call: impl FnOnce(&dyn PartitionStore, &Changelog) -> Result<(), StoreError>,
    ) {
        let start = self.disk.events();
        call(&*self.store, &self.log).unwrap();
        self.steps.push(Step {
            events: start..self.disk.events(),
            checkpoint,
            durable,
        });
        self.checkpoint = checkpoint;
    }

    /// Writes what the changelog has and the store has not.
    fn apply(&mut self, apply: Apply, durable: bool) {
        let (from, to) = (self.checkpoint.unwrap_or(0), self.log.end());
        let durability = match durable {
            true => Durability::Immediate,
            false => Durability::Deferred,
        };
        self.step(Some(to), durable, |store, log| {
            let batch = log.since(from);
            apply(store, &rows(&batch), from, to, durability)
        });
    }

    /// Fills the empty store with the whole table.
    fn load(&mut self) {
        let end = self.log.end();
        self.step(Some(end), false, |store, log| {
            let mut sorted = log.fold(end).iter().map(|(key, value)| (&**key, &**value));
            store.load_sorted(&mut sorted, checkpoint(end as i64))
        });
    }

    fn reopen(&mut self) {
        self.step(self.checkpoint, true, |store, _| store.close());
        let opened = self.machine.open(&self.disk).unwrap();
        assert_eq!(opened.rebuilt, None);
        self.store = opened.store;
    }

    /// Deletes nearly everything and closes, so that the file is compacted.
    fn shrink(&mut self, apply: Apply) {
        let (mut batch, mut number) = (Batch::new(), 0u64);
        while self.disk.content().len() < 5 << 20 {
            batch.insert(
                Bytes::from(number.to_be_bytes()),
                Some(vec![number as u8; 100_000].into()),
            );
            number += 1;
            if number.is_multiple_of(8) {
                self.log.append(std::mem::take(&mut batch));
                self.apply(apply, true);
            }
        }
        let end = self.log.end();
        let gone = self
            .log
            .fold(end)
            .keys()
            .skip(3)
            .map(|key| (key.clone(), None))
            .collect();
        self.log.append(gone);
        self.apply(apply, true);
        let before = self.disk.content().len();
        self.reopen();
        let after = self.disk.content().len();
        assert!(after < before, "not compacted: {before} bytes, then {after}");
    }

    fn end(mut self, closed: bool) -> History {
        if closed {
            self.step(self.checkpoint, true, |store, _| store.close());
        }
        let events = self.disk.take_log();
        History {
            log: self.log,
            steps: self.steps,
            events,
            content: self.disk.content(),
        }
    }
}

/// A batch as a store takes it.
pub(crate) fn rows(batch: &Batch) -> Vec<Row<'_>> {
    batch
        .iter()
        .map(|(key, value)| Row {
            key,
            value: value.as_deref(),
        })
        .collect()
}
