//! What the examples share: a way to Kafka, embedded unless brokers are named, and a way to end.

use std::io::IsTerminal as _;

use goka_core::{Client, ClientConfig};
use testkit::broker::{BrokerConfig, EmbeddedBroker};

/// Anything that ends an example early.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client, and the embedded broker behind it if no other was named.
pub struct Kafka {
    /// The client of either.
    pub client: Client,
    /// Lives as long as the example; `None` with `--brokers`.
    pub embedded: Option<EmbeddedBroker>,
}

impl Kafka {
    /// Connects to `brokers` (comma-separated `host:port`), or starts a broker inside this process.
    ///
    /// # Errors
    /// The embedded broker cannot listen, or an address is malformed.
    pub async fn connect(brokers: Option<&str>) -> Result<Kafka, Failure> {
        let (bootstrap, embedded) = match brokers {
            Some(brokers) => (brokers.split(',').map(str::to_owned).collect(), None),
            None => {
                let broker = EmbeddedBroker::start(BrokerConfig::default()).await?;
                (broker.bootstrap(), Some(broker))
            }
        };
        Ok(Kafka {
            client: Client::new(ClientConfig::new(bootstrap))?,
            embedded,
        })
    }
}

/// Shows the libraries' lines of level info and above, or what `RUST_LOG` says, on standard error.
pub fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
