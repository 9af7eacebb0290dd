//! Counts clicks per user: an emitter makes clicks, a processor counts them in its group table, a view shows the table.
//!
//! ```text
//!   emitter ──> user-click (8 partitions) ──> processor of group click-counter ──> click-counter-table ──> view
//! ```
//!
//! Without `--brokers` everything runs in this one process, broker included, and the processor is stopped and started again
//! once, so that one sees it resume from its state. With a real broker a second run goes on from the state directory. Ctrl-C
//! ends it in order.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use examples::{Failure, Kafka, show_logs};
use goka_core::{
    Client, Emitter, GroupGraph, Int64, PartitionState, Processor, ProcessorConfig, Running, RunningView, Utf8, View,
};
use storage_redb::Redb;

const TOPIC: &str = "user-click";
const GROUP: &str = "click-counter";
const TABLE: &str = "click-counter-table";
const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
/// The embedded run restarts its processor when it has shown counts for so long.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// Counts clicks per user in a group table.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Brokers to start from, comma-separated; without it a broker runs inside this process.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Where the tables are kept.
    #[arg(long, default_value = "./clicks-state", value_name = "DIR")]
    state: PathBuf,
    /// Count only what others emit.
    #[arg(long)]
    no_emit: bool,
    /// End, with everything committed, after so long without input.
    #[arg(long, value_name = "SECONDS")]
    until_idle: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    show_logs();
    let args = Args::parse();
    let kafka = Kafka::connect(args.brokers.as_deref()).await?;
    let state = match &kafka.embedded {
        // The embedded broker forgets with its process; state of an earlier one would not fit it.
        Some(_) => Scratch::new(args.state.join(format!("embedded-{}", std::process::id()))),
        None => Scratch::kept(args.state.clone()),
    };

    let mut processor = start_processor(&kafka.client, &state.path).await?;
    let view = View::new(kafka.client.clone(), TABLE, Int64, Redb::at(state.path.join("view")))?
        .start()
        .await?;
    let emitter = match args.no_emit {
        true => None,
        false => Some(Emitter::new(kafka.client.clone(), TOPIC, Utf8).await?),
    };

    let mut clicks = tokio::time::interval(Duration::from_millis(10));
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    let mut restart_at = kafka.embedded.is_some().then(|| Instant::now() + RESTART_AFTER);
    let mut idle = Idle::new(args.until_idle.map(Duration::from_secs));
    let mut clicked = 0usize;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            interrupted = &mut interrupt => {
                interrupted?;
                break say("stopping");
            }
            ended = processor.wait() => return Ok(ended?),
            _ = clicks.tick(), if emitter.is_some() => {
                if let Some(emitter) = &emitter {
                    // Some users click more than others.
                    let user = USERS[(clicked * clicked + clicked / 3) % USERS.len()];
                    drop(emitter.emit(user, "click")?);
                    clicked += 1;
                }
            }
            _ = looks.tick() => {
                let records = show(&processor, &view).await?;
                if idle.is_over(records) {
                    break say("no more input");
                }
                if restart_at.is_some_and(|at| at <= Instant::now()) {
                    restart_at = None;
                    say("stopping the processor and starting it again");
                    processor.stop().await?;
                    processor = start_processor(&kafka.client, &state.path).await?;
                    idle.restarted();
                }
            }
        }
    }
    if let Some(emitter) = emitter {
        emitter.finish().await?;
    }
    processor.stop().await?;
    view.stop().await?;
    if let Some(broker) = kafka.embedded {
        broker.stop().await;
    }
    say("stopped");
    Ok(())
}

async fn start_processor(client: &Client, state: &std::path::Path) -> Result<Running<Int64>, Failure> {
    let graph = GroupGraph::builder(GROUP)
        .persist(Int64)
        .input(TOPIC, Utf8, |ctx, _click| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .build()?;
    let mut config = ProcessorConfig::default();
    config.topics.create_inputs = Some(8);
    let processor = Processor::new(client.clone(), graph, Redb::at(state.join("processor")))?.with_config(config);
    let running = processor.start().await?;
    Ok(running)
}

/// Prints what the processor does and what the view shows; gives the records counted so far.
#[expect(clippy::print_stdout, reason = "showing is what this example does")]
async fn show(processor: &Running<Int64>, view: &RunningView<Int64>) -> Result<u64, Failure> {
    let stats = processor.stats().await?;
    let running = stats
        .partitions
        .values()
        .filter(|partition| partition.state == PartitionState::Running)
        .count();
    let lag = stats.lag().map_or_else(|| "?".to_owned(), |lag| lag.to_string());
    match stats.partitions.len() {
        0 => println!("waiting for partitions"),
        all => println!(
            "partitions {running}/{all} running, {} records, lag {lag}",
            stats.records()
        ),
    }
    for (number, partition) in &stats.partitions {
        if let (PartitionState::Recovering, Some(table)) = (partition.state, partition.table)
            && let Some(recovery) = table.recovery
        {
            println!("  partition {number} recovering: {recovery}");
        }
    }
    if view.stats().partitions.iter().all(|partition| partition.recovered) {
        let (mut users, mut clicks, mut shown) = (0, 0, Vec::new());
        for row in view.iterate()? {
            let (user, count) = row?;
            users += 1;
            clicks += count;
            if shown.len() < USERS.len() {
                shown.push(format!("{} {count}", String::from_utf8_lossy(&user)));
            }
        }
        println!("  {clicks} clicks of {users} users: {}", shown.join(", "));
    }
    Ok(stats.records())
}

#[expect(clippy::print_stdout, reason = "showing is what this example does")]
fn say(text: &str) {
    println!("{text}");
}

/// Notices that nothing has come for a while.
struct Idle {
    limit: Option<Duration>,
    records: u64,
    since: Instant,
}

impl Idle {
    fn new(limit: Option<Duration>) -> Idle {
        Idle {
            limit,
            records: 0,
            since: Instant::now(),
        }
    }

    fn is_over(&mut self, records: u64) -> bool {
        if records != self.records {
            self.records = records;
            self.since = Instant::now();
        }
        self.limit.is_some_and(|limit| self.since.elapsed() >= limit)
    }

    fn restarted(&mut self) {
        self.since = Instant::now();
    }
}

/// A directory that is deleted with its owner, or kept.
struct Scratch {
    path: PathBuf,
    delete: bool,
}

impl Scratch {
    fn new(path: PathBuf) -> Scratch {
        Scratch { path, delete: true }
    }

    fn kept(path: PathBuf) -> Scratch {
        Scratch { path, delete: false }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.delete {
            // Left behind, it is only disk space.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
