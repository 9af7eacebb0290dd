//! What becomes of damaged files, and of directories that two instances want.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use goka_core::storage::StoreBuilder;
use storage_redb::StorageBackend;

use crate::app::{App, PARTITIONS, clicks, stop};
use crate::cluster::{Cluster, eventually, within};

/// The store files of the group's table.
fn files(app: &App) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![app.state.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

pub(crate) async fn damaged_files_are_set_aside_and_rebuilt(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(800, 100);
    app.click(&clicks[..400]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    stop(running).await;
    let mut damaged: Vec<_> = files(&app)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "redb"))
        .collect();
    damaged.sort();
    assert_eq!(damaged.len(), PARTITIONS as usize);
    // One is empty, one cut off, one full of something else; one is left as it is.
    std::fs::write(&damaged[0], b"").unwrap();
    let length = std::fs::metadata(&damaged[1]).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&damaged[1])
        .unwrap()
        .set_len(length / 3)
        .unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&damaged[2]).unwrap();
    file.seek(SeekFrom::Start(64)).unwrap();
    file.write_all(&vec![0xa5; length as usize - 64]).unwrap();
    drop(file);
    app.click(&clicks[400..]).await;
    let running = app.running(app.redb("a")).await;
    app.until_counted(&running, &clicks).await;
    stop(running).await;
    let aside = files(&app)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("corrupt"))
        .count();
    // An empty file holds nothing to keep.
    assert!(aside >= 2, "{:?}", files(&app));
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct OnFullDisk {
    file: Mutex<File>,
    full: Arc<AtomicBool>,
}

impl OnFullDisk {
    fn room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn at(&self, offset: u64) -> io::Result<MutexGuard<'_, File>> {
        let mut file = self.file.lock().unwrap();
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }
}

impl StorageBackend for OnFullDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.at(offset)?.read_exact(out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.lock().unwrap().set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.at(offset)?.write_all(data)
    }
}

pub(crate) async fn a_full_disk_ends_the_run_and_names_the_file_and_loses_nothing(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(1200, 100);
    let full = Arc::new(AtomicBool::new(false));
    let stores = || {
        let full = Arc::clone(&full);
        app.redb("a").kept_on(move |path| {
            let mut how = OpenOptions::new();
            let file = how.read(true).write(true).create(true).truncate(false).open(path)?;
            Ok(Box::new(OnFullDisk {
                file: Mutex::new(file),
                full: Arc::clone(&full),
            }))
        })
    };
    app.click(&clicks[..400]).await;
    let running = app.running(stores()).await;
    app.until_committed().await;
    full.store(true, Ordering::SeqCst);
    app.click(&clicks[400..800]).await;
    app.until_committed().await;
    let error = within("the run's end", running.stop()).await.unwrap_err().to_string();
    assert!(error.contains(".redb") && error.contains("space"), "{error}");
    // As long as there is no room it does not begin, and says so.
    let refused = async {
        let running = app.try_start(app.graph(), stores()).await?;
        running.wait().await
    };
    let error = within("the next run's end", refused).await.unwrap_err().to_string();
    assert!(error.contains(".redb") && error.contains("space"), "{error}");
    full.store(false, Ordering::SeqCst);
    app.click(&clicks[800..]).await;
    let running = app.running(stores()).await;
    app.until_counted(&running, &clicks).await;
    stop(running).await;
    app.check_prefix(&app.state.join("a")).await;
    assert!(
        files(&app)
            .iter()
            .all(|path| !path.to_string_lossy().contains("corrupt"))
    );
}

pub(crate) async fn a_directory_serves_one_instance(cluster: Cluster) {
    let app = App::new(cluster).await;
    app.click(["amy"]).await;
    let running = app.running(app.redb("a")).await;
    let other = app.redb("a");
    let name = goka_core::storage::StoreName {
        owner: "other",
        topic: "other",
        partition: 0,
    };
    let error = other.open(name).err().unwrap().to_string();
    assert!(error.contains(&*app.state.join("a").to_string_lossy()), "{error}");
    let second = app.start(app.graph(), app.redb("a")).await;
    let error = within("the second instance's end", second.wait())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&*app.state.join("a").to_string_lossy()), "{error}");
    app.click(["amy"]).await;
    app.until_committed().await;
    eventually("the first instance's partitions", async || {
        running.get("amy").await.ok() == Some(Some(2))
    })
    .await;
    stop(running).await;
}
