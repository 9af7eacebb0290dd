//! Plans over clusters that are complete, empty, at odds with the graph, or about to lose data.

use super::*;
use crate::codec::{Int64, Utf8};
use crate::context::{CallbackError, Context};
use crate::graph::{GroupGraph, Loop, Output};

/// Inputs `in` and `other`, output `out`, loop `g-loop`, table `g-table`.
fn graph() -> Arc<GroupGraphCore> {
    fn ignore(_: &mut Context<'_, Int64>, _: String) -> Result<(), CallbackError> {
        Ok(())
    }
    let graph = GroupGraph::builder("g")
        .persist(Int64)
        .inputs(["in", "other"], Utf8, ignore)
        .looped(&Loop::new(Utf8), ignore)
        .output(&Output::new("out", Utf8))
        .build()
        .unwrap();
    graph.core().clone()
}

fn topic(partitions: i32, configs: &[(&str, &str)]) -> Observed {
    let configs = configs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Observed { partitions, configs }
}

const COMPACTED: &[(&str, &str)] = &[("cleanup.policy", "compact")];
const KEPT: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
];

fn complete() -> ObservedTopics {
    [
        ("in", topic(8, &[])),
        ("other", topic(8, &[])),
        ("out", topic(3, &[])),
        ("g-loop", topic(8, KEPT)),
        ("g-table", topic(8, COMPACTED)),
    ]
    .into_iter()
    .map(|(name, topic)| (Arc::from(name), topic))
    .collect()
}

fn without(names: &[&str]) -> ObservedTopics {
    complete()
        .into_iter()
        .filter(|(name, _)| !names.contains(&&**name))
        .collect()
}

fn with(name: &str, observed: Observed) -> ObservedTopics {
    let mut topics = complete();
    topics.insert(Arc::from(name), observed);
    topics
}

fn refusal(observed: &ObservedTopics) -> String {
    plan(&graph(), &TopicsConfig::default(), observed)
        .unwrap_err()
        .to_string()
}

fn created(config: &TopicsConfig, observed: &ObservedTopics) -> Vec<(String, i32)> {
    let plan = plan(&graph(), config, observed).unwrap();
    plan.create
        .iter()
        .map(|creation| (creation.topic.to_string(), creation.partitions))
        .collect()
}

#[test]
fn a_complete_cluster_needs_nothing() {
    let plan = plan(&graph(), &TopicsConfig::default(), &complete()).unwrap();
    assert_eq!(
        plan,
        TopicPlan {
            partitions: 8,
            create: Vec::new()
        }
    );
}

#[test]
fn the_groups_own_topics_are_created_like_its_inputs() {
    let plan = plan(&graph(), &TopicsConfig::default(), &without(&["g-loop", "g-table"])).unwrap();
    let [looped, table] = &plan.create[..] else {
        panic!("two creations: {plan:?}")
    };
    assert_eq!(
        (&*looped.topic, looped.partitions, &looped.configs[..]),
        ("g-loop", 8, KEPT)
    );
    assert_eq!(
        (&*table.topic, table.partitions, &table.configs[..]),
        ("g-table", 8, COMPACTED)
    );
}

#[test]
fn missing_inputs_and_outputs_are_errors_that_say_what_to_do() {
    let error = refusal(&without(&["other"]));
    assert!(error.starts_with("input other of group g does not exist"), "{error}");
    assert!(error.contains("create_inputs"), "{error}");
    assert!(refusal(&without(&["out"])).starts_with("output out of group g does not exist"));
    assert!(refusal(&ObservedTopics::new()).starts_with("input in of group g does not exist"));
}

#[test]
fn streams_are_created_on_request_and_follow_the_inputs_that_exist() {
    let config = TopicsConfig {
        create_inputs: Some(4),
        create_outputs: Some(4),
        ..TopicsConfig::default()
    };
    let pairs = |pairs: &[(&str, i32)]| {
        pairs
            .iter()
            .map(|&(name, count)| (name.to_owned(), count))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        created(&config, &ObservedTopics::new()),
        pairs(&[("in", 4), ("other", 4), ("out", 4), ("g-loop", 4), ("g-table", 4)])
    );
    assert_eq!(
        created(&config, &without(&["in"])),
        pairs(&[("in", 8)]),
        "other has 8 partitions"
    );
    assert_eq!(
        created(&config, &without(&["out"])),
        pairs(&[("out", 4)]),
        "an output need not be copartitioned"
    );
}

