//! The changelog of one partition as runs of its inputs (V01, V05, V06, V09, V14 and the rows themselves).
//!
//! One pass over the changelog: each record names the input that made it. `base` is the fold so far, which the row must be made
//! from; `input_run` follows where in each input the owner is. A deletion does not tell what made it and is taken for the input
//! that is due, for which the writers of the log should be known.

use std::collections::HashMap;

use bytes::Bytes;

use super::finding::Kind;
use super::history::{Expected, LogRecord, PartitionHistory};
use super::input_run::InputRun;
use super::workload::{Input, Place, Workload};
use super::{Findings, shown};

/// Checks one partition of a workload whose rows tell what made them.
pub(super) fn check(
    partition: &PartitionHistory,
    workload: &impl Workload,
    expected: Expected,
    findings: &mut Findings<'_>,
) {
    let number = findings.partition;
    let mut walk = Walk {
        workload,
        base: HashMap::new(),
        inputs: (partition.inputs.iter())
            .map(|(topic, input)| InputRun::new(topic, number, input, expected, workload))
            .collect(),
    };
    for record in &partition.changelog.records {
        walk.handle(record, findings);
    }
    for input in walk.inputs {
        input.finish(findings);
    }
}

struct Walk<'a, W> {
    workload: &'a W,
    /// The row of each key as the log has it so far.
    base: HashMap<&'a [u8], &'a Bytes>,
    inputs: Vec<InputRun<'a>>,
}

/// The input to which a changelog record belongs.
struct Found {
    run: usize,
    index: usize,
    /// The row says that another input made it.
    foreign_row: bool,
}

impl<'a, W: Workload> Walk<'a, W> {
    fn handle(&mut self, record: &'a LogRecord, findings: &mut Findings<'_>) {
        findings.report.applied += 1;
        if let Some(found) = self.find(record, findings) {
            self.inputs[found.run].handle(found.index, record, findings);
            if !found.foreign_row {
                self.check_row(&found, record, findings);
            }
        }
        let key = record.key.as_deref().unwrap_or_default();
        match &record.value {
            Some(value) => self.base.insert(key, value),
            None => self.base.remove(key),
        };
    }

    /// Which input made the record: as it says, or by its key where it cannot say so.
    fn find(&self, record: &LogRecord, findings: &mut Findings<'_>) -> Option<Found> {
        let (key, at) = (record.key.as_ref(), record.offset);
        let Some(value) = &record.value else {
            let found = self.guess(record, false);
            if found.is_none() {
                let sentence = format!("changelog offset {at} deletes a row, and no input does that");
                findings.add(Kind::Phantom, key, at, sentence);
            }
            return found;
        };
        let Some(place) = self.workload.made_by(value) else {
            let sentence = format!("changelog offset {at} holds {}, which is no row", shown(Some(value)));
            findings.add(Kind::WrongPayload, key, at, sentence);
            return self.guess(record, true);
        };
        let runs = self.inputs.iter().enumerate();
        let Some((run, index)) = runs
            .filter_map(|(run, input)| Some((run, input.index_of(place)?)))
            .next()
        else {
            let Place { partition, offset, .. } = place;
            let sentence =
                format!("changelog offset {at} says that input {partition}/{offset} made it, which is not there");
            findings.add(Kind::Phantom, key, at, sentence);
            return None;
        };
        let made_by = self.inputs[run].input(index).record;
        if made_by.key == record.key {
            return Some(Found {
                run,
                index,
                foreign_row: false,
            });
        }
        let (other, offset) = (shown(made_by.key.as_ref()), made_by.offset);
        let sentence = format!("changelog offset {at} says that input offset {offset} made it, whose key is {other}");
        findings.add(Kind::WrongPayload, key, at, sentence);
        self.guess(record, true)
    }

    /// The input that a record can only be meant for: the one that is due, or one where an owner may begin.
    fn guess(&self, record: &LogRecord, foreign_row: bool) -> Option<Found> {
        let mut runs = self.inputs.iter().enumerate();
        runs.find_map(|(run, input)| {
            let index = input.guess(record, |input| self.fits(record, input))?;
            Some(Found {
                run,
                index,
                foreign_row,
            })
        })
    }

    /// Whether the input may have made the record, by its key and by deleting the row or not.
    fn fits(&self, record: &LogRecord, input: Input<'_>) -> bool {
        let base = record.key.as_deref().and_then(|key| self.base.get(key));
        input.record.key == record.key
            && self.workload.apply(base.map(|row| &row[..]), input).is_none() == record.value.is_none()
    }

    fn check_row(&self, found: &Found, record: &LogRecord, findings: &mut Findings<'_>) {
        let key = record.key.as_deref().unwrap_or_default();
        let (base, input) = (self.base.get(key).copied(), self.inputs[found.run].input(found.index));
        let row = self.workload.apply(base.map(|row| &row[..]), input);
        if row != record.value {
            let sentence = format!(
                "changelog offset {} holds {}; input offset {} on top of {} makes {}",
                record.offset,
                shown(record.value.as_ref()),
                input.record.offset,
                shown(base),
                shown(row.as_ref())
            );
            findings.add(Kind::DirtyBase, record.key.as_ref(), record.offset, sentence);
        }
    }
}
