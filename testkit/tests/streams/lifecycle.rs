//! Starting, being one too many, stopping early, stopping without brokers.

use std::time::{Duration, Instant};

use goka_core::storage::Memory;
use goka_core::{Client, ClientConfig, GetError, Partitioner, Processor, ProcessorConfig};
use kafka_wire::StartOffset;

use crate::app::{App, PARTITIONS, clicks, quick, ready, stop, truth};
use crate::cluster::{Cluster, eventually, within};

pub(crate) async fn a_processor_may_be_stopped_before_it_is_ready(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    app.click(&clicks).await;
    for wait in [0, 1, 5, 20, 60, 120, 200] {
        let running = app.start(app.graph(), app.redb("a")).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        stop(running).await;
    }
    // Each left the group and its directory in order, so that the next neither waits nor repeats.
    let since = Instant::now();
    let running = app.running(app.redb("a")).await;
    assert!(
        since.elapsed() < quick().session_timeout,
        "ready after {:?}",
        since.elapsed()
    );
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(running).await;
}

pub(crate) async fn a_dropped_processor_ends_in_order(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    app.click(&clicks[..200]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    let stopper = running.stopper();
    drop(running);
    stopper.stop();
    app.click(&clicks[200..]).await;
    let everywhere = app.running(app.redb("b")).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(everywhere).await;
    assert!(app.check_prefix(&app.state.join("a")).await > 0);
}

pub(crate) async fn one_member_too_many_is_ready_without_partitions_and_steps_in(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(600, 40);
    let mut members = Vec::new();
    for number in 0..=PARTITIONS {
        members.push(app.start(app.graph(), app.redb(&format!("member-{number}"))).await);
    }
    let mut shares = Vec::new();
    let settled = async {
        loop {
            shares.clear();
            for member in &members {
                let stats = member.stats().await.unwrap();
                shares.push(if stats.is_running() { stats.partitions.len() } else { 99 });
            }
            if shares.iter().sum::<usize>() == PARTITIONS as usize {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("an assignment", settled).await;
    shares.sort_unstable();
    assert_eq!(shares, [0, 1, 1, 1, 1]);
    for member in &members {
        ready(member).await;
    }
    app.click(&clicks[..300]).await;
    app.until_committed().await;
    // One after the other leaves; the last has everything.
    while members.len() > 1 {
        stop(members.remove(0)).await;
    }
    app.click(&clicks[300..]).await;
    app.until_committed().await;
    let truth = truth(&clicks);
    assert_eq!(app.counts().await, truth);
    for (user, count) in &truth {
        assert_eq!(members[0].get(user).await.unwrap(), Some(*count), "{user}");
    }
    stop(members.remove(0)).await;
}

pub(crate) async fn a_row_of_another_instance_is_refused_and_its_partition_named(cluster: Cluster) {
    let app = App::new(cluster).await;
    let first = app.start(app.graph(), Memory::new()).await;
    let second = app.start(app.graph(), Memory::new()).await;
    let share = async || {
        second
            .stats()
            .await
            .is_ok_and(|stats| stats.is_running() && stats.partitions.len() == 2)
    };
    eventually("an even share", share).await;
    ready(&first).await;
    let there: Vec<_> = second.stats().await.unwrap().partitions.into_keys().collect();
    let mut refused = 0;
    for number in 0..40 {
        let key = format!("user-{number}");
        let partition = Partitioner::Fnv1a.partition(key.as_bytes(), PARTITIONS);
        match second.get(&key).await {
            Ok(row) => assert_eq!((row, there.contains(&partition)), (None, true), "{key}"),
            Err(GetError::NotHere {
                group,
                partition: named,
            }) => {
                assert_eq!((group, named), (app.group.clone(), partition), "{key}");
                assert!(!there.contains(&partition), "{key}");
                refused += 1;
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    assert!(refused > 0);
    stop(first).await;
    stop(second).await;
}

pub(crate) async fn who_starts_at_the_end_counts_only_what_comes_then(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(400, 20);
    app.click(&clicks[..200]).await;
    let config = ProcessorConfig {
        initial_offset: StartOffset::Latest,
        ..quick()
    };
    let start = async || {
        let processor = Processor::new(app.cluster.new_client(), app.graph(), app.redb("a")).unwrap();
        let running = within("a start", processor.with_config(config.clone()).start())
            .await
            .unwrap();
        ready(&running).await;
        running
    };
    let running = start().await;
    // Ready means that the table is there; where the input ends is asked for by then, but not yet answered perhaps.
    let asked = async || {
        let stats = running.stats().await.unwrap();
        stats
            .partitions
            .values()
            .flat_map(|partition| &partition.inputs)
            .all(|input| input.lag == Some(0))
    };
    eventually("the input's ends", asked).await;
    app.click(&clicks[200..300]).await;
    app.until_committed().await;
    stop(running).await;
    // What is committed is gone on with, wherever the end is by then.
    app.click(&clicks[300..]).await;
    let running = start().await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks[200..]));
    stop(running).await;
}

/// Embedded only: all brokers are gone, with records on their way.
pub(crate) async fn a_stop_ends_although_no_broker_answers(cluster: Cluster) {
    let app = App::new(cluster).await;
    let clicks = clicks(600, 30);
    app.click(&clicks[..300]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    let (faults, nodes) = (app.cluster.broker().faults(), app.cluster.broker().nodes().to_vec());
    for node in &nodes {
        faults.refuse_connections(*node, true);
    }
    faults.cut_all_connections();
    let since = Instant::now();
    // Everything was acknowledged and committed: there is nothing to be lost.
    within("the end", running.stop()).await.unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(30),
        "stopped after {:?}",
        since.elapsed()
    );
    faults.clear();
    app.check_prefix(&app.state.join("a")).await;
    app.click(&clicks[300..]).await;
    let running = app.running(app.redb("a")).await;
    app.until_committed().await;
    assert_eq!(app.counts().await, truth(&clicks));
    stop(running).await;
}

/// Embedded only, as above: nobody can be asked for anything.
pub(crate) async fn a_start_without_brokers_is_an_error_that_names_them(cluster: Cluster) {
    let app = App::new(cluster).await;
    let faults = app.cluster.broker().faults();
    for node in app.cluster.broker().nodes() {
        faults.refuse_connections(*node, true);
    }
    let config = ClientConfig::new(app.cluster.bootstrap().to_vec()).with_request_timeout(Duration::from_secs(1));
    let client = Client::new(config).unwrap();
    let error = app.start_with(client, app.graph(), Memory::new()).await.err().unwrap();
    for broker in app.cluster.bootstrap() {
        assert!(error.to_string().contains(broker), "{broker} is not in: {error}");
    }
}
