//! The workloads of the processor model: count, recover, recover-all, forward.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goka_core::{Bytes, GroupGraph, Int64, Output, Processor, ProcessorConfig, Running, Undecoded, View, ViewConfig};
use kafka_wire::admin::OffsetSpec;
use kafka_wire::{Client, ClientConfig, IsolationLevel, TopicPartition};
use storage_redb::Redb;

use crate::report::Outcome;
use crate::{Args, Failure};

/// How often a running processor is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn count(args: &Args, started: Instant) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let topic = args.topic_or("bench-in");
    let ends = ends(&client, &topic).await?;
    let running = processor(args, client, counter(args, &topic)?)?.start().await?;
    let first = until_at(&running, &ends, started).await?;
    running.stop().await?;
    Ok(Outcome {
        records: ends.values().sum::<i64>() as u64,
        first,
        wall: None,
        note: "group table in redb".to_owned(),
    })
}

pub(crate) async fn recover(args: &Args) -> Result<Outcome, Failure> {
    if args.state.exists() {
        std::fs::remove_dir_all(&args.state)?;
    }
    let topic = args.topic_or("bench-in");
    let running = processor(args, client(args)?, counter(args, &topic)?)?.start().await?;
    running.ready().await?;
    let stats = running.stats().await?;
    let recovered = stats
        .partitions
        .values()
        .filter_map(|partition| partition.table?.recovery);
    let records = recovered.map(|recovery| recovery.records).sum();
    running.stop().await?;
    Ok(Outcome {
        records,
        first: None,
        wall: None,
        note: "group table from its changelog into redb".to_owned(),
    })
}

pub(crate) async fn recover_all(args: &Args, started: Instant) -> Result<Outcome, Failure> {
    if args.state.exists() {
        std::fs::remove_dir_all(&args.state)?;
    }
    let table = args.topic_or("bunique-table");
    let mut config = ViewConfig::default();
    config.max_memory = args.max_memory.map_or(config.max_memory, |mib| mib << 20);
    let view = View::new(client(args)?, table, Bytes, Redb::at(&args.state))?.with_config(config);
    let view = view.start().await?;
    view.ready().await?;
    let ready = started.elapsed().as_secs_f64();
    let recovered = view
        .stats()
        .partitions
        .into_iter()
        .filter_map(|partition| partition.recovery);
    let records = recovered.map(|recovery| recovery.records).sum();
    view.stop().await?;
    Ok(Outcome {
        records,
        first: None,
        wall: None,
        note: format!("view of unique keys into redb; ready after {ready:.3} s"),
    })
}

pub(crate) async fn forward(args: &Args, started: Instant) -> Result<Outcome, Failure> {
    let client = client(args)?;
    let topic = args.topic_or("bench-in");
    let ends = ends(&client, &topic).await?;
    let out = Output::new("bench-forward-out", Bytes);
    let copy = out.clone();
    let graph = GroupGraph::builder(args.group.as_str())
        .output(&out)
        .input(topic.as_str(), Undecoded, move |ctx, ()| {
            ctx.emit(&copy, ctx.key(), ctx.bytes().unwrap_or_default())
        })
        .build()?;
    let running = processor(args, client, graph)?.start().await?;
    let first = until_at(&running, &ends, started).await?;
    running.stop().await?;
    Ok(Outcome {
        records: ends.values().sum::<i64>() as u64,
        first,
        wall: None,
        note: "to bench-forward-out".to_owned(),
    })
}

fn counter(args: &Args, topic: &str) -> Result<GroupGraph<Int64>, Failure> {
    let graph = GroupGraph::builder(args.group.as_str()).persist(Int64);
    let graph = match args.coalesce {
        true => graph.coalesced(),
        false => graph,
    };
    let graph = graph
        .input(topic, Undecoded, |ctx, ()| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .build()?;
    Ok(graph)
}

fn processor<T: Clone>(args: &Args, client: Client, graph: GroupGraph<T>) -> Result<Processor<T>, Failure> {
    let mut config = ProcessorConfig::default();
    config.max_memory = args.max_memory.map_or(config.max_memory, |mib| mib << 20);
    Ok(Processor::new(client, graph, Redb::at(&args.state))?.with_config(config))
}

fn client(args: &Args) -> Result<Client, Failure> {
    Ok(Client::new(ClientConfig::new(args.brokers.split(',')))?)
}

/// Where each partition of `topic` ends now.
async fn ends(client: &Client, topic: &str) -> Result<HashMap<i32, i64>, Failure> {
    let described = client.admin().describe_topics(&[topic]).await?;
    let partitions = described.first().map_or(0, |topic| topic.partitions.len()) as i32;
    let asked: Vec<_> = (0..partitions)
        .map(|number| (TopicPartition::new(topic, number), OffsetSpec::Latest))
        .collect();
    let listed = client
        .admin()
        .list_offsets(&asked, IsolationLevel::ReadUncommitted)
        .await?;
    Ok(listed
        .into_iter()
        .map(|(tp, listed)| (tp.partition, listed.offset))
        .collect())
}

/// Waits until every partition may be committed up to its end; tells when the first record went through.
async fn until_at<T>(
    running: &Running<T>,
    ends: &HashMap<i32, i64>,
    started: Instant,
) -> Result<Option<Duration>, Failure> {
    let mut first = None;
    loop {
        tokio::select! {
            ended = running.wait() => ended?,
            () = tokio::time::sleep(LOOK) => {}
        }
        let stats = running.stats().await?;
        if first.is_none() && stats.records() > 0 {
            first = Some(started.elapsed());
        }
        let is_done = |(number, end): (&i32, &i64)| {
            let partition = stats.partitions.get(number);
            *end == 0 || partition.is_some_and(|p| p.inputs.iter().all(|input| input.committable >= *end))
        };
        if ends.iter().all(is_done) {
            return Ok(first);
        }
    }
}
