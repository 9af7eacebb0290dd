//! Disks that fail and disks that are full: an error that names the file, never a panic, and afterwards nothing is lost.

use std::sync::Arc;

use goka_core::storage::{Durability, KeyRange, PartitionStore, StoreError};
use testkit::store_contract::checkpoint;

use crate::chance::Chance;
use crate::cut::{Replay, Subset};
use crate::disk::{Content, Disk, Trouble};
use crate::history::{Batch, Bytes, Changelog, History, Step, rows, together};
use crate::machine::Machine;
use crate::verdict::{self, Past, Place};

/// The steps of a store's life, which use every call that reads or writes.
#[derive(Debug, Clone, Copy)]
enum Call {
    Open,
    /// Goes on to this offset of the changelog.
    Apply(usize, Durability),
    /// Fills the empty store up to this offset.
    Load(usize),
    Wipe,
    Sync,
    Scan,
    Close,
}

const LIFE: [Call; 19] = [
    Call::Open,
    Call::Apply(1, Durability::Deferred),
    Call::Apply(2, Durability::Immediate),
    Call::Scan,
    Call::Apply(3, Durability::Deferred),
    Call::Close,
    Call::Open,
    Call::Apply(4, Durability::Deferred),
    Call::Sync,
    Call::Wipe,
    Call::Load(5),
    Call::Apply(6, Durability::Immediate),
    Call::Apply(7, Durability::Deferred),
    Call::Apply(8, Durability::Deferred),
    Call::Apply(9, Durability::Immediate),
    Call::Close,
    Call::Open,
    Call::Apply(10, Durability::Immediate),
    Call::Scan,
];

/// What became of a life.
struct Outcome {
    steps: Vec<Step>,
    /// The call that failed, and how.
    failed: Option<(Call, StoreError)>,
}

/// A changelog whose batches grow the file, spill from a small cache, and delete.
fn changelog() -> Changelog {
    let mut chance = Chance::new(7);
    let mut log = Changelog::new();
    for number in 1..=10u64 {
        let row = |key: u64, chance: &mut Chance| {
            let value = (key % 3 != number % 3).then(|| vec![chance.next() as u8; 2_000 + key as usize]);
            (Bytes::from(key.to_be_bytes()), value.map(Bytes::from))
        };
        let batch: Batch = match number {
            9 => log.fold(8).keys().map(|key| (key.clone(), None)).collect(),
            _ => (number * 2..number * 4 + 4).map(|key| row(key, &mut chance)).collect(),
        };
        log.append(batch);
    }
    log
}

fn live(machine: &Machine, disk: &Disk, log: &Changelog) -> Outcome {
    let mut outcome = Outcome {
        steps: Vec::new(),
        failed: None,
    };
    let (mut store, mut place): (Option<Arc<dyn PartitionStore>>, Place) = (None, None);
    for call in LIFE {
        let start = disk.events();
        let (from, open) = (place.unwrap_or(0), store.clone());
        let done = match (call, &open) {
            (Call::Open, _) => machine.open(disk).map(|opened| {
                assert_eq!(opened.rebuilt, None);
                store = Some(opened.store);
            }),
            (Call::Apply(to, durability), Some(store)) => {
                place = Some(to);
                store.apply(&rows(&log.between(from, to)), checkpoint(to as i64), durability)
            }
            (Call::Load(to), Some(store)) => {
                place = Some(to);
                let mut sorted = log.fold(to).iter().map(|(key, value)| (&**key, &**value));
                store.load_sorted(&mut sorted, checkpoint(to as i64))
            }
            (Call::Wipe, Some(store)) => {
                place = None;
                store.wipe()
            }
            (Call::Sync, Some(store)) => store.sync(),
            (Call::Scan, Some(store)) => store.scan(KeyRange::all()).and_then(|rows| {
                let rows: Result<Vec<_>, _> = rows.collect();
                rows.map(drop)
            }),
            (Call::Close, Some(open)) => {
                let closed = open.close();
                store = None;
                closed
            }
            (call, None) => panic!("{call:?} of a store that is not open"),
        };
        let durable = match call {
            Call::Apply(_, durability) => durability == Durability::Immediate,
            Call::Wipe | Call::Sync | Call::Close => true,
            Call::Open | Call::Load(_) | Call::Scan => false,
        };
        outcome.steps.push(Step {
            events: start..disk.events(),
            checkpoint: place,
            durable: durable && done.is_ok(),
        });
        if let Err(error) = done {
            outcome.failed = Some((call, error));
            // Whoever goes on nevertheless is told so, or served.
            if let Some(store) = open.filter(|_| !matches!(call, Call::Close)) {
                use_up(&*store, disk, &mut outcome.steps);
            }
            break;
        }
    }
    outcome
}

/// Calls everything once more on a store that failed.
fn use_up(store: &dyn PartitionStore, disk: &Disk, steps: &mut Vec<Step>) {
    let _ = store.get(b"a", &mut Vec::new());
    let _ = store.checkpoint();
    let _ = store.is_empty();
    let _ = store.scan(KeyRange::all()).map(|rows| rows.count());
    let start = disk.events();
    let last = steps.last().and_then(|step| step.checkpoint);
    // It may say that it is closed, but what failed before may be missing.
    let _ = store.sync();
    let _ = store.close();
    steps.push(Step {
        events: start..disk.events(),
        checkpoint: last,
        durable: false,
    });
}

