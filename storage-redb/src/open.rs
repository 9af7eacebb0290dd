//! Opening a store's file, setting it aside if it is damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use goka_core::storage::{Opened, StoreError, StoreName};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};

use crate::directory::DirectoryLock;
use crate::guard::{Failure, Held, guarded, mark, store_error};
use crate::medium::{Backend, sync_directory_of};
use crate::store::{META, RedbStore};
use crate::{Redb, checkpoint, file_name};

/// Opens the store called `name`, in the directory that `lock` holds.
pub(crate) fn open(builder: &Redb, name: StoreName<'_>, lock: Arc<DirectoryLock>) -> Result<Opened, StoreError> {
    let (directory, file) = file_name::of(name);
    let directory = builder.root.join(directory);
    let path = directory.join(format!("{file}.redb"));
    let failed = |error| StoreError::new(format!("cannot make directory {}", directory.display()), error);
    std::fs::create_dir_all(&directory).map_err(|error: std::io::Error| failed(error))?;
    let mut rebuilt = None;
    let (database, backend) = match inspect(builder, &path, name) {
        Ok(opened) => opened,
        Err(Refusal::Damaged(reason)) => {
            let aside = set_aside(&path)?;
            rebuilt = Some(format!("{reason}; the file is now {}", aside.display()));
            match create(builder, &path, name) {
                Ok(opened) => opened,
                Err(failure) => return Err(store_error(&path, &failure)),
            }
        }
        Err(Refusal::Failed(failure)) => return Err(store_error(&path, &failure)),
    };
    let store =
        RedbStore::new(path.clone(), database, backend, lock).map_err(|failure| store_error(&path, &failure))?;
    Ok(Opened {
        store: Arc::new(store),
        rebuilt,
    })
}

/// Why a file is not opened.
enum Refusal {
    /// It cannot be used, now or later.
    Damaged(String),
    /// The machine, or another user of it, is in the way.
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        match failure.is_damage() {
            true => Refusal::Damaged(failure.to_string()),
            false => Refusal::Failed(failure),
        }
    }
}

fn inspect(builder: &Redb, path: &Path, name: StoreName<'_>) -> Result<(Held<Database>, Backend), Refusal> {
    if mark(path).exists() {
        return Err(Refusal::Damaged(
            "it was found damaged while it was last in use".to_owned(),
        ));
    }
    let (database, backend) = create(builder, path, name)?;
    let (owner, readable) = guarded(|| {
        let meta = database.begin_read()?.open_table(META)?;
        let owner = meta
            .get("name")?
            .map(|owner| String::from_utf8_lossy(owner.value()).into_owned());
        let readable = meta
            .get("checkpoint")?
            .is_none_or(|bytes| checkpoint::decode(bytes.value()).is_some());
        Ok((owner, readable))
    })?;
    if owner.as_deref() != Some(&*name.to_string()) {
        let owner = owner.unwrap_or_else(|| "nobody".to_owned());
        return Err(Refusal::Damaged(format!(
            "it holds the table of {owner}, not of {name}"
        )));
    }
    if !readable {
        return Err(Refusal::Damaged("its checkpoint is of an unknown format".to_owned()));
    }
    Ok((database, backend))
}

/// Opens or makes the file; a new one is given its tables and its name.
fn create(builder: &Redb, path: &Path, name: StoreName<'_>) -> Result<(Held<Database>, Backend), Failure> {
    guarded(|| {
        let backend = builder.medium.open(path)?;
        if is_unfinished(&backend)? {
            backend.set_len(0)?;
        }
        let is_new = backend.len()? == 0;
        let database = Database::builder()
            .set_cache_size(builder.cache())
            .create_with_backend(backend.clone())?;
        let mut database = Held::new(database);
        if builder.verified && !is_new && !database.check_integrity()? {
            // A crash can leave it so; all that is in use is as it was written.
            tracing::debug!(path = %path.display(), "a store was put in order");
        }
        let transaction = database.begin_write()?;
        let is_nameless = {
            let mut meta = transaction.open_table(META)?;
            transaction.open_table(crate::store::ROWS)?;
            let is_nameless = meta.get("name")?.is_none();
            if is_nameless {
                meta.insert("name", name.to_string().as_bytes())?;
            }
            is_nameless
        };
        match is_nameless {
            true => transaction.commit()?,
            false => transaction.abort()?,
        }
        Ok((database, backend))
    })
}

/// Whether the making of the file was interrupted: redb writes its magic number last, when nothing but the header is written yet.
/// There is nothing in it, so that it need not be set aside.
fn is_unfinished(backend: &Backend) -> std::io::Result<bool> {
    const MAGIC: usize = 9;
    const PAGE: usize = 4096;
    /// More than a new file has.
    const LONGEST: u64 = 8 << 20;

    let len = backend.len()?;
    if len == 0 || len > LONGEST {
        return Ok(false);
    }
    for at in (0..len).step_by(PAGE) {
        let page = &mut [0; PAGE][..PAGE.min((len - at) as usize)];
        backend.read(at, page)?;
        let rest = if at == 0 { &page[..MAGIC.min(page.len())] } else { page };
        if rest.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Renames the file to the first free `*.corrupt-N`.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 0;
    let aside = loop {
        let aside = path.with_extension(format!("corrupt-{number}"));
        if !aside.exists() {
            break aside;
        }
        number += 1;
    };
    // In this order also on the disk: the damaged file must not come back without its mark.
    let renamed = std::fs::rename(path, &aside).and_then(|()| sync_directory_of(path));
    renamed.map_err(|error| StoreError::new(format!("cannot set aside {}", path.display()), error))?;
    match std::fs::remove_file(mark(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::new(
            format!("cannot remove {}", mark(path).display()),
            error,
        )),
        _ => Ok(aside),
    }
}
