//! One instance of a counting group, as a process of its own that a test can kill.
//!
//! ```text
//! counting-instance BROKERS TOPIC GROUP DIRECTORY     runs until it is killed, or its standard input ends
//! ```

use std::io::Read as _;
use std::time::Duration;

use goka_core::{ClientConfig, GroupGraph, Int64, Processor, ProcessorConfig, Utf8};
use storage_redb::Redb;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, group, directory] = arguments.as_slice() else {
        return Err("usage: counting-instance BROKERS TOPIC GROUP DIRECTORY".into());
    };
    let graph = GroupGraph::builder(group.as_str())
        .persist(Int64)
        .input(topic.as_str(), Utf8, |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        })
        .build()?;
    // Much is under way at any moment: a kill finds something to tear.
    let config = ProcessorConfig {
        commit_interval: Duration::from_millis(150),
        flush_interval: Duration::from_millis(250),
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        ..ProcessorConfig::default()
    };
    let kafka = ClientConfig::new(brokers.split(','));
    let running = Processor::new(kafka, graph, Redb::at(directory))?
        .with_config(config)
        .start()
        .await?;
    std::thread::spawn(|| {
        // Its end means that the test is gone; nobody else would end an orphan.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(2);
    });
    Ok(running.wait().await?)
}
