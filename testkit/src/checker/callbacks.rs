//! The calls of callbacks: in offset order, one per record, by each owner (V11).

use std::collections::HashMap;

use super::Findings;
use super::finding::Kind;
use super::history::PartitionHistory;

pub(super) fn check(partition: &PartitionHistory, findings: &mut Findings<'_>) {
    let mut last = HashMap::new();
    for call in &partition.callbacks {
        let (topic, at) = (call.topic.as_str(), call.offset);
        let Some(input) = partition.inputs.get(topic) else {
            let sentence = format!("a callback was called for {topic}, which is no input");
            findings.add(Kind::Phantom, None, at, sentence);
            continue;
        };
        let records = &input.log.records;
        let index = records.partition_point(|record| record.offset < at);
        let Some(record) = records.get(index).filter(|record| record.offset == at) else {
            let sentence = format!("a callback was called for this offset of {topic}, where no record is");
            findings.add(Kind::Phantom, None, at, sentence);
            continue;
        };
        let owner = (call.instance, call.generation, topic);
        if let Some(before) = last.insert(owner, index)
            && index != before + 1
        {
            let sentence = format!(
                "instance {} in generation {} called back for this offset of {topic} after {}",
                call.instance, call.generation, records[before].offset
            );
            findings.add(Kind::CallbackOrder, record.key.as_ref(), at, sentence);
        }
    }
}
