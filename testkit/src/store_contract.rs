//! What every partition store must do, as one suite over any [`StoreBuilder`].
//!
//! A store crate runs it with [`check`] and a way to make an empty builder; `testkit/tests/stores.rs` does so for the stores here.

use std::collections::BTreeMap;

use goka_core::storage::{
    Checkpoint, Durability, KeyRange, Opened, PartitionStore, Row, StoreBuilder, StoreName, TopicId,
};

/// A name for stores under test.
pub const NAME: StoreName<'static> = StoreName {
    owner: "group",
    topic: "group-table",
    partition: 0,
};

/// Runs the suite. `make` gives a builder without stores each time; one builder must find again what it wrote.
///
/// # Panics
/// The store breaks the contract.
pub fn check<B: StoreBuilder>(make: impl Fn() -> B) {
    a_new_store_has_no_rows_and_no_checkpoint(&make());
    rows_and_checkpoint_are_read_back(&make());
    an_empty_value_is_a_value_and_an_empty_key_a_key(&make());
    applying_the_same_again_changes_nothing(&make());
    a_bulk_load_is_read_back(&make());
    many_rows_are_written_over_few(&make());
    a_scan_is_half_open_ordered_and_a_snapshot(&make());
    a_scan_stays_a_snapshot_while_the_file_is_written_anew(&make());
    a_scan_shows_whole_transactions_while_others_write(&make());
    what_was_written_is_found_again_after_closing(&make());
    a_wiped_store_is_as_new(&make());
    no_user_key_collides_with_the_stores_own_data(&make());
    hostile_names_are_separate_stores(&make());
    a_closed_store_answers_with_errors(&make());
    an_open_store_cannot_be_opened_twice(&make());
}

/// A checkpoint at `offset`.
pub fn checkpoint(offset: i64) -> Checkpoint {
    Checkpoint {
        offset,
        leader_epoch: 3,
        topic_id: TopicId([5; 16]),
        written_at: 1_700_000_000_000,
    }
}

/// Opens [`NAME`], which must not have been damaged.
pub fn open(builder: &impl StoreBuilder) -> std::sync::Arc<dyn PartitionStore> {
    let Opened { store, rebuilt } = builder.open(NAME).expect("the store opens");
    assert_eq!(rebuilt, None);
    store
}

/// The value of `key`.
pub fn get(store: &dyn PartitionStore, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = b"left over".to_vec();
    let found = store.get(key, &mut value).expect("the store reads");
    found.then_some(value)
}

/// All rows of `range`.
pub fn scan(store: &dyn PartitionStore, range: KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    store
        .scan(range)
        .expect("the store scans")
        .map(|row| row.expect("the store reads"))
        .collect()
}

/// Writes `rows`, which need not be sorted, and the checkpoint.
pub fn apply(store: &dyn PartitionStore, rows: &[(&[u8], Option<&[u8]>)], offset: i64) {
    let sorted: BTreeMap<_, _> = rows.iter().copied().collect();
    let rows: Vec<_> = sorted.into_iter().map(|(key, value)| Row { key, value }).collect();
    store
        .apply(&rows, checkpoint(offset), Durability::Deferred)
        .expect("the store writes");
}

fn a_new_store_has_no_rows_and_no_checkpoint(builder: &impl StoreBuilder) {
    let store = open(builder);
    assert!(store.is_empty().expect("the store reads"));
    assert_eq!(store.checkpoint().expect("the store reads"), None);
    assert_eq!(get(&*store, b"a"), None);
    assert_eq!(scan(&*store, KeyRange::all()), []);
}

fn rows_and_checkpoint_are_read_back(builder: &impl StoreBuilder) {
    let store = open(builder);
    apply(&*store, &[(b"a", Some(b"1")), (b"b", Some(b"2"))], 2);
    apply(
        &*store,
        &[(b"a", None), (b"b", Some(b"3")), (b"c", Some(b"4")), (b"never", None)],
        6,
    );
    assert_eq!(get(&*store, b"a"), None);
    assert_eq!(get(&*store, b"b"), Some(b"3".to_vec()));
    assert_eq!(get(&*store, b"c"), Some(b"4".to_vec()));
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(6)));
    assert!(!store.is_empty().expect("the store reads"));
    apply(&*store, &[], 9);
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(9)));
}

fn an_empty_value_is_a_value_and_an_empty_key_a_key(builder: &impl StoreBuilder) {
    let store = open(builder);
    apply(&*store, &[(b"", Some(b"nameless")), (b"a", Some(b""))], 2);
    assert_eq!(get(&*store, b""), Some(b"nameless".to_vec()));
    assert_eq!(get(&*store, b"a"), Some(Vec::new()));
    assert_eq!(scan(&*store, KeyRange::all()).len(), 2);
}

