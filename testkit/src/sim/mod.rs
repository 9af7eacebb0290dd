//! The deterministic simulation of the whole line: processors, producers and their brokers on one thread, in virtual time, from one
//! seed.
//!
//! ```text
//!   producers ─┐                                  ┌─ trouble: crashes, moves, partitions, kills
//!   instances ─┴─ link, frame by frame ─ brokers ─┘
//!       │             delay, cut, lose, dribble
//!     disk            what was not synced may be lost with the process
//! ```
//!
//! Everything above the byte stream and the store is the real thing: client, producer, fetcher, group membership, processor. A
//! seed draws sizes, settings and faults (`plan`); after a time of trouble everything is healed and must come to rest; then the
//! history checker reads all logs, commits, stores and callbacks. Equal seeds give equal runs, to the byte and the nanosecond: a
//! hash over all frames, callbacks and store writes shows it. That needs tokio's own chance to start from the seed, so runs that
//! are to be compared are built with `--cfg tokio_unstable`, as `testkit/sim` does.

mod chance;
mod disk;
mod history;
mod instance;
mod leases;
mod life;
mod link;
mod nemesis;
mod network;
mod owners;
mod plan;
mod producer;
mod seed;
mod stamped;
mod tables;
mod trace;
mod view;
mod watch;
mod world;
mod writes;

use std::collections::BTreeMap;
use std::time::Duration;

use self::plan::Plan;
pub use self::seed::Seed;
use self::trace::Trace;

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: Seed,
    /// Over everything that happened.
    pub hash: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time.
    pub time: Duration,
    /// What was met, and how often.
    pub situations: BTreeMap<&'static str, u64>,
    /// What must not be; empty if all is well.
    pub violations: Vec<String>,
}

/// Whether equal seeds give equal hashes in this build.
pub const REPEATS: bool = cfg!(tokio_unstable);

/// Every situation that a campaign should meet.
pub fn situations() -> Vec<&'static str> {
    let mut all = vec![
        "slow frame",
        "byte by byte",
        "connection cut",
        "answer lost after the request was carried out",
        "answer later than the time-out",
        "connection half open",
        "deferred writes lost with a process",
        "processor ended by an error",
        "record possibly written",
        owners::HELD_BACK,
        history::CROSSED,
        history::OVERTAKEN,
        history::ORDERLY,
        "replay",
        disk::FAILED,
        "view ready",
        "view read",
    ];
    all.extend(plan::Trouble::ALL.map(plan::Trouble::name));
    all
}

/// Runs a seed. `tell` prints everything that happens.
///
/// # Panics
/// There is no runtime to be had.
pub fn run(seed: Seed, tell: bool) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.number.to_be_bytes()));
    let runtime = builder.build().expect("a runtime without IO needs nothing");
    runtime.block_on(async {
        let trace = Trace::new(tell);
        world::run(Plan::draw(seed), trace.clone()).await;
        Outcome {
            seed,
            hash: trace.hash(),
            events: trace.events(),
            time: trace.elapsed(),
            situations: trace.situations(),
            violations: trace.violations(),
        }
    })
}
