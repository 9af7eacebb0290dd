//! The overlay: what a partition's table holds in memory above its store.
//!
//! One map serves three purposes. It holds rows written but not yet acknowledged by the changelog, rows acknowledged but not
//! yet applied to the store, and rows read or written recently (a read cache). Reads ask here first; only a miss goes to the
//! store.
//!
//! ```text
//!   stage ──> active generation ──seal──> sealed rows (copied out) ──applied──> clean: a cache entry, may be evicted
//!                    │                          │
//!                    └── still readable here ───┘
//! ```
//!
//! Generations make the cut exact: `seal` copies every row written since the last `seal`, with its last value, and from then on
//! a new generation collects. A sealed generation therefore equals the changelog up to one offset, which becomes the checkpoint
//! it is applied with (invariant I1). Rows stay readable here until the store has them.
//!
//! Not here: when to seal, which offset a generation ends at (`table`), IO of any kind.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::packed::Packed;
use super::sealed::SealedRows;

/// What the overlay's own structures cost per row, in bytes; counted against the budgets beside key and value.
const ROW_OVERHEAD: usize = 96;

/// A row as the overlay knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup<'a> {
    /// The key has this value.
    Value(&'a [u8]),
    /// The key was deleted; the store may still hold an older value.
    Deleted,
    /// The overlay does not know; the store does.
    Miss,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Overlay {
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots written in the active generation, each once.
    dirty: Vec<u32>,
    dirty_bytes: usize,
    /// Slots whose value the changelog lacks; one that has it meanwhile may still be here, or be here twice.
    unlogged: Vec<u32>,
    bytes: usize,
    /// The generation that collects writes now. 0 is "never written", so it starts at 1.
    active: u64,
    /// Everything up to this generation is in the store.
    applied: u64,
    /// Clock hand of the eviction.
    hand: usize,
}

/// One cache line, if key and value are short.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    key: Packed,
    /// `None` is a deletion.
    value: Option<Packed>,
    /// The generation of the last write; 0 for a row that came from the store.
    generation: u64,
    /// The changelog lacks the value.
    unlogged: bool,
    /// Read since the clock hand passed.
    referenced: AtomicBool,
    occupied: bool,
}

impl Overlay {
    pub(crate) fn new() -> Overlay {
        Overlay {
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            dirty_bytes: 0,
            unlogged: Vec::new(),
            bytes: 0,
            active: 1,
            applied: 0,
            hand: 0,
        }
    }