fn applying_the_same_again_changes_nothing(builder: &impl StoreBuilder) {
    let store = open(builder);
    let rows: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"b", None)];
    apply(&*store, &rows, 2);
    let before = scan(&*store, KeyRange::all());
    apply(&*store, &rows, 2);
    assert_eq!(scan(&*store, KeyRange::all()), before);
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(2)));
}

fn a_bulk_load_is_read_back(builder: &impl StoreBuilder) {
    let store = open(builder);
    // Some rows are larger than what a store may want to write at once, and so are all of them together.
    let value = |number: u32| {
        number
            .to_string()
            .repeat(if number % 1_000 == 7 { 100_000 } else { 20 })
    };
    let rows: Vec<_> = (0..5_000u32)
        .map(|number| (number.to_be_bytes(), value(number)))
        .collect();
    let mut sorted = rows.iter().map(|(key, value)| (key.as_slice(), value.as_bytes()));
    store
        .load_sorted(&mut sorted, checkpoint(5_000))
        .expect("the store loads");
    let found = scan(&*store, KeyRange::all());
    assert!(
        found
            .iter()
            .map(|(key, value)| (&key[..], &value[..]))
            .eq(rows.iter().map(|(k, v)| (&k[..], v.as_bytes())))
    );
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(5_000)));
    assert_eq!(get(&*store, &77u32.to_be_bytes()), Some(value(77).into_bytes()));
}

fn many_rows_are_written_over_few(builder: &impl StoreBuilder) {
    let store = open(builder);
    let mut model = BTreeMap::new();
    for round in 0..12u32 {
        // Each round has keys of its own, keys of others, and deletions of both and of neither.
        let numbers = (0..200u32).map(|step| (step * (round + 3)) % 900);
        let rows: BTreeMap<_, _> = numbers
            .map(|number| {
                (
                    number.to_be_bytes(),
                    (number % 5 != round % 5).then(|| round.to_be_bytes().repeat(200)),
                )
            })
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .map(|(key, value)| (&key[..], value.as_ref().map(|v| &v[..])))
            .collect();
        apply(&*store, &rows, i64::from(round));
        for (key, value) in rows {
            match value {
                Some(value) => model.insert(key.to_vec(), value.to_vec()),
                None => model.remove(key),
            };
        }
        assert!(
            scan(&*store, KeyRange::all()).into_iter().eq(model.clone()),
            "in round {round}"
        );
        assert_eq!(
            store.checkpoint().expect("the store reads"),
            Some(checkpoint(i64::from(round)))
        );
    }
}

fn a_scan_stays_a_snapshot_while_the_file_is_written_anew(builder: &impl StoreBuilder) {
    let store = open(builder);
    let keys: Vec<_> = (0..300u32).map(u32::to_be_bytes).collect();
    let write = |round: u8| {
        let value = [round; 200];
        let row = |key| Row {
            key,
            value: Some(&value),
        };
        let rows: Vec<_> = keys.iter().map(|key| row(key)).collect();
        let written = store.apply(&rows, checkpoint(i64::from(round)), Durability::Immediate);
        written.expect("the store writes");
    };
    write(0);
    let mut under_way = store.scan(KeyRange::all()).expect("the store scans");
    for round in 1..12 {
        write(round);
        // Pages that are free since the write before last may be used again.
        for (_, value) in under_way.by_ref().take(20).map(|row| row.expect("the store reads")) {
            assert_eq!(value, [0; 200], "in round {round}");
        }
    }
    assert_eq!(under_way.count(), 80);
}

fn a_scan_is_half_open_ordered_and_a_snapshot(builder: &impl StoreBuilder) {
    let store = open(builder);
    apply(
        &*store,
        &[
            (b"c", Some(b"3")),
            (b"a", Some(b"1")),
            (b"b", Some(b"2")),
            (b"b\xff", Some(b"4")),
        ],
        4,
    );
    let keys = |range| scan(&*store, range).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(KeyRange::all()), [&b"a"[..], b"b", b"b\xff", b"c"]);
    assert_eq!(keys(KeyRange::new(*b"a", *b"b")), [b"a"]);
    assert_eq!(keys(KeyRange::prefix(*b"b")), [&b"b"[..], b"b\xff"]);
    assert_eq!(keys(KeyRange::new(*b"c", *b"a")), [] as [&[u8]; 0]);
    let under_way = store.scan(KeyRange::all()).expect("the store scans");
    apply(
        &*store,
        &[(b"a", None), (b"aa", Some(b"new")), (b"c", Some(b"changed"))],
        7,
    );
    let seen: Vec<_> = under_way.map(|row| row.expect("the store reads").1).collect();
    assert_eq!(seen, [b"1", b"2", b"4", b"3"]);
}

