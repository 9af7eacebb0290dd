//! Stores of another builder, with something done around each write of rows: they die, wait or take their time.
//!
//! All else is passed on as it is.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use goka_core::storage::{
    Checkpoint, Durability, KeyRange, Opened, PartitionStore, Row, RowIter, StoreBuilder, StoreError, StoreName,
};

/// What is done around each write of rows. Every store has a clone.
pub trait WriteHook: Clone + fmt::Debug + Send + Sync + 'static {
    /// Whether it may take long, as [`PartitionStore::may_block`] means it. Default false.
    fn may_block(&self) -> bool {
        false
    }

    /// Calls `write`, and does what it does before and after.
    ///
    /// # Errors
    /// Those of `write`.
    fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError>;
}

/// Opens the stores of another builder and puts a hook around their writes.
#[derive(Debug)]
pub struct Hooked<B, H> {
    inner: B,
    hook: H,
}

impl<B, H> Hooked<B, H> {
    /// Wraps `inner`.
    pub fn new(inner: B, hook: H) -> Hooked<B, H> {
        Hooked { inner, hook }
    }
}

impl<B: StoreBuilder, H: WriteHook> StoreBuilder for Hooked<B, H> {
    fn may_block(&self) -> bool {
        self.inner.may_block()
    }

    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        let opened = self.inner.open(name)?;
        let store = HookedStore {
            inner: opened.store,
            hook: self.hook.clone(),
        };
        Ok(Opened {
            store: Arc::new(store),
            rebuilt: opened.rebuilt,
        })
    }

    fn set_cache_bytes(&self, bytes: usize) {
        self.inner.set_cache_bytes(bytes);
    }
}

struct HookedStore<H> {
    inner: Arc<dyn PartitionStore>,
    hook: H,
}

#[async_trait]
impl<H: WriteHook> PartitionStore for HookedStore<H> {
    fn may_block(&self) -> bool {
        self.inner.may_block() || self.hook.may_block()
    }

    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.inner.get(key, into)
    }

    async fn prefetch(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        self.inner.prefetch(keys).await
    }

    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, durability: Durability) -> Result<(), StoreError> {
        self.hook.around(|| self.inner.apply(rows, checkpoint, durability))
    }

    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.hook.around(|| self.inner.load_sorted(rows, checkpoint))
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use goka_core::storage::Memory;

    use super::*;
    use crate::store_contract::{self, NAME, checkpoint};

    /// Writes down, as a hook, a builder and a store, what is called.
    #[derive(Debug, Clone, Default)]
    struct Witness {
        calls: Arc<Mutex<Vec<String>>>,
        blocks: bool,
    }

    impl Witness {
        fn called(&self, what: impl Into<String>) {
            self.calls.lock().unwrap().push(what.into());
        }
    }

    impl WriteHook for Witness {
        fn may_block(&self) -> bool {
            self.blocks
        }

        fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
            self.called("before");
            write()?;
            self.called("after");
            Ok(())
        }
    }

    impl StoreBuilder for Witness {
        fn may_block(&self) -> bool {
            false
        }

        fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
            self.called(format!("open {name}"));
            Ok(Opened {
                store: Arc::new(self.clone()),
                rebuilt: Some("damaged".to_owned()),
            })
        }

        fn set_cache_bytes(&self, bytes: usize) {
            self.called(format!("cache {bytes}"));
        }
    }

    #[async_trait]
    impl PartitionStore for Witness {
        fn may_block(&self) -> bool {
            false
        }

        fn get(&self, _: &[u8], _: &mut Vec<u8>) -> Result<bool, StoreError> {
            self.called("get");
            Ok(true)
        }

        async fn prefetch(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
            self.called(format!("prefetch {}", keys.len()));
            Ok(())
        }

        fn apply(&self, rows: &[Row<'_>], _: Checkpoint, durability: Durability) -> Result<(), StoreError> {
            self.called(format!("apply {} {durability:?}", rows.len()));
            Ok(())
        }

        fn load_sorted(&self, rows: &mut dyn Iterator<Item = (&[u8], &[u8])>, _: Checkpoint) -> Result<(), StoreError> {
            self.called(format!("load {}", rows.count()));
            Ok(())
        }

        fn scan(&self, _: KeyRange) -> Result<RowIter, StoreError> {
            self.called("scan");
            Ok(Box::new(std::iter::empty()))
        }

        fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
            self.called("checkpoint");
            Ok(None)
        }

        fn is_empty(&self) -> Result<bool, StoreError> {
            self.called("is_empty");
            Ok(true)
        }

        fn wipe(&self) -> Result<(), StoreError> {
            self.called("wipe");
            Ok(())
        }

        fn sync(&self) -> Result<(), StoreError> {
            self.called("sync");
            Ok(())
        }

        fn close(&self) -> Result<(), StoreError> {
            self.called("close");
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_call_reaches_the_store_and_only_writes_have_something_around_them() {
        let witness = Witness::default();
        let stores = Hooked::new(witness.clone(), witness.clone());
        stores.set_cache_bytes(5);
        let Opened { store, rebuilt } = stores.open(NAME).unwrap();
        assert_eq!(rebuilt.as_deref(), Some("damaged"));
        assert!(store.get(b"key", &mut Vec::new()).unwrap());
        store.prefetch(&[b"a", b"b"]).await.unwrap();
        store.apply(&[], checkpoint(1), Durability::Deferred).unwrap();
        store.load_sorted(&mut std::iter::empty(), checkpoint(1)).unwrap();
        assert_eq!(store.scan(KeyRange::all()).unwrap().count(), 0);
        assert_eq!(store.checkpoint().unwrap(), None);
        assert!(store.is_empty().unwrap());
        store.wipe().unwrap();
        store.sync().unwrap();
        store.close().unwrap();
        let calls = witness.calls.lock().unwrap();
        let opened = format!("open {NAME}");
        let expected = [
            "cache 5",
            &opened,
            "get",
            "prefetch 2",
            "before",
            "apply 0 Deferred",
            "after",
            "before",
            "load 0",
            "after",
            "scan",
            "checkpoint",
            "is_empty",
            "wipe",
            "sync",
            "close",
        ];
        assert_eq!(*calls, expected);
    }

    #[test]
    fn a_store_may_block_if_it_or_the_hook_may() {
        let may_block = |blocks, inner: Arc<dyn StoreBuilder>| {
            let hook = Witness {
                blocks,
                ..Witness::default()
            };
            let stores = Hooked::new(inner, hook);
            (stores.may_block(), stores.open(NAME).unwrap().store.may_block())
        };
        assert_eq!(may_block(false, Arc::new(Memory::new())), (false, false));
        assert_eq!(may_block(true, Arc::new(Memory::new())), (false, true));
    }

    #[test]
    fn a_hooked_store_keeps_the_store_contract() {
        store_contract::check(|| Hooked::new(Memory::new(), Witness::default()));
    }
}
