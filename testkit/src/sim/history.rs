//! Hands a run to the checker.

use std::collections::BTreeMap;

use super::world::{CHANGELOG, GROUP, INPUT, OUTPUT, World};
use super::writes::Written;
use crate::broker::StoredRecord;
use crate::checker::{
    Callback, Chain, Commit, Expected, Finding, History, InputHistory, Kind, Log, LogRecord, Origin, OutputLog,
    PartitionHistory, Place, StoreImage, Workload, Writer, check as checked,
};

/// Situations.
pub(super) const ORDERLY: &str = "nothing goes wrong, and nothing may be repeated";
pub(super) const CROSSED: &str = "own commit of an earlier ownership taken in the next one";
/// It had been given up, and went to a coordinator that was not one meanwhile: Kafka takes it from a member of the generation. The
/// group is where it was before, until the next commit; whoever begins there works more off once again, and loses nothing.
pub(super) const OVERTAKEN: &str = "commit overtaken by a later one of its process";

/// Checks everything that is known of a run.
pub(super) fn check(world: &World, at_rest: bool) {
    let mut history = History {
        sent: world.watch.take_sent(),
        expected: Expected {
            at_rest,
            // Where nothing goes wrong, nothing is worked off twice, however often partitions are handed over.
            unclean_ends: (world.plan.is_orderly() && world.watch.unclean_ends() == 0).then_some(0),
            surplus: None,
        },
        ..History::default()
    };
    for number in 0..world.plan.partitions {
        history.partitions.insert(number, partition(world, number));
        if world.plan.output {
            history.outputs.push(OutputLog {
                topic: OUTPUT.to_owned(),
                partition: number,
                log: log(world, OUTPUT, number),
            });
        }
    }
    world.watch.tables.check_rest(&world.watch.trace);
    let workload = Chain {
        output: world.plan.output.then(|| OUTPUT.to_owned()),
    };
    let report = checked(&history, &workload);
    let trace = &world.watch.trace;
    if !report.replays.is_empty() {
        trace.met("replay");
    }
    if report.replays.is_empty() && world.watch.unclean_ends() > 0 {
        trace.met("unclean end without a replay");
    }
    if history.expected.unclean_ends.is_some() {
        trace.met(ORDERLY);
    }
    trace.event(format_args!("checked: {report}"));
    for finding in &report.findings {
        match excuse(world, &history, finding) {
            Some(situation) => trace.met(situation),
            None => trace.violation(finding.to_string()),
        }
    }
}

/// The situation that makes a finding none.
fn excuse(world: &World, history: &History, finding: &Finding) -> Option<&'static str> {
    match finding.kind {
        Kind::Doubled => crossed(world, history, finding).then_some(CROSSED),
        Kind::CommitBack => {
            let was_overtaken = world.network.writes.was_overtaken(finding.partition, finding.offset);
            was_overtaken.then_some(OVERTAKEN)
        }
        _ => None,
    }
}

/// Whether an owner began where the group was before its own last commit, which then was still under way: its process had asked for
/// it in its ownership before, regained the partition in the same generation, and the coordinator took it after it had told where
/// to begin, before the new ownership had written anything. At-least-once: what that commit covers is worked off once more, and no
/// more than that.
fn crossed(world: &World, history: &History, finding: &Finding) -> bool {
    let Some(partition) = history.partitions.get(&finding.partition) else {
        return false;
    };
    let ownership = |record: &LogRecord| record.origin.map(|origin| origin.ownership);
    let Some(record) = partition.changelog.at(finding.offset) else {
        return false;
    };
    let Some(began) = ownership(record).and_then(|number| world.network.owners.at(finding.partition, number)) else {
        return false;
    };
    let mut earlier = partition
        .changelog
        .records
        .iter()
        .take_while(|earlier| earlier.offset < finding.offset);
    let is_first = earlier.all(|earlier| ownership(earlier) != Some(began.number));
    let begins_at = made_by(record).map(|place| place.offset);
    let commits = partition.inputs[INPUT].commits.as_deref().unwrap_or_default();
    let taken = commits
        .iter()
        .filter(|commit| commit.changelog_end == Some(finding.offset));
    let mut before = taken.map(|taken| {
        let before = commits.iter().rev().find(|commit| commit.offset < taken.offset);
        before.map_or(0, |before| before.offset)
    });
    is_first
        && began.nth > 1
        && before.any(|before| Some(before) == begins_at)
        && world.network.writes.commits_since(began.process, began.began)
}

