//! Partition stores on [redb](https://docs.rs/redb): the store of every example, and the one to use where state must outlive the
//! process.
//!
//! ```text
//!   ROOT/.lock                          held from the first opened store until its `Redb` is gone: one instance, one directory
//!   ROOT/<owner>/<topic>-<partition>.redb
//!        tables:  rows  key bytes -> value bytes
//!                 meta  "checkpoint" -> 37 bytes (see `checkpoint`), "name" -> whose table this is
//! ```
//!
//! Rows and checkpoint change in one redb transaction. Most transactions are not made durable, because the changelog is the log:
//! after a power cut the file holds an older, consistent state, and the difference is read again. A file that redb cannot open,
//! in which a page does not match its checksum, or that turned out damaged later, is set aside as `*.corrupt-N` and an empty one
//! takes its place.
//!
//! Not here: when to flush and what, whether a checkpoint may be trusted (`goka_core`'s table).

mod append;
mod checkpoint;
mod directory;
mod file_name;
mod guard;
mod medium;
mod merge;
mod open;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use goka_core::storage::{Opened, StoreBuilder, StoreError, StoreName};
#[doc(hidden)]
pub use redb::StorageBackend;

use crate::directory::DirectoryLock;
use crate::medium::Medium;

/// The page cache of a store that nobody gave a share.
const CACHE_BYTES: usize = 32 << 20;

/// Opens stores below one directory. Two processes, or two of these, cannot use a directory at the same time: it is locked when the
/// first store is opened, and until this is dropped, so that an instance keeps its directory through rebalances.
#[derive(Debug)]
pub struct Redb {
    root: PathBuf,
    /// Set by hand.
    cache_bytes: Option<usize>,
    /// The part of whoever uses the stores' memory.
    cache_share: AtomicUsize,
    verified: bool,
    medium: Medium,
    lock: Mutex<Option<Arc<DirectoryLock>>>,
}

impl Redb {
    /// Stores below `root`, which is made when the first is opened.
    pub fn at(root: impl AsRef<Path>) -> Redb {
        Redb {
            root: root.as_ref().to_owned(),
            cache_bytes: None,
            cache_share: AtomicUsize::new(CACHE_BYTES),
            verified: true,
            medium: Medium::files(),
            lock: Mutex::default(),
        }
    }

    /// Sets the page cache of each store, in bytes; it is then no part of `max_memory`. By default the stores of a processor or a
    /// view share an eighth of that; the overlay above holds the hot rows already.
    pub fn cache_bytes(mut self, bytes: usize) -> Redb {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Whether every page of a store is checked against its checksum when it is opened; if one is wrong, the store is set aside and
    /// rebuilt. Reads do not look at checksums, so that without this what a disk has changed is taken for what was written. Costs
    /// about 1 ms per MiB, and reading the file. Default true.
    pub fn verify_on_open(mut self, verified: bool) -> Redb {
        self.verified = verified;
        self
    }

    /// Keeps each store on what `open` gives for its path instead of on a file: for disks that tests make fail. Directories, the
    /// lock and what is set aside stay on the file system.
    #[doc(hidden)]
    pub fn kept_on(
        mut self,
        open: impl Fn(&Path) -> std::io::Result<Box<dyn StorageBackend>> + Send + Sync + 'static,
    ) -> Redb {
        self.medium = Medium::other(open);
        self
    }
}

impl Redb {
    /// The page cache of a store that is opened now.
    pub(crate) fn cache(&self) -> usize {
        self.cache_bytes
            .unwrap_or_else(|| self.cache_share.load(Ordering::Relaxed))
    }
}

impl StoreBuilder for Redb {
    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        let lock = {
            let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                Some(lock) => Arc::clone(lock),
                None => Arc::clone(held.insert(DirectoryLock::acquire(&self.root)?)),
            }
        };
        open::open(self, name, lock)
    }

    fn set_cache_bytes(&self, bytes: usize) {
        self.cache_share.store(bytes, Ordering::Relaxed);
    }
}
