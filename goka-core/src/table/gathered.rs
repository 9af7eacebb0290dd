//! `Gathered`: the rows of a table that is being recovered, the last value by key, on their way into the store.
//!
//! ```text
//!   put ──> rows (packed, in order of first writes) ──take──> flush job
//!             ^── index: hash of the key ─> number of the row
//! ```
//!
//! Nobody reads a table before it is recovered, so that nothing of what the overlay does for readers is needed here: no
//! generations, no rows beside those that the store lacks, no memory block of its own for a row. That takes half the memory, and
//! what is taken is moved, not copied. A row with a value of another length is written anew at the end; the place that it leaves
//! counts until so many are left that copying the others pays.
//!
//! Not here: when to flush, how large it may become (`table`).

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::sealed::SealedRows;

/// What a row costs beside key and value, in bytes: its entry, room for others, and its place in the index or in sorted lists.
const ROW_OVERHEAD: usize = 64;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    rows: SealedRows,
    index: HashTable<Place>,
    hasher: DefaultHashBuilder,
}

/// Where the row of a key is. The hash is kept, so that growing the index looks at no key.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    row: u32,
}

impl Gathered {
    /// Writes a row; `None` deletes it.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = self.hasher.hash_one(key) as u32;
        let rows = &self.rows;
        let found = self
            .index
            .find(spread(hash), |place| place.hash == hash && rows.key(place.row) == key);
        if let Some(&Place { row, .. }) = found {
            self.rows.replace(row, key, value);
            return;
        }
        let row = self.rows.push(key, value);
        let place = Place { hash, row };
        self.index
            .insert_unique(spread(hash), place, |place| spread(place.hash));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes() + ROW_OVERHEAD * self.rows.len()
    }

    /// Gives the rows away.
    pub(crate) fn take(&mut self) -> SealedRows {
        self.index = HashTable::new();
        std::mem::take(&mut self.rows)
    }
}

/// The table wants 64 bits, good ones at both ends.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_are_given_away_once_and_in_the_order_of_their_first_writes() {
        let mut gathered = Gathered::default();
        for (key, value) in [("c", Some("1")), ("a", Some("2")), ("c", Some("longer")), ("b", None)] {
            gathered.put(key.as_bytes(), value.map(str::as_bytes));
        }
        let rows = gathered.take();
        let keys: Vec<_> = rows.iter().map(|row| row.key.to_vec()).collect();
        assert_eq!(keys, [b"c", b"a", b"b"]);
        assert!(gathered.is_empty() && gathered.bytes() == 0);
        gathered.put(b"a", None);
        assert_eq!(gathered.take().len(), 1);
    }

    #[test]
    fn values_that_grow_for_ever_do_not_fill_the_memory() {
        let mut gathered = Gathered::default();
        for length in 0..2_000 {
            for key in [b"a", b"b", b"c"] {
                gathered.put(key, Some(&vec![7; length]));
            }
        }
        assert!(gathered.bytes() < 200_000, "{} bytes", gathered.bytes());
        let rows = gathered.take();
        let whole = |row: crate::storage::Row<'_>| row.value == Some(&[7; 1_999]);
        assert!(rows.len() == 3 && rows.iter().all(whole));
    }

    proptest! {
        #[test]
        fn the_last_value_by_key_is_kept(
            writes in proptest::collection::vec((0u16..300, proptest::option::of(0usize..40)), 0..2_000),
        ) {
            let (mut gathered, mut truth) = (Gathered::default(), BTreeMap::new());
            for (number, (key, length)) in writes.into_iter().enumerate() {
                let key = format!("{key}").into_bytes();
                let value = length.map(|length| vec![number as u8; length]);
                gathered.put(&key, value.as_deref());
                truth.insert(key, value);
            }
            let bytes = gathered.bytes();
            let rows = gathered.take();
            let held: Vec<_> = rows.sorted().map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec))).collect();
            let live: usize = held.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
            prop_assert!(bytes >= live + ROW_OVERHEAD * held.len());
            prop_assert_eq!(held, truth.into_iter().collect::<Vec<_>>());
        }
    }
}
