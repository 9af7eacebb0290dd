//! What the overlay knows, seals, logs and drops.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn sealed(overlay: &mut Overlay) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let Some(rows) = overlay.seal() else {
        return BTreeMap::new();
    };
    rows.iter()
        .map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec)))
        .collect()
}

#[test]
fn a_slot_is_one_cache_line() {
    assert_eq!(size_of::<Slot>(), 64);
}

#[test]
fn a_row_written_is_read_back_and_a_deleted_one_is_known_to_be_gone() {
    let mut overlay = Overlay::new();
    assert_eq!(overlay.get(b"bob"), Lookup::Miss);
    overlay.stage(b"bob", Some(b"1"));
    assert_eq!(overlay.get(b"bob"), Lookup::Value(b"1"));
    overlay.stage(b"bob", None);
    assert_eq!(overlay.get(b"bob"), Lookup::Deleted);
}

#[test]
fn a_sealed_generation_holds_the_last_value_per_key_and_later_writes_do_not_change_it() {
    let mut overlay = Overlay::new();
    overlay.stage(b"a", Some(b"1"));
    overlay.stage(b"a", Some(b"2"));
    overlay.stage(b"b", None);
    let rows = overlay.seal().unwrap();
    overlay.stage(b"a", Some(b"3"));
    let held: Vec<_> = rows
        .iter()
        .map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec)))
        .collect();
    assert_eq!(held, [(b"a".to_vec(), Some(b"2".to_vec())), (b"b".to_vec(), None)]);
    assert_eq!(overlay.get(b"a"), Lookup::Value(b"3"));
    assert_eq!(
        sealed(&mut overlay),
        BTreeMap::from([(b"a".to_vec(), Some(b"3".to_vec()))])
    );
}

#[test]
fn rows_that_the_store_does_not_have_yet_are_never_evicted() {
    let mut overlay = Overlay::new();
    overlay.stage(b"sealed", Some(b"1"));
    let generation = overlay.seal().unwrap().generation();
    overlay.stage(b"active", Some(b"1"));
    overlay.cache(b"cached", b"1");
    overlay.evict(0);
    assert_eq!(overlay.get(b"cached"), Lookup::Miss);
    assert_eq!(overlay.get(b"sealed"), Lookup::Value(b"1"));
    overlay.applied(generation);
    overlay.evict(0);
    overlay.evict(0);
    assert_eq!(overlay.get(b"sealed"), Lookup::Miss);
    assert_eq!(overlay.get(b"active"), Lookup::Value(b"1"));
}

#[test]
fn a_cached_row_never_replaces_a_written_one() {
    let mut overlay = Overlay::new();
    overlay.stage(b"a", None);
    overlay.cache(b"a", b"old");
    assert_eq!(overlay.get(b"a"), Lookup::Deleted);
}

#[test]
fn rows_that_the_changelog_lacks_are_given_to_it_once_with_their_last_values() {
    let logged = |overlay: &mut Overlay| {
        let mut rows = Vec::new();
        let log = overlay.log(|key, value| {
            rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok::<_, ()>(())
        });
        log.unwrap();
        rows
    };
    let row = |key: &str, value: Option<&str>| (key.into(), value.map(Into::into));
    let mut overlay = Overlay::new();
    overlay.stage_unlogged(b"b", Some(b"1"));
    overlay.stage_unlogged(b"a", Some(b"2"));
    overlay.stage_unlogged(b"b", Some(b"3"));
    overlay.stage_unlogged(b"c", Some(b"4"));
    overlay.stage_unlogged(b"c", None);
    overlay.stage(b"a", Some(b"written at once"));
    assert_eq!(logged(&mut overlay), [row("b", Some("3")), row("c", None)]);
    assert_eq!(logged(&mut overlay), []);
    overlay.stage_unlogged(b"a", Some(b"5"));
    overlay.stage(b"a", Some(b"6"));
    overlay.stage_unlogged(b"a", Some(b"7"));
    assert_eq!(logged(&mut overlay), [row("a", Some("7"))]);
    assert_eq!(sealed(&mut overlay).len(), 3);
}

#[test]
fn a_row_that_the_changelog_refused_is_still_lacking() {
    let mut overlay = Overlay::new();
    overlay.stage_unlogged(b"a", Some(b"1"));
    overlay.stage_unlogged(b"b", Some(b"2"));
    let refused = overlay.log(|key, _| if key == b"b" { Err(()) } else { Ok(()) });
    assert_eq!(refused, Err(()));
    let mut left = Vec::new();
    overlay
        .log(|key, _| {
            left.push(key.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    assert_eq!(left, [b"b"]);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Seal,
    Apply,
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..12, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0u8..12).prop_map(Step::Delete),
        1 => Just(Step::Seal),
        1 => Just(Step::Apply),
        1 => Just(Step::Evict),
    ]
}

proptest! {
    /// The store under the overlay is a plain map here; reading through both must always give the last write.
    #[test]
    fn overlay_over_store_always_reads_the_last_write(steps in proptest::collection::vec(step(), 1..200)) {
        let mut overlay = Overlay::new();
        let mut store: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut truth: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut waiting = std::collections::VecDeque::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    overlay.stage(&[key], Some(&[value]));
                    truth.insert(vec![key], vec![value]);
                }
                Step::Delete(key) => {
                    overlay.stage(&[key], None);
                    truth.remove(&vec![key]);
                }
                Step::Seal => waiting.extend(overlay.seal()),
                Step::Apply => if let Some(rows) = waiting.pop_front() {
                    for row in rows.iter() {
                        match row.value {
                            Some(value) => { store.insert(row.key.to_vec(), value.to_vec()); }
                            None => { store.remove(row.key); }
                        }
                    }
                    overlay.applied(rows.generation());
                },
                Step::Evict => overlay.evict(0),
            }
            for key in 0u8..12 {
                let read = match overlay.get(&[key]) {
                    Lookup::Value(value) => Some(value.to_vec()),
                    Lookup::Deleted => None,
                    Lookup::Miss => store.get(&vec![key]).cloned(),
                };
                prop_assert_eq!(read.as_ref(), truth.get(&vec![key]));
            }
        }
        let bytes: usize = overlay.rows().map(|(key, value)| ROW_OVERHEAD + key.len() + value.map_or(0, <[u8]>::len)).sum();
        prop_assert_eq!(bytes, overlay.bytes());
    }
}
