//! One partition's rows and checkpoint in one redb file.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use goka_core::storage::{Checkpoint, Durability, KeyRange, PartitionStore, Row, RowIter, StoreError};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition, WriteTransaction,
};

use crate::append::Append;
use crate::checkpoint;
use crate::directory::DirectoryLock;
use crate::guard::{Failure, Held, guarded, store_error};
use crate::medium::Backend;
use crate::merge;

pub(crate) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const CHECKPOINT: &str = "checkpoint";

type Rows = Held<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// Files below this are not worth compacting.
const SMALL_FILE: u64 = 4 << 20;

/// See the crate's text.
pub(crate) struct RedbStore {
    path: PathBuf,
    /// Whether rows were replaced since it was opened, so that the file may hold many pages that are not in use any more.
    rewritten: AtomicBool,
    /// Empty once closed.
    open: RwLock<Option<Open>>,
}

struct Open {
    /// Read through by every get; replaced after each write. Declared first: it must be gone before the database.
    rows: RwLock<Rows>,
    database: Held<Database>,
    /// Whether something was written that may be lost with the power.
    deferred: AtomicBool,
    backend: Backend,
    _lock: Arc<DirectoryLock>,
}

impl RedbStore {
    pub(crate) fn new(
        path: PathBuf,
        database: Held<Database>,
        backend: Backend,
        lock: Arc<DirectoryLock>,
    ) -> Result<RedbStore, Failure> {
        let rows = guarded(|| reader(&database))?;
        Ok(RedbStore {
            path,
            rewritten: AtomicBool::new(false),
            open: RwLock::new(Some(Open {
                rows: RwLock::new(rows),
                database,
                deferred: AtomicBool::new(false),
                backend,
                _lock: lock,
            })),
        })
    }

    /// Runs `f` on the open store.
    fn with<R>(&self, f: impl FnOnce(&Open) -> Result<R, redb::Error>) -> Result<R, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &*open else {
            return Err(StoreError::new(self.path.display().to_string(), "it is closed"));
        };
        guarded(|| f(open)).map_err(|failure| store_error(&self.path, &failure))
    }

    /// Runs `f` in a write transaction and lets readers see the outcome.
    fn write(
        &self,
        durability: Durability,
        f: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.with(|open| {
            let transaction = open.database.begin_write()?;
            f(&transaction)?;
            open.commit(transaction, durability)
        })
    }
}

impl Open {
    fn commit(&self, mut transaction: WriteTransaction, durability: Durability) -> Result<(), redb::Error> {
        match durability {
            Durability::Deferred => transaction.set_durability(redb::Durability::None)?,
            // Allocator state goes along, so that opening after a crash does not have to walk the whole file.
            Durability::Immediate => transaction.set_quick_repair(true),
        }
        // While the transaction is open, so that no other one's note is overwritten.
        self.deferred
            .store(durability == Durability::Deferred, Ordering::Relaxed);
        if let Err(error) = transaction.commit() {
            self.deferred.store(true, Ordering::Relaxed);
            return Err(error.into());
        }
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = reader(&self.database)?;
        Ok(())
    }
}

fn reader(database: &Database) -> Result<Rows, redb::Error> {
    Ok(Held::new(database.begin_read()?.open_table(ROWS)?))
}

fn write_checkpoint(transaction: &WriteTransaction, checkpoint: &Checkpoint) -> Result<(), redb::Error> {
    transaction
        .open_table(META)?
        .insert(CHECKPOINT, checkpoint::encode(checkpoint).as_slice())?;
    Ok(())
}

#[async_trait]
impl PartitionStore for RedbStore {
    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        into.clear();
        self.with(|open| {
            let rows = open.rows.read().unwrap_or_else(PoisonError::into_inner);
            let value = rows.get(key)?;
            if let Some(value) = &value {
                into.extend_from_slice(value.value());
            }
            Ok(value.is_some())
        })
    }

    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, durability: Durability) -> Result<(), StoreError> {
        if !rows.is_empty() {
            self.rewritten.store(true, Ordering::Relaxed);
        }
        self.write(durability, |transaction| {
            match merge::pays(transaction, rows)? {
                true => merge::into_new_table(transaction, rows)?,
                false => merge::into_table(transaction, rows)?,
            }
            write_checkpoint(transaction, &checkpoint)
        })
    }

    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.write(Durability::Deferred, |transaction| {
            {
                let mut table = transaction.open_table(ROWS)?;
                let mut end = Append::to(&mut table);
                for row in rows {
                    end.row(row)?;
                }
                end.finish()?;
            }
            write_checkpoint(transaction, &checkpoint)
        })
    }

    fn scan(&self, range: KeyRange) -> Result<RowIter, StoreError> {
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let start = range.start.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.with(|open| {
            let rows = open.rows.read().unwrap_or_else(PoisonError::into_inner);
            Ok(Held::new(rows.range::<&[u8]>((start, end))?))
        })?;
        let path = self.path.clone();
        let mut found = Some(found);
        Ok(Box::new(std::iter::from_fn(move || {
            let next = guarded(|| match found.as_mut().and_then(|rows| rows.next()) {
                Some(row) => {
                    let (key, value) = row?;
                    Ok(Some((key.value().to_vec(), value.value().to_vec())))
                }
                None => Ok(None),
            });
            if next.is_err() {
                // What failed once may go on failing for ever.
                found = None;
            }
            next.map_err(|failure| store_error(&path, &failure)).transpose()
        })))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.with(|open| {
            let meta = open.database.begin_read()?.open_table(META)?;
            let bytes = meta.get(CHECKPOINT)?;
            // Its format was checked when the file was opened.
            Ok(bytes.and_then(|bytes| checkpoint::decode(bytes.value())))
        })
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        self.with(|open| Ok(open.rows.read().unwrap_or_else(PoisonError::into_inner).is_empty()?))
    }

    fn wipe(&self) -> Result<(), StoreError> {
        self.rewritten.store(true, Ordering::Relaxed);
        self.write(Durability::Immediate, |transaction| {
            transaction.delete_table(ROWS)?;
            transaction.open_table(ROWS)?;
            transaction.open_table(META)?.remove(CHECKPOINT)?;
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.with(|open| {
            let transaction = open.database.begin_write()?;
            match open.deferred.load(Ordering::Relaxed) {
                true => open.commit(transaction, Durability::Immediate),
                false => Ok(transaction.abort()?),
            }
        })
    }

    fn close(&self) -> Result<(), StoreError> {
        self.sync()?;
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open {
            rows,
            mut database,
            deferred: _,
            backend,
            _lock,
        }) = open
        else {
            return Ok(());
        };
        let size = backend.len().unwrap_or(0);
        if self.rewritten.load(Ordering::Relaxed) && size > SMALL_FILE {
            // This reads every page.
            let live = guarded(|| {
                let stats = rows.read().unwrap_or_else(PoisonError::into_inner).stats()?;
                Ok(stats.stored_bytes() + stats.metadata_bytes())
            });
            let live = live.map_err(|failure| store_error(&self.path, &failure))?;
            drop(rows);
            if live.saturating_mul(5) < size.saturating_mul(2) {
                // A scan that is still read holds on to old pages; then the file stays as large as it is.
                match guarded(|| Ok(database.compact()?)) {
                    Ok(_) => {}
                    Err(failure) => tracing::debug!(path = %self.path.display(), %failure, "not compacted"),
                }
            }
        }
        database.release().map_err(|failure| store_error(&self.path, &failure))
    }
}
