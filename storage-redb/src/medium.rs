//! What the stores' files are kept on: the file system, or what a test puts in its place.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

type Opening = dyn Fn(&Path) -> io::Result<Arc<dyn StorageBackend>> + Send + Sync;

/// Opens, or makes, the file of a path.
#[derive(Clone)]
pub(crate) struct Medium(Arc<Opening>);

impl Medium {
    /// Files.
    pub(crate) fn files() -> Medium {
        Medium(Arc::new(|path| Ok(Arc::new(file(path)?))))
    }

    /// Whatever `open` gives.
    pub(crate) fn other(open: impl Fn(&Path) -> io::Result<Box<dyn StorageBackend>> + Send + Sync + 'static) -> Medium {
        Medium(Arc::new(move |path| Ok(Arc::from(open(path)?))))
    }

    /// Opens the file at `path`.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Backend> {
        (self.0)(path).map(Backend)
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Medium")
    }
}

fn file(path: &Path) -> io::Result<FileBackend> {
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if is_new {
        sync_directory_of(path)?;
    }
    FileBackend::new(file).map_err(io::Error::other)
}

/// Makes it durable which files the directory of `path` has.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        // Elsewhere directories cannot be opened, and their entries are durable by themselves.
        Some(directory) if cfg!(unix) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// A backend that redb and its store both hold: redb does not tell how long its file is.
#[derive(Debug, Clone)]
pub(crate) struct Backend(Arc<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
