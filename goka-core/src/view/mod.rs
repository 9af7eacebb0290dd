//! Views: a read-only copy of a whole table, kept up to date.
//!
//! ```text
//!   View::new ─start─> per partition: open store ─> follow the changelog for ever        (the same loop as recovery, I4)
//!                                           └─ get, has, iterate, range read beside it
//! ```
//!
//! A view reads every partition of a topic, as a rule some group's table, into local stores. It commits nothing and joins no
//! group. Reads answer once their partition has caught up with where the changelog ended at the start; before that they fail
//! rather than show half a table.

mod driver;
mod running;

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::{Client, ConfigError, FetcherConfig, Partitioner};

pub use self::running::{Rows, RunningView, ViewError, ViewPartitionStats, ViewStats};
use crate::codec::Codec;
use crate::into_client::IntoClient;
use crate::memory::{self, Shares, Wanted};
use crate::partition::RunError;
use crate::storage::StoreBuilder;

/// Settings of a view.
#[derive(Debug, Clone)]
pub struct ViewConfig {
    /// Name under which the stores are kept, beside the table's name. Default `view`.
    pub owner: String,
    /// Age at which rows read are put into the store. Default 10 s.
    pub flush_interval: Duration,
    /// Bytes that the view may hold in memory, over all partitions: what is fetched and not read yet, rows above the stores, the
    /// stores' caches. Default 256 MiB. A single batch larger than its share comes through all the same.
    pub max_memory: usize,
    /// Bytes of rows, over all partitions, that start a flush. Default `None`: a share of [`max_memory`](ViewConfig::max_memory).
    pub flush_bytes: Option<usize>,
    /// Bytes of rows held in memory above the stores, over all partitions. Default `None`: a share of
    /// [`max_memory`](ViewConfig::max_memory).
    pub cache_bytes: Option<usize>,
    /// How keys were spread over the table's partitions. Default [`Partitioner::Fnv1a`], goka's.
    pub partitioner: Partitioner,
    /// How the changelog is fetched.
    pub fetcher: FetcherConfig,
}

impl Default for ViewConfig {
    fn default() -> ViewConfig {
        ViewConfig {
            owner: "view".to_owned(),
            flush_interval: Duration::from_secs(10),
            max_memory: memory::DEFAULT,
            flush_bytes: None,
            cache_bytes: None,
            partitioner: Partitioner::Fnv1a,
            fetcher: FetcherConfig::default(),
        }
    }
}

impl ViewConfig {
    /// How the memory is shared out.
    ///
    /// # Errors
    /// It is too small.
    fn shares(&self) -> Result<Shares, ConfigError> {
        let wanted = Wanted {
            table: true,
            fetch: self.fetcher.buffer_bytes,
            cache: self.cache_bytes,
            flush: self.flush_bytes,
            ..Wanted::default()
        };
        Shares::of(self.max_memory, wanted)
    }
}

/// A view of one table, ready to be started.
pub struct View<C: Codec> {
    client: Client,
    table: String,
    codec: C,
    stores: Arc<dyn StoreBuilder>,
    config: ViewConfig,
}

impl<C: Codec> View<C> {
    /// A view of topic `table`, kept in `stores`. No network is touched yet.
    ///
    /// # Errors
    /// The client's configuration is wrong.
    pub fn new(
        kafka: impl IntoClient,
        table: impl Into<String>,
        codec: C,
        stores: impl StoreBuilder,
    ) -> Result<View<C>, ConfigError> {
        let client = kafka.into_client()?;
        Ok(View {
            client,
            table: table.into(),
            codec,
            stores: Arc::new(stores),
            config: ViewConfig::default(),
        })
    }

    /// Replaces the default configuration.
    pub fn with_config(mut self, config: ViewConfig) -> View<C> {
        self.config = config;
        self
    }

    /// Opens the stores and starts following. Await [`RunningView::ready`] for a complete table.
    ///
    /// # Errors
    /// The topic does not exist, no broker answers, or a store cannot be opened.
    pub async fn start(self) -> Result<RunningView<C>, RunError> {
        let started = driver::start(self.client, &self.table, self.stores, &self.config).await?;
        Ok(RunningView::new(started, self.codec, self.config.partitioner))
    }
}
