//! The stores of this workspace against the store contract, and the persistent one against damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use goka_core::storage::{Durability, KeyRange, Memory, Opened, Row, StoreBuilder, StoreError, StoreName};
use proptest::prelude::*;
use storage_redb::Redb;
use testkit::store_contract::{self, NAME, apply, checkpoint, get, open, scan};

/// A directory that goes with its owner.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("stores-{}-{number}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A builder whose directory goes with it.
#[derive(Debug)]
struct Scratched {
    redb: Redb,
    _directory: Scratch,
}

impl StoreBuilder for Scratched {
    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        self.redb.open(name)
    }
}

fn redb() -> Scratched {
    let directory = Scratch::new();
    Scratched {
        redb: Redb::at(&directory.0),
        _directory: directory,
    }
}

fn unverified(root: &Path) -> Redb {
    Redb::at(root).verify_on_open(false)
}

/// The one file below `root` with this extension.
fn file(root: &Path, extension: &str) -> Option<PathBuf> {
    let files = std::fs::read_dir(root.join("group"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    files
        .into_iter()
        .find(|path| path.extension().is_some_and(|found| found == extension))
}

#[test]
fn memory_keeps_the_store_contract() {
    store_contract::check(Memory::new);
}

#[test]
fn redb_keeps_the_store_contract() {
    store_contract::check(redb);
}

#[test]
fn a_second_instance_on_the_same_directory_is_refused_and_told_why() {
    let scratch = Scratch::new();
    let first = Redb::at(&scratch.0);
    let store = open(&first);
    let refused = || {
        let error = Redb::at(&scratch.0)
            .open(NAME)
            .err()
            .expect("the directory is in use")
            .to_string();
        let directory = scratch.0.to_string_lossy();
        assert!(
            error.contains("another instance is using it") && error.contains(&*directory),
            "{error}"
        );
    };
    refused();
    store.close().unwrap();
    // The instance has no partition at the moment, but it may get one again.
    refused();
    drop(first);
    open(&Redb::at(&scratch.0));
}

#[test]
fn files_that_are_no_store_are_set_aside_and_rebuilt() {
    for damage in [&b"this was never a database"[..], &[1; 8192], &[0xff; 100]] {
        let scratch = Scratch::new();
        open(&Redb::at(&scratch.0)).close().unwrap();
        let path = file(&scratch.0, "redb").unwrap();
        std::fs::write(&path, damage).unwrap();
        let opened = Redb::at(&scratch.0).open(NAME).unwrap();
        let reason = opened.rebuilt.expect("the damage is told");
        assert!(reason.contains("corrupt-0"), "{reason}");
        assert_eq!(opened.store.checkpoint().unwrap(), None);
        apply(&*opened.store, &[(b"a", Some(b"1"))], 1);
        assert_eq!(std::fs::read(file(&scratch.0, "corrupt-0").unwrap()).unwrap(), damage);
    }
}

#[test]
fn a_file_whose_making_was_interrupted_is_made_anew() {
    for left in [&[0; 8192][..], &[0; 3], &[]] {
        let scratch = Scratch::new();
        open(&Redb::at(&scratch.0)).close().unwrap();
        let path = file(&scratch.0, "redb").unwrap();
        std::fs::write(&path, left).unwrap();
        let store = open(&Redb::at(&scratch.0));
        apply(&*store, &[(b"a", Some(b"1"))], 1);
        store.close().unwrap();
        assert_eq!(get(&*open(&Redb::at(&scratch.0)), b"a"), Some(b"1".to_vec()));
    }
}

#[test]
fn the_file_of_another_table_or_partition_is_not_taken_for_ours() {
    let others = [
        StoreName { owner: "else", ..NAME },
        StoreName {
            topic: "other-table",
            ..NAME
        },
        StoreName { partition: 1, ..NAME },
    ];
    for name in others {
        let scratch = Scratch::new();
        let redb = Redb::at(&scratch.0);
        let store = open(&redb);
        apply(&*store, &[(b"a", Some(b"1"))], 1);
        store.close().unwrap();
        redb.open(name).unwrap().store.close().unwrap();
        let path = |name: StoreName<'_>| scratch.0.join(format!("{name}.redb"));
        std::fs::rename(path(NAME), path(name)).unwrap();
        let opened = redb.open(name).unwrap();
        let reason = opened.rebuilt.expect("the mistake is told");
        assert!(
            reason.contains("group/group-table-0, not of") && reason.contains("corrupt-0"),
            "{reason}"
        );
        assert!(opened.store.is_empty().unwrap());
    }
}

#[test]
fn an_older_copy_of_a_file_is_what_it_was() {
    let scratch = Scratch::new();
    let redb = Redb::at(&scratch.0);
    let store = open(&redb);
    apply(&*store, &[(b"a", Some(b"1")), (b"b", Some(b"1"))], 2);
    store.close().unwrap();
    let path = file(&scratch.0, "redb").unwrap();
    let older = std::fs::read(&path).unwrap();
    let store = open(&redb);
    apply(&*store, &[(b"a", Some(b"2")), (b"b", None)], 4);
    store.close().unwrap();
    std::fs::write(&path, older).unwrap();
    let store = open(&redb);
    assert_eq!(store.checkpoint().unwrap(), Some(checkpoint(2)));
    let rows = [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())];
    assert_eq!(scan(&*store, KeyRange::all()), rows);
}

#[test]
fn a_file_with_little_left_in_it_is_smaller_after_closing() {
    let scratch = Scratch::new();
    let redb = Redb::at(&scratch.0);
    let store = open(&redb);
    let keys: Vec<_> = (0..2_000u32).map(u32::to_be_bytes).collect();
    let mut rows = keys.iter().map(|key| (&key[..], &[7; 4_000][..]));
    store.load_sorted(&mut rows, checkpoint(1)).unwrap();
    store.close().unwrap();
    let full = std::fs::metadata(file(&scratch.0, "redb").unwrap()).unwrap().len();
    let store = open(&redb);
    let gone: Vec<_> = keys[10..].iter().map(|key| (&key[..], None)).collect();
    apply(&*store, &gone, 2);
    store.close().unwrap();
    let left = std::fs::metadata(file(&scratch.0, "redb").unwrap()).unwrap().len();
    assert!(full > 8_000_000 && left < full / 4, "{left} of {full} bytes");
    assert_eq!(scan(&*open(&redb), KeyRange::all()).len(), 10);
}

/// Unless it is verified, damage in the middle of a file may go unnoticed until the page is read. Whatever it does, it must be an
/// error or a rebuilt store, never a panic, and a store that reported damage must be rebuilt at the next opening.
#[test]
fn a_file_damaged_anywhere_is_an_error_or_rebuilt_but_never_a_panic() {
    let mut rebuilt = 0;
    for round in 0..40u64 {
        let scratch = Scratch::new();
        let store = open(&unverified(&scratch.0));
        let rows: Vec<_> = (0..2_000u32)
            .map(|number| (number.to_be_bytes(), [number as u8; 60]))
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, value)| Row {
                key,
                value: Some(value),
            })
            .collect();
        store.apply(&rows, checkpoint(2_000), Durability::Immediate).unwrap();
        store.close().unwrap();
        let path = file(&scratch.0, "redb").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        match round % 2 {
            0 => {
                // A pseudo-random run of 64 pages' beginnings.
                for step in 0..64u64 {
                    let at = (round * 7919 + step * 104_729 * (round + 1)) as usize % bytes.len();
                    bytes[at] ^= 0x5a;
                }
            }
            _ => bytes.truncate(bytes.len() * round as usize / 41),
        }
        std::fs::write(&path, bytes).unwrap();
        let Ok(opened) = unverified(&scratch.0).open(NAME) else {
            continue;
        };
        if opened.rebuilt.is_some() {
            rebuilt += 1;
            assert!(opened.store.is_empty().unwrap());
            continue;
        }
        let failed = opened
            .store
            .scan(KeyRange::all())
            .is_ok_and(|rows| rows.into_iter().any(|row| row.is_err()));
        let _ = opened.store.get(&7u32.to_be_bytes(), &mut Vec::new());
        if failed {
            let _ = opened.store.close();
            drop(opened);
            let again = unverified(&scratch.0).open(NAME).unwrap();
            assert!(again.rebuilt.is_some(), "damage was seen but the file is used again");
        }
    }
    assert!(rebuilt > 0, "no damage was found at all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn redb_agrees_with_a_plain_map(
        steps in proptest::collection::vec(
            (proptest::collection::vec((0u8..20, proptest::option::of(any::<u8>())), 0..8), any::<bool>()),
            1..12,
        ),
    ) {
        let builder = redb();
        let mut store = open(&builder);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (offset, (rows, reopen)) in steps.iter().enumerate() {
            let rows: BTreeMap<_, _> = rows.iter().copied().collect();
            let owned: Vec<_> = rows.iter().map(|(key, value)| ([*key], value.map(|value| [value]))).collect();
            let rows: Vec<_> = owned.iter().map(|(k, v)| (&k[..], v.as_ref().map(|v| &v[..]))).collect();
            apply(&*store, &rows, offset as i64);
            for (key, value) in rows {
                match value {
                    Some(value) => model.insert(key.to_vec(), value.to_vec()),
                    None => model.remove(key),
                };
            }
            if *reopen {
                store.close().unwrap();
                store = open(&builder);
            }
            prop_assert_eq!(scan(&*store, KeyRange::all()), model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(get(&*store, &[7]), model.get(&vec![7]).cloned());
            prop_assert_eq!(store.checkpoint().unwrap(), Some(checkpoint(offset as i64)));
        }
    }
}
