//! Stores in memory: for tests, and for tables that may be read anew at each start.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use super::{
    Checkpoint, Durability, KeyRange, Opened, PartitionStore, Row, RowIter, StoreBuilder, StoreError, StoreName,
};

/// Opens stores in memory. A store outlives being closed for as long as its builder, or a clone of it, lives.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    stores: Arc<Mutex<HashMap<String, Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    rows: Arc<RwLock<Rows>>,
    open: Arc<RwLock<bool>>,
}

impl Memory {
    /// A builder without stores.
    pub fn new() -> Memory {
        Memory::default()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreBuilder for Memory {
    fn may_block(&self) -> bool {
        false
    }

    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        let name = name.to_string();
        let mut slots = self.slots();
        let slot = slots.entry(name.clone()).or_default();
        if *slot.open.read().unwrap_or_else(PoisonError::into_inner) {
            return Err(StoreError::new(format!("memory {name}"), "it is already open"));
        }
        // A lock of its own per opening: a handle closed once must not close the next one.
        slot.open = Arc::new(RwLock::new(true));
        let store = MemoryStore {
            name,
            rows: slot.rows.clone(),
            open: slot.open.clone(),
        };
        Ok(Opened {
            store: Arc::new(store),
            rebuilt: None,
        })
    }
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    checkpoint: Option<Checkpoint>,
}

struct MemoryStore {
    name: String,
    rows: Arc<RwLock<Rows>>,
    open: Arc<RwLock<bool>>,
}

impl MemoryStore {
    fn read(&self) -> Result<RwLockReadGuard<'_, Rows>, StoreError> {
        self.check_open()?;
        Ok(self.rows.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Rows>, StoreError> {
        self.check_open()?;
        Ok(self.rows.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_open(&self) -> Result<(), StoreError> {
        match *self.open.read().unwrap_or_else(PoisonError::into_inner) {
            true => Ok(()),
            false => Err(StoreError::new(format!("memory {}", self.name), "it is closed")),
        }
    }
}

#[async_trait]
impl PartitionStore for MemoryStore {
    fn may_block(&self) -> bool {
        false
    }

    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        into.clear();
        let held = self.read()?;
        let value = held.rows.get(key);
        into.extend_from_slice(value.map_or(&[], |value| value));
        Ok(value.is_some())
    }

    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, _durability: Durability) -> Result<(), StoreError> {
        let mut held = self.write()?;
        for row in rows {
            match row.value {
                Some(value) => held.rows.insert(row.key.into(), value.into()),
                None => held.rows.remove(row.key),
            };
        }
        held.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        let mut held = self.write()?;
        held.rows = rows.map(|(key, value)| (key.into(), value.into())).collect();
        held.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn scan(&self, range: KeyRange) -> Result<RowIter, StoreError> {
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let start = range.start.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self
            .read()?
            .rows
            .range::<[u8], _>((start, end))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Vec<_>>();
        Ok(Box::new(
            rows.into_iter().map(|(key, value)| Ok((key.to_vec(), value.to_vec()))),
        ))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.read()?.checkpoint)
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.read()?.rows.is_empty())
    }

    fn wipe(&self) -> Result<(), StoreError> {
        *self.write()? = Rows::default();
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.check_open()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.check_open()?;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
        Ok(())
    }
}
