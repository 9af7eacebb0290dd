//! One instance of a counting group, as a process of its own that a test can kill, or that kills itself where it is told to.
//!
//! ```text
//! counting-instance BROKERS TOPIC GROUP DIRECTORY [OPTION..]   runs until it is killed, or its standard input ends
//!
//!   --coalesce         counts whose changelog gets the last value of each commit interval
//!   --chain            chained rows (`testkit::checker::Chain`) instead of counts
//!   --output TOPIC     emits each chained row
//!   --die POINT:N      ends itself when it reaches a point (`testkit::crash`) for the n-th time
//!   --via ROUTES       dials brokers through proxies, `broker=proxy,..`
//!   --session MS       session timeout, 6000 unless told
//!   --stop             when its standard input ends, it stops in order
//! ```
//!
//! With `RUST_LOG` it logs to its standard error.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use goka_core::{Client, ClientConfig, Codec, GroupGraph, Int64, Output, Processor, ProcessorConfig, Utf8};
use kafka_wire::transport::{Connector, TcpConnector};
use storage_redb::Redb;
use testkit::checker::{ChainRow, Chained};
use testkit::crash::{CrashConnector, Trigger};
use testkit::hooked::Hooked;
use testkit::proxy::Proxies;
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the command line says.
struct Told {
    brokers: String,
    topic: String,
    group: String,
    directory: String,
    chain: bool,
    coalesce: bool,
    output: Option<String>,
    trigger: Trigger,
    connector: Arc<dyn Connector>,
    session: Duration,
    stop: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env());
    logs.with_ansi(false).with_writer(std::io::stderr).init();
    let told = told(std::env::args().skip(1))?;
    match told.chain {
        true => run(&told, chained(&told)?).await,
        false => run(&told, counted(&told)?).await,
    }
}

fn told(mut words: impl Iterator<Item = String>) -> Result<Told, Failure> {
    const USAGE: &str = "usage: counting-instance BROKERS TOPIC GROUP DIRECTORY [OPTION..]";
    let mut next = move || words.next();
    let mut told = Told {
        brokers: next().ok_or(USAGE)?,
        topic: next().ok_or(USAGE)?,
        group: next().ok_or(USAGE)?,
        directory: next().ok_or(USAGE)?,
        chain: false,
        coalesce: false,
        output: None,
        trigger: Trigger::never(),
        connector: Arc::new(TcpConnector),
        session: Duration::from_secs(6),
        stop: false,
    };
    while let Some(option) = next() {
        match option.as_str() {
            "--chain" => told.chain = true,
            "--coalesce" => told.coalesce = true,
            "--stop" => told.stop = true,
            "--output" => told.output = next(),
            "--session" => told.session = Duration::from_millis(next().ok_or(USAGE)?.parse()?),
            "--via" => told.connector = Proxies::via(next().ok_or(USAGE)?.split(','))?,
            "--die" => {
                let at = next().ok_or(USAGE)?;
                let (point, times) = at.split_once(':').ok_or(USAGE)?;
                told.trigger = Trigger::at(point.parse()?, times.parse()?);
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(told)
}

fn counted(told: &Told) -> Result<GroupGraph<Int64>, Failure> {
    let trigger = told.trigger.clone();
    let graph = GroupGraph::builder(told.group.as_str()).persist(Int64);
    let graph = if told.coalesce { graph.coalesced() } else { graph };
    let graph = graph.input(told.topic.as_str(), Utf8, move |ctx, _| {
        trigger.callback();
        let count = ctx.value()?.unwrap_or(0) + 1;
        ctx.set_value(&count)
    });
    Ok(graph.build()?)
}

fn chained(told: &Told) -> Result<GroupGraph<Chained>, Failure> {
    let trigger = told.trigger.clone();
    let graph = GroupGraph::builder(told.group.as_str()).persist(Chained);
    let Some(output) = &told.output else {
        let graph = graph.input(told.topic.as_str(), Utf8, move |ctx, event| {
            trigger.callback();
            ChainRow::step(ctx, &event).map(drop)
        });
        return Ok(graph.build()?);
    };
    let output = Output::new(output.as_str(), Chained);
    let to = output.clone();
    let graph = graph.output(&output);
    let graph = graph.input(told.topic.as_str(), Utf8, move |ctx, event| {
        trigger.callback();
        match ChainRow::step(ctx, &event)? {
            Some(row) => ctx.emit(&to, ctx.key(), &row),
            None => Ok(()),
        }
    });
    Ok(graph.build()?)
}

async fn run<C: Codec>(told: &Told, graph: GroupGraph<C>) -> Result<(), Failure> {
    // Much is under way at any moment: a kill finds something to tear.
    let config = ProcessorConfig {
        commit_interval: Duration::from_millis(150),
        flush_interval: Duration::from_millis(250),
        session_timeout: told.session,
        heartbeat_interval: Duration::from_millis(500).min(told.session / 6),
        ..ProcessorConfig::default()
    };
    let connector = CrashConnector::new(Arc::clone(&told.connector), told.trigger.clone());
    let client = Client::with_connector(ClientConfig::new(told.brokers.split(',')), connector)?;
    let stores = Hooked::new(Redb::at(&told.directory), told.trigger.clone());
    let running = Processor::new(client, graph, stores)?
        .with_config(config)
        .start()
        .await?;
    let (stopper, stop) = (running.stopper(), told.stop);
    std::thread::spawn(move || {
        // Its end means that the test is gone; nobody else would end an orphan.
        let _ = std::io::stdin().read(&mut [0]);
        match stop {
            true => stopper.stop(),
            false => std::process::exit(2),
        }
    });
    Ok(running.wait().await?)
}
