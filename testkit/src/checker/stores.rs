//! Stores and views against their changelog (V07, V08, V17).

use super::finding::Kind;
use super::history::{PartitionHistory, StoreImage};
use super::{Findings, shown};

/// Each store is the fold of the changelog up to its checkpoint.
pub(super) fn check(partition: &PartitionHistory, findings: &mut Findings<'_>) {
    for store in &partition.stores {
        findings.report.stores += 1;
        check_one(partition, store, findings);
    }
}

fn check_one(partition: &PartitionHistory, store: &StoreImage, findings: &mut Findings<'_>) {
    let (log, checkpoint) = (&partition.changelog, store.checkpoint.unwrap_or(0));
    if checkpoint > log.end {
        let sentence = format!(
            "store {} goes to changelog offset {checkpoint}, the log ends at {}",
            store.name, log.end
        );
        findings.add(Kind::StoreAhead, None, checkpoint, sentence);
        return;
    }
    if log.compacted && checkpoint < log.end {
        // What was compacted away could have been in it.
        return;
    }
    let fold = log.fold(checkpoint);
    let missing = fold.iter().filter(|(key, row)| store.rows.get(*key) != Some(row));
    let extra = store.rows.keys().filter(|key| !fold.contains_key(*key));
    for key in missing.map(|(key, _)| key).chain(extra) {
        let sentence = format!(
            "store {} at changelog offset {checkpoint} holds {}, the changelog makes it {}",
            store.name,
            shown(store.rows.get(key)),
            shown(fold.get(key))
        );
        findings.add(Kind::StoreNotFold, Some(key), checkpoint, sentence);
    }
}
