//! What callbacks emitted: at least once per committed input, to the right topic, in order (V03, V13).

use std::collections::HashMap;

use super::finding::Kind;
use super::history::{History, LogRecord, OutputLog};
use super::workload::{Input, Place, Workload};
use super::{Findings, sequences, shown};

/// What an input made.
struct Source<'a> {
    partition: i32,
    topic: &'a str,
    record: &'a LogRecord,
    committed: bool,
    /// Its changelog records, and one of them.
    applied: u32,
    row: Option<&'a LogRecord>,
    /// Records of its partition were held back: what was emitted before they came may differ from the row that came of it later.
    unsure: bool,
    /// Whether it is in the output topic.
    emitted: bool,
}

pub(super) fn check(history: &History, workload: &impl Workload, findings: &mut Findings<'_>) {
    for output in &history.outputs {
        sequences::check_log(&output.topic, &output.log, findings);
    }
    let Some(topic) = workload.emits_to() else { return };
    let mut sources = sources(history, workload);
    let surplus = findings.report.surplus;
    for output in &history.outputs {
        check_one(output, topic, workload, surplus == 0, &mut sources, findings);
    }
    let mut lost: Vec<_> = (sources.iter())
        .filter(|(_, source)| source.committed && !source.emitted && source.row.is_some_and(|row| row.value.is_some()))
        .collect();
    lost.sort_by_key(|(place, _)| **place);
    for (place, source) in lost {
        findings.partition = source.partition;
        let sentence = format!(
            "of {} is committed, and what it emitted is not in {topic}",
            source.topic
        );
        findings.add(Kind::LostOutput, source.record.key.as_ref(), place.offset, sentence);
    }
}

fn sources<'a>(history: &'a History, workload: &impl Workload) -> HashMap<Place, Source<'a>> {
    let mut sources = HashMap::new();
    for (&partition, of) in &history.partitions {
        let held_back = |record: &LogRecord| record.origin.is_some_and(|origin| origin.held_back_until.is_some());
        let unsure = of.changelog.records.iter().any(held_back);
        for (topic, input) in &of.inputs {
            for record in &input.log.records {
                let writes = workload.writes(Input {
                    topic,
                    partition,
                    record,
                });
                let source = Source {
                    partition,
                    topic,
                    record,
                    committed: writes && input.committed.is_some_and(|committed| record.offset < committed),
                    applied: 0,
                    row: None,
                    unsure,
                    emitted: false,
                };
                sources.insert(Place::new(topic, partition, record.offset), source);
            }
        }
        for record in &of.changelog.records {
            let made_by = record.value.as_ref().and_then(|row| workload.made_by(row));
            if let Some(source) = made_by.and_then(|place| sources.get_mut(&place)) {
                source.applied += 1;
                source.row = Some(record);
            }
        }
    }
    sources
}

fn check_one(
    output: &OutputLog,
    topic: &str,
    workload: &impl Workload,
    no_replays: bool,
    sources: &mut HashMap<Place, Source<'_>>,
    findings: &mut Findings<'_>,
) {
    // The furthest input of each partition whose output was seen here.
    let mut furthest: HashMap<(u32, i32), i64> = HashMap::new();
    for record in &output.log.records {
        let (key, at) = (record.key.as_ref(), record.offset);
        let place = record.value.as_ref().and_then(|row| workload.made_by(row));
        let found = place.and_then(|place| Some((place, sources.get_mut(&place)?)));
        let Some((place, source)) = found else {
            let what = shown(record.value.as_ref());
            let sentence = format!("{}/{at} holds {what}, which no input makes", output.topic);
            findings.add(Kind::Phantom, key, at, sentence);
            continue;
        };
        findings.partition = source.partition;
        if output.topic != topic {
            let sentence = format!("{}/{at} belongs to {topic}", output.topic);
            findings.add(Kind::WrongTopic, key, at, sentence);
            continue;
        }
        let row = source
            .row
            .filter(|_| no_replays && source.applied == 1 && !source.unsure);
        if source.record.key != record.key || row.is_some_and(|row| row.value != record.value) {
            let (what, row) = (
                shown(record.value.as_ref()),
                shown(row.and_then(|row| row.value.as_ref())),
            );
            let sentence = format!("{topic}/{at} holds {what}, the input's row is {row}");
            findings.add(Kind::WrongPayload, key, at, sentence);
        }
        let seen = furthest.entry((place.topic, place.partition)).or_insert(-1);
        if !source.emitted && place.offset < *seen {
            let sentence = format!("{topic}/{at} is of input {}, after one of {seen}", place.offset);
            findings.add(Kind::Reorder, key, at, sentence);
        }
        *seen = (*seen).max(place.offset);
        source.emitted = true;
    }
}
