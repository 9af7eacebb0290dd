//! Runs of imagined owners, and the histories that they leave.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::checker::{
    Callback, Chain, Commit, Count, Expected, History, Input, InputHistory, Log, LogRecord, Outcome, OutputLog,
    PartitionHistory, Sent, StoreImage, Workload, Writer,
};
use crate::split_mix::SplitMix;

/// The input topic.
pub(super) const INPUT: &str = "in";
/// The output topic.
pub(super) const OUTPUT: &str = "out";
/// Partitions of a run.
pub(super) const PARTITIONS: i32 = 2;

/// What chooses a history.
pub(super) struct Random(SplitMix);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(SplitMix::new(seed))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.0.bits() % bound as u64) as usize
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// One of those that there are.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }
}

/// What an owner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Applies the input at this index.
    Apply(usize),
    /// Applies it on top of a row of before, as goka does after a crash.
    ApplyStale(usize),
    /// Applies it by the owner before this one.
    ApplyLate(usize),
    /// Commits that the inputs below this index are done.
    Commit(usize),
    /// Ends without warning; the next owner begins.
    Crash,
    /// Hands over to the next owner.
    HandOver,
}

/// One partition's inputs and what became of them.
pub(super) struct Part {
    pub(super) inputs: Vec<(Bytes, Bytes)>,
    pub(super) steps: Vec<Step>,
}

/// A run that nothing is wrong with, unless somebody changes its steps.
pub(super) struct Run {
    pub(super) parts: Vec<Part>,
    counting: bool,
    /// Where in each changelog its store was seen, out of 256.
    seen: Vec<usize>,
}

impl Run {
    pub(super) fn new(random: &mut Random) -> Run {
        Run::of(random, false, true)
    }

    /// With chained rows, none of which is deleted.
    pub(super) fn without_deletions(random: &mut Random) -> Run {
        Run::of(random, false, false)
    }

    /// With rows that are only counts, and no deletions.
    pub(super) fn counting(random: &mut Random) -> Run {
        Run::of(random, true, false)
    }

    fn of(random: &mut Random, counting: bool, deletions: bool) -> Run {
        let parts = (0..PARTITIONS).map(|partition| {
            let count = 40 + random.below(40);
            let mut input = |number| {
                let key = format!("key-{partition}-{}", random.below(7));
                let sign = if deletions && random.one_in(12) { "-" } else { "" };
                (
                    Bytes::from(key),
                    Bytes::from(format!("{sign}event-{partition}-{number}")),
                )
            };
            Part {
                inputs: (0..count).map(&mut input).collect(),
                steps: steps(random, count),
            }
        });
        let parts = parts.collect();
        Run {
            parts,
            counting,
            seen: (0..PARTITIONS).map(|_| random.below(257)).collect(),
        }
    }

    /// What the run left behind.
    pub(super) fn history(&self) -> History {
        let crashes = self
            .parts
            .iter()
            .flat_map(|part| &part.steps)
            .filter(|step| **step == Step::Crash);
        let mut history = History {
            expected: Expected {
                at_rest: true,
                unclean_ends: Some(crashes.count() as u64),
                surplus: None,
            },
            ..History::default()
        };
        for (number, part) in self.parts.iter().enumerate() {
            let chain = Chain {
                output: Some(OUTPUT.to_owned()),
            };
            let left = match self.counting {
                true => Left::by(part, number as i32, &Count),
                false => Left::by(part, number as i32, &chain),
            };
            left.put_into(&mut history, part, self.seen[number]);
        }
        history
    }
}

/// Steps that work `count` inputs off.
fn steps(random: &mut Random, count: usize) -> Vec<Step> {
    let (mut steps, mut next, mut committed) = (Vec::new(), 0, 0);
    while next < count {
        for _ in 0..=random.below(6) {
            if next < count {
                steps.push(Step::Apply(next));
                next += 1;
            }
        }
        // What is committed may lag behind what is applied.
        if random.one_in(2) {
            committed = committed.max(next - random.below(3).min(next));
            steps.push(Step::Commit(committed));
        }
        match random.below(8) {
            0 => {
                steps.push(Step::Crash);
                next = committed;
            }
            1 => {
                committed = next;
                steps.extend([Step::Commit(committed), Step::HandOver]);
            }
            _ => {}
        }
    }
    if committed < count {
        steps.push(Step::Commit(count));
    }
    steps
}

/// What one partition's steps leave behind.
#[derive(Default)]
struct Left {
    changelog: Vec<LogRecord>,
    output: Vec<LogRecord>,
    commits: Vec<Commit>,
    callbacks: Vec<Callback>,
}

