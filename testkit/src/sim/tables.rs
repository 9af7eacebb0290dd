//! What stores held and what the view showed, compared with the changelog once that is known in full (V07).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Image;
use super::trace::Trace;
use crate::broker::{EmbeddedBroker, StoredRecord, Tombstones};
use crate::checker::{Log, LogRecord};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Tables {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each state that a store was brought into.
    images: Vec<Seen>,
    /// What the view showed, by key, in its order.
    viewed: BTreeMap<Bytes, Vec<Bytes>>,
    /// Records that compaction took, by partition and offset, and when.
    taken: BTreeMap<(i32, i64), (StoredRecord, Duration)>,
}

/// The state of a store after one of its transactions.
#[derive(Debug)]
struct Seen {
    name: String,
    partition: i32,
    at: Duration,
    checkpoint: i64,
    rows: BTreeMap<Bytes, Bytes>,
}

/// A key as the changelog has it up to some offset.
#[derive(Debug, Default)]
struct Fold {
    latest: Option<Bytes>,
    made_at: i64,
    earlier: BTreeSet<Bytes>,
}

impl Tables {
    /// A store was brought into another state.
    pub(super) fn stored(&self, name: &str, partition: i32, image: &Image, now: Duration) {
        self.lock().images.push(Seen {
            name: name.to_owned(),
            partition,
            at: now,
            checkpoint: image.checkpoint.map_or(0, |checkpoint| checkpoint.offset),
            rows: image.rows.clone(),
        });
    }

    /// The view showed a row.
    pub(super) fn viewed(&self, key: &str, row: &str) {
        let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        self.lock().viewed.entry(copy(key)).or_default().push(copy(row));
    }

    /// Compacts a partition of the changelog and remembers what that took; how much it was.
    pub(super) fn compact(&self, broker: &EmbeddedBroker, topic: &str, partition: i32, now: Duration) -> usize {
        let records = || broker.records(topic, partition).unwrap_or_default();
        let before = records();
        // It may not be there yet.
        let taken = broker.compact(topic, partition, Tombstones::Keep).unwrap_or(0);
        let left: BTreeSet<i64> = records().iter().map(|record| record.offset).collect();
        let gone = before.into_iter().filter(|record| !left.contains(&record.offset));
        let gone = gone.map(|record| ((partition, record.offset), (record, now)));
        self.lock().taken.extend(gone);
        taken
    }

    /// Adds to what is left of a partition of the changelog what compaction took.
    pub(super) fn with_taken(&self, partition: i32, left: Vec<StoredRecord>) -> Vec<StoredRecord> {
        let state = self.lock();
        let taken = state.taken.range((partition, 0)..=(partition, i64::MAX));
        let mut all: BTreeMap<_, _> = taken
            .map(|((_, offset), (record, _))| (*offset, record.clone()))
            .collect();
        all.extend(left.into_iter().map(|record| (record.offset, record)));
        all.into_values().collect()
    }

    /// Whether compaction took anything of a partition.
    pub(super) fn was_compacted(&self, partition: i32) -> bool {
        let state = self.lock();
        state
            .taken
            .range((partition, 0)..=(partition, i64::MAX))
            .next()
            .is_some()
    }

    /// Compares everything that was seen of a partition with its changelog.
    pub(super) fn check(&self, partition: i32, changelog: &Log, trace: &Trace) {
        self.check_images(partition, changelog, trace);
        self.check_viewed(changelog, trace);
    }

    /// No partition of the changelog is left.
    pub(super) fn check_rest(&self, trace: &Trace) {
        for key in self.lock().viewed.keys() {
            let key = key.escape_ascii();
            trace.violation(format!(
                "V07 the view shows a row for \"{key}\", which no changelog has"
            ));
        }
    }

    fn check_images(&self, partition: i32, changelog: &Log, trace: &Trace) {
        let mut state = self.lock();
        let State { images, taken, .. } = &mut *state;
        images.sort_by_key(|image| image.checkpoint);
        let mut folds = BTreeMap::<Bytes, Fold>::new();
        let mut records = changelog.records.iter().peekable();
        for image in images.iter().filter(|image| image.partition == partition) {
            while let Some(record) = records.next_if(|record| record.offset < image.checkpoint) {
                let fold = folds.entry(record.key.clone().unwrap_or_default()).or_default();
                fold.earlier.extend(fold.latest.take());
                (fold.latest, fold.made_at) = (record.value.clone(), record.offset);
            }
            let is_made = |key: &Bytes, fold: &Fold| {
                let row = image.rows.get(key);
                // Who reads a compacted log finds out later what a key is; until then it has what it had before, or nothing.
                let was_taken = || {
                    taken
                        .get(&(partition, fold.made_at))
                        .is_some_and(|(_, at)| *at <= image.at)
                };
                row == fold.latest.as_ref() || (row.is_none_or(|row| fold.earlier.contains(row)) && was_taken())
            };
            let all_known = image.rows.keys().all(|key| folds.contains_key(key));
            if !all_known || !folds.iter().all(|(key, fold)| is_made(key, fold)) {
                trace.violation(format!(
                    "V07 {} stored in partition {partition} what the changelog up to {} does not make",
                    image.name, image.checkpoint
                ));
            }
        }
        images.retain(|image| image.partition != partition);
    }

    /// What the view showed was there, and never goes back.
    fn check_viewed(&self, changelog: &Log, trace: &Trace) {
        let viewed = &mut self.lock().viewed;
        let keys: BTreeSet<_> = changelog
            .records
            .iter()
            .filter_map(|record| record.key.clone())
            .collect();
        for (key, rows) in keys.iter().filter_map(|key| viewed.remove_entry(key)) {
            let of_key = |record: &&LogRecord| record.key.as_ref() == Some(&key);
            let mut history = changelog.records.iter().filter(of_key).peekable();
            for row in rows {
                while history.next_if(|record| record.value.as_ref() != Some(&row)).is_some() {}
                if history.peek().is_none() {
                    let (key, row) = (key.escape_ascii(), row.escape_ascii());
                    trace.violation(format!(
                        "V07 the view shows \"{row}\" for \"{key}\", which is not in the changelog after what it showed before"
                    ));
                    break;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
