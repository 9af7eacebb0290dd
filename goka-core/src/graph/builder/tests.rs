//! What graphs are called by goka's names, and which ones are refused.

use super::*;
use crate::codec::{Int64, Utf8};

fn counter(group: &str) -> Builder<Int64> {
    GroupGraph::builder(group).persist(Int64)
}

/// A callback for graphs that are only built.
fn ignore<T, V>(_: &mut Context<'_, T>, _: V) -> Result<(), CallbackError> {
    Ok(())
}

fn refused<T: Clone + Send + Sync + 'static>(builder: Builder<T>) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn a_graph_knows_its_topics_by_gokas_names() {
    let received = Output::new("received", Utf8);
    let graph = counter("messages")
        .input("sent", Utf8, |ctx, _sent| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .looped(&Loop::new(Utf8), ignore)
        .inputs(["liked", "read"], Int64, ignore)
        .output(&received)
        .build()
        .unwrap();
    assert_eq!(graph.group(), "messages");
    assert_eq!(graph.input_topics().collect::<Vec<_>>(), ["sent", "liked", "read"]);
    assert_eq!(graph.output_topics().collect::<Vec<_>>(), ["received"]);
    assert_eq!(graph.table_topic(), Some("messages-table"));
    assert_eq!(graph.loop_topic(), Some("messages-loop"));
    let consumed: Vec<_> = graph
        .core()
        .inputs()
        .iter()
        .map(|edge| (&*edge.topic, edge.is_loop))
        .collect();
    assert_eq!(
        consumed,
        [
            ("sent", false),
            ("liked", false),
            ("read", false),
            ("messages-loop", true)
        ]
    );
    assert_eq!(graph.core().outputs().len(), 2, "the loop is written, too");
    assert_eq!(graph.table_codec(), &Int64);
}

#[test]
fn a_stateless_group_has_no_table_topic() {
    let graph = GroupGraph::builder("forwarder")
        .input("in", Utf8, ignore)
        .build()
        .unwrap();
    assert_eq!((graph.table_topic(), graph.loop_topic()), (None, None));
}

#[test]
fn a_group_needs_a_name_and_an_input() {
    assert_eq!(
        counter("").input("in", Utf8, ignore).build().unwrap_err(),
        GraphError::EmptyGroup
    );
    assert_eq!(
        counter("g").build().unwrap_err(),
        GraphError::NoInput { group: "g".into() }
    );
    assert_eq!(
        counter("g").looped(&Loop::new(Utf8), ignore).build().unwrap_err(),
        GraphError::NoInput { group: "g".into() },
        "a loop alone never starts"
    );
    let none: [&str; 0] = [];
    assert!(refused(counter("g").inputs(none, Utf8, ignore)).contains("has no input"));
}

#[test]
fn a_topic_is_one_edge_of_its_kind() {
    let twice = counter("g")
        .input("in", Utf8, ignore)
        .inputs(["other", "in"], Int64, ignore);
    assert_eq!(
        twice.build().unwrap_err(),
        GraphError::Duplicate {
            edge: "input in".into()
        }
    );
    let twice = counter("g")
        .input("in", Utf8, ignore)
        .output(&Output::new("out", Utf8))
        .output(&Output::new("out", Int64));
    assert_eq!(
        twice.build().unwrap_err(),
        GraphError::Duplicate {
            edge: "output out".into()
        }
    );
    let both = counter("g")
        .input("same", Utf8, ignore)
        .output(&Output::new("same", Utf8));
    assert!(both.build().is_ok(), "a group may feed its own input");
}

#[test]
fn a_group_has_at_most_one_loop() {
    let two = counter("g")
        .input("in", Utf8, ignore)
        .looped(&Loop::new(Utf8), ignore)
        .looped(&Loop::new(Int64), ignore);
    assert_eq!(two.build().unwrap_err(), GraphError::SecondLoop { group: "g".into() });
}

#[test]
fn the_groups_own_topics_are_out_of_reach_of_other_edges() {
    assert!(refused(counter("g").input("g-table", Utf8, ignore)).starts_with("input g-table uses the group's own"));
    assert!(refused(counter("g").input("g-loop", Utf8, ignore)).contains("`.looped("));
    let output = counter("g")
        .input("in", Utf8, ignore)
        .output(&Output::new("g-table", Utf8));
    assert!(refused(output).starts_with("output g-table uses the group's own"));
    let foreign = counter("g").input("h-table", Utf8, ignore);
    assert!(
        foreign.build().is_ok(),
        "another group's table is a topic like any other"
    );
}

#[test]
fn names_that_kafka_refuses_name_their_edge() {
    assert!(refused(counter("g").input("", Utf8, ignore)).starts_with("input : \"\" is not a topic name"));
    let output = counter("g").input("in", Utf8, ignore).output(&Output::new("a/b", Utf8));
    assert!(refused(output).starts_with("output a/b: \"a/b\" is not a topic name"));
    assert!(refused(counter("a b").input("in", Utf8, ignore)).starts_with("group table a b-table:"));
    let looped = GroupGraph::builder("a b")
        .input("in", Utf8, ignore)
        .looped(&Loop::new(Utf8), ignore);
    assert!(refused(looped).starts_with("loop a b-loop:"));
    assert!(
        GroupGraph::builder("a b").input("in", Utf8, ignore).build().is_ok(),
        "without topics of its own the group's name is no topic name"
    );
}
