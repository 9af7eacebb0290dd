//! A process that opens a state directory and writes to a store in it until a test kills it.
//!
//! `batch-writer DIRECTORY KEYS` prints `MINE`, or why it cannot have the directory and ends. The batch numbered n gives key
//! n % KEYS the value n, fifty times over, deletes the key after that, and takes the checkpoint to n + 1; every fifth is durable.

use goka_core::storage::{Durability, PartitionStore, Row, StoreBuilder, StoreError};
use storage_redb::Redb;
use testkit::store_contract::{NAME, checkpoint};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[allow(clippy::print_stdout, reason = "what it is asked for")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(keys)) = (arguments.next(), arguments.next()) else {
        return Err("batch-writer DIRECTORY KEYS".into());
    };
    let keys: u64 = keys.parse()?;
    let redb = Redb::at(directory);
    let opened = match redb.open(NAME) {
        Ok(opened) => opened,
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    if let Some(reason) = opened.rebuilt {
        return Err(reason.into());
    }
    println!("MINE");
    let first = opened
        .store
        .checkpoint()?
        .map_or(0, |found| found.offset.unsigned_abs());
    for number in first.. {
        write(&*opened.store, number, keys)?;
    }
    Ok(())
}

fn write(store: &dyn PartitionStore, number: u64, keys: u64) -> Result<(), StoreError> {
    let (written, gone) = ((number % keys).to_be_bytes(), ((number + 1) % keys).to_be_bytes());
    let value = number.to_be_bytes().repeat(50);
    let mut rows = [(&written, Some(&*value)), (&gone, None)].map(|(key, value)| Row { key, value });
    rows.sort_by_key(|row| row.key);
    let durability = match number.is_multiple_of(5) {
        true => Durability::Immediate,
        false => Durability::Deferred,
    };
    store.apply(&rows, checkpoint(number as i64 + 1), durability)
}