    /// The last value of `key`, as far as it is known here.
    pub(crate) fn get(&self, key: &[u8]) -> Lookup<'_> {
        match self.find(self.hasher.hash_one(key), key) {
            None => Lookup::Miss,
            Some(number) => {
                let slot = &self.slots[number as usize];
                slot.referenced.store(true, Ordering::Relaxed);
                match &slot.value {
                    Some(value) => Lookup::Value(value.get()),
                    None => Lookup::Deleted,
                }
            }
        }
    }

    /// Writes a row (`None` deletes it) into the active generation.
    pub(crate) fn stage(&mut self, key: &[u8], value: Option<&[u8]>) {
        let number = self.write(key, value);
        self.slots[number as usize].unlogged = false;
    }

    /// Writes a row that the changelog gets later, with the value that it has then; see [`log`](Overlay::log).
    pub(crate) fn stage_unlogged(&mut self, key: &[u8], value: Option<&[u8]>) {
        let number = self.write(key, value);
        let slot = &mut self.slots[number as usize];
        if !slot.unlogged {
            slot.unlogged = true;
            self.unlogged.push(number);
        }
    }

    /// Gives each row that the changelog lacks to `append`, once and with its last value, in the order of their first writes.
    ///
    /// # Errors
    /// What `append` said; the rows after it are still lacking.
    pub(crate) fn log<E>(&mut self, mut append: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        for number in &self.unlogged {
            let slot = &mut self.slots[*number as usize];
            if slot.unlogged {
                append(slot.key.get(), slot.value())?;
                slot.unlogged = false;
            }
        }
        self.unlogged.clear();
        Ok(())
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> u32 {
        let hash = self.hasher.hash_one(key);
        let number = match self.find(hash, key) {
            Some(number) => {
                self.rewrite(number, value);
                number
            }
            None => self.insert(hash, key, value),
        };
        let slot = &mut self.slots[number as usize];
        if slot.generation != self.active {
            slot.generation = self.active;
            self.dirty.push(number);
            self.dirty_bytes += slot.size();
        }
        number
    }

    /// Remembers a row that was just read from the store.
    pub(crate) fn cache(&mut self, key: &[u8], value: &[u8]) {
        let hash = self.hasher.hash_one(key);
        if self.find(hash, key).is_none() {
            self.insert(hash, key, Some(value));
        }
    }

    /// Copies out what the active generation wrote and starts the next one. `None` if it wrote nothing. The changelog must lack
    /// none of it.
    pub(crate) fn seal(&mut self) -> Option<SealedRows> {
        debug_assert!(self.unlogged.is_empty(), "the store would be ahead of the changelog");
        if self.dirty.is_empty() {
            return None;
        }
        let mut rows = SealedRows::with_capacity(self.active, self.dirty.len(), self.dirty_bytes);
        for number in self.dirty.drain(..) {
            let slot = &self.slots[number as usize];
            rows.push(slot.key.get(), slot.value());
        }
        self.dirty_bytes = 0;
        self.active += 1;
        Some(rows)
    }

    /// Tells that the store now holds everything up to `generation`.
    pub(crate) fn applied(&mut self, generation: u64) {
        self.applied = self.applied.max(generation);
    }

    /// Drops applied rows that were not used lately until at most `budget` bytes are held, or only unapplied rows remain.
    pub(crate) fn evict(&mut self, budget: usize) {
        let mut passes = 2 * self.slots.len();
        while self.bytes > budget && passes > 0 {
            passes -= 1;
            self.hand = if self.hand + 1 < self.slots.len() {
                self.hand + 1
            } else {
                0
            };
            let slot = &mut self.slots[self.hand];
            if !slot.occupied || slot.generation > self.applied {
                continue;
            }
            if *slot.referenced.get_mut() {
                *slot.referenced.get_mut() = false;
                continue;
            }
            self.remove(self.hand as u32);
        }
    }

    /// Bytes held in all, keys and values and what they cost around them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes written in the active generation.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// Whether the active generation wrote anything.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// All rows held, in no order; `None` marks a deletion.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.slots
            .iter()
            .filter(|slot| slot.occupied)
            .map(|slot| (slot.key.get(), slot.value()))
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index
            .find(hash, |&number| self.slots[number as usize].key.get() == key)
            .copied()
    }

    fn rewrite(&mut self, number: u32, value: Option<&[u8]>) {
        let slot = &mut self.slots[number as usize];
        let before = slot.size();
        match (&mut slot.value, value) {
            (Some(held), Some(value)) => held.set(value),
            (held, value) => *held = value.map(Packed::new),
        }
        *slot.referenced.get_mut() = true;
        let after = slot.size();
        self.bytes = self.bytes - before + after;
        if slot.generation == self.active {
            self.dirty_bytes = self.dirty_bytes - before + after;
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>) -> u32 {
        let slot = Slot {
            key: Packed::new(key),
            value: value.map(Packed::new),
            generation: 0,
            unlogged: false,
            referenced: AtomicBool::new(true),
            occupied: true,
        };
        self.bytes += slot.size();
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index
            .insert_unique(hash, number, |&other| hasher.hash_one(slots[other as usize].key.get()));
        number
    }

    fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let hash = self.hasher.hash_one(slot.key.get());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
        self.bytes -= slot.size();
        *slot = Slot::vacant();
        self.free.push(number);
    }
}

impl Slot {
    fn vacant() -> Slot {
        Slot {
            key: Packed::new(&[]),
            value: None,
            generation: 0,
            unlogged: false,
            referenced: AtomicBool::new(false),
            occupied: false,
        }
    }

    fn size(&self) -> usize {
        ROW_OVERHEAD + self.key.get().len() + self.value().map_or(0, <[u8]>::len)
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Packed::get)
    }
}

#[cfg(test)]
mod tests;
