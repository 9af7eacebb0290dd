//! Hands a run to the checker.

use std::collections::BTreeMap;

use super::world::{CHANGELOG, GROUP, INPUT, OUTPUT, World};
use crate::broker::StoredRecord;
use crate::checker::{
    Chain, Commit, Expected, Finding, History, InputHistory, Kind, Log, LogRecord, OutputLog, PartitionHistory,
    StoreImage, Writer, check as checked,
};

/// Checks everything that is known of a run.
pub(super) fn check(world: &World, at_rest: bool) {
    let mut history = History {
        sent: world.watch.take_sent(),
        expected: Expected {
            at_rest,
            unclean_ends: None,
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
    trace.event(format_args!("checked: {report}"));
    let explained = |finding: &Finding| {
        let from_writers = [
            Kind::LateWriter,
            Kind::DirtyBase,
            Kind::Doubled,
            Kind::Skip,
            Kind::WrongReset,
            Kind::CommitAhead,
            Kind::Lost,
            Kind::Reorder,
        ];
        let late = from_writers.contains(&finding.kind) && world.network.owners.had_late_writes(finding.partition);
        // A tombstone does not say which input made it: where a process replays from one on, the checker may take another.
        let guessed = world.plan.deletes && matches!(finding.kind, Kind::Doubled | Kind::Skip | Kind::Reorder);
        // An own commit was accepted after its process had asked, at the beginning of its next ownership, what is committed.
        let crossed = finding.kind == Kind::Doubled && crossed(&history, finding);
        late || guessed || crossed
    };
    for finding in report.findings.iter().filter(|finding| !explained(finding)) {
        trace.violation(finding.to_string());
    }
}

/// Whether a commit was accepted between the last write before the finding and the write it tells of.
fn crossed(history: &History, finding: &Finding) -> bool {
    let partition = history.partitions.get(&finding.partition);
    let inputs = partition.into_iter().flat_map(|partition| partition.inputs.values());
    inputs
        .flat_map(|input| input.commits.iter().flatten())
        .any(|commit| commit.changelog_end == Some(finding.offset))
}

fn partition(world: &World, number: i32) -> PartitionHistory {
    let changelog = log(world, CHANGELOG, number);
    world.watch.check_images(number, &changelog);
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
        stores: stores(world, number),
        callbacks: world.watch.take_callbacks(number),
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
    let records = world.watch.broker.records(topic, partition).unwrap_or_default();
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
    }
}
