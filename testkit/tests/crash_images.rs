//! The persistent store on disks that lose power: every image that may be left of it must open, and hold what the changelog says.
//!
//! ```text
//!   history   a store's life on a disk that logs each write, change of length and sync
//!   cut       after any event: all that was synced, and a part of the 512-byte sectors and lengths that were not
//!   verdict   it opens; rows and checkpoint are of one transaction; nothing is lost from before the last durable one; with
//!             what it lacks of the changelog it is the table
//! ```
//!
//! Every third image is recovered on a disk that loses power again meanwhile. `CRASH_IMAGES` says how many images,
//! `CRASH_IMAGES_SEED` with which history to begin; a failure names the two values that repeat it.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "crash_images/campaign.rs"]
mod campaign;
#[path = "crash_images/chance.rs"]
mod chance;
#[path = "crash_images/cut.rs"]
mod cut;
#[path = "crash_images/damage.rs"]
mod damage;
#[path = "crash_images/disk.rs"]
mod disk;
#[path = "crash_images/history.rs"]
mod history;
#[path = "crash_images/machine.rs"]
mod machine;
#[path = "crash_images/trouble.rs"]
mod trouble;
#[path = "crash_images/verdict.rs"]
mod verdict;

use std::collections::BTreeMap;

use goka_core::storage::Durability;
use testkit::store_contract::checkpoint;

use crate::damage::{Damage, Outcome};

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return otherwise;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}"))
}

#[test]
fn what_a_power_cut_leaves_opens_with_rows_and_checkpoint_of_one_commit() {
    let (images, seed) = (setting("CRASH_IMAGES", 4_000), setting("CRASH_IMAGES_SEED", 1));
    let (tally, took) = campaign::run(seed, images).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!(
        "{} crash images, {} after one power cut and {} after two, of {} histories from seed {seed}, in {:.1} s: all good",
        tally.images(),
        tally.single,
        tally.double,
        tally.histories,
        took.as_secs_f64(),
    );
}

#[test]
fn what_is_on_the_disk_already_is_not_written_again() {
    let machine = machine::Machine::new(1 << 20);
    let disk = disk::Disk::default().logged();
    let store = machine.open(&disk).unwrap().store;
    let changes = |step: &dyn Fn()| {
        let before = disk.events();
        step();
        disk.events() - before
    };
    let apply = |durability| store.apply(&[], checkpoint(1), durability).unwrap();
    apply(Durability::Deferred);
    assert!(changes(&|| store.sync().unwrap()) > 0, "it was deferred");
    assert_eq!(changes(&|| store.sync().unwrap()), 0);
    apply(Durability::Immediate);
    assert_eq!(changes(&|| store.sync().unwrap()), 0);
    // A power cut right now loses nothing of it.
    let reopened = machine.open(&disk::Disk::holding(disk.content())).unwrap().store;
    assert_eq!(reopened.checkpoint().unwrap(), Some(checkpoint(1)));
}

/// The suite itself is put to the test: it must find the faults that it is made for.
#[test]
fn a_disk_that_lies_about_a_sync_is_found_out() {
    let machine = machine::Machine::new(1 << 20);
    let (mut images, mut wrong) = (0, 0);
    for seed in 1..=12 {
        let (more, found) = campaign::distrust(seed, &machine);
        images += more;
        wrong += found;
    }
    println!("{wrong} of {images} images without the last sync are found wrong");
    assert!(images > 100 && wrong * 10 >= images * 7, "{wrong} of {images}");
}

#[test]
fn a_store_that_writes_its_checkpoint_after_its_rows_is_found_out() {
    let machine = machine::Machine::new(1 << 20);
    let found = (1..=12).filter(|seed| {
        let found = campaign::examine(*seed, &machine, history::apart);
        machine.take_mark();
        found.is_err_and(|wrong| wrong.contains("should be") || wrong.contains("lacks") || wrong.contains("also has"))
    });
    let found = found.count();
    println!("{found} of 12 histories with the checkpoint apart are found wrong");
    assert!(found >= 9, "{found} of 12");
}

#[test]
fn a_disk_that_fails_is_an_error_that_names_the_file_and_loses_nothing() {
    let from = trouble::fail_every_operation(disk::Trouble::From);
    let once = trouble::fail_every_operation(disk::Trouble::Once);
    println!("{from} operations failed for good, {once} once");
    assert!(from > 300 && once == from);
}

#[test]
fn a_disk_that_fails_while_a_store_recovers_on_it_is_an_error_and_loses_nothing() {
    let mut failed = 0;
    for seed in 1..=setting("RECOVERIES", 3) {
        failed += trouble::fail_every_operation_of_a_recovery(seed, disk::Trouble::From);
        failed += trouble::fail_every_operation_of_a_recovery(seed, disk::Trouble::Once);
    }
    println!("{failed} operations failed");
    assert!(failed > 300, "{failed}");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_loses_nothing() {
    trouble::fill_disks();
}

#[test]
fn a_damaged_file_opens_with_what_it_held_or_is_set_aside() {
    let (histories, seed) = (setting("DAMAGED_HISTORIES", 5), setting("CRASH_IMAGES_SEED", 1));
    let machine = machine::Machine::new(1 << 20);
    let mut seen = BTreeMap::new();
    for seed in seed..seed + histories {
        damage::damage(seed, &machine, 100, |damage, outcome| {
            assert_ne!(
                outcome,
                Outcome::Silent,
                "CRASH_IMAGES_SEED={seed} DAMAGED_HISTORIES=1: {damage:?}"
            );
            *seen.entry((damage, outcome)).or_insert(0) += 1;
        });
    }
    println!("{seen:?}");
    for damage in Damage::ALL {
        assert!(
            seen.contains_key(&(damage, Outcome::SetAside)),
            "{damage:?} never hit anything"
        );
    }
}

#[test]
fn without_verification_damage_is_told_at_best() {
    let machine = machine::Machine::that(false, 1 << 20);
    let mut silent = 0;
    let histories = setting("DAMAGED_HISTORIES", 3);
    for seed in 1..=histories {
        damage::damage(seed, &machine, 100, |_, outcome| {
            silent += u32::from(outcome == Outcome::Silent)
        });
    }
    println!("{silent} of {} damages are not noticed", histories * 100);
    assert!(silent > 0, "then verifying is not worth its time");
}