fn a_scan_shows_whole_transactions_while_others_write(builder: &impl StoreBuilder) {
    let store = open(builder);
    let keys: Vec<_> = (0..50u8).map(|number| [number]).collect();
    let write = |round: i64| {
        let value = round.to_be_bytes();
        let rows: Vec<_> = keys
            .iter()
            .map(|key| Row {
                key,
                value: Some(&value),
            })
            .collect();
        store
            .apply(&rows, checkpoint(round), Durability::Deferred)
            .expect("the store writes");
    };
    write(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..100).for_each(write));
        while !writer.is_finished() {
            let rows = scan(&*store, KeyRange::all());
            assert_eq!(rows.len(), keys.len());
            assert!(
                rows.iter().all(|(_, value)| *value == rows[0].1),
                "rows of two transactions in one scan"
            );
        }
    });
}

fn what_was_written_is_found_again_after_closing(builder: &impl StoreBuilder) {
    let store = open(builder);
    apply(&*store, &[(b"a", Some(b"1"))], 1);
    store.sync().expect("the store syncs");
    apply(&*store, &[(b"b", Some(b"2"))], 2);
    store.close().expect("the store closes");
    let store = open(builder);
    assert_eq!(scan(&*store, KeyRange::all()).len(), 2);
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(2)));
}

fn a_wiped_store_is_as_new(builder: &impl StoreBuilder) {
    let store = open(builder);
    apply(&*store, &[(b"a", Some(b"1"))], 1);
    store.wipe().expect("the store wipes");
    assert!(store.is_empty().expect("the store reads"));
    assert_eq!(store.checkpoint().expect("the store reads"), None);
    apply(&*store, &[(b"b", Some(b"2"))], 2);
    store.close().expect("the store closes");
    assert_eq!(scan(&*open(builder), KeyRange::all()), [(b"b".to_vec(), b"2".to_vec())]);
}

fn no_user_key_collides_with_the_stores_own_data(builder: &impl StoreBuilder) {
    let store = open(builder);
    let keys: [&[u8]; 6] = [b"__offset", b"checkpoint", b"name", b"meta", b"rows", b"\0"];
    let rows: Vec<_> = keys.iter().map(|key| (*key, Some(&b"user's"[..]))).collect();
    apply(&*store, &rows, 42);
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(42)));
    assert_eq!(scan(&*store, KeyRange::all()).len(), keys.len());
    store.close().expect("the store closes");
    let store = open(builder);
    assert_eq!(store.checkpoint().expect("the store reads"), Some(checkpoint(42)));
    assert!(keys.iter().all(|key| get(&*store, key) == Some(b"user's".to_vec())));
}

fn hostile_names_are_separate_stores(builder: &impl StoreBuilder) {
    let long = "x".repeat(3_000);
    let names = [
        "..",
        "../x",
        "a/b",
        "a",
        "/etc/passwd",
        "",
        "a%2Fb",
        &long,
        "nul\0",
        "ü",
    ];
    let mut stores = Vec::new();
    for (number, owner) in names.iter().enumerate() {
        for (partition, topic) in ["t", "t-1", owner].into_iter().enumerate() {
            let name = StoreName {
                owner,
                topic,
                partition: partition as i32,
            };
            let store = builder.open(name).expect("the store opens").store;
            apply(&*store, &[(b"who", Some(name.to_string().as_bytes()))], number as i64);
            stores.push((name, store));
        }
    }
    for (name, store) in stores {
        assert_eq!(get(&*store, b"who"), Some(name.to_string().into_bytes()));
    }
}

fn a_closed_store_answers_with_errors(builder: &impl StoreBuilder) {
    let store = open(builder);
    store.close().expect("the store closes");
    assert!(store.get(b"a", &mut Vec::new()).is_err());
    assert!(store.apply(&[], checkpoint(1), Durability::Deferred).is_err());
    assert!(store.scan(KeyRange::all()).is_err());
    assert!(store.checkpoint().is_err());
}

fn an_open_store_cannot_be_opened_twice(builder: &impl StoreBuilder) {
    let store = open(builder);
    assert!(builder.open(NAME).is_err());
    drop(store);
}
