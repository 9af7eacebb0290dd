//! Writing rows into a table that has some.
//!
//! One by one each row costs a way down the tree and a copy of the page that it lies in, about 4 us. Where so many rows are written
//! that nearly every page is copied anyway, writing the whole table anew, in order, costs less: 0.45 us for each row that it then
//! has.

use std::cmp::Ordering;
use std::ops::Bound;

use goka_core::storage::Row;
use redb::{CursorMut, Error, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

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
        let mut end = new.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
        let mut rows = rows.iter().peekable();
        for present in old.iter()? {
            let (key, value) = present?;
            let key = key.value();
            while let Some(row) = rows.next_if(|row| row.key < key) {
                append(&mut end, row)?;
            }
            match rows.next_if(|row| row.key.cmp(key) == Ordering::Equal) {
                Some(row) => append(&mut end, row)?,
                None => end.insert_before(key, value.value())?,
            }
        }
        for row in rows {
            append(&mut end, row)?;
        }
        end.close()?;
    }
    transaction.delete_table(ROWS)?;
    transaction.rename_table(MERGED, ROWS)?;
    Ok(())
}

fn append(end: &mut CursorMut<'_, &'static [u8], &'static [u8]>, row: &Row<'_>) -> Result<(), Error> {
    match row.value {
        Some(value) => Ok(end.insert_before(row.key, value)?),
        None => Ok(()),
    }
}
