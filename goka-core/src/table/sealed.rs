//! Rows on their way into the store.

use crate::storage::Row;

/// Rows with the last value per key, packed into one buffer: a generation of the overlay, or what a recovery gathered.
#[derive(Debug, Default)]
pub(crate) struct SealedRows {
    generation: u64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of rows that were written anew.
    left: usize,
}

/// The value follows the key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    key: u32,
    /// [`DELETED`] if there is none. Records are shorter than 2 GiB, and so are their parts.
    value: u32,
}

const DELETED: u32 = u32::MAX;
/// Fewer bytes of rows that were written anew are not worth copying the others.
const LEFT_ALONE: usize = 64 << 10;

impl SealedRows {
    pub(crate) fn with_capacity(generation: u64, rows: usize, bytes: usize) -> SealedRows {
        SealedRows {
            generation,
            bytes: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(rows),
            left: 0,
        }
    }

    /// Adds a row of a new key; tells its number.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> u32 {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.entries.push(Entry {
            start,
            key: key.len() as u32,
            value: length_of(value),
        });
        (self.entries.len() - 1) as u32
    }

    /// Gives row number `row` another value.
    pub(crate) fn replace(&mut self, row: u32, value: Option<&[u8]>) {
        let entry = &mut self.entries[row as usize];
        let (from, room) = (entry.start + entry.key as usize, entry.value_length());
        match value {
            Some(value) if value.len() > room => {
                let start = self.bytes.len();
                self.bytes.extend_from_within(entry.start..from);
                self.bytes.extend_from_slice(value);
                entry.start = start;
                self.left += entry.key as usize + room;
            }
            Some(value) => self.bytes[from..from + value.len()].copy_from_slice(value),
            None => {}
        }
        self.left += room.saturating_sub(value.map_or(0, <[u8]>::len));
        entry.value = length_of(value);
        if self.left > LEFT_ALONE && self.left > self.bytes.len() / 2 {
            self.pack();
        }
    }

    /// Copies the rows together.
    fn pack(&mut self) {
        let mut packed = Vec::with_capacity(self.bytes.len() - self.left);
        for entry in &mut self.entries {
            let start = packed.len();
            let length = entry.key as usize + entry.value_length();
            packed.extend_from_slice(&self.bytes[entry.start..entry.start + length]);
            entry.start = start;
        }
        self.bytes = packed;
        self.left = 0;
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The key of row number `row`.
    pub(crate) fn key(&self, row: u32) -> &[u8] {
        let entry = &self.entries[row as usize];
        &self.bytes[entry.start..entry.start + entry.key as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().map(|entry| {
            let row = &self.bytes[entry.start..entry.start + entry.key as usize + entry.value_length()];
            let (key, value) = row.split_at(entry.key as usize);
            Row {
                key,
                value: (entry.value != DELETED).then_some(value),
            }
        })
    }

    /// The rows in ascending order of their keys, as stores want them.
    pub(crate) fn sorted(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<_> = self.iter().collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(b.key));
        rows
    }
}

impl Entry {
    fn value_length(&self) -> usize {
        match self.value {
            DELETED => 0,
            length => length as usize,
        }
    }
}

fn length_of(value: Option<&[u8]>) -> u32 {
    value.map_or(DELETED, |value| value.len() as u32)
}
