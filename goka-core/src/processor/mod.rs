//! Processors: a group graph at work.
//!
//! ```text
//!   Processor::new ─start─> topics checked and made ─> group joined ─┬─ Assigned: a task per partition number (see `partition`)
//!                                                                    ├─ Revoke: tasks drained, offsets committed, answered
//!                                                                    ├─ Lost: tasks abandoned, nothing committed
//!                                                                    └─ stop: drained, committed, group left, producer closed
//! ```
//!
//! `driver` owns the membership and the tasks; `assignment` decides which tasks an assignment means, `launch` starts them,
//! `commits` commits what they finished; [`Running`] is what the user holds.

mod assignment;
mod commits;
mod config;
mod driver;
mod launch;
mod running;

use std::sync::Arc;

use kafka_wire::{Client, ConfigError};

pub use self::config::ProcessorConfig;
pub use self::running::{GetError, ProcessorStats, Running, Stopper};
use crate::graph::GroupGraph;
use crate::into_client::IntoClient;
use crate::partition::RunError;
use crate::storage::StoreBuilder;

/// A group graph, ready to be started as a member of its consumer group.
pub struct Processor<T> {
    client: Client,
    graph: GroupGraph<T>,
    stores: Arc<dyn StoreBuilder>,
    config: ProcessorConfig,
}

impl<T: Clone> Processor<T> {
    /// A processor of `graph` that keeps its group table in `stores`. No network is touched yet.
    ///
    /// # Errors
    /// The client's configuration is wrong.
    pub fn new(
        kafka: impl IntoClient,
        graph: GroupGraph<T>,
        stores: impl StoreBuilder,
    ) -> Result<Processor<T>, ConfigError> {
        let client = kafka.into_client()?;
        Ok(Processor {
            client,
            graph,
            stores: Arc::new(stores),
            config: ProcessorConfig::default(),
        })
    }

    /// Replaces the default configuration.
    pub fn with_config(mut self, config: ProcessorConfig) -> Processor<T> {
        self.config = config;
        self
    }

    /// Checks and creates topics, joins the group and starts working. Returns once the group is being joined; await
    /// [`Running::ready`] for recovered tables.
    ///
    /// # Errors
    /// The configuration is wrong, a topic is missing or not as needed, or no broker answers.
    pub async fn start(self) -> Result<Running<T>, RunError> {
        let table_codec = self.graph.table_codec().clone();
        let started = driver::start(self.client, self.graph.core().clone(), self.stores, self.config).await?;
        Ok(Running::new(started, table_codec))
    }
}
