//! Context semantics over a table in a `HashMap`.

use std::collections::HashMap;

use super::*;
use crate::codec::{Int64, Nullable, Utf8};
use crate::graph::{Builder, GroupGraph, Handled, Stateless};

/// The group table before the record, and how often it was asked.
#[derive(Default)]
struct Rows {
    rows: HashMap<Vec<u8>, Vec<u8>>,
    reads: usize,
}

impl ReadRows for Rows {
    fn get(&mut self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.reads += 1;
        into.clear();
        Ok(self.rows.get(key).map(|value| into.extend_from_slice(value)).is_some())
    }
}

/// A graph with one record at its first input and the effects it had.
struct Run {
    rows: Rows,
    effects: Effects,
    scratch: Vec<u8>,
}

impl Run {
    fn new() -> Run {
        Run {
            rows: Rows::default(),
            effects: Effects::default(),
            scratch: b"stale".to_vec(),
        }
    }

    fn with_row(mut self, key: &str, value: &str) -> Run {
        self.rows.rows.insert(key.into(), value.into());
        self
    }

    fn handle<T>(&mut self, graph: &GroupGraph<T>, key: &[u8], value: Option<&[u8]>) -> Result<Handled, CallbackError> {
        let edge = &graph.core().inputs()[0];
        let mut core = ContextCore {
            message: MessageRef {
                topic: &edge.topic,
                partition: 3,
                offset: 42,
                timestamp: 1_700_000_000_000,
                key,
                value,
                headers: Headers::default(),
            },
            effects: &mut self.effects,
            rows: &mut self.rows,
            scratch: &mut self.scratch,
            graph: graph.core(),
        };
        edge.handler.handle(&mut core)
    }

    fn puts(&self) -> Vec<String> {
        self.effects
            .iter()
            .map(|effect| {
                assert_eq!(effect.target(), Target::Table);
                effect.value().map_or("deleted".to_owned(), |value| {
                    String::from_utf8_lossy(value).into_owned()
                })
            })
            .collect()
    }
}

fn counter() -> Builder<Int64> {
    GroupGraph::builder("clicks").persist(Int64)
}

#[test]
fn a_counter_reads_its_row_and_writes_the_next_number() {
    let graph = counter()
        .input("user-click", Utf8, |ctx, _click| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .build()
        .unwrap();
    let mut run = Run::new().with_row("bob", "41");
    assert_eq!(run.handle(&graph, b"bob", Some(b"login")).unwrap(), Handled::Called);
    assert_eq!(run.puts(), ["42"]);
    run.effects.clear();
    run.handle(&graph, b"alice", Some(b"login")).unwrap();
    assert_eq!(run.puts(), ["1"]);
}

#[test]
fn a_value_set_in_the_callback_is_seen_without_asking_the_store() {
    let graph = counter()
        .input("in", Int64, |ctx, step| {
            for _ in 0..3 {
                let value = ctx.value()?.unwrap_or(0) + step;
                ctx.set_value(&value)?;
            }
            ctx.delete()?;
            assert_eq!(ctx.value()?, None, "a deleted row is gone at once");
            ctx.set_value(&-1)?;
            assert_eq!(ctx.value()?, Some(-1));
            Ok(())
        })
        .build()
        .unwrap();
    let mut run = Run::new().with_row("k", "10");
    run.handle(&graph, b"k", Some(b"5")).unwrap();
    assert_eq!(
        run.puts(),
        ["15", "20", "25", "deleted", "-1"],
        "each call is one changelog record"
    );
    assert_eq!(run.rows.reads, 1);
}

#[test]
fn a_callback_sees_where_its_record_came_from() {
    let graph = GroupGraph::builder("g")
        .input("in", Utf8, |ctx, value| {
            assert_eq!(
                (ctx.group(), ctx.topic(), ctx.partition(), ctx.offset()),
                ("g", "in", 3, 42)
            );
            assert_eq!(ctx.timestamp(), 1_700_000_000_000);
            assert_eq!((ctx.key(), ctx.key_str()?, value.as_str()), (&b"bob"[..], "bob", "hi"));
            assert!(ctx.headers().is_empty());
            assert_eq!(ctx.header("trace")?, None);
            Ok(())
        })
        .build()
        .unwrap();
    assert_eq!(Run::new().handle(&graph, b"bob", Some(b"hi")).unwrap(), Handled::Called);
}

#[test]
fn a_key_that_is_not_text_is_an_error_only_for_who_asks_for_text() {
    let graph = GroupGraph::builder("g")
        .input("in", Utf8, |ctx, _| ctx.key_str().map(drop))
        .build()
        .unwrap();
    let error = Run::new().handle(&graph, b"\xff", Some(b"")).unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::Malformed);
    assert!(
        error.to_string().starts_with("the record's key is not text: "),
        "{error}"
    );
}

