//! What becomes of damaged files, and of directories that two instances want.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use goka_core::storage::StoreBuilder;

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
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
    let running = app.start(app.graph(), app.redb("a")).await;
    ready(&running).await;
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
    let running = app.start(app.graph(), app.redb("a")).await;
    ready(&running).await;
    app.until_committed().await;
    let truth = truth(&clicks);
    assert_eq!(app.fold().await, truth);
    for (user, count) in &truth {
        assert_eq!(running.get(user).await.unwrap(), Some(*count), "{user}");
    }
    stop(running).await;
    let aside = files(&app)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("corrupt"))
        .count();
    // An empty file holds nothing to keep.
    assert!(aside >= 2, "{:?}", files(&app));
}

pub(crate) async fn a_directory_serves_one_instance(cluster: Cluster) {
    let app = App::new(cluster).await;
    app.click(["amy"]).await;
    let running = app.start(app.graph(), app.redb("a")).await;
    ready(&running).await;
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
