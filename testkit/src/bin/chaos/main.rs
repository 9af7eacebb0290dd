//! A campaign on Apache Kafka: a group of processes works events off while something is killed again and again, and the whole
//! history is checked afterwards. `testkit/chaos/run` starts it with a broker of its own.
//!
//! ```text
//! chaos processes|brokers|connections BROKER [OPTION..]
//!
//!   processes      one of three processes is killed with SIGKILL every 5 s
//!   brokers        the broker is killed with SIGKILL and started again, 5 times
//!   connections    every connection dies after 0.5 to 1.5 s
//!
//!   --records N    events, 2000000 unless told          --keys N       keys among them, 20000
//!   --seconds N    how long they are emitted, 120       --session MS   session timeout of the processes, 2000
//!   --state DIR    where stores and logs go             --kafka NAME   the broker's name for testkit/kafka/kafka
//!   --proxy PORT   where the proxy listens, which the broker advertises
//! ```
//!
//! It prints one line about the history and one about what the processes logged, and fails if anything is wrong.

mod fire;
mod fleet;
mod load;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goka_core::{Client, ClientConfig};
use kafka_wire::admin::NewTopic;
use storage_redb::Redb;
use testkit::checker::read::{GroupTopics, Reader, add_stores};
use testkit::checker::{Chain, Expected, History, check};

use self::fire::Fire;
use self::fleet::Fleet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Partitions of the input.
const PARTITIONS: i32 = 12;

/// What the command line says.
#[derive(Debug, Clone)]
struct Told {
    fire: Fire,
    broker: String,
    records: usize,
    keys: usize,
    seconds: u64,
    session: u64,
    state: PathBuf,
    kafka: String,
    proxy: u16,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let told = told(std::env::args().skip(1))?;
    let proxy = fire::proxy(&told).await?;
    let run = Run::prepare(&told).await?;
    let started = Instant::now();
    let mut fleet = Fleet::start(&run)?;
    let burning = fire::burn(&told, &mut fleet, proxy.as_ref());
    let (sent, burnt) = tokio::join!(load::emit(&run), burning);
    let (sent, burnt) = (sent?, burnt?);
    say(&format!(
        "{} events are written after {:.0?}",
        sent.len(),
        started.elapsed()
    ))?;
    run.until_committed().await?;
    let took = started.elapsed();
    fleet.stop()?;
    let mut history = run.history().await?;
    history.sent = sent;
    history.expected = Expected {
        at_rest: true,
        unclean_ends: burnt.unclean_ends,
        surplus: None,
    };
    let rebuilt = fleet.add_stores(&mut history)?;
    let report = check(&history, &run.chain);
    say(&format!("{:?}: {report}", told.fire))?;
    say(&format!(
        "{:?}: {} and {} connections died; {} stores damaged; worked off after {took:.0?}; {}",
        told.fire,
        burnt.what,
        proxy.map_or(0, |proxy| proxy.stats().cut),
        rebuilt.len(),
        fleet.logged()?
    ))?;
    match report.is_clean() && rebuilt.is_empty() {
        true => Ok(()),
        false => Err("the history is not what it should be".into()),
    }
}

fn told(mut words: impl Iterator<Item = String>) -> Result<Told, Failure> {
    const USAGE: &str = "usage: chaos processes|brokers|connections BROKER [OPTION..]";
    let mut told = Told {
        fire: words.next().ok_or(USAGE)?.parse()?,
        broker: words.next().ok_or(USAGE)?,
        records: 2_000_000,
        keys: 20_000,
        seconds: 120,
        session: 2000,
        state: std::env::temp_dir().join(format!("chaos-{}", std::process::id())),
        kafka: "default".to_owned(),
        proxy: 0,
    };
    while let Some(option) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match option.as_str() {
            "--records" => told.records = value.parse()?,
            "--keys" => told.keys = value.parse()?,
            "--seconds" => told.seconds = value.parse()?,
            "--session" => told.session = value.parse()?,
            "--state" => told.state = value.into(),
            "--kafka" => told.kafka = value,
            "--proxy" => told.proxy = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(told)
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The group under test.
struct Run {
    told: Told,
    /// Where clients begin: the broker, or the proxy in front of it.
    bootstrap: String,
    client: Client,
    topics: GroupTopics,
    chain: Chain,
}

impl Run {
    async fn prepare(told: &Told) -> Result<Run, Failure> {
        let name = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let (input, output, group) = (format!("in-{name}"), format!("out-{name}"), format!("group-{name}"));
        let bootstrap = match told.proxy {
            0 => told.broker.clone(),
            port => format!("127.0.0.1:{port}"),
        };
        let client = Client::new(ClientConfig::new([bootstrap.as_str()]))?;
        let topics = [&input, &output].map(|topic| NewTopic::new(topic, PARTITIONS));
        for (_, created) in client.admin().create_topics(&topics).await? {
            created?;
        }
        std::fs::create_dir_all(&told.state)?;
        Ok(Run {
            told: told.clone(),
            bootstrap,
            client,
            topics: GroupTopics {
                table: format!("{group}-table"),
                group,
                inputs: vec![input],
                outputs: vec![output.clone()],
                partitions: PARTITIONS,
                every_commit: true,
            },
            chain: Chain { output: Some(output) },
        })
    }

    fn input(&self) -> &str {
        &self.topics.inputs[0]
    }

    /// Waits until the group has committed everything that the input holds.
    async fn until_committed(&self) -> Result<(), Failure> {
        const PATIENCE: Duration = Duration::from_secs(600);
        let (reader, until) = (Reader::new(self.client.clone()), Instant::now() + PATIENCE);
        loop {
            let (mut end, mut done) = (0, 0);
            let committed = reader.committed(&self.topics.group, self.input(), PARTITIONS).await?;
            for number in 0..PARTITIONS {
                end += reader.bounds(self.input(), number).await?.1;
                done += committed.get(&number).copied().unwrap_or(0);
            }
            if done == end {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{done} of {end} inputs are committed after {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn history(&self) -> Result<History, Failure> {
        Ok(Reader::new(self.client.clone()).history(&self.topics).await?)
    }
}

impl Fleet {
    /// Adds the stores of all processes, which must have ended; what was damaged.
    fn add_stores(&self, history: &mut History) -> Result<Vec<String>, Failure> {
        let mut rebuilt = Vec::new();
        for (name, directory) in self.directories() {
            let stores = Redb::at(directory);
            rebuilt.extend(add_stores(
                history,
                &name,
                &stores,
                &self.topics.group,
                &self.topics.table,
            )?);
        }
        Ok(rebuilt)
    }
}
