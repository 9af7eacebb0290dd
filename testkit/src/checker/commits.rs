//! Committed offsets by themselves: they never go back, never pass the log, and reach its end at rest (V05, V06, V23).

use super::Findings;
use super::finding::Kind;
use super::history::{Expected, PartitionHistory};

pub(super) fn check(partition: &PartitionHistory, expected: Expected, findings: &mut Findings<'_>) {
    for (topic, input) in &partition.inputs {
        let commits = input.commits.as_deref().unwrap_or_default();
        for pair in commits.windows(2).filter(|pair| pair[1].offset < pair[0].offset) {
            let sentence = format!("of {topic} was committed after {}", pair[0].offset);
            findings.add(Kind::CommitBack, None, pair[1].offset, sentence);
        }
        let last = input.log.records.last().map_or(0, |record| record.offset + 1);
        let end = input.log.end.max(last);
        let all = commits.iter().map(|commit| commit.offset).chain(input.committed);
        if let Some(beyond) = all.max().filter(|offset| *offset > end) {
            let sentence = format!("of {topic} is committed, its log ends at {end}");
            findings.add(Kind::CommitAhead, None, beyond, sentence);
        }
        let committed = input.committed.unwrap_or(-1);
        if expected.at_rest && !input.log.records.is_empty() && committed < last {
            let sentence = format!("of {topic} is all that is committed, its log ends at {last}");
            findings.add(Kind::Behind, None, committed, sentence);
        }
    }
}
