//! Drives a view: one follower task per partition.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kafka_wire::{Client, Fetcher, FetcherConfig, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ViewConfig;
use super::running::ViewPartitionStats;
use crate::partition::RunError;
use crate::storage::StoreBuilder;
use crate::table::{
    Follower, OpenTable, Room, Table, TableAccess, TableError, TableLimits, attach, blocking, open_table,
};
use crate::topics::describe_table;

/// A started view's partitions.
pub(crate) struct StartedView {
    pub(crate) topic: Arc<str>,
    pub(crate) partitions: Vec<ViewPartition>,
}

/// One partition: its table, shared with readers, and its task.
pub(crate) struct ViewPartition {
    pub(crate) table: Arc<RwLock<Table>>,
    pub(crate) state: watch::Receiver<ViewState>,
    pub(crate) stats: Arc<Mutex<ViewPartitionStats>>,
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: watch::Sender<bool>,
}

/// Where a partition of a view stands.
#[derive(Debug, Clone)]
pub(crate) enum ViewState {
    Recovering,
    Running,
    Ended(Result<(), RunError>),
}

/// Opens every partition's store and spawns the followers.
pub(crate) async fn start(
    client: Client,
    topic: &str,
    stores: Arc<dyn StoreBuilder>,
    config: &ViewConfig,
) -> Result<StartedView, RunError> {
    let shares = config.shares()?;
    let described = describe_table(&client, topic).await?;
    let topic: Arc<str> = topic.into();
    let fetcher = FetcherConfig {
        buffer_bytes: Some(shares.fetch),
        ..config.fetcher.clone()
    };
    let fetcher = Fetcher::new(client.clone(), fetcher)?;
    let tables = described.partitions.max(1) as usize;
    let (cache_bytes, flush_bytes) = shares.per_table(tables);
    stores.set_cache_bytes(shares.per_store(tables));
    let how = OpenTable {
        client,
        stores,
        owner: config.owner.as_str().into(),
        limits: TableLimits {
            cache_bytes,
            flush_bytes,
            flush_interval: config.flush_interval,
        },
        room: Room::new(shares.room()),
        delete_retention_ms: described.delete_retention_ms,
    };
    let mut partitions = Vec::new();
    for number in 0..described.partitions {
        let mut opened = open_table(&how, TopicPartition::new(topic.clone(), number)).await?;
        let follower = Follower::new(&how, &fetcher, &mut opened.table, opened.target);
        let (state_sender, state) = watch::channel(ViewState::Recovering);
        let (stop, stopped) = watch::channel(false);
        let (table, stats) = (Arc::new(RwLock::new(opened.table)), Arc::default());
        let following = Following {
            table: table.clone(),
            follower,
            fetcher: fetcher.clone(),
            how: how.clone(),
            state: state_sender,
            stats: Arc::clone(&stats),
        };
        let task = tokio::spawn(how.client.task(following.run(stopped)));
        partitions.push(ViewPartition {
            table,
            state,
            stats,
            task,
            stop,
        });
    }
    Ok(StartedView { topic, partitions })
}

struct Following {
    table: Arc<RwLock<Table>>,
    follower: Follower,
    fetcher: Fetcher,
    how: OpenTable,
    state: watch::Sender<ViewState>,
    stats: Arc<Mutex<ViewPartitionStats>>,
}

impl Following {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        if self.follower.is_recovered() {
            self.follower.report_recovered(&mut self.table);
        }
        let result = self.follow(&mut stopped).await;
        let closed = self.close().await;
        self.state
            .send_replace(ViewState::Ended(result.and(closed).map_err(RunError::Table)));
    }

    async fn follow(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<(), TableError> {
        loop {
            self.tell();
            tokio::select! {
                biased;
                // A view that was dropped stops as well.
                _ = stopped.changed() => return Ok(()),
                result = self.follower.step(&mut self.table) => match result {
                    Err(error) if error.asks_for_judgement() => self.start_over(error).await?,
                    result => result?,
                },
            }
        }
    }

    /// The changelog no longer has what comes next: judge the store anew and go on from there.
    async fn start_over(&mut self, error: TableError) -> Result<(), TableError> {
        tracing::warn!(%error, "the changelog moved on while it was read; starting over");
        self.state.send_replace(ViewState::Recovering);
        self.follower.settle(&mut self.table).await?;
        let (tp, store) = self
            .table
            .with(|table| (table.topic_partition().clone(), table.store().clone()));
        let mut opened = attach(&self.how, tp, store).await?;
        self.follower = Follower::new(&self.how, &self.fetcher, &mut opened.table, opened.target);
        self.table.with(|table| *table = opened.table);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TableError> {
        self.follower.flush_all(&mut self.table).await?;
        let (tp, store) = self
            .table
            .with(|table| (table.topic_partition().clone(), table.store().clone()));
        blocking(store.may_block(), move || store.close())
            .await
            .map_err(|error| TableError::store(&tp, error))
    }

    fn tell(&mut self) {
        let (position, overlay_bytes) = self.table.with(|table| (table.position(), table.bytes_above()));
        let stats = ViewPartitionStats {
            recovered: self.follower.is_recovered(),
            recovery: Some(self.follower.progress()),
            position,
            lag: self.follower.lag(position),
            overlay_bytes,
        };
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        // Last: whoever waited for it finds the statistics of a recovered table.
        if stats.recovered && matches!(*self.state.borrow(), ViewState::Recovering) {
            self.state.send_replace(ViewState::Running);
        }
    }
}