#[test]
fn an_output_that_is_an_input_is_created_once() {
    let graph = GroupGraph::builder("g")
        .input("same", Utf8, |_, _| Ok(()))
        .output(&Output::new("same", Utf8))
        .build()
        .unwrap();
    let config = TopicsConfig {
        create_inputs: Some(2),
        ..TopicsConfig::default()
    };
    assert_eq!(
        plan(graph.core(), &config, &ObservedTopics::new())
            .unwrap()
            .create
            .len(),
        1
    );
}

#[test]
fn different_partition_counts_name_both_topics_and_both_counts() {
    let error = refusal(&with("other", topic(6, &[])));
    assert!(
        error.starts_with("input other has 6 partitions, input in has 8"),
        "{error}"
    );
    let error = refusal(&with("g-table", topic(4, COMPACTED)));
    assert!(
        error.starts_with("group table g-table has 4 partitions, input in has 8"),
        "{error}"
    );
    let error = refusal(&with("g-loop", topic(16, KEPT)));
    assert!(
        error.starts_with("loop g-loop has 16 partitions, input in has 8"),
        "{error}"
    );
}

#[test]
fn a_table_that_is_not_compacted_is_refused() {
    let error = refusal(&with("g-table", topic(8, &[("cleanup.policy", "delete")])));
    assert!(
        error.starts_with("group table g-table has cleanup.policy=delete, it needs compact:"),
        "{error}"
    );
    assert!(error.contains("--add-config cleanup.policy=compact"), "{error}");
    assert!(refusal(&with("g-table", topic(8, &[]))).contains("cleanup.policy=(not reported)"));
}

#[test]
fn a_compacted_table_that_also_deletes_is_refused_unless_it_deletes_nothing() {
    let policy = ("cleanup.policy", "compact,delete");
    let error = refusal(&with(
        "g-table",
        topic(8, &[policy, ("retention.ms", "604800000"), ("retention.bytes", "-1")]),
    ));
    assert!(
        error.starts_with("group table g-table has retention.ms=604800000, it needs -1:"),
        "{error}"
    );
    let harmless = with(
        "g-table",
        topic(8, &[policy, ("retention.ms", "-1"), ("retention.bytes", "-1")]),
    );
    assert!(plan(&graph(), &TopicsConfig::default(), &harmless).is_ok());
}

#[test]
fn a_loop_that_forgets_is_refused() {
    let with_loop = |configs: &[(&str, &str)]| refusal(&with("g-loop", topic(8, configs)));
    let by_time = with_loop(&[
        ("cleanup.policy", "delete"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "-1"),
    ]);
    assert!(
        by_time.starts_with("loop g-loop has retention.ms=3600000, it needs -1:"),
        "{by_time}"
    );
    let by_size = with_loop(&[
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "1024"),
    ]);
    assert!(
        by_size.starts_with("loop g-loop has retention.bytes=1024, it needs -1:"),
        "{by_size}"
    );
    let by_key = with_loop(COMPACTED);
    assert!(
        by_key.starts_with("loop g-loop has cleanup.policy=compact, it needs delete:"),
        "{by_key}"
    );
}

#[test]
fn the_retention_of_tombstones_is_the_topics_or_kafkas_default() {
    assert_eq!(topic(1, &[("delete.retention.ms", "5000")]).delete_retention_ms(), 5000);
    assert_eq!(topic(1, &[]).delete_retention_ms(), 24 * 3600 * 1000);
    assert_eq!(
        topic(1, &[("delete.retention.ms", "soon")]).delete_retention_ms(),
        24 * 3600 * 1000
    );
}

#[test]
fn configs_can_be_left_unchecked_but_partition_counts_cannot() {
    let config = TopicsConfig {
        check_configs: false,
        ..TopicsConfig::default()
    };
    assert!(plan(&graph(), &config, &with("g-loop", topic(8, COMPACTED))).is_ok());
    assert!(plan(&graph(), &config, &with("g-loop", topic(9, KEPT))).is_err());
}
