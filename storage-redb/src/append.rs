//! Rows in ascending order, behind all that a table has.

use std::ops::Bound;

use redb::{Error, Table};

/// Rows are put into the table together once they take so many bytes here. More at once makes it no faster; with less, buffers come
/// and go more often, for which musl asks the kernel each time.
const TOGETHER: usize = 2 << 20;

/// A row that can wait.
pub(crate) trait KeyValue {
    fn key(&self) -> &[u8];
    fn value(&self) -> &[u8];
}

impl KeyValue for (&[u8], &[u8]) {
    fn key(&self) -> &[u8] {
        self.0
    }

    fn value(&self) -> &[u8] {
        self.1
    }
}

/// Fills page after page, where inserting would go down the tree for each row.
///
/// A cursor is given the rows of a lot from the last to the first: in that direction it allocates nothing for each of them. In the
/// other it keeps a copy of the key last inserted, and where an allocator has one lock, many stores written at once wait for each other.
pub(crate) struct Append<'t, 'txn, R> {
    table: &'t mut Table<'txn, &'static [u8], &'static [u8]>,
    lot: Vec<R>,
    bytes: usize,
}

impl<'t, 'txn, R: KeyValue> Append<'t, 'txn, R> {
    pub(crate) fn to(table: &'t mut Table<'txn, &'static [u8], &'static [u8]>) -> Append<'t, 'txn, R> {
        Append {
            table,
            lot: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a row whose key is greater than all before.
    pub(crate) fn row(&mut self, row: R) -> Result<(), Error> {
        let bytes = row.key().len() + row.value().len() + size_of::<R>();
        if self.bytes + bytes > TOGETHER {
            self.put()?;
        }
        self.bytes += bytes;
        self.lot.push(row);
        Ok(())
    }

    /// Puts the last lot into the table; without this it is lost.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.put()
    }

    fn put(&mut self) -> Result<(), Error> {
        let mut end = self.table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
        for row in self.lot.drain(..).rev() {
            end.insert_after(row.key(), row.value())?;
        }
        end.close()?;
        self.bytes = 0;
        Ok(())
    }
}
