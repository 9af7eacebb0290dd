//! One instance of a group, or one view, on slow stores, as a process of its own, so that its memory is its own.
//!
//! ```text
//! memory-instance BROKERS TOPIC DIRECTORY MAX_MEMORY GROUP STUCK     MAX_MEMORY in MiB; STUCK is a partition, or -1
//! memory-instance BROKERS TABLE DIRECTORY MAX_MEMORY                 a view
//! ```
//!
//! A row is a count and the last value. Every fifth of a second a line tells the records worked off and the most memory that the
//! process ever had, in KiB (`VmHWM`). The callback of the stuck partition stands still until a line comes in; when the input
//! ends, the instance stops in order. Of a view, the records are those it has recovered.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use goka_core::storage::StoreError;
use goka_core::{Bytes, ClientConfig, GroupGraph, Processor, ProcessorConfig, Running, Stopper, View, ViewConfig};
use storage_redb::Redb;
use testkit::hooked::{Hooked, WriteHook};

/// How long a write into a store takes at least.
const WRITE: Duration = Duration::from_millis(150);
/// How often it tells how far it is.
const LOOK: Duration = Duration::from_millis(200);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, directory, max_memory, rest @ ..] = arguments.as_slice() else {
        return Err("usage: memory-instance BROKERS TOPIC DIRECTORY MAX_MEMORY [GROUP STUCK]".into());
    };
    let client = ClientConfig::new(brokers.split(','));
    let stores = Hooked::new(Redb::at(directory), Slow);
    let max_memory = max_memory.parse::<usize>()? << 20;
    match rest {
        [group, stuck] => process((client, stores, max_memory), topic, group, stuck.parse()?).await?,
        _ => view((client, stores, max_memory), topic).await?,
    }
    report(&format!("ended hwm={}", high_water_mark()));
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Surroundings = (ClientConfig, Hooked<Redb, Slow>, usize);

async fn view((client, stores, max_memory): Surroundings, table: &str) -> Result<(), Failure> {
    let config = ViewConfig {
        max_memory,
        ..ViewConfig::default()
    };
    let view = View::new(client, table, Bytes, stores)?
        .with_config(config)
        .start()
        .await?;
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().for_each(drop);
        drop(end);
    });
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(LOOK) => {
                let recoveries = view.stats().partitions.into_iter().filter_map(|partition| partition.recovery);
                let records = recoveries.map(|recovery| recovery.records).sum::<u64>();
                report(&format!("records={records} hwm={}", high_water_mark()));
            }
        }
    }
    Ok(view.stop().await?)
}

async fn process(
    (client, stores, max_memory): Surroundings,
    topic: &str,
    group: &str,
    stuck: i32,
) -> Result<(), Failure> {
    let released = Arc::new(AtomicBool::new(false));
    let go = Arc::clone(&released);
    let counted = Arc::<AtomicU64>::default();
    let counting = Arc::clone(&counted);
    let graph = GroupGraph::builder(group)
        .persist(Bytes)
        .input(topic, Bytes, move |ctx, value| {
            while ctx.partition() == stuck && !go.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let count = ctx.value()?.and_then(|row| row.first_chunk().copied());
            let count = count.map_or(0, u64::from_be_bytes) + 1;
            counting.fetch_add(1, Ordering::Relaxed);
            ctx.set_value(&[&count.to_be_bytes()[..], &value].concat())
        })
        .build()?;
    let config = ProcessorConfig {
        max_memory,
        ..ProcessorConfig::default()
    };
    let running = Processor::new(client, graph, stores)?
        .with_config(config)
        .start()
        .await?;
    let stopper = running.stopper();
    std::thread::spawn(move || listen(&released, &stopper));
    Ok(tell(&running, &counted).await?)
}

/// A line releases what is stuck; the end of the input, which also means that a test is gone, stops.
fn listen(released: &AtomicBool, stopper: &Stopper) {
    for _ in std::io::stdin().lock().lines() {
        released.store(true, Ordering::Relaxed);
    }
    released.store(true, Ordering::Relaxed);
    stopper.stop();
}

async fn tell<T>(running: &Running<T>, records: &AtomicU64) -> Result<(), goka_core::RunError> {
    let ended = running.wait();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return ended,
            () = tokio::time::sleep(LOOK) => {
                report(&format!("records={} hwm={}", records.load(Ordering::Relaxed), high_water_mark()));
            }
        }
    }
}

fn report(line: &str) {
    // Nobody reads any more: the input ends as well, and with it this process.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The most memory that this process ever had, in KiB; 0 where the system does not tell.
fn high_water_mark() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Writes take their time.
#[derive(Debug, Clone)]
struct Slow;

impl WriteHook for Slow {
    fn may_block(&self) -> bool {
        true
    }

    fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        std::thread::sleep(WRITE);
        write()
    }
}
