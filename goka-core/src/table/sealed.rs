//! Rows copied out of the overlay, on their way into the store.

use crate::storage::Row;

/// One generation's rows with the last value per key, packed into one buffer.
#[derive(Debug)]
pub(crate) struct SealedRows {
    generation: u64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    key_end: usize,
    /// `None` is a deletion.
    value_end: Option<usize>,
}

impl SealedRows {
    pub(crate) fn with_capacity(generation: u64, rows: usize, bytes: usize) -> SealedRows {
        SealedRows {
            generation,
            bytes: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(rows),
        }
    }

    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        let value_end = value.map(|value| {
            self.bytes.extend_from_slice(value);
            self.bytes.len()
        });
        self.entries.push(Entry {
            start,
            key_end,
            value_end,
        });
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().map(|entry| Row {
            key: &self.bytes[entry.start..entry.key_end],
            value: entry.value_end.map(|end| &self.bytes[entry.key_end..end]),
        })
    }

    /// The rows in ascending order of their keys, as stores want them.
    pub(crate) fn sorted(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<_> = self.iter().collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(b.key));
        rows
    }
}