fn made_by(record: &LogRecord) -> Option<Place> {
    let of_row = record.value.as_ref().and_then(|row| Chain::default().made_by(row));
    of_row.or(record.origin?.made_by)
}

fn partition(world: &World, number: i32) -> PartitionHistory {
    let mut changelog = log(world, CHANGELOG, number);
    let callbacks = world.watch.take_callbacks(number);
    tell_origins(world, number, &mut changelog, &callbacks);
    world.watch.tables.check(number, &changelog, &world.watch.trace);
    let committed = world.watch.broker.committed(GROUP, INPUT, number);
    let commits = world.watch.broker.commits(GROUP).into_iter();
    let commits = commits
        .filter(|commit| commit.topic == INPUT && commit.partition == number)
        .map(|commit| Commit {
            offset: commit.offset,
            changelog_end: commit.log_ends.get(CHANGELOG).copied(),
        });
    let input = InputHistory {
        log: log(world, INPUT, number),
        committed,
        commits: Some(commits.collect()),
    };
    PartitionHistory {
        inputs: BTreeMap::from([(INPUT.to_owned(), input)]),
        changelog,
        // The last states of stores were compared like all others; the checker cannot know what compaction had taken when.
        stores: match world.watch.tables.was_compacted(number) {
            true => Vec::new(),
            false => stores(world, number),
        },
        callbacks,
    }
}

/// Adds to each changelog record what was seen of it. Every callback writes one record, in order; so those of an ownership are its
/// first callbacks, and rows, which say what made them, show where among these a tombstone is.
fn tell_origins(world: &World, partition: i32, changelog: &mut Log, callbacks: &[Callback]) {
    let mut by_ownership = BTreeMap::<(u64, i32), Vec<i64>>::new();
    for callback in callbacks {
        let ownership = (callback.instance, callback.generation);
        by_ownership.entry(ownership).or_default().push(callback.offset);
    }
    let mut due = BTreeMap::new();
    for record in &mut changelog.records {
        let written = record
            .writer
            .and_then(|writer| world.network.writes.of(partition, record.offset, &writer));
        let Some(Written {
            ownership,
            held_back_until,
        }) = written
        else {
            continue;
        };
        let called = by_ownership
            .get(&(ownership.process, ownership.nth))
            .map_or(&[][..], |called| called);
        let due = due.entry(ownership.number).or_insert(0);
        if let Some(place) = made_by(record) {
            *due = called.iter().position(|offset| *offset == place.offset).unwrap_or(*due);
        }
        record.origin = Some(Origin {
            ownership: ownership.number,
            made_by: called.get(*due).map(|offset| Place::new(INPUT, partition, *offset)),
            held_back_until: held_back_until.map(|until| until.number),
        });
        *due += 1;
    }
}

fn stores(world: &World, number: i32) -> Vec<StoreImage> {
    let mut stores = Vec::new();
    for (instance, disk) in world.disks() {
        for (_, partition, image) in disk.images() {
            if partition == number {
                stores.push(StoreImage {
                    name: format!("instance {instance}"),
                    checkpoint: image.checkpoint.map(|checkpoint| checkpoint.offset),
                    rows: image.rows,
                });
            }
        }
    }
    stores
}

/// A topic that was never made has no records.
fn log(world: &World, topic: &str, partition: i32) -> Log {
    let mut records = world.watch.broker.records(topic, partition).unwrap_or_default();
    if topic == CHANGELOG {
        records = world.watch.tables.with_taken(partition, records);
    }
    let offsets = world.watch.broker.offsets(topic, partition).ok();
    Log {
        start: offsets.map_or(0, |offsets| offsets.log_start),
        end: offsets.map_or(0, |offsets| offsets.log_end),
        compacted: false,
        records: records.into_iter().map(record).collect(),
    }
}

fn record(stored: StoredRecord) -> LogRecord {
    LogRecord {
        offset: stored.offset,
        key: stored.key,
        value: stored.value,
        writer: stored.writer.map(|writer| Writer {
            producer_id: writer.producer_id,
            epoch: writer.epoch,
            sequence: writer.sequence,
        }),
        origin: None,
    }
}
