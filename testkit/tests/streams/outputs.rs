//! What callbacks write beside their row: outputs, loops, headers; and inputs of several kinds.

use std::collections::BTreeMap;

use goka_core::storage::Memory;
use goka_core::{Bytes, Emitter, GroupGraph, Header, Int64, Loop, Nullable, Output, Partitioner, RecordMeta, Utf8};

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
use crate::cluster::{Cluster, within};

pub(crate) async fn emitted_records_lie_in_the_partition_of_their_key_with_their_headers(cluster: Cluster) {
    let app = App::new(cluster).await;
    let out = app.cluster.topic(3, &[]).await;
    let output = Output::new(out.as_str(), Utf8);
    let to = output.clone();
    let graph =
        GroupGraph::builder(app.group.as_str())
            .output(&output)
            .input(app.topic.as_str(), Utf8, move |ctx, _| {
                let headers = [
                    Header {
                        key: b"from",
                        value: Some(ctx.key()),
                    },
                    Header {
                        key: b"from",
                        value: None,
                    },
                ];
                let shout = ctx.key_str()?.to_uppercase();
                ctx.emit_with(
                    &to,
                    &shout,
                    "hello",
                    RecordMeta {
                        headers: &headers,
                        timestamp: Some(1_234_567_890_123),
                    },
                )
            });
    let clicks = clicks(200, 20);
    app.click(&clicks).await;
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    app.until_committed().await;
    stop(running).await;
    let mut keys = BTreeMap::new();
    for partition in 0..3 {
        for record in app.cluster.records(&out, partition).await {
            let key = record.key.unwrap();
            assert_eq!(Partitioner::Fnv1a.partition(&key, 3), partition);
            assert_eq!(record.timestamp, 1_234_567_890_123);
            let user = String::from_utf8(key).unwrap().to_lowercase();
            let expected = [
                (b"from".to_vec(), Some(user.clone().into_bytes())),
                (b"from".to_vec(), None),
            ];
            assert_eq!(record.headers, expected);
            *keys.entry(user).or_default() += 1;
        }
    }
    assert_eq!(keys, truth(&clicks));
}

pub(crate) async fn a_loop_brings_records_to_the_rows_of_other_keys(cluster: Cluster) {
    let app = App::new(cluster).await;
    let again = Loop::new(Utf8);
    let edge = again.clone();
    // Users who click are counted by their first letter, which is another row, in another partition perhaps.
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .input(app.topic.as_str(), Utf8, move |ctx, _| {
            let initial = ctx.key_str()?.get(..1).unwrap_or("?").to_owned();
            ctx.loopback(&again, &initial, "once")
        })
        .looped(&edge, |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .build()
        .unwrap();
    app.click((0..500).map(|n| ["amy", "ann", "bob", "cat", "carol", "cid"][n % 6]))
        .await;
    let running = app.start(graph, app.redb("a")).await;
    ready(&running).await;
    let expected: BTreeMap<String, i64> = [("a", 168), ("b", 83), ("c", 249)]
        .map(|(k, n)| (k.to_owned(), n))
        .into();
    crate::cluster::eventually("the loop's end", async || {
        let mut rows = BTreeMap::new();
        for initial in ["a", "b", "c"] {
            rows.insert(initial.to_owned(), running.get(initial).await.unwrap().unwrap_or(0));
        }
        rows == expected
    })
    .await;
    stop(running).await;
    assert_eq!(app.fold().await, expected);
}

pub(crate) async fn a_stateless_graph_forwards_everything_in_order(cluster: Cluster) {
    let app = App::new(cluster).await;
    let out = app.cluster.topic(PARTITIONS, &[]).await;
    let output = Output::new(out.as_str(), Bytes);
    let to = output.clone();
    let graph =
        GroupGraph::builder(app.group.as_str())
            .output(&output)
            .input(app.topic.as_str(), Bytes, move |ctx, value| {
                let key = ctx.key();
                ctx.emit(&to, key, &value)
            });
    app.click(clicks(1500, 70)).await;
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    app.until_committed().await;
    stop(running).await;
    for partition in 0..PARTITIONS {
        let keys = async |topic: &str| -> Vec<_> {
            app.cluster
                .records(topic, partition)
                .await
                .into_iter()
                .map(|record| (record.key, record.value))
                .collect()
        };
        assert_eq!(keys(&out).await, keys(&app.topic).await, "partition {partition}");
    }
}

pub(crate) async fn tombstones_reach_nullable_inputs_and_are_skipped_elsewhere(cluster: Cluster) {
    let app = App::new(cluster).await;
    let emitter = within("an emitter", Emitter::new(app.cluster.new_client(), &app.topic, Utf8))
        .await
        .unwrap();
    for user in ["amy", "bob"] {
        within("an acknowledgement", emitter.emit_sync(user, "hello"))
            .await
            .unwrap();
    }
    within("an acknowledgement", emitter.tombstone("amy").unwrap())
        .await
        .unwrap();
    emitter.finish().await.unwrap();
    let profiles = GroupGraph::builder(app.group.as_str()).persist(Utf8).input(
        app.topic.as_str(),
        Nullable(Utf8),
        |ctx, profile| match profile {
            Some(profile) => ctx.set_value(&profile),
            None => ctx.delete(),
        },
    );
    let running = app.start(profiles.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    app.until_committed().await;
    assert_eq!(running.get("amy").await.unwrap(), None);
    assert_eq!(running.get("bob").await.unwrap().as_deref(), Some("hello"));
    stop(running).await;

    let mut other = app;
    other.group = crate::cluster::unique("skips");
    let running = other.start(other.graph(), Memory::new()).await;
    ready(&running).await;
    other.until_committed().await;
    assert_eq!(running.get("amy").await.unwrap(), Some(1), "the tombstone is no click");
    let stats = running.stats().await.unwrap();
    assert_eq!(
        stats
            .partitions
            .values()
            .map(|partition| partition.skipped)
            .sum::<u64>(),
        1
    );
    stop(running).await;
}

pub(crate) async fn inputs_of_one_group_share_its_rows(cluster: Cluster) {
    let app = App::new(cluster).await;
    let refunds = app.cluster.topic(PARTITIONS, &[]).await;
    let graph = GroupGraph::builder(app.group.as_str())
        .persist(Int64)
        .input(app.topic.as_str(), Utf8, |ctx, _| {
            let balance = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&balance)
        })
        .input(refunds.as_str(), Int64, |ctx, amount| {
            let balance = ctx.value()?.unwrap_or(0) - amount;
            ctx.set_value(&balance)
        })
        .build()
        .unwrap();
    let clicks = clicks(300, 15);
    app.click(&clicks).await;
    let emitter = Emitter::new(app.cluster.new_client(), &refunds, Int64).await.unwrap();
    for user in 0..15 {
        drop(emitter.emit(format!("user-{user:03}"), &100).unwrap());
    }
    within("the last acknowledgement", emitter.finish()).await.unwrap();
    let first = app.start(graph, app.redb("a")).await;
    ready(&first).await;
    let expected: BTreeMap<String, i64> = truth(&clicks)
        .into_iter()
        .map(|(user, count)| (user, count - 100))
        .collect();
    crate::cluster::eventually("all balances", async || {
        for (user, balance) in &expected {
            if first.get(user).await.unwrap() != Some(*balance) {
                return false;
            }
        }
        true
    })
    .await;
    stop(first).await;
    assert_eq!(app.fold().await, expected);
}
