use proptest::prelude::*;

use super::flush::ForeignWrite;
use super::*;
use crate::storage::{KeyRange, Memory, StoreBuilder, StoreName};

const ID: TopicId = TopicId([3; 16]);

fn limits() -> TableLimits {
    TableLimits {
        cache_bytes: 1 << 20,
        flush_bytes: 1_000,
        flush_interval: Duration::from_secs(10),
    }
}

fn store() -> Arc<dyn PartitionStore> {
    Memory::new()
        .open(StoreName {
            owner: "g",
            topic: "g-table",
            partition: 0,
        })
        .unwrap()
        .store
}

#[expect(clippy::disallowed_methods, reason = "tests need some instant")]
fn some_instant() -> Instant {
    Instant::now()
}

fn table(store: Arc<dyn PartitionStore>, position: i64) -> Table {
    Table::new(
        TopicPartition::new("g-table", 0),
        store,
        (limits(), Room::new(1 << 20)),
        ID,
        position,
    )
}

fn read(table: &mut Table, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    table.read(key, &mut value).unwrap().then_some(value)
}

fn rows(store: &Arc<dyn PartitionStore>) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.scan(KeyRange::all()).unwrap().map(Result::unwrap).collect()
}

fn run_job(table: &mut Table, now: Instant) -> bool {
    let Some(job) = table.take_job(now, 1_000, None) else {
        return false;
    };
    table.finish_job(job.run()).unwrap();
    true
}

#[test]
fn a_row_is_seen_at_once_and_stored_only_after_its_batch_is_acknowledged() {
    let (now, store) = (some_instant(), store());
    let mut table = table(store.clone(), 100);
    table.stage(now, b"bob", Some(b"1"));
    assert_eq!(read(&mut table, b"bob"), Some(b"1".to_vec()));
    table.seal(1);
    assert!(!run_job(&mut table, now), "flushed before it was acknowledged");
    assert_eq!(rows(&store), []);
    table.handle_ack(0, Some(100), 1).unwrap();
    assert!(run_job(&mut table, now));
    assert_eq!(rows(&store), [(b"bob".to_vec(), b"1".to_vec())]);
    let checkpoint = store.checkpoint().unwrap().unwrap();
    assert_eq!(
        (checkpoint.offset, checkpoint.topic_id, checkpoint.written_at),
        (101, ID, 1_000)
    );
}

