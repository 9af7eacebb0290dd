//! Ordered reads over a table: the store's rows with the overlay's laid over them.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::Table;
use crate::storage::{KeyRange, RowIter, StoreError};

/// Rows of the overlay in key order; `None` marks a deletion that hides the store's row.
pub(crate) type OverlayRows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Copies the overlay's rows of `range`. Taken together with a store snapshot, under one lock, the pair is consistent: a row
/// leaves the overlay only after the store has it.
pub(crate) fn overlay_rows(table: &Table, range: &KeyRange) -> OverlayRows {
    let rows = table.overlay().rows().filter(|(key, _)| range.contains(key));
    rows.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
        .collect()
}

/// Merges the two in ascending key order.
pub(crate) fn merged_scan(overlay: OverlayRows, store: RowIter) -> RowIter {
    Box::new(MergedScan {
        overlay: overlay.into_iter().peekable(),
        store: store.peekable(),
    })
}

struct MergedScan {
    overlay: Peekable<std::collections::btree_map::IntoIter<Vec<u8>, Option<Vec<u8>>>>,
    store: Peekable<RowIter>,
}

impl Iterator for MergedScan {
    type Item = Result<(Vec<u8>, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let from_overlay = match (self.overlay.peek(), self.store.peek()) {
                (_, Some(Err(_))) | (None, _) => false,
                (Some(_), None) => true,
                (Some((key, _)), Some(Ok((stored, _)))) => key <= stored,
            };
            if !from_overlay {
                return self.store.next();
            }
            let (key, value) = self.overlay.next()?;
            self.store
                .next_if(|row| matches!(row, Ok((stored, _)) if *stored == key));
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        Ok((key.into(), value.into()))
    }

    #[test]
    fn the_overlay_hides_replaces_and_adds_rows_in_key_order() {
        let overlay = OverlayRows::from([
            (b"a".to_vec(), Some(b"new".to_vec())),
            (b"c".to_vec(), None),
            (b"d".to_vec(), Some(b"newer".to_vec())),
            (b"z".to_vec(), Some(b"last".to_vec())),
        ]);
        let store = vec![row("b", "1"), row("c", "2"), row("d", "3"), row("e", "4")];
        let merged: Vec<_> = merged_scan(overlay, Box::new(store.into_iter()))
            .map(Result::unwrap)
            .collect();
        let expected = [("a", "new"), ("b", "1"), ("d", "newer"), ("e", "4"), ("z", "last")];
        assert_eq!(
            merged,
            expected.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
        );
    }
}
