//! Workloads of a stream-processing library, against any broker; each prints one JSON line about itself.
//!
//! ```text
//! bench count --brokers 127.0.0.1:9092 --state /tmp/count
//! ```
//!
//! `wall_s` counts from the start of the process, or from when all is prepared with `floor`; `cpu_s` is user and system time of the
//! whole process, `max_rss_mb` its peak.

mod floor;
mod load;
mod report;
mod stream;
mod wire;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use kafka_wire::Compression;

use crate::load::ensure_topic;
use crate::report::Outcome;

/// Where the floors write to.
const FLOOR: &str = "bench-floor";

/// Runs one workload and prints one JSON line.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// What to run.
    workload: Workload,
    /// Brokers to start from, comma-separated.
    #[arg(long, default_value = "127.0.0.1:9092")]
    brokers: String,
    /// The topic read, or written by `produce` and `emit-sync`; each workload has its own default.
    #[arg(long)]
    topic: Option<String>,
    /// The consumer group of `count`, `recover` and `forward`.
    #[arg(long, default_value = "bench")]
    group: String,
    /// Where stores are kept; `recover` deletes it first.
    #[arg(long, default_value = "/tmp/bench-state")]
    state: PathBuf,
    /// Records that `load` and `produce` write; what `emit-sync` sends is 2,000 unless told.
    #[arg(long)]
    records: Option<u64>,
    /// `count` writes the last value per key of each commit interval to its changelog, instead of every update.
    #[arg(long)]
    coalesce: bool,
    /// The budget `max_memory` of `count`, `recover`, `recover-all` and `forward`, in MiB; the library's default unless told.
    #[arg(long)]
    max_memory: Option<usize>,
    /// Compression of what is written: none, lz4 or snappy.
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// A counter per key on the persistent store, to the end of the topic; offsets committed, state closed.
    Count,
    /// After `count`: state deleted, table restored from its changelog.
    Recover,
    /// A view of a table of unique keys, from nothing.
    RecoverAll,
    /// A stateless copy of a topic into another.
    Forward,
    /// Keyed records of 100 bytes, acks=all, idempotent, linger 5 ms.
    Produce,
    /// A topic from its start to its end, each key and value touched.
    Consume,
    /// Single records, each awaited.
    EmitSync,
    /// The reads and writes of an earlier `count` of the same group, from bare sockets.
    Floor,
    /// The round trips of an earlier `emit-sync`, from a bare socket.
    FloorSync,
    /// Fills the input topics of the other workloads.
    Load,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Lz4,
    Snappy,
}

impl Codec {
    fn compression(self) -> Compression {
        match self {
            Codec::None => Compression::None,
            Codec::Lz4 => Compression::Lz4,
            Codec::Snappy => Compression::Snappy,
        }
    }
}

impl Args {
    pub(crate) fn topic_or(&self, default: &str) -> String {
        self.topic.clone().unwrap_or_else(|| default.to_owned())
    }
}

/// Anything that ends a workload early.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let started = std::time::Instant::now();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let outcome: Outcome = match args.workload {
        Workload::Count => stream::count(&args, started).await?,
        Workload::Recover => stream::recover(&args).await?,
        Workload::RecoverAll => stream::recover_all(&args, started).await?,
        Workload::Forward => stream::forward(&args, started).await?,
        Workload::Produce => wire::produce(&args).await?,
        Workload::Consume => wire::consume(&args, started).await?,
        Workload::EmitSync => wire::emit_sync(&args).await?,
        Workload::Floor => {
            ensure_topic(&wire::client(&args)?, FLOOR, false).await?;
            floor::count(&args, FLOOR)?
        }
        Workload::FloorSync => {
            ensure_topic(&wire::client(&args)?, FLOOR, false).await?;
            floor::emit_sync(&args, FLOOR)?
        }
        Workload::Load => load::load(&args).await?,
    };
    let work = args
        .workload
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    report::print(&work, &outcome, outcome.wall.unwrap_or_else(|| started.elapsed()));
    Ok(())
}