#[test]
fn the_checkpoint_is_the_end_of_the_sealed_batch_even_if_later_ones_are_acknowledged_too() {
    let (now, store) = (some_instant(), store());
    let mut table = table(store.clone(), 0);
    table.stage(now, b"a", Some(b"1"));
    table.seal(1);
    table.stage(now, b"a", Some(b"2"));
    table.handle_ack(0, Some(0), 1).unwrap();
    table.handle_ack(1, Some(1), 1).unwrap();
    assert!(run_job(&mut table, now));
    // The store has what batch 0 said, and says so: not more, not less.
    assert_eq!(rows(&store), [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(store.checkpoint().unwrap().unwrap().offset, 1);
    assert_eq!(read(&mut table, b"a"), Some(b"2".to_vec()));
}

#[test]
fn records_of_a_foreign_writer_are_noticed_by_the_gap_they_make() {
    let mut table = table(store(), 10);
    table.handle_ack(0, Some(10), 5).unwrap();
    let foreign = table.handle_ack(1, Some(17), 3).unwrap_err();
    assert_eq!(
        foreign,
        ForeignWrite {
            expected: 15,
            found: Some(17)
        }
    );
    assert_eq!(
        table.handle_ack(2, None, 1).unwrap_err(),
        ForeignWrite {
            expected: 20,
            found: None
        }
    );
    assert_eq!(table.acknowledged_batches(), 3);
}

#[test]
fn a_followers_rows_carry_the_position_they_were_read_to() {
    let (now, store) = (some_instant(), store());
    let mut table = table(store.clone(), 0);
    table.stage(now, b"a", Some(b"1"));
    table.stage(now, b"b", None);
    table.handle_position(7, 4);
    table.seal(table.acknowledged_batches());
    assert!(run_job(&mut table, now));
    let checkpoint = store.checkpoint().unwrap().unwrap();
    assert_eq!((checkpoint.offset, checkpoint.leader_epoch), (7, 4));
    assert_eq!(rows(&store).len(), 1);
}

#[test]
fn after_a_flush_that_failed_no_later_rows_take_the_checkpoint_past_those_that_are_missing() {
    let (now, store) = (some_instant(), store());
    let mut table = table(store.clone(), 0);
    table.stage(now, b"a", Some(b"1"));
    table.handle_position(5, 0);
    table.seal(table.acknowledged_batches());
    drop(table.take_job(now, 1_000, None).unwrap());
    let broken = FlushDone::lost(&"input/output error");
    assert!(table.finish_job(broken).is_err());
    // A follower that ends would write what it has read since.
    table.stage(now, b"b", Some(b"2"));
    table.handle_position(9, 0);
    table.seal(table.acknowledged_batches());
    assert!(!run_job(&mut table, now) && !table.is_flushed());
    assert_eq!((store.checkpoint().unwrap(), rows(&store).len()), (None, 0));
}

#[test]
fn a_flush_is_due_by_size_or_by_age_and_one_at_a_time() {
    let now = some_instant();
    let mut table = table(store(), 0);
    assert!(!table.flush_due(now + Duration::from_secs(60)), "nothing was written");
    table.stage(now, b"a", Some(b"1"));
    assert!(!table.flush_due(now));
    assert_eq!(table.flush_at(), Some(now + Duration::from_secs(10)));
    assert!(table.flush_due(now + Duration::from_secs(10)));
    table.stage(now, b"b", Some(&[0; 2_000]));
    assert!(table.flush_due(now));
    table.seal(1);
    assert!(!table.flush_due(now) && table.flush_at().is_none() && !table.is_full());
    table.stage(now, b"c", Some(&[0; 2_000]));
    assert!(table.is_full(), "a third generation would have to be held");
}

#[test]
fn a_row_deleted_here_does_not_come_back_from_the_store() {
    let (now, store) = (some_instant(), store());
    let mut table = table(store.clone(), 0);
    table.stage(now, b"a", Some(b"1"));
    table.handle_position(1, 0);
    table.seal(0);
    run_job(&mut table, now);
    table.stage(now, b"a", None);
    assert_eq!(read(&mut table, b"a"), None);
    table.handle_position(2, 0);
    table.seal(0);
    assert!(run_job(&mut table, now));
    assert_eq!((read(&mut table, b"a"), rows(&store)), (None, Vec::new()));
}

/// A table of [`limits`] that recovers from nothing.
fn recovering(store: Arc<dyn PartitionStore>) -> Table {
    let mut table = table(store, 0);
    table.begin_recovery();
    table
}

#[test]
fn a_small_recovered_table_is_at_hand_above_its_store() {
    let (now, store) = (some_instant(), store());
    let mut table = recovering(store.clone());
    for value in [b"1", b"2"] {
        table.stage(now, b"a", Some(value));
        table.stage(now, b"b", Some(value));
    }
    table.stage(now, b"b", None);
    table.handle_position(5, 0);
    assert!(!table.is_full() && !table.wants_room() && table.bytes_above() > 0);
    assert!(table.end_recovery());
    assert_eq!(
        (read(&mut table, b"a"), read(&mut table, b"b")),
        (Some(b"2".to_vec()), None)
    );
    assert!(!table.is_flushed() && rows(&store).is_empty());
    assert_eq!(table.flush_at(), Some(now + Duration::from_secs(10)));
    table.seal(0);
    assert!(run_job(&mut table, now));
    assert_eq!(rows(&store), [(b"a".to_vec(), b"2".to_vec())]);
    assert_eq!(store.checkpoint().unwrap().unwrap().offset, 5);
}

#[test]
fn a_recovering_table_waits_for_room_when_its_part_is_full_and_is_flushed_when_that_is_full_too() {
    let (now, store) = (some_instant(), store());
    let mut table = recovering(store.clone());
    table.stage(now, b"a", Some(&[0; 1_000]));
    assert!(table.is_at_limit() && table.wants_room() && table.is_full());
    let now = now + Duration::from_secs(60);
    assert!(
        !table.flush_due(now) && table.flush_at().is_none(),
        "there will be room"
    );
    table.lend(now, 1_000);
    assert!(!table.is_at_limit() && !table.wants_room() && !table.is_full() && !table.flush_due(now));
    assert_eq!(
        table.flush_at(),
        Some(now + Duration::from_secs(10)),
        "nobody keeps what is lent for long"
    );
    table.stage(now, b"b", Some(&[0; 1_000]));
    assert!(table.flush_due(now) && !table.wants_room());
    table.handle_position(2, 0);
    assert!(!table.end_recovery(), "that many rows are flushed first");
    table.seal(0);
    assert!(table.is_full(), "only one generation is gathered");
    assert!(
        !table.end_recovery(),
        "rows on their way into the store could not be read"
    );
    assert!(run_job(&mut table, now));
    assert!(!table.is_full() && table.bytes_above() == 0);
    table.stage(now, b"c", Some(&[0; 1_000]));
    assert!(table.wants_room(), "what was lent was for one flush");
    assert!(!table.end_recovery());
    table.handle_position(3, 0);
    table.seal(0);
    assert!(run_job(&mut table, now) && table.end_recovery());
    assert_eq!(rows(&store).len(), 3);
    assert_eq!(store.checkpoint().unwrap().unwrap().offset, 3);
}

#[test]
fn what_others_have_come_to_hold_is_taken_from_what_was_lent() {
    let (now, room) = (some_instant(), Room::new(8_000));
    let new = |number| {
        let topic_partition = TopicPartition::new("g-table", number);
        Table::new(topic_partition, store(), (limits(), room.clone()), ID, 0)
    };
    let (mut recovering, mut running) = (new(0), new(1));
    recovering.begin_recovery();
    recovering.stage(now, b"a", Some(&[0; 1_000]));
    recovering.lend(now, 2_000);
    assert!(!recovering.is_at_limit());
    running.stage(now, b"b", Some(&[0; 7_900]));
    running.trim();
    assert!(recovering.is_at_limit() && recovering.flush_due(now));
}

#[test]
fn rows_above_a_store_count_in_the_room_until_their_table_is_gone() {
    let (now, room) = (some_instant(), Room::new(1 << 20));
    let mut table = Table::new(
        TopicPartition::new("g-table", 0),
        store(),
        (limits(), room.clone()),
        ID,
        0,
    );
    table.begin_recovery();
    table.stage(now, b"a", Some(&[0; 500]));
    table.trim();
    assert_eq!(room.held(), 0, "what is gathered is lent or the table's part");
    assert!(table.end_recovery());
    assert_eq!(room.held(), table.bytes_above());
    assert!(room.held() > 500);
    drop(table);
    assert_eq!(room.held(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Write(u8, Option<u8>),
    Acknowledge,
    Seal,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..6, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Step::Write(key, value)),
        3 => Just(Step::Acknowledge),
        1 => Just(Step::Seal),
        2 => Just(Step::Flush),
    ]
}

proptest! {
    /// I1: whatever happens in whatever order, the store is the fold of the changelog up to its checkpoint. Every write is a
    /// batch of its own here, so the batch number is the changelog's offset.
    #[test]
    fn the_store_is_always_a_prefix_of_the_changelog(steps in proptest::collection::vec(step(), 1..120)) {
        let (now, store) = (some_instant(), store());
        let mut table = table(store.clone(), 0);
        let mut changelog: Vec<(u8, Option<u8>)> = Vec::new();
        let mut acknowledged = 0;
        for step in steps {
            match step {
                Step::Write(key, value) => {
                    table.stage(now, &[key], value.as_ref().map(std::slice::from_ref));
                    changelog.push((key, value));
                }
                Step::Acknowledge if acknowledged < changelog.len() => {
                    table.handle_ack(acknowledged as u64, Some(acknowledged as i64), 1).unwrap();
                    acknowledged += 1;
                }
                Step::Acknowledge => {}
                Step::Seal => table.seal(changelog.len() as u64),
                Step::Flush => { run_job(&mut table, now); }
            }
            let offset = store.checkpoint().unwrap().map_or(0, |checkpoint| checkpoint.offset) as usize;
            prop_assert!(offset <= acknowledged, "the store is ahead of what the changelog acknowledged");
            let mut fold = std::collections::BTreeMap::new();
            for (key, value) in &changelog[..offset] {
                match value {
                    Some(value) => { fold.insert(vec![*key], vec![*value]); }
                    None => { fold.remove(&vec![*key]); }
                }
            }
            prop_assert_eq!(rows(&store), fold.into_iter().collect::<Vec<_>>());
        }
        for key in 0..6u8 {
            let last = changelog.iter().rev().find(|(written, _)| *written == key).and_then(|(_, value)| *value);
            prop_assert_eq!(read(&mut table, &[key]), last.map(|value| vec![value]));
        }
    }

    /// I1 again, for a table that recovers: here each write is a record of the changelog, and each may end the recovery.
    #[test]
    fn a_recovering_tables_store_is_always_a_prefix_of_the_changelog(
        steps in proptest::collection::vec(step(), 1..120),
        tried in 0usize..120,
    ) {
        let (now, store) = (some_instant(), store());
        let mut table = recovering(store.clone());
        let mut changelog: Vec<(u8, Option<u8>)> = Vec::new();
        let mut over = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(key, value) => {
                    table.stage(now, &[key], value.as_ref().map(std::slice::from_ref));
                    changelog.push((key, value));
                    table.handle_position(changelog.len() as i64, 0);
                }
                Step::Acknowledge => table.trim(),
                Step::Seal => table.seal(0),
                Step::Flush => { run_job(&mut table, now); }
            }
            over |= number >= tried && table.end_recovery();
            let offset = store.checkpoint().unwrap().map_or(0, |checkpoint| checkpoint.offset) as usize;
            let mut folds = [changelog.len(), offset].map(|end| {
                let mut fold = std::collections::BTreeMap::new();
                for (key, value) in &changelog[..end] {
                    match value {
                        Some(value) => { fold.insert(vec![*key], vec![*value]); }
                        None => { fold.remove(&vec![*key]); }
                    }
                }
                fold
            });
            prop_assert_eq!(rows(&store), std::mem::take(&mut folds[1]).into_iter().collect::<Vec<_>>());
            if over {
                for key in 0..6u8 {
                    prop_assert_eq!(read(&mut table, &[key]), folds[0].get(&vec![key]).cloned());
                }
            }
        }
    }
}
