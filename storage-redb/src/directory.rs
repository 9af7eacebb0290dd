//! The lock on a directory of stores.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::path::Path;
use std::sync::Arc;

use goka_core::storage::StoreError;

/// Holds the operating system's lock on a directory; the system gives it back with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes `root` and locks it.
    pub(crate) fn acquire(root: &Path) -> Result<Arc<DirectoryLock>, StoreError> {
        let failed = |what: &str, error: std::io::Error| StoreError::new(format!("{what} {}", root.display()), error);
        create_dir_all(root).map_err(|error| failed("cannot make directory", error))?;
        let path = root.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| failed("cannot open the lock file in", error))?;
        match file.try_lock() {
            Ok(()) => Ok(Arc::new(DirectoryLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(StoreError::new(
                format!("directory {}", root.display()),
                "another instance is using it; give each instance a state directory of its own",
            )),
            Err(TryLockError::Error(error)) => Err(failed("cannot lock directory", error)),
        }
    }
}
