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
        without: HashMap::new(),
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
    /// The rows of keys as they are without records that were held back.
    without: HashMap<&'a [u8], Without<'a>>,
    inputs: Vec<InputRun<'a>>,
}

/// What was there before each of some records that were held back.
struct Without<'a> {
    /// The ownership that need not know of those records. It knows those that came before its table was recovered.
    ownership: u64,
    rows: Vec<Option<&'a Bytes>>,
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
        let key = record.key.as_deref().unwrap_or_default();
        let held_back_until = record.origin.and_then(|origin| origin.held_back_until);
        if let Some(found) = self.find(record, findings)
            && held_back_until.is_none()
        {
            self.inputs[found.run].handle(found.index, record, findings);
            if !found.foreign_row {
                self.check_row(&found, record, findings);
            }
        }
        match held_back_until {
            Some(ownership) => self.set_aside(key, ownership),
            None => drop(self.without.remove(key)),
        }
        match &record.value {
            Some(value) => self.base.insert(key, value),
            None => self.base.remove(key),
        };
    }

    /// A record comes that the ownership need not know of.
    fn set_aside(&mut self, key: &'a [u8], ownership: u64) {
        let row = self.base.get(key).copied();
        let none = || Without {
            ownership,
            rows: Vec::new(),
        };
        let without = self.without.entry(key).or_insert_with(none);
        if without.ownership != ownership {
            *without = none();
        }
        without.rows.push(row);
    }

    /// Which input made the record: as it says, or by its key where it cannot say so.
    fn find(&self, record: &LogRecord, findings: &mut Findings<'_>) -> Option<Found> {
        let (key, at) = (record.key.as_ref(), record.offset);
        let Some(value) = &record.value else {
            let found = self.told(record).or_else(|| self.guess(record, false));
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

    /// The input of which somebody saw that it made the record, if it may have.
    fn told(&self, record: &LogRecord) -> Option<Found> {
        let place = record.origin?.made_by?;
        let runs = self.inputs.iter().enumerate();
        let found = runs
            .filter_map(|(run, input)| Some((run, input.index_of(place)?)))
            .next();
        let (run, index) = found.filter(|(run, index)| self.fits(record, self.inputs[*run].input(*index)))?;
        Some(Found {
            run,
            index,
            foreign_row: false,
        })
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
        let without = self.without.get(key).filter(|without| {
            let ownership = record.origin.map(|origin| origin.ownership);
            ownership == Some(without.ownership)
        });
        let makes = |row: &Option<&Bytes>| self.workload.apply(row.map(|row| &row[..]), input) == record.value;
        if row != record.value && !without.is_some_and(|without| without.rows.iter().any(makes)) {
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::checker::{Chain, Commit, History, InputHistory, Kind, Log, Origin, OutputLog, Writer, check};

    const KEY: &str = "key";

    fn log(records: Vec<LogRecord>) -> Log {
        Log {
            end: records.len() as i64,
            records,
            ..Log::default()
        }
    }

    fn record(offset: i64, value: Option<Bytes>) -> LogRecord {
        LogRecord {
            offset,
            key: Some(Bytes::from(KEY)),
            value,
            ..LogRecord::default()
        }
    }

    /// The changelog of inputs that are all of one key: who applies which input on top of which of the changelog's records.
    fn history(events: &[&'static str], applied: &[(u64, usize, Option<usize>)]) -> History {
        let events = events.iter().enumerate();
        let inputs: Vec<_> = events
            .map(|(at, event)| record(at as i64, Some(Bytes::from(*event))))
            .collect();
        let mut changelog = Vec::<LogRecord>::new();
        for (ownership, index, base) in applied {
            let row = base.and_then(|base| changelog[base].value.clone());
            let input = Input {
                topic: "in",
                partition: 0,
                record: &inputs[*index],
            };
            let mut made = record(changelog.len() as i64, Chain::default().apply(row.as_deref(), input));
            let sequence = changelog.len() as i32;
            made.writer = Some(Writer {
                producer_id: *ownership as i64,
                epoch: 0,
                sequence,
            });
            made.origin = Some(Origin {
                ownership: *ownership,
                made_by: Some(Place::new("in", 0, *index as i64)),
                held_back_until: None,
            });
            changelog.push(made);
        }
        let begins = [Commit {
            offset: 1,
            changelog_end: Some(1),
        }];
        let input = InputHistory {
            log: log(inputs),
            committed: Some(1),
            commits: Some(begins.to_vec()),
        };
        let partition = PartitionHistory {
            inputs: BTreeMap::from([("in".to_owned(), input)]),
            changelog: log(changelog),
            ..PartitionHistory::default()
        };
        History {
            partitions: BTreeMap::from([(0, partition)]),
            ..History::default()
        }
    }

    fn held_back(history: &mut History, offset: usize, until: u64) {
        let origin = &mut history.partitions.get_mut(&0).unwrap().changelog.records[offset].origin;
        origin.as_mut().unwrap().held_back_until = Some(until);
    }

    fn found(history: &History) -> BTreeSet<Kind> {
        let report = check(history, &Chain::default());
        // Not what this is about: sequence numbers of writers that change.
        let kinds = report.findings.iter().map(|finding| finding.kind);
        kinds.filter(|kind| *kind != Kind::BrokenSequence).collect()
    }

    /// The first owner applies 0, the second 1; then comes what the first had sent for 1, and the second goes on.
    const LATE: [(u64, usize, Option<usize>); 4] = [(7, 0, None), (8, 1, Some(0)), (7, 1, Some(0)), (8, 2, Some(1))];

    #[test]
    fn a_record_that_was_held_back_is_excused_and_its_successor_need_not_know_of_it() {
        let mut history = history(&["a", "b", "c"], &LATE);
        held_back(&mut history, 2, 8);
        assert_eq!(found(&history), BTreeSet::new());
    }

    #[test]
    fn a_successor_may_know_the_first_of_the_records_that_were_held_back() {
        let late = [(7, 0, None), (7, 1, Some(0)), (7, 2, Some(1)), (8, 1, Some(1))];
        let mut history = history(&["a", "b", "c"], &late);
        held_back(&mut history, 1, 8);
        held_back(&mut history, 2, 8);
        assert_eq!(found(&history), BTreeSet::new());
    }

    #[test]
    fn what_was_emitted_before_records_were_held_back_may_differ_from_the_row_that_came_of_it() {
        // The first owner emits what it makes of 2, but only its row of 1 arrives, late; the second knows that, and applies 1 again.
        let applied = [(7, 0, None), (7, 1, Some(0)), (8, 1, Some(1)), (8, 2, Some(2))];
        let mut history = history(&["a", "b", "c"], &applied);
        let rows = |at: usize| history.partitions[&0].changelog.records[at].value.clone();
        let last = &history.partitions[&0].inputs["in"].log.records[2];
        let input = Input {
            topic: "in",
            partition: 0,
            record: last,
        };
        let first = Chain::default().apply(rows(1).as_deref(), input);
        let emitted = [rows(0), rows(1), first, rows(3)];
        let emitted = emitted.into_iter().enumerate();
        history.outputs.push(OutputLog {
            topic: "rows".to_owned(),
            partition: 0,
            log: log(emitted.map(|(at, row)| record(at as i64, row)).collect()),
        });
        let workload = Chain {
            output: Some("rows".to_owned()),
        };
        let finds = |history: &History| {
            let findings = check(history, &workload).findings;
            findings.iter().any(|finding| finding.kind == Kind::WrongPayload)
        };
        held_back(&mut history, 1, 8);
        assert!(!finds(&history));
        history.partitions.get_mut(&0).unwrap().changelog.records.remove(1);
        assert!(finds(&history), "nothing that was held back explains it");
    }

    #[test]
    fn the_same_record_is_found_where_nobody_held_it_back() {
        let history = history(&["a", "b", "c"], &LATE);
        assert!(found(&history).contains(&Kind::DirtyBase));
    }

    #[test]
    fn the_owner_after_that_must_know_what_was_held_back() {
        let mut applied = LATE;
        // It begins where the group is, on top of a row that is not the last.
        applied[3] = (9, 1, Some(0));
        let mut history = history(&["a", "b", "c"], &applied);
        held_back(&mut history, 2, 8);
        assert_eq!(found(&history), BTreeSet::from([Kind::DirtyBase]));
    }

    #[test]
    fn a_successor_that_leaves_an_input_out_is_found_although_a_record_was_held_back() {
        let mut applied = LATE;
        applied[1] = (8, 2, Some(0));
        applied[3] = (8, 3, Some(1));
        let mut history = history(&["a", "b", "c", "d"], &applied);
        held_back(&mut history, 2, 8);
        assert_eq!(
            found(&history),
            BTreeSet::from([Kind::Skip]),
            "what came late does not count"
        );
    }

    #[test]
    fn a_tombstone_belongs_to_the_input_that_was_seen_to_make_it() {
        let applied = [(7, 0, None), (8, 1, Some(0)), (8, 2, None), (8, 3, None)];
        let mut history = history(&["a", "-b", "c", "-d"], &applied);
        assert_eq!(found(&history), BTreeSet::new());
        // The second owner's first is the other tombstone of the key.
        let records = &mut history.partitions.get_mut(&0).unwrap().changelog.records;
        records[1].origin.as_mut().unwrap().made_by = Some(Place::new("in", 0, 3));
        assert!(found(&history).contains(&Kind::Skip));
    }
}
