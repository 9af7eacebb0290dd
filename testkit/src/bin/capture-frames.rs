//! Captures golden frames: runs a [`Session`] against a real broker and writes down what was said.
//!
//! ```text
//! cargo run -p testkit --bin capture-frames -- --brokers 127.0.0.1:PORT --broker-name "Apache Kafka 4.1.2"
//! ```
//!
//! `testkit/golden/README.md` says how to start and prepare the broker. The files in `testkit/golden` are replaced.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, HeartbeatRequest};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::transport::TcpConnector;
use kafka_wire::{Client, ClientConfig, ErrorCode};
use testkit::golden::{Exchange, GROUPS, GoldenFile, Recorder, Session};

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse()?;
    let recorder = Recorder::new(Arc::new(TcpConnector));
    let bootstrap = [arguments.brokers.clone()];
    awake_coordinators(&bootstrap).await?;
    let session = Session::new(&bootstrap, Arc::new(recorder.clone()), |step| recorder.begin(step))?;
    session.run().await?;
    session.read_java_topics().await?;
    session.close().await;
    write(&arguments, recorder.take())
}

/// Waits until the coordinators are there, unrecorded: how long Kafka takes to make and load the topic of the committed
/// offsets differs every time. It must refuse the heartbeat of nobody, which leaves no trace.
async fn awake_coordinators(bootstrap: &[String]) -> Result<(), Failure> {
    let client = Client::new(ClientConfig::new(bootstrap))?;
    let lane = client.group_lane();
    for group in GROUPS {
        loop {
            let node = client.coordinator(group).await?;
            let heartbeat = HeartbeatRequest::default()
                .with_group_id(StrBytes::from_static_str(group).into())
                .with_member_id(StrBytes::from_static_str("nobody"));
            let class = lane.class();
            let answer = client.call(node, class, heartbeat, None, Duration::ZERO).await?;
            if ErrorCode(answer.error_code) == ErrorCode::UNKNOWN_MEMBER_ID {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    client.close().await;
    Ok(())
}

struct Arguments {
    brokers: String,
    broker_name: String,
    out: PathBuf,
}

impl Arguments {
    fn parse() -> Result<Self, Failure> {
        let mut given: HashMap<String, String> = HashMap::new();
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            given.insert(name, value);
        }
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let arguments = Self {
            brokers: given.remove("--brokers").ok_or("--brokers HOST:PORT is missing")?,
            broker_name: given
                .remove("--broker-name")
                .ok_or("--broker-name \"Apache Kafka x.y.z\" is missing")?,
            out: given.remove("--out").map_or(out, PathBuf::from),
        };
        match given.into_keys().next() {
            Some(unknown) => Err(format!("unknown option {unknown}").into()),
            None => Ok(arguments),
        }
    }
}

/// One file per API and version; what is said again in the same words is written down once.
fn write(arguments: &Arguments, heard: Vec<Exchange>) -> Result<(), Failure> {
    let mut files: BTreeMap<(i16, i16), Vec<Exchange>> = BTreeMap::new();
    for exchange in heard {
        let file = files.entry((exchange.api_key(), exchange.version())).or_default();
        // Every connection asks for the versions; only the epoch of the broker's features grows from answer to answer.
        let once_is_enough = exchange.api_key() == ApiKey::ApiVersions as i16;
        if !file
            .last()
            .is_some_and(|last| once_is_enough || last.says_the_same(&exchange))
        {
            file.push(exchange);
        }
    }
    for old in std::fs::read_dir(&arguments.out)? {
        let old = old?.path();
        if old.extension().is_some_and(|extension| extension == "txt") {
            std::fs::remove_file(old)?;
        }
    }
    for ((key, version), exchanges) in files {
        let api = ApiKey::try_from(key).map_err(|()| format!("API {key} is unknown"))?;
        let broker = arguments.broker_name.clone();
        let file = GoldenFile {
            broker,
            api,
            version,
            exchanges,
        };
        std::fs::write(arguments.out.join(GoldenFile::file_name(api, version)), file.to_text())?;
    }
    Ok(())
}
