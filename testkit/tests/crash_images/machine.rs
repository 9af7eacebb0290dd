//! Opens our store on disks in memory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use goka_core::storage::{Opened, StoreBuilder, StoreError};
use storage_redb::Redb;
use testkit::store_contract::NAME;

use crate::disk::Disk;

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("crash-images-{}-{number}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One machine, into which one disk after the other is put.
pub(crate) struct Machine {
    redb: Redb,
    disk: Arc<Mutex<Disk>>,
    directory: Scratch,
}

impl Machine {
    pub(crate) fn new(cache_bytes: usize) -> Machine {
        Machine::that(true, cache_bytes)
    }

    /// One that verifies files when it opens them, or not.
    pub(crate) fn that(verifies: bool, cache_bytes: usize) -> Machine {
        let directory = Scratch::new();
        let disk = Arc::new(Mutex::new(Disk::default()));
        let inserted = Arc::clone(&disk);
        let redb = Redb::at(&directory.0).cache_bytes(cache_bytes).verify_on_open(verifies);
        let redb = redb.kept_on(move |path| {
            let mut disk = inserted.lock().unwrap_or_else(PoisonError::into_inner);
            if path.with_extension("corrupt-0").exists() {
                // It was set aside.
                *disk = Disk::default();
            }
            Ok(Box::new(disk.clone()))
        });
        Machine { redb, disk, directory }
    }

    /// Opens the store on `disk`. A damaged one cannot be set aside here: that is an error.
    pub(crate) fn open(&self, disk: &Disk) -> Result<Opened, StoreError> {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk.clone();
        self.redb.open(NAME)
    }

    /// The same, but a damaged store can be set aside.
    pub(crate) fn open_file(&self, disk: &Disk) -> Result<Opened, StoreError> {
        let path = self.directory.0.join("group/group-table-0.redb");
        let _ = std::fs::remove_file(path.with_extension("corrupt-0"));
        std::fs::create_dir_all(self.directory.0.join("group")).unwrap();
        std::fs::write(&path, b"stands for what is on the disk").unwrap();
        self.open(disk)
    }

    /// Whether a store on it was found damaged since this was last asked.
    pub(crate) fn take_mark(&self) -> bool {
        std::fs::remove_file(self.directory.0.join("group/group-table-0.damaged")).is_ok()
    }
}
