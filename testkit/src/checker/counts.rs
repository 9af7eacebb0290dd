//! Workloads whose rows do not tell what made them: each key's rows are counted.

use std::collections::HashMap;

use bytes::Bytes;

use super::finding::Kind;
use super::history::{Expected, LogRecord, PartitionHistory};
use super::workload::{Input, Workload};
use super::{Findings, shown};

/// What is known of a key.
#[derive(Default)]
struct Tally<'a> {
    /// Any of its inputs.
    input: Option<Input<'a>>,
    inputs: u64,
    /// How many of them are below the committed offset.
    committed: u64,
    applied: u64,
    row: Option<&'a Bytes>,
}

/// Each row is made from the one before it; each key has at least as many as it has committed inputs.
pub(super) fn check(
    partition: &PartitionHistory,
    workload: &impl Workload,
    expected: Expected,
    findings: &mut Findings<'_>,
) {
    let mut keys = tally(partition, workload, findings);
    for record in &partition.changelog.records {
        findings.report.applied += 1;
        let Some(tally) = record.key.as_ref().and_then(|key| keys.get_mut(key)) else {
            let sentence = format!("changelog offset {} has a key that no input has", record.offset);
            findings.add(Kind::Phantom, record.key.as_ref(), record.offset, sentence);
            continue;
        };
        tally.applied += 1;
        check_row(workload, tally, record, findings);
        tally.row = record.value.as_ref();
    }
    for (key, tally) in &keys {
        findings.report.surplus += tally.applied.saturating_sub(tally.inputs);
        let due = if expected.at_rest {
            tally.inputs
        } else {
            tally.committed
        };
        if tally.applied < due && !partition.changelog.compacted {
            let sentence = format!("{due} inputs were to be applied, {} were", tally.applied);
            findings.add(Kind::Lost, Some(key), -1, sentence);
        }
    }
}

fn tally<'a>(
    partition: &'a PartitionHistory,
    workload: &impl Workload,
    findings: &mut Findings<'_>,
) -> HashMap<&'a Bytes, Tally<'a>> {
    let mut keys: HashMap<_, Tally<'_>> = HashMap::new();
    for (topic, input) in &partition.inputs {
        let committed = input.committed.unwrap_or(0);
        for record in &input.log.records {
            let input = Input {
                topic,
                partition: findings.partition,
                record,
            };
            let Some(key) = record.key.as_ref().filter(|_| workload.writes(input)) else {
                continue;
            };
            let tally = keys.entry(key).or_default();
            tally.input.get_or_insert(input);
            tally.inputs += 1;
            tally.committed += u64::from(record.offset < committed);
            findings.report.inputs += 1;
        }
    }
    keys
}

fn check_row<'a>(workload: &impl Workload, tally: &Tally<'a>, record: &'a LogRecord, findings: &mut Findings<'_>) {
    let Some(input) = tally.input else { return };
    let row = workload.apply(tally.row.map(|row| &row[..]), input);
    if row != record.value {
        let sentence = format!(
            "changelog offset {} holds {}; one more input on top of {} makes {}",
            record.offset,
            shown(record.value.as_ref()),
            shown(tally.row),
            shown(row.as_ref())
        );
        findings.add(Kind::DirtyBase, record.key.as_ref(), record.offset, sentence);
    }
}