/// The store must open on what is left, be where it may be, and catch up: as the disk shows it, and after a power cut.
fn check(machine: &Machine, disk: &Disk, log: &Changelog, outcome: &Outcome, about: &str) {
    let past = Past {
        before: vec![None],
        steps: &outcome.steps,
    };
    disk.set_trouble(None);
    let events = disk.take_log();
    let places = past.possible(events.len());
    let mut chance = Chance::new(1);
    let mut replay = Replay::from(Content::default());
    events.iter().for_each(|event| replay.event(event));
    let images = [Subset::Half, Subset::Few].map(|subset| {
        let image = subset.image(&replay.durable, &replay.pending, &mut chance);
        Disk::holding(image)
    });
    for disk in images.iter().chain([disk]) {
        let (store, place) =
            verdict::open(machine, disk, log, &places).unwrap_or_else(|wrong| panic!("{about}: {wrong}"));
        verdict::catch_up(&*store, log, place, &mut chance).unwrap_or_else(|wrong| panic!("{about}: {wrong}"));
        store.close().unwrap();
    }
}

fn names_the_file(error: &StoreError, about: &str) {
    let text = error.to_string();
    assert!(text.contains("group-table-0.redb"), "{about}: {text}");
}

/// Fails each operation of a whole life, then lives it again. Tells how many there are.
pub(crate) fn fail_every_operation(trouble: fn(u64) -> Trouble) -> u64 {
    let (machine, log) = (Machine::new(16 << 10), changelog());
    let disk = Disk::default().logged();
    disk.set_trouble(None);
    assert!(live(&machine, &disk, &log).failed.is_none());
    let operations = disk.operations();
    let mut unnoticed = 0;
    for number in 0..operations {
        let disk = Disk::default().logged();
        disk.set_trouble(Some(trouble(number)));
        let outcome = live(&machine, &disk, &log);
        let about = format!("{:?}", trouble(number));
        match &outcome.failed {
            Some((call, error)) => names_the_file(error, &format!("{about}, {call:?}")),
            // What is only written when a store is dropped can fail unnoticed: it was made durable before.
            None => unnoticed += 1,
        }
        assert!(!machine.take_mark(), "{about}: a failing disk is not a damaged file");
        check(&machine, &disk, &log, &outcome, &about);
    }
    assert!(unnoticed * 3 < operations, "{unnoticed} of {operations} went unnoticed");
    operations
}

/// Fails each operation of opening what power cuts left of the history of `seed`. Tells how many there were.
pub(crate) fn fail_every_operation_of_a_recovery(seed: u64, trouble: fn(u64) -> Trouble) -> u64 {
    let (machine, history) = (Machine::new(1 << 20), History::of(seed, together));
    let past = Past {
        before: vec![None],
        steps: &history.steps,
    };
    let (mut chance, mut failed) = (Chance::new(!seed), 0);
    for _ in 0..6 {
        let events = chance.below(history.events.len() as u64) as usize;
        let mut replay = Replay::from(Content::default());
        history.events[..events].iter().for_each(|event| replay.event(event));
        let image = Subset::Half.image(&replay.durable, &replay.pending, &mut chance);
        let places = past.possible(events);
        for number in 0.. {
            let disk = Disk::holding(image.clone());
            disk.set_trouble(Some(trouble(number)));
            let opened = machine.open(&disk);
            let about = format!("seed {seed}, cut after {events} events, {:?}", trouble(number));
            match opened {
                Ok(opened) => drop(opened.store.close()),
                Err(error) => names_the_file(&error, &about),
            }
            if disk.operations() <= number {
                // It was over before.
                break;
            }
            failed += 1;
            assert!(!machine.take_mark(), "{about}: a failing disk is not a damaged file");
            disk.set_trouble(None);
            let found = verdict::open(&machine, &disk, &history.log, &places);
            found.unwrap_or_else(|wrong| panic!("{about}: {wrong}"));
        }
    }
    failed
}

/// Fills disks of every size that is too small.
pub(crate) fn fill_disks() {
    let (machine, log) = (Machine::new(16 << 10), changelog());
    let disk = Disk::default().logged();
    assert!(live(&machine, &disk, &log).failed.is_none());
    let (mut full, largest) = (0, disk.content().len());
    for size in (0..largest + (64 << 10)).step_by(64 << 10) {
        let disk = Disk::default().logged();
        disk.set_trouble(Some(Trouble::Full(size)));
        let outcome = live(&machine, &disk, &log);
        let about = format!("a disk of {size} bytes");
        if let Some((call, error)) = &outcome.failed {
            full += 1;
            names_the_file(error, &format!("{about}, {call:?}"));
            assert!(error.to_string().contains("no storage space"), "{about}: {error}");
        }
        assert!(!machine.take_mark(), "{about}: a full disk is not a damaged file");
        check(&machine, &disk, &log, &outcome, &about);
    }
    assert!(full >= 6, "{full} disks were too small");
}
