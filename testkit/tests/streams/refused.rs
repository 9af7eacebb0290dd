//! Rows that do not decode, writes that are refused, input that is gone: the run ends, says why, and passes nothing over.

use goka_core::storage::Memory;
use goka_core::{Emitter, GroupGraph, Int64, Output, Partitioner, Processor, ProcessorConfig, RunError, Running, Utf8};
use kafka_wire::OffsetReset;

use crate::app::{App, PARTITIONS, quick, ready, stop};
use crate::cluster::{Cluster, eventually, within};

/// Where the records of the one user go.
fn partition() -> i32 {
    Partitioner::Fnv1a.partition(b"amy", PARTITIONS)
}

/// Text that no codec makes smaller.
fn noise(length: u32) -> String {
    let letter = |n: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26);
    (0..length).map(letter).collect()
}

/// Five clicks of one user.
async fn five_clicks(cluster: Cluster) -> App {
    let app = App::new(cluster).await;
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.topic, Utf8)).await;
    let emitter = emitter.unwrap();
    for click in ["1", "2", "3", "4", "5"] {
        within("an acknowledgement", emitter.emit_sync("amy", click))
            .await
            .unwrap();
    }
    within("the end", emitter.finish()).await.unwrap();
    app
}

/// Counts and copies each click; the fourth becomes `fourth`.
fn copying(app: &App, output: &Output<Utf8>, fourth: String) -> GroupGraph<Int64> {
    let to = output.clone();
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .output(output)
        .input(app.topic.as_str(), Utf8, move |ctx, click: String| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)?;
            let copy = if click == "4" { &fourth } else { &click };
            ctx.emit(&to, "amy", copy.as_str())
        });
    graph.build().unwrap()
}

async fn error_of<T>(running: &Running<T>) -> RunError {
    within("the run's end", running.wait()).await.unwrap_err()
}

/// Nothing at or after the fourth click is committed; a run that copies it as it is leaves none out.
async fn goes_on_with_the_fourth(app: &App, output: &Output<Utf8>, error: &RunError) {
    let committed = app.committed().await.get(&partition()).copied().unwrap_or(0);
    assert!(committed <= 3, "{committed} is committed after: {error}");
    let running = app.start(copying(app, output, "4".to_owned()), app.redb("a")).await;
    ready(&running).await;
    app.until_committed().await;
    // What went through together with the fourth may be counted and copied again.
    let counts = app.counts().await;
    assert!(counts["amy"] >= 5 && counts["amy"] <= 10, "{counts:?}");
    assert_eq!(running.get("amy").await.unwrap(), Some(counts["amy"]));
    stop(running).await;
    let copies = app.cluster.records(output.topic(), 0).await;
    for click in ["1", "2", "3", "4", "5"] {
        assert!(
            copies.iter().any(|copy| copy.text() == click),
            "click {click} was not copied"
        );
    }
}

pub(crate) async fn a_record_that_no_request_can_carry_ends_the_run_and_names_its_cause(cluster: Cluster) {
    let app = five_clicks(cluster).await;
    let output = Output::new(app.cluster.topic(1, &[]).await, Utf8);
    let mut config = quick();
    config.producer.max_request_bytes = 300 << 10;
    let graph = copying(&app, &output, noise(400 << 10));
    let processor = Processor::new(app.cluster.new_client(), graph, app.redb("a")).unwrap();
    let running = within("a start", processor.with_config(config).start()).await.unwrap();
    let error = error_of(&running).await;
    drop(running);
    assert!(matches!(error, RunError::Write { .. }), "{error}");
    let place = format!("topic {}, partition {}, offset 3, key \"amy\"", app.topic, partition());
    let text = error.to_string();
    assert!(text.contains(&place) && text.contains(output.topic()), "{text}");
    goes_on_with_the_fourth(&app, &output, &error).await;
}

pub(crate) async fn a_record_that_its_topic_refuses_ends_the_run_before_it_is_committed(cluster: Cluster) {
    let app = five_clicks(cluster).await;
    let output = Output::new(app.cluster.topic(1, &[("max.message.bytes", "2000")]).await, Utf8);
    let running = app.start(copying(&app, &output, noise(3000)), app.redb("a")).await;
    let error = error_of(&running).await;
    drop(running);
    assert!(matches!(error, RunError::Produce(_)), "{error}");
    assert!(error.to_string().contains(output.topic()), "{error}");
    goes_on_with_the_fourth(&app, &output, &error).await;
}

pub(crate) async fn a_row_that_does_not_decode_ends_the_run_and_names_the_record(cluster: Cluster) {
    let app = five_clicks(cluster).await;
    let started = app.running(app.redb("a")).await;
    app.until_committed().await;
    stop(started).await;
    let foreign = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Utf8)).await;
    within("an acknowledgement", foreign.unwrap().emit_sync("amy", "no number"))
        .await
        .unwrap();
    app.click(["amy"]).await;
    let running = app.start(app.graph(), app.redb("a")).await;
    let error = error_of(&running).await;
    // Asking again gives the same answer.
    let again = within("the run's end", running.stop()).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert!(matches!(error, RunError::Callback { .. }), "{error}");
    let place = format!("topic {}, partition {}, offset 5, key \"amy\"", app.topic, partition());
    assert!(error.to_string().contains(&place), "{error}");
    assert_eq!(app.committed().await.get(&partition()), Some(&5));
    // Whoever repairs the row may go on.
    let foreign = within("an emitter", Emitter::new(app.cluster.new_client(), &app.table, Int64)).await;
    within("an acknowledgement", foreign.unwrap().emit_sync("amy", &5))
        .await
        .unwrap();
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    assert_eq!(running.get("amy").await.unwrap(), Some(6));
    stop(running).await;
}

/// Embedded only: records are deleted on command.
pub(crate) async fn input_that_is_gone_before_it_was_read_ends_the_run_unless_it_may_be_skipped(cluster: Cluster) {
    let app = five_clicks(cluster).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    stop(running).await;
    app.click(["amy", "amy", "amy", "amy"]).await;
    let broker = app.cluster.broker();
    broker.delete_records(&app.topic, partition(), 7).unwrap();
    let running = app.start(app.graph(), app.redb("a")).await;
    let error = error_of(&running).await;
    assert!(matches!(error, RunError::Input(_)), "{error}");
    let (text, number) = (error.to_string(), partition().to_string());
    for named in [&*app.topic, &*number, "5", "7"] {
        assert!(text.contains(named), "{named} is not in: {text}");
    }
    drop(running);
    assert_eq!(app.committed().await.get(&partition()), Some(&5));
    let config = ProcessorConfig {
        offset_reset: OffsetReset::Earliest,
        ..quick()
    };
    let processor = Processor::new(app.cluster.new_client(), app.graph(), Memory::new()).unwrap();
    let running = within("a start", processor.with_config(config).start()).await.unwrap();
    ready(&running).await;
    app.until_committed().await;
    eventually("the clicks that are left", async || {
        running.get("amy").await.unwrap() == Some(7)
    })
    .await;
    stop(running).await;
}
