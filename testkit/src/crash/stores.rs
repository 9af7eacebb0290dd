//! A store builder whose stores tell when rows are applied.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use goka_core::storage::{
    Checkpoint, Durability, KeyRange, Opened, PartitionStore, Row, RowIter, StoreBuilder, StoreError, StoreName,
};

use super::{CrashPoint, Trigger};

/// How long after the begin of an apply "inside" is; a small flush takes some hundred microseconds.
const INSIDE: Duration = Duration::from_micros(120);

/// Opens the stores of another builder and tells a trigger what is done to them.
#[derive(Debug)]
pub struct CrashStores<B> {
    inner: B,
    trigger: Trigger,
}

impl<B> CrashStores<B> {
    /// Wraps `inner`.
    pub fn new(inner: B, trigger: Trigger) -> CrashStores<B> {
        CrashStores { inner, trigger }
    }
}

impl<B: StoreBuilder> StoreBuilder for CrashStores<B> {
    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        let opened = self.inner.open(name)?;
        let store = CrashStore {
            inner: opened.store,
            trigger: self.trigger.clone(),
        };
        Ok(Opened {
            store: Arc::new(store),
            rebuilt: opened.rebuilt,
        })
    }
}

struct CrashStore {
    inner: Arc<dyn PartitionStore>,
    trigger: Trigger,
}

impl CrashStore {
    fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.trigger.reached(CrashPoint::BeforeApply);
        self.trigger.reached_soon(CrashPoint::InsideApply, INSIDE);
        write()?;
        self.trigger.reached(CrashPoint::AfterApply);
        Ok(())
    }
}

#[async_trait]
impl PartitionStore for CrashStore {
    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.inner.get(key, into)
    }

    async fn prefetch(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        self.inner.prefetch(keys).await
    }

    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, durability: Durability) -> Result<(), StoreError> {
        self.around(|| self.inner.apply(rows, checkpoint, durability))
    }

    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.around(|| self.inner.load_sorted(rows, checkpoint))
    }

    fn scan(&self, range: KeyRange) -> Result<RowIter, StoreError> {
        self.inner.scan(range)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.inner.checkpoint()
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        self.inner.is_empty()
    }

    fn wipe(&self) -> Result<(), StoreError> {
        self.inner.wipe()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
