//! Rows on their way into the store.

use kafka_wire::rpc::short;

use crate::storage::Row;

/// Rows with the last value per key, packed together: a generation of the overlay, or what a recovery gathered.
#[derive(Debug, Default)]
pub(crate) struct SealedRows {
    generation: u64,
    /// A row lies in one of these, which never grow: what is given back fits what is asked for next, and nothing is copied.
    blocks: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    /// Bytes in all blocks, what is free in the last one aside.
    bytes: usize,
    /// Bytes that belong to no row any more.
    left: usize,
}

/// Where a row is; the value follows the key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    block: u32,
    start: u32,
    key: u32,
    /// [`DELETED`] if there is none. Records are shorter than 2 GiB, and so are their parts.
    value: u32,
}

const DELETED: u32 = u32::MAX;
/// Blocks are as large as all before them, within these bounds, or as the row that is put into a new one.
const BLOCK_BYTES: std::ops::RangeInclusive<usize> = (4 << 10)..=(1 << 20);
/// What is known to be wanted is taken in one block up to this, so that 32 bits tell where a row begins.
const LARGEST_BLOCK: usize = 1 << 30;
/// Fewer bytes that belong to no row are not worth copying the others.
const LEFT_ALONE: usize = 64 << 10;
/// Rows looked at together: they lie anywhere, and memory that is asked for at once comes in the time of one.
const AT_ONCE: usize = 32;

impl SealedRows {
    pub(crate) fn with_capacity(generation: u64, rows: usize, bytes: usize) -> SealedRows {
        SealedRows {
            generation,
            blocks: vec![Vec::with_capacity(bytes.min(LARGEST_BLOCK))],
            entries: Vec::with_capacity(rows),
            ..SealedRows::default()
        }
    }

    /// Adds a row of a new key; tells its number.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> u32 {
        let (block, start) = self.append(key, value.unwrap_or_default());
        self.entries.push(Entry {
            block,
            start,
            key: key.len() as u32,
            value: length_of(value),
        });
        (self.entries.len() - 1) as u32
    }

    /// Gives row number `row` another value.
    pub(crate) fn replace(&mut self, row: u32, key: &[u8], value: Option<&[u8]>) {
        let entry = self.entries[row as usize];
        let (bytes, room) = (value.unwrap_or_default(), entry.value_length());
        let mut moved = entry;
        if bytes.len() <= room {
            let from = entry.start as usize + key.len();
            self.blocks[entry.block as usize][from..from + bytes.len()].copy_from_slice(bytes);
            self.left += room - bytes.len();
        } else {
            (moved.block, moved.start) = self.append(key, bytes);
            self.left += key.len() + room;
        }
        moved.value = length_of(value);
        self.entries[row as usize] = moved;
        if self.left > LEFT_ALONE && self.left > self.bytes / 2 {
            self.pack();
        }
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> (u32, u32) {
        let length = key.len() + value.len();
        let room = self.blocks.last().map_or(0, |block| block.capacity() - block.len());
        if room < length || self.blocks.is_empty() {
            // What is left over at the end of a block is lost.
            self.bytes += room;
            let usual = self.bytes.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end());
            self.blocks.push(Vec::with_capacity(usual.max(length)));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let start = block.len();
        short::append(block, key);
        short::append(block, value);
        self.bytes += length;
        (number as u32, start as u32)
    }

    /// Copies the rows together.
    fn pack(&mut self) {
        let mut packed = SealedRows {
            generation: self.generation,
            ..SealedRows::default()
        };
        packed.entries.reserve_exact(self.entries.len());
        for row in self.iter() {
            packed.push(row.key, row.value);
        }
        *self = packed;
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

    /// Bytes of keys and values, and what is lost between them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The key of row number `row`.
    pub(crate) fn key(&self, row: u32) -> &[u8] {
        self.row(&self.entries[row as usize]).key
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().map(|entry| self.row(entry))
    }

    /// The rows in ascending order of their keys, as stores want them.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Row<'_>> {
        let order = self.order();
        let mut looked_at = 0;
        (0..order.len()).map(move |at| {
            if at == looked_at {
                looked_at = order.len().min(at + AT_ONCE);
                for ranked in &order[at..looked_at] {
                    std::hint::black_box(self.row(&ranked.entry).key.first());
                }
            }
            self.row(&order[at].entry)
        })
    }

    /// Most comparisons are decided by eight bytes of the keys, those after what all keys begin with, which lie side by side.
    fn order(&self) -> Vec<Ranked> {
        let first = self.iter().next().map_or(&[][..], |row| row.key);
        let shared = self.iter().fold(first.len(), |shared, row| {
            let alike = row.key.iter().zip(&first[..shared]).take_while(|(a, b)| a == b);
            alike.count()
        });
        let rank = |entry: &Entry| {
            let mut bytes = [0; 8];
            let distinct = &self.row(entry).key[shared..];
            let length = distinct.len().min(8);
            bytes[..length].copy_from_slice(&distinct[..length]);
            u64::from_be_bytes(bytes)
        };
        let ranked = |&entry: &Entry| Ranked {
            rank: rank(&entry),
            entry,
        };
        let mut order: Vec<_> = self.entries.iter().map(ranked).collect();
        order.sort_unstable_by(|a, b| {
            let by_rank = a.rank.cmp(&b.rank);
            by_rank.then_with(|| self.row(&a.entry).key.cmp(self.row(&b.entry).key))
        });
        order
    }

    fn row(&self, entry: &Entry) -> Row<'_> {
        let row = &self.blocks[entry.block as usize][entry.start as usize..];
        let (key, rest) = row.split_at(entry.key as usize);
        Row {
            key,
            value: (entry.value != DELETED).then(|| &rest[..entry.value_length()]),
        }
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

/// A row and its place among the others, as far as that is known without looking at the key.
struct Ranked {
    rank: u64,
    entry: Entry,
}

fn length_of(value: Option<&[u8]>) -> u32 {
    value.map_or(DELETED, |value| value.len() as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_in_the_order_of_their_keys_whatever_those_begin_with(
            prefix in proptest::collection::vec(any::<u8>(), 0..12),
            ends in proptest::collection::hash_set(proptest::collection::vec(0u8..3, 0..12), 0..100),
        ) {
            let mut keys: Vec<_> = ends.into_iter().map(|end| [prefix.as_slice(), &end].concat()).collect();
            let mut rows = SealedRows::default();
            for key in &keys {
                rows.push(key, Some(b"value"));
            }
            keys.sort();
            let sorted: Vec<_> = rows.sorted().map(|row| row.key.to_vec()).collect();
            prop_assert_eq!(sorted, keys);
        }
    }
}
