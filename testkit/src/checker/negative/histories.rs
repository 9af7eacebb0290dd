//! Defects of logs, stores and commits: they are planted into a finished history.

use bytes::Bytes;

use super::defects::Defect;
use super::run::{INPUT, Random};
use crate::checker::{Chain, Commit, History, Input, LogRecord, Outcome, OutputLog, PartitionHistory, Sent, Workload};

/// Plants a defect into partition `number`; `None` if there is no place for it.
pub(super) fn plant(defect: Defect, history: &mut History, number: i32, random: &mut Random) -> Option<()> {
    match defect {
        Defect::MoveOutput | Defect::DropOutput => return outputs(defect, history, number as usize, random),
        Defect::LoseAcked => {
            history.sent.push(Sent {
                topic: INPUT.to_owned(),
                key: Bytes::from("key-0-0"),
                value: Bytes::from("lost"),
                outcome: Outcome::Acked {
                    partition: number,
                    offset: Some(3),
                },
            });
            return Some(());
        }
        Defect::StoreFailed | Defect::StoreTwice => history.expected.at_rest = false,
        _ => {}
    }
    let partition = history.partitions.get_mut(&number)?;
    match defect {
        Defect::ApplyAborted => apply_aborted(partition, number),
        Defect::OtherKeysRow => take_another_keys_row(partition, random),
        Defect::CutLastRecord => cut_last_record(partition),
        Defect::RepeatSequence => repeat_sequence(partition, random),
        Defect::ResurrectInStore | Defect::StaleView | Defect::StoreAhead => stores(defect, partition, random),
        Defect::CommitPlusOne | Defect::CommitMinusOne | Defect::CommitBack => commits(defect, partition),
        Defect::CallbackTwice => {
            let place = random.below(partition.callbacks.len());
            partition.callbacks.insert(place, partition.callbacks[place].clone());
            Some(())
        }
        Defect::StoreFailed => {
            append_input(partition, "key-of-none", &format!("failed-{number}"));
            Some(())
        }
        Defect::StoreTwice => {
            let record = partition.inputs[INPUT].log.records[0].clone();
            let (key, value) = (record.key?, record.value?);
            append_input(
                partition,
                std::str::from_utf8(&key).ok()?,
                std::str::from_utf8(&value).ok()?,
            );
            Some(())
        }
        _ => None,
    }
}

fn outputs(defect: Defect, history: &mut History, number: usize, random: &mut Random) -> Option<()> {
    let chain = Chain::default();
    let records = &mut history.outputs[number].log.records;
    let source = |record: &LogRecord| chain.made_by(record.value.as_ref()?);
    let single = |record: &LogRecord| records.iter().filter(|other| source(other) == source(record)).count() == 1;
    let places: Vec<_> = (0..records.len()).filter(|place| single(&records[*place])).collect();
    let record = records.remove(random.pick(&places)?);
    if defect == Defect::MoveOutput {
        let mut other = OutputLog {
            topic: "other".to_owned(),
            ..OutputLog::default()
        };
        other.log.records.push(record);
        history.outputs.push(other);
    }
    Some(())
}

fn append_input(partition: &mut PartitionHistory, key: &str, value: &str) {
    let log = &mut partition.inputs.get_mut(INPUT).expect("the input").log;
    let mut record = log.records.last().expect("inputs").clone();
    record.writer.as_mut().expect("a writer").sequence += 1;
    record.offset = log.end;
    record.key = Some(Bytes::copy_from_slice(key.as_bytes()));
    record.value = Some(Bytes::copy_from_slice(value.as_bytes()));
    log.records.push(record);
    log.end += 1;
}

/// A row of an input that was never stored.
fn apply_aborted(partition: &mut PartitionHistory, number: i32) -> Option<()> {
    let mut record = partition.changelog.records.last()?.clone();
    record.writer.as_mut()?.sequence += 1;
    record.offset = partition.changelog.end;
    let aborted = LogRecord {
        offset: partition.inputs[INPUT].log.end + 5,
        value: Some(Bytes::from("aborted")),
        ..LogRecord::default()
    };
    let input = Input {
        topic: INPUT,
        partition: number,
        record: &aborted,
    };
    record.value = Chain::default().apply(record.value.as_deref(), input);
    partition.changelog.records.push(record);
    partition.changelog.end += 1;
    Some(())
}

fn take_another_keys_row(partition: &mut PartitionHistory, random: &mut Random) -> Option<()> {
    let records = &mut partition.changelog.records;
    let place = random.below(records.len());
    let others = records
        .iter()
        .filter(|other| other.key != records[place].key && other.value.is_some());
    let others: Vec<_> = others.map(|other| &other.value).collect();
    let row = random.pick(&others).filter(|_| records[place].value.is_some())?.clone();
    records[place].value = row;
    Some(())
}

fn cut_last_record(partition: &mut PartitionHistory) -> Option<()> {
    let last = partition.changelog.records.pop()?;
    partition.changelog.end -= 1;
    let chain = Chain::default();
    let place = chain.made_by(&last.value?)?;
    let rows = partition
        .changelog
        .records
        .iter()
        .filter_map(|record| record.value.as_ref());
    let was_applied_before = rows.filter_map(|row| chain.made_by(row)).any(|other| other == place);
    (!was_applied_before).then_some(())
}

fn repeat_sequence(partition: &mut PartitionHistory, random: &mut Random) -> Option<()> {
    let records = &mut partition.changelog.records;
    let later = |place: &usize| records[*place].writer.is_some_and(|writer| writer.sequence > 0);
    let places: Vec<_> = (0..records.len()).filter(later).collect();
    let place = random.pick(&places)?;
    records[place].writer.as_mut()?.sequence -= 1;
    Some(())
}

fn stores(defect: Defect, partition: &mut PartitionHistory, random: &mut Random) -> Option<()> {
    let view = partition.stores.iter_mut().find(|store| store.name == "view")?;
    if defect == Defect::StoreAhead {
        view.checkpoint = Some(partition.changelog.end + 1);
        return Some(());
    }
    let is_there = defect == Defect::StaleView;
    let values = partition.changelog.records.iter();
    let values = values.filter_map(|record| Some((record.key.clone()?, record.value.clone()?)));
    let old = values.filter(|(key, value)| match view.rows.get(key) {
        Some(row) => is_there && row != value,
        None => !is_there,
    });
    let old: Vec<_> = old.collect();
    let (key, value) = old.get(random.below(old.len().max(1)))?.clone();
    view.rows.insert(key, value);
    Some(())
}

fn commits(defect: Defect, partition: &mut PartitionHistory) -> Option<()> {
    let input = partition.inputs.get_mut(INPUT)?;
    let commits = input.commits.as_mut()?;
    let last = commits.last_mut()?;
    match defect {
        Defect::CommitPlusOne => last.offset += 1,
        Defect::CommitMinusOne => last.offset -= 1,
        _ => {
            let (changelog_end, place) = (last.changelog_end, commits.len() - 1);
            let before = commits.get(place.checked_sub(1)?)?.offset;
            let back = Commit {
                offset: before.checked_sub(1).filter(|offset| *offset >= 0)?,
                changelog_end,
            };
            commits.insert(place, back);
        }
    }
    input.committed = commits.last().map(|commit| commit.offset);
    Some(())
}
