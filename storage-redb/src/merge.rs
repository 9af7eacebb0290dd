//! Writing rows into a table that has some.
//!
//! One by one each row costs a way down the tree and a copy of the page that it lies in, about 4 us. Where so many rows are written
//! that nearly every page is copied anyway, writing the whole table anew, in order, costs less: 0.45 us for each row that it then
//! has.

use goka_core::storage::Row;
use redb::{AccessGuard, Error, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::append::{Append, KeyValue};
use crate::store::ROWS;

/// What is being written anew; it takes the place of the table in the same transaction.
const MERGED: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows merged");

/// A table is written anew if it has at most so many rows for each one to be written; fewer if rows are large, because the others
/// then lie in other pages.
const ROWS_PER_ROW: usize = 6;
/// Fewer are written one by one.
const MANY: usize = 32;
const PAGE: usize = 4096;

/// Whether writing the table anew costs less than writing `rows` one by one.
pub(crate) fn pays(transaction: &WriteTransaction, rows: &[Row<'_>]) -> Result<bool, Error> {
    let (mut written, mut bytes) = (0, 0);
    for row in rows {
        if let Some(value) = row.value {
            written += 1;
            bytes += row.key.len() + value.len();
        }
    }
    if written < MANY {
        return Ok(false);
    }
    let in_a_page = PAGE * written / bytes.max(1);
    let present = transaction.open_table(ROWS)?.len()?;
    Ok(present <= (rows.len() * in_a_page.min(ROWS_PER_ROW)) as u64)
}

/// One by one.
pub(crate) fn into_table(transaction: &WriteTransaction, rows: &[Row<'_>]) -> Result<(), Error> {
    let mut table = transaction.open_table(ROWS)?;
    for row in rows {
        match row.value {
            Some(value) => table.insert(row.key, value)?,
            None => table.remove(row.key)?,
        };
    }
    Ok(())
}

/// The whole table anew.
pub(crate) fn into_new_table(transaction: &WriteTransaction, rows: &[Row<'_>]) -> Result<(), Error> {
    {
        let old = transaction.open_table(ROWS)?;
        let mut new = transaction.open_table(MERGED)?;
        let mut end = Append::to(&mut new);
        let mut rows = rows.iter().peekable();
        for present in old.iter()? {
            let (key, value) = present?;
            while let Some(row) = rows.next_if(|row| row.key < key.value()) {
                written(&mut end, row)?;
            }
            match rows.next_if(|row| row.key == key.value()) {
                Some(row) => written(&mut end, row)?,
                None => end.row(Merged::Kept(key, value))?,
            }
        }
        for row in rows {
            written(&mut end, row)?;
        }
        end.finish()?;
    }
    transaction.delete_table(ROWS)?;
    transaction.rename_table(MERGED, ROWS)?;
    Ok(())
}

fn written<'r>(end: &mut Append<'_, '_, Merged<'r>>, row: &Row<'r>) -> Result<(), Error> {
    match row.value {
        Some(value) => end.row(Merged::Written(row.key, value)),
        None => Ok(()),
    }
}

/// A row of the new table: of the old one, or to be written.
enum Merged<'r> {
    Kept(AccessGuard<'r, &'static [u8]>, AccessGuard<'r, &'static [u8]>),
    Written(&'r [u8], &'r [u8]),
}

impl KeyValue for Merged<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Merged::Kept(key, _) => key.value(),
            Merged::Written(key, _) => key,
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Merged::Kept(_, value) => value.value(),
            Merged::Written(_, value) => value,
        }
    }
}
