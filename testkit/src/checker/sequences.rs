//! The sequence numbers of idempotent producers in a changelog and in inputs: without gap and repetition (V12).

use std::collections::HashMap;

use super::Findings;
use super::finding::Kind;
use super::history::{Log, PartitionHistory};

pub(super) fn check(partition: &PartitionHistory, findings: &mut Findings<'_>) {
    check_log("the changelog", &partition.changelog, findings);
    for (topic, input) in &partition.inputs {
        check_log(topic, &input.log, findings);
    }
}

pub(super) fn check_log(name: &str, log: &Log, findings: &mut Findings<'_>) {
    if log.compacted {
        return;
    }
    let mut next: HashMap<(i64, i16), i32> = HashMap::new();
    for record in &log.records {
        let Some(writer) = record
            .writer
            .filter(|writer| writer.producer_id >= 0 && writer.sequence >= 0)
        else {
            continue;
        };
        // KIP-98: sequences go from 0 to 2^31 - 1 and begin again.
        let following = writer.sequence.checked_add(1).unwrap_or(0);
        let due = next.insert((writer.producer_id, writer.epoch), following);
        // A log that lost its beginning shows first what is somewhere in the middle.
        let due = due.or_else(|| (log.start == 0).then_some(0));
        if let Some(due) = due
            && due != writer.sequence
        {
            let sentence = format!(
                "in {name}, producer {} epoch {} wrote sequence {} where {due} was due",
                writer.producer_id, writer.epoch, writer.sequence
            );
            findings.add(Kind::BrokenSequence, record.key.as_ref(), record.offset, sentence);
        }
    }
}
