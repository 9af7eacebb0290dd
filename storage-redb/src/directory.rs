//! The lock on a directory of stores.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goka_core::storage::StoreError;

/// How often, and after which pause, a lock that another has is asked for again. A process that starts a program shares its locks
/// with it for the moment until the program runs, so that a lock just given back may still be held.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Holds the operating system's lock on a directory; the system gives it back with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
    /// Whoever removes the lock file does not remove this.
    _directory: Option<File>,
}

impl DirectoryLock {
    /// Makes `root` and locks it.
    pub(crate) fn acquire(root: &Path) -> Result<Arc<DirectoryLock>, StoreError> {
        let failed = |what: &str, error: std::io::Error| StoreError::new(format!("{what} {}", root.display()), error);
        create_dir_all(root).map_err(|error| failed("cannot make directory", error))?;
        let path = root.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| failed("cannot open the lock file in", error))?;
        lock(&file, root)?.map_err(|error| failed("cannot lock directory", error))?;
        // Not every system opens directories, nor does every file system lock them.
        let directory = match File::open(root) {
            Ok(directory) => lock(&directory, root)?.is_ok().then_some(directory),
            Err(_) => None,
        };
        Ok(Arc::new(DirectoryLock {
            _file: file,
            _directory: directory,
        }))
    }
}

/// Locks `file`, or fails because another has it; the inner error says that it cannot be locked at all.
fn lock(file: &File, root: &Path) -> Result<std::io::Result<()>, StoreError> {
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => return Ok(Ok(())),
            Err(TryLockError::Error(error)) => return Ok(Err(error)),
            Err(TryLockError::WouldBlock) if attempt == ATTEMPTS => break,
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
        }
    }
    Err(StoreError::new(
        format!("directory {}", root.display()),
        "another instance is using it; give each instance a state directory of its own",
    ))
}