#[test]
fn emits_and_loopbacks_go_where_their_handles_say() {
    let (first, second, again) = (
        Output::new("first", Utf8),
        Output::new("second", Int64),
        Loop::new(Utf8),
    );
    let graph = {
        let (first, second, again) = (first.clone(), second.clone(), again.clone());
        GroupGraph::builder("g")
            .output(&first)
            .output(&second)
            .looped(&again, |_, _| Ok(()))
            .input("in", Utf8, move |ctx, _| {
                ctx.emit(&second, "a", &7)?;
                ctx.emit(&first, ctx.key(), "text")?;
                ctx.emit_tombstone(&first, String::from("gone"))?;
                ctx.emit_with(
                    &first,
                    b"at",
                    "x",
                    RecordMeta {
                        timestamp: Some(5),
                        ..RecordMeta::default()
                    },
                )?;
                ctx.loopback(&again, "b", "once more")
            })
            .build()
            .unwrap()
    };
    let mut run = Run::new();
    run.handle(&graph, b"bob", Some(b"")).unwrap();
    let told: Vec<_> = run
        .effects
        .iter()
        .map(|effect| {
            let Target::Output(output) = effect.target() else {
                panic!("no table here")
            };
            let topic = &*graph.core().outputs()[output].topic;
            (topic, effect.key(), effect.value(), effect.timestamp())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("second", &b"a"[..], Some(&b"7"[..]), None),
            ("first", b"bob", Some(b"text"), None),
            ("first", b"gone", None, None),
            ("first", b"at", Some(b"x"), Some(5)),
            ("g-loop", b"b", Some(b"once more"), None),
        ]
    );
}

#[test]
fn edges_the_graph_does_not_declare_are_refused_by_name() {
    let graph = GroupGraph::builder("g")
        .output(&Output::new("known", Utf8))
        .input("in", Int64, |ctx, case| match case {
            1 => ctx.emit(&Output::new("unknown", Utf8), "k", "v"),
            2 => ctx.emit(&Output::new("known", Int64), "k", &1),
            3 => ctx.loopback(&Loop::new(Utf8), "k", "v"),
            4 => ctx.emit(&Output::new("g-loop", Utf8), "k", "v"),
            _ => ctx.emit(&Output::new("known", Utf8), "k", "v"),
        })
        .build()
        .unwrap();
    let mut run = Run::new();
    for (case, text) in [
        (&b"1"[..], "group g declares no output unknown; add `.output(&handle)`"),
        (
            b"2",
            "output known of group g is declared with codec Utf8, this emit uses Int64",
        ),
        (b"4", "group g declares no output g-loop;"),
        (b"3", "group g declares no loop; add `.looped(&edge, callback)`"),
    ] {
        let error = run.handle(&graph, b"k", Some(case)).unwrap_err();
        assert_eq!(error.kind(), CallbackErrorKind::Undeclared);
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(run.effects.is_empty());
    }
    assert!(
        run.handle(&graph, b"k", Some(b"5")).is_ok(),
        "an equal handle is as good as the declared one"
    );
}

#[test]
fn a_record_without_a_value_is_skipped_unless_the_codec_gives_it_a_meaning() {
    let skipping = GroupGraph::builder("g")
        .input("in", Utf8, |_, _| Err("called")?)
        .build()
        .unwrap();
    assert_eq!(Run::new().handle(&skipping, b"k", None).unwrap(), Handled::SkippedNil);
    let following = counter()
        .input("in", Nullable(Int64), |ctx, value| match value {
            Some(value) => ctx.set_value(&value),
            None => ctx.delete(),
        })
        .build()
        .unwrap();
    let mut run = Run::new();
    assert_eq!(run.handle(&following, b"k", None).unwrap(), Handled::Called);
    assert_eq!(run.puts(), ["deleted"]);
}

#[test]
fn a_value_that_does_not_decode_never_reaches_the_callback() {
    let graph = GroupGraph::builder("g")
        .input("in", Int64, |_, _| Err("called")?)
        .build()
        .unwrap();
    let error = Run::new().handle(&graph, b"k", Some(b"many")).unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::Decode);
}

#[test]
fn a_row_that_does_not_decode_is_told_from_a_record_that_does_not() {
    let graph = counter()
        .input("in", Utf8, |ctx, _| ctx.value().map(drop))
        .build()
        .unwrap();
    let error = Run::new()
        .with_row("k", "many")
        .handle(&graph, b"k", Some(b""))
        .unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::Row);
    assert!(
        error
            .to_string()
            .starts_with("the row in the group table cannot be decoded: codec Int64"),
        "{error}"
    );
}

#[test]
fn a_codec_that_eats_earlier_effects_fails_the_record_even_if_the_callback_looks_away() {
    #[derive(Clone)]
    struct Eater;
    impl Codec for Eater {
        type Value = ();
        type Borrowed = ();
        fn encode(&self, (): &(), into: &mut Vec<u8>) -> Result<(), CodecError> {
            into.clear();
            Ok(())
        }
        fn decode(&self, _: &[u8]) -> Result<(), CodecError> {
            Ok(())
        }
    }
    let output = Output::new("out", Eater);
    let graph = GroupGraph::builder("g")
        .persist(Utf8)
        .output(&output)
        .input("in", Utf8, move |ctx, value| {
            ctx.set_value(&value)?;
            let _ = ctx.emit(&output, "k", &());
            Ok(())
        })
        .build()
        .unwrap();
    let error = Run::new().handle(&graph, b"k", Some(b"precious")).unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::Encode);
}

#[test]
fn edges_declared_before_persist_stay_without_the_table() {
    let seen = Output::new("seen", Utf8);
    let graph = {
        let seen = seen.clone();
        GroupGraph::builder("g")
            .output(&seen)
            .input("in", Utf8, move |ctx: &mut Context<'_, Stateless>, value| {
                ctx.emit(&seen, ctx.key(), &value)
            })
            .persist(Int64)
            .build()
            .unwrap()
    };
    let mut run = Run::new();
    run.handle(&graph, b"k", Some(b"v")).unwrap();
    assert_eq!(run.effects.iter().len(), 1);
    assert_eq!(graph.table_topic(), Some("g-table"));
}
