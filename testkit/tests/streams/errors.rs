//! What goes wrong ends the run, says where, and commits nothing at or past it.

use goka_core::storage::Memory;
use goka_core::{Emitter, GroupGraph, Int64, Output, Partitioner, RunError, Running, Utf8, View};
use kafka_wire::admin::NewTopic;

use crate::app::{App, PARTITIONS, ready, stop};
use crate::cluster::{Cluster, unique, within};

/// Clicks of one user, of which the fourth is bad.
async fn with_a_bad_click(cluster: Cluster, bad: &str) -> App {
    let app = App::new(cluster).await;
    let emitter = Emitter::new(app.cluster.new_client(), &app.topic, Utf8).await.unwrap();
    for click in ["1", "2", "3", bad, "5"] {
        within("an acknowledgement", emitter.emit_sync("amy", click))
            .await
            .unwrap();
    }
    emitter.finish().await.unwrap();
    app
}

async fn error_of<T>(running: &Running<T>) -> RunError {
    within("the run's end", running.wait()).await.unwrap_err()
}

/// The error names the fourth record, three are committed, and a run that can cope goes on with the fourth.
async fn ends_at_the_fourth(app: &App, error: &RunError) {
    let partition = Partitioner::Fnv1a.partition(b"amy", PARTITIONS);
    let text = error.to_string();
    let place = format!("topic {}, partition {partition}, offset 3, key \"amy\"", app.topic);
    assert!(text.contains(&place), "{text}");
    // Partitions without records may be committed where they begin.
    let committed: Vec<_> = app
        .committed()
        .await
        .into_iter()
        .filter(|(_, offset)| *offset > 0)
        .collect();
    assert_eq!(committed, [(partition, 3)], "committed after: {text}");
    assert_eq!(app.fold().await, [("amy".to_owned(), 3)].into());
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    assert_eq!(running.get("amy").await.unwrap(), Some(5));
    stop(running).await;
}

fn counting(app: &App, check: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> GroupGraph<Int64> {
    let graph = GroupGraph::builder(app.group.as_str()).persist(Int64).input(
        app.topic.as_str(),
        Utf8,
        move |ctx, click: String| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)?;
            check(&click)?;
            Ok(())
        },
    );
    graph.build().unwrap()
}

pub(crate) async fn a_callback_error_ends_the_run_and_names_the_record(cluster: Cluster) {
    let app = with_a_bad_click(cluster, "bad").await;
    let graph = counting(&app, |click| {
        if click == "bad" {
            Err("no such click".to_owned())
        } else {
            Ok(())
        }
    });
    let running = app.start(graph, app.redb("a")).await;
    let error = error_of(&running).await;
    assert!(
        matches!(error, RunError::Callback { .. }) && error.to_string().contains("no such click"),
        "{error}"
    );
    drop(running);
    ends_at_the_fourth(&app, &error).await;
}

pub(crate) async fn a_panic_ends_the_run_and_names_the_record(cluster: Cluster) {
    let app = with_a_bad_click(cluster, "bad").await;
    let graph = counting(&app, |click| {
        assert_ne!(click, "bad", "a click that nobody expects");
        Ok(())
    });
    let running = app.start(graph, app.redb("a")).await;
    let error = error_of(&running).await;
    assert!(matches!(error, RunError::Panic { .. }), "{error}");
    assert!(error.to_string().contains("a click that nobody expects"), "{error}");
    drop(running);
    ends_at_the_fourth(&app, &error).await;
}

pub(crate) async fn a_record_that_does_not_decode_ends_the_run_and_names_it(cluster: Cluster) {
    let app = with_a_bad_click(cluster, "four").await;
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .input(app.topic.as_str(), Int64, |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        });
    let running = app.start(graph.build().unwrap(), app.redb("a")).await;
    let error = error_of(&running).await;
    assert!(matches!(error, RunError::Callback { .. }), "{error}");
    drop(running);
    ends_at_the_fourth(&app, &error).await;
}

pub(crate) async fn a_failed_callback_leaves_no_effects_behind(cluster: Cluster) {
    let app = with_a_bad_click(cluster, "bad").await;
    let out = app.cluster.topic(1, &[]).await;
    let output = Output::new(out.as_str(), Utf8);
    let copies = output.clone();
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .output(&output)
        .input(app.topic.as_str(), Utf8, move |ctx, click: String| {
            ctx.emit(&copies, "amy", click.as_str())?;
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)?;
            if click == "bad" {
                return Err("after its effects".into());
            }
            Ok(())
        });
    let running = app.start(graph.build().unwrap(), app.redb("a")).await;
    error_of(&running).await;
    drop(running);
    assert_eq!(app.fold().await, [("amy".to_owned(), 3)].into());
    let copied: Vec<String> = app
        .cluster
        .records(&out, 0)
        .await
        .iter()
        .map(|copy| copy.text().to_owned())
        .collect();
    assert_eq!(copied, ["1", "2", "3"]);
}

pub(crate) async fn a_missing_input_is_named(cluster: Cluster) {
    let mut app = App::new(cluster).await;
    app.topic = unique("missing");
    let error = app.try_start(app.graph(), Memory::new()).await.err().unwrap();
    assert!(matches!(error, RunError::Topic(_)), "{error}");
    assert!(
        error.to_string().contains(&app.topic) && error.to_string().contains("does not exist"),
        "{error}"
    );
}

pub(crate) async fn inputs_with_unequal_partitions_are_refused_naming_both(cluster: Cluster) {
    let app = App::new(cluster).await;
    let other = app.cluster.topic(PARTITIONS + 1, &[]).await;
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .inputs([app.topic.as_str(), other.as_str()], Utf8, |ctx, _| ctx.set_value(&1))
        .build()
        .unwrap();
    let error = app.try_start(graph, Memory::new()).await.err().unwrap().to_string();
    for named in [&*app.topic, &*other, "has 4", "has 5"] {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

pub(crate) async fn a_table_topic_that_would_lose_rows_is_refused(cluster: Cluster) {
    let app = App::new(cluster).await;
    let table = NewTopic::new(&app.table, PARTITIONS).with_config("cleanup.policy", "delete");
    let created = app
        .cluster
        .client()
        .admin()
        .create_topics(&[table])
        .await
        .unwrap()
        .remove(0);
    created.1.unwrap();
    let error = app
        .try_start(app.graph(), Memory::new())
        .await
        .err()
        .unwrap()
        .to_string();
    for named in [&*app.table, "cleanup.policy=delete", "compact"] {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
}

pub(crate) async fn a_value_of_another_codec_is_an_error_of_the_view(cluster: Cluster) {
    let app = App::new(cluster).await;
    let graph =
        GroupGraph::builder(app.group.as_str())
            .persist(Utf8)
            .input(app.topic.as_str(), Utf8, |ctx, click: String| ctx.set_value(&click));
    app.click(["amy"]).await;
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    app.until_committed().await;
    let view = View::new(app.cluster.new_client(), app.table.as_str(), Int64, Memory::new()).unwrap();
    let view = within("a view's start", view.start()).await.unwrap();
    within("the view", view.ready()).await.unwrap();
    let error = view.get("amy").unwrap_err().to_string();
    assert!(error.contains("Int64"), "{error}");
    assert!(!error.contains("click"), "an error must not quote values: {error}");
    stop(running).await;
}
