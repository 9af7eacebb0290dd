//! Starting a task: its store is opened and its table recovered before it takes any input.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::sync::Arc;
use std::time::Duration;

use group_coordinator::Lease;
use kafka_wire::{Client, Fetcher, OffsetReset, Producer, StartOffset, TopicPartition};
use tokio::sync::mpsc;

use super::error::RunError;
use super::run::Task;
use super::state::{Close, Control, PartitionState, Progress, TaskHandle};
use super::writers::OutputTopic;
use crate::graph::{GroupGraphCore, InputEdge};
use crate::table::{Follower, OpenTable, OpenedTable, Table, TableError, attach, blocking, open_table};

/// Everything a task needs to start.
pub(crate) struct Start {
    pub(crate) partition: i32,
    pub(crate) client: Client,
    pub(crate) graph: Arc<GroupGraphCore>,
    /// Inputs with the offset to start from.
    pub(crate) inputs: Vec<(InputEdge, StartOffset)>,
    pub(crate) offset_reset: OffsetReset,
    pub(crate) outputs: Vec<OutputTopic>,
    /// The changelog topic and how to open its tables, if the graph persists one.
    pub(crate) table: Option<(Arc<str>, OpenTable)>,
    pub(crate) input_fetcher: Fetcher,
    pub(crate) table_fetcher: Fetcher,
    pub(crate) producer: Producer,
    pub(crate) linger: Duration,
    /// How long the changelog may do without rows that are overwritten meanwhile, if the graph coalesces them.
    pub(crate) window: Option<Duration>,
    pub(crate) lease: Lease,
    /// The group's generation in which the partition is ours.
    pub(crate) generation: i32,
    /// Told when the partition's state changes.
    pub(crate) changed: mpsc::UnboundedSender<i32>,
}

/// Spawns the task.
pub(crate) fn start_task(start: Start) -> TaskHandle {
    let inputs = start
        .inputs
        .iter()
        .map(|(edge, _)| TopicPartition::new(edge.topic.clone(), start.partition))
        .collect();
    let progress = Progress::new(inputs);
    let (control, commands) = mpsc::unbounded_channel();
    let client = start.client.clone();
    let task = Opening {
        start,
        progress: progress.clone(),
        control: commands,
    };
    TaskHandle {
        control,
        progress,
        join: tokio::spawn(client.task(task.run())),
    }
}

/// A task whose table is not ready yet.
pub(super) struct Opening {
    pub(super) start: Start,
    pub(super) progress: Arc<Progress>,
    pub(super) control: mpsc::UnboundedReceiver<Control>,
}

impl Opening {
    async fn run(mut self) -> Result<(), RunError> {
        let _ended = Ended {
            progress: self.progress.clone(),
            changed: self.start.changed.clone(),
            partition: self.start.partition,
        };
        let mut table = None;
        if let Some((topic, how)) = self.start.table.clone() {
            let tp = TopicPartition::new(topic, self.start.partition);
            self.enter(PartitionState::Opening);
            let opened = open_table(&how, tp).await?;
            match self.recover(&how, opened).await? {
                Some(recovered) => table = Some(recovered),
                None => return Ok(()),
            }
        }
        Task::new(self, table).run().await
    }

    /// Recovers; `None` if the task was asked to end meanwhile.
    async fn recover(&mut self, how: &OpenTable, opened: OpenedTable) -> Result<Option<Table>, RunError> {
        self.enter(PartitionState::Recovering);
        let mut recovering = Recovering::new(how, &self.start.table_fetcher, opened);
        loop {
            let progress = recovering.follower.progress();
            self.progress
                .update(|stats| stats.table.get_or_insert_default().recovery = Some(progress));
            if recovering.follower.is_recovered() {
                return Ok(Some(recovering.finish().await?));
            }
            tokio::select! {
                biased;
                command = self.control.recv() => match command {
                    None => return Ok(None),
                    Some(Control::Close(how)) => {
                        recovering.end(how).await?;
                        return Ok(None);
                    }
                    Some(Control::Get { reply, .. }) => drop(reply),
                },
                result = recovering.step(&self.start.table_fetcher, how) => result?,
            }
        }
    }

    fn enter(&self, state: PartitionState) {
        self.progress.update(|stats| stats.state = state);
        let _ = self.start.changed.send(self.start.partition);
    }
}

/// Tells that the task has ended, however it did: by an error at any stage, by a panic.
struct Ended {
    progress: Arc<Progress>,
    changed: mpsc::UnboundedSender<i32>,
    partition: i32,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.progress.update(|stats| stats.state = PartitionState::Closed);
        // The processor may be gone already; then nobody needs to know.
        let _ = self.changed.send(self.partition);
    }
}

/// A table and its follower, on the way to the target.
pub(super) struct Recovering {
    table: Table,
    pub(super) follower: Follower,
}

impl Recovering {
    pub(super) fn new(how: &OpenTable, fetcher: &Fetcher, opened: OpenedTable) -> Recovering {
        let mut table = opened.table;
        let follower = Follower::new(how, fetcher, &mut table, opened.target);
        if follower.is_recovered() {
            follower.report_recovered(&mut table);
        }
        Recovering { table, follower }
    }

    /// One step; a follower that fell off the log starts over with the store judged anew.
    pub(super) async fn step(&mut self, fetcher: &Fetcher, how: &OpenTable) -> Result<(), TableError> {
        match self.follower.step(&mut self.table).await {
            Err(error) if error.asks_for_judgement() => {
                tracing::warn!(%error, "the changelog moved on while it was read; starting over");
                self.follower.settle(&mut self.table).await?;
                let opened = attach(how, self.table.topic_partition().clone(), self.table.store().clone()).await?;
                *self = Recovering::new(how, fetcher, opened);
                Ok(())
            }
            result => result,
        }
    }

    /// The recovered table; a flush under way is waited for.
    pub(super) async fn finish(mut self) -> Result<Table, TableError> {
        self.follower.settle(&mut self.table).await?;
        self.table.forget_leader_epoch();
        Ok(self.table)
    }

    pub(super) async fn end(mut self, how: Close) -> Result<(), TableError> {
        match how {
            // What was read is the changelog's own: keeping it saves reading it again.
            Close::Drain => self.follower.flush_all(&mut self.table).await?,
            Close::Abandon => self.follower.settle(&mut self.table).await?,
        }
        close_store(&self.table).await
    }
}

pub(super) async fn close_store(table: &Table) -> Result<(), TableError> {
    let store = table.store().clone();
    blocking(store.may_block(), move || store.close())
        .await
        .map_err(|error| TableError::store(table.topic_partition(), error))
}
