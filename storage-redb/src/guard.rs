//! Calls into redb that can neither unwind into us nor fail unnoticed.
//!
//! A damaged page shows as an error or as a panic. Either way the file is marked, so that the next opening sets it aside and the
//! table is rebuilt from its changelog.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use goka_core::storage::StoreError;

/// What can come out of a call into redb.
pub(crate) enum Failure {
    /// It said so.
    Redb(redb::Error),
    /// It panicked.
    Panic(String),
}

impl Failure {
    /// Whether the file, rather than the machine, is to blame.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Failure::Panic(_) | Failure::Redb(redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_)) => true,
            // What redb says of a file that is not one of its own, or ends too early.
            Failure::Redb(redb::Error::Io(error)) => {
                matches!(
                    error.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                )
            }
            Failure::Redb(_) => false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Redb(error) => write!(f, "{error}"),
            Failure::Panic(message) => write!(f, "panicked: {message}"),
        }
    }
}

/// Runs `f`; a panic in it becomes a failure.
pub(crate) fn guarded<R>(f: impl FnOnce() -> Result<R, redb::Error>) -> Result<R, Failure> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(Failure::Redb),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Failure::Panic(text.unwrap_or_else(|| "no message".to_owned())))
        }
    }
}

/// Something of redb's. A panic that damage caused leaves locks poisoned, so that even letting go of what redb gave can panic.
pub(crate) struct Held<T>(Option<T>);

impl<T> Held<T> {
    pub(crate) fn new(held: T) -> Held<T> {
        Held(Some(held))
    }

    /// Lets go of it.
    pub(crate) fn release(mut self) -> Result<(), Failure> {
        let held = self.0.take();
        guarded(|| {
            drop(held);
            Ok(())
        })
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("emptied only by what consumes it")
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("emptied only by what consumes it")
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        let released = guarded(|| {
            drop(held);
            Ok(())
        });
        if let Err(failure) = released {
            tracing::debug!(%failure, "letting go of a damaged store");
        }
    }
}

/// The error to give for `failure` of the store at `path`; damage is marked for the next opening.
pub(crate) fn store_error(path: &Path, failure: &Failure) -> StoreError {
    let mut text = failure.to_string();
    if failure.is_damage() {
        match std::fs::write(mark(path), &text) {
            Ok(()) => text.push_str("; the file will be set aside and rebuilt at the next start"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot mark a damaged store"),
        }
    }
    StoreError::new(path.display().to_string(), text)
}

/// The file whose presence says that the store at `path` is damaged.
pub(crate) fn mark(path: &Path) -> PathBuf {
    path.with_extension("damaged")
}