impl Left {
    fn by(part: &Part, partition: i32, workload: &impl Workload) -> Left {
        let mut left = Left::default();
        let (mut rows, mut stale) = (HashMap::<Bytes, Bytes>::new(), HashMap::new());
        let (mut owner, mut sequences) = (0, HashMap::new());
        let inputs = records(part);
        for step in &part.steps {
            match *step {
                Step::Apply(index) | Step::ApplyStale(index) | Step::ApplyLate(index) => {
                    let record = &inputs[index];
                    let key = record.key.clone().unwrap();
                    let base = match step {
                        Step::ApplyStale(_) => stale.get(&key),
                        _ => rows.get(&key),
                    };
                    let input = Input {
                        topic: INPUT,
                        partition,
                        record,
                    };
                    let row = workload.apply(base.map(|row: &Bytes| &row[..]), input);
                    let by = owner - i64::from(matches!(step, Step::ApplyLate(_)));
                    left.callback(by, record.offset);
                    let sequences: &mut [i32; 2] = sequences.entry(by).or_default();
                    append(&mut left.changelog, &key, row.clone(), (by, &mut sequences[0]));
                    if let (Some(row), true) = (&row, workload.emits_to().is_some()) {
                        append(&mut left.output, &key, Some(row.clone()), (by, &mut sequences[1]));
                    }
                    let before = match row {
                        Some(row) => rows.insert(key.clone(), row),
                        None => rows.remove(&key),
                    };
                    before.map(|before| stale.insert(key, before));
                }
                Step::Commit(index) => left.commits.push(Commit {
                    offset: index as i64,
                    changelog_end: Some(left.changelog.len() as i64),
                }),
                Step::Crash | Step::HandOver => owner += 1,
            }
        }
        left
    }

    fn callback(&mut self, owner: i64, offset: i64) {
        self.callbacks.push(Callback {
            instance: owner as u64,
            generation: owner as i32,
            topic: INPUT.to_owned(),
            offset,
        });
    }

    fn put_into(self, history: &mut History, part: &Part, seen: usize) {
        let number = history.partitions.len() as i32;
        let (changelog, inputs) = (log(self.changelog), log(records(part)));
        let sent = inputs.records.iter().enumerate().map(|(index, record)| Sent {
            topic: INPUT.to_owned(),
            key: record.key.clone().unwrap(),
            value: record.value.clone().unwrap(),
            outcome: match index % 5 {
                0 => Outcome::Possible,
                _ => Outcome::Acked {
                    partition: number,
                    offset: (index % 5 > 1).then_some(record.offset),
                },
            },
        });
        history.sent.extend(sent);
        history.sent.push(Sent {
            topic: INPUT.to_owned(),
            key: Bytes::from("key-of-none"),
            value: Bytes::from(format!("failed-{number}")),
            outcome: Outcome::Failed,
        });
        let image = |name: &str, checkpoint: i64| StoreImage {
            name: name.to_owned(),
            checkpoint: Some(checkpoint),
            rows: changelog.fold(checkpoint),
        };
        let stores = vec![
            image("store", changelog.end * seen as i64 / 256),
            image("view", changelog.end),
            StoreImage::default(),
        ];
        let input = InputHistory {
            log: inputs,
            committed: self.commits.last().map(|commit| commit.offset),
            commits: Some(self.commits),
        };
        history.outputs.push(OutputLog {
            topic: OUTPUT.to_owned(),
            partition: number,
            log: log(self.output),
        });
        let partition = PartitionHistory {
            inputs: BTreeMap::from([(INPUT.to_owned(), input)]),
            changelog,
            stores,
            callbacks: self.callbacks,
        };
        history.partitions.insert(number, partition);
    }
}

fn records(part: &Part) -> Vec<LogRecord> {
    let (mut records, mut sequence) = (Vec::new(), 0);
    for (key, value) in &part.inputs {
        append(&mut records, key, Some(value.clone()), (77, &mut sequence));
    }
    records
}

fn append(to: &mut Vec<LogRecord>, key: &Bytes, value: Option<Bytes>, (producer_id, sequence): (i64, &mut i32)) {
    to.push(LogRecord {
        offset: to.len() as i64,
        key: Some(key.clone()),
        value,
        writer: Some(Writer {
            producer_id,
            epoch: 0,
            sequence: *sequence,
        }),
        origin: None,
    });
    *sequence += 1;
}

fn log(records: Vec<LogRecord>) -> Log {
    Log {
        end: records.len() as i64,
        records,
        ..Log::default()
    }
}
