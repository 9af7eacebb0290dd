//! Drives a processor: membership events, tasks, commits and the user's commands. One task owns it all.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use group_coordinator::{CommitError, CommitErrorKind, GroupConfig, GroupMember, MembershipEvent, Offsets};
use kafka_wire::{Client, Fetcher, Producer, TopicPartition};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::ProcessorConfig;
use super::assignment::tasks;
use super::commits::Commits;
use super::launch::{Launch, OffsetsFound};
use super::running::{Command, Phase, ProcessorStats, Started};
use crate::graph::GroupGraphCore;
use crate::partition::{Close, Control, PartitionState, RunError, TaskHandle};
use crate::storage::StoreBuilder;
use crate::table::Room;
use crate::topics::prepare;

/// How long a stop waits for the coordinator's word: leaving saves the others the session timeout, nothing more.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Checks topics, joins the group and spawns the driver.
pub(crate) async fn start(
    client: Client,
    graph: Arc<GroupGraphCore>,
    stores: Arc<dyn StoreBuilder>,
    mut config: ProcessorConfig,
) -> Result<Started, RunError> {
    config.validate()?;
    let shares = config.shares(graph.table_topic().is_some())?;
    config.producer.buffer_bytes = Some(shares.producer);
    config.fetcher.buffer_bytes = Some(shares.fetch);
    let topics = prepare(&client, &graph, &config.topics).await?;
    let producer = Producer::new(client.clone(), config.producer.clone())?;
    let member = GroupMember::join(client.clone(), group_config(&graph, &config))?;
    let (command_sender, commands) = mpsc::unbounded_channel();
    let (phase_sender, phase) = watch::channel(Phase::Starting);
    let (changed_sender, changed) = mpsc::unbounded_channel();
    let mut commit_timer = tokio::time::interval(config.commit_interval);
    commit_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (group, partitions) = (graph.group().clone(), topics.partitions);
    let input_fetcher = Fetcher::new(client.clone(), config.fetcher.clone())?;
    let surroundings = client.clone();
    let launch = Launch {
        table_fetcher: input_fetcher.beside(),
        input_fetcher,
        room: Room::new(shares.room()),
        shares,
        client,
        graph,
        stores,
        config,
        topics,
        producer,
        lease: member.lease(),
        changed: changed_sender,
    };
    let driver = Driver {
        launch,
        commits: Commits::new(member.offsets()),
        member: Some(member),
        generation: -1,
        assigning: None,
        tasks: BTreeMap::new(),
        commit_timer,
        commands,
        phase: phase_sender,
        changed,
    };
    let driver = tokio::spawn(surroundings.task(driver.run()));
    Ok(Started {
        group,
        partitions,
        commands: command_sender,
        phase,
        driver,
    })
}

fn group_config(graph: &GroupGraphCore, config: &ProcessorConfig) -> GroupConfig {
    let topics = graph.input_topics().iter().map(ToString::to_string);
    let mut group = GroupConfig::new(graph.group().to_string(), topics);
    group.session_timeout = config.session_timeout;
    group.heartbeat_interval = config.heartbeat_interval;
    group.rebalance_timeout = config.rebalance_timeout;
    group
}

struct Driver {
    launch: Launch,
    commits: Commits,
    /// Taken when the group is left.
    member: Option<GroupMember>,
    generation: i32,
    /// An assignment whose committed offsets are being asked for.
    assigning: Option<Assigning>,
    tasks: BTreeMap<i32, TaskHandle>,
    commit_timer: Interval,
    commands: mpsc::UnboundedReceiver<Command>,
    phase: watch::Sender<Phase>,
    changed: mpsc::UnboundedReceiver<i32>,
}

struct Assigning {
    numbers: Vec<i32>,
    committed: JoinHandle<Result<Option<OffsetsFound>, CommitError>>,
}

impl Drop for Assigning {
    fn drop(&mut self) {
        self.committed.abort();
    }
}

impl Driver {
    async fn run(mut self) {
        let result = self.work().await;
        if let Err(error) = &result {
            tracing::error!(group = self.group(), %error, "processor ends");
        }
        let ended = self.end().await;
        let result = result.and(ended);
        tracing::info!(group = self.group(), clean = result.is_ok(), "processor ended");
        self.phase.send_replace(Phase::Ended(result));
    }

    fn group(&self) -> &str {
        self.launch.graph.group()
    }

    async fn work(&mut self) -> Result<(), RunError> {
        loop {
            tokio::select! {
                biased;
                // What the user asks for comes last: the rest is never busy for long.
                event = next_event(&mut self.member) => self.handle_event(event).await?,
                committed = offsets_found(&mut self.assigning) => self.start_tasks(committed?)?,
                Some(partition) = self.changed.recv() => self.handle_change(partition).await?,
                done = self.commits.done() => self.commits.handle(done),
                _ = self.commit_timer.tick() => self.commits.start(committable(&self.tasks)),
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => return Ok(()),
                    Some(command) => self.handle_command(command),
                },
            }
        }
    }

    async fn handle_event(&mut self, event: MembershipEvent) -> Result<(), RunError> {
        match event {
            MembershipEvent::Assigned { generation, partitions } => {
                self.assign(generation, partitions);
                Ok(())
            }
            MembershipEvent::Revoke { partitions } => {
                tracing::info!(group = self.group(), count = partitions.len(), "partitions revoked");
                let result = self.close_tasks(Close::Drain).await;
                if let Some(member) = &self.member {
                    member.revocation_complete();
                }
                result
            }
            MembershipEvent::Lost { partitions, reason } => {
                tracing::warn!(group = self.group(), count = partitions.len(), %reason, "partitions lost");
                self.close_tasks(Close::Abandon).await
            }
            MembershipEvent::Failed(error) => Err(error.into()),
        }
    }

    /// Asks for the committed offsets of the partition numbers that are wholly ours. Only then is any table's end asked for: what
    /// was committed is in the table then (KAFKA-10167).
    fn assign(&mut self, generation: i32, partitions: Vec<TopicPartition>) {
        self.generation = generation;
        let tasks = tasks(self.launch.graph.input_topics(), &partitions);
        for (number, missing) in &tasks.incomplete {
            tracing::warn!(
                group = self.group(),
                partition = number,
                ?missing,
                "not run: its other inputs were not assigned with it"
            );
        }
        tracing::info!(group = self.group(), generation, partitions = ?tasks.complete, "partitions assigned");
        let committed = match &self.member {
            Some(member) => tokio::spawn(committed(member.offsets(), partitions)),
            None => return,
        };
        self.assigning = Some(Assigning {
            numbers: tasks.complete,
            committed,
        });
    }

    /// Starts a task for each partition number of the assignment; without offsets the group moved on and will say how.
    fn start_tasks(&mut self, (numbers, committed): (Vec<i32>, Option<OffsetsFound>)) -> Result<(), RunError> {
        let Some(committed) = committed else { return Ok(()) };
        self.commits.begin(self.generation, &committed);
        self.tasks
            .extend(self.launch.start(&numbers, self.generation, &committed));
        self.tell_phase();
        Ok(())
    }

    /// A task changed its state; one that ended without being asked is the processor's end.
    async fn handle_change(&mut self, partition: i32) -> Result<(), RunError> {
        let state = self.tasks.get(&partition).map(|task| task.progress.stats().state);
        if state == Some(PartitionState::Closed)
            && let Some(task) = self.tasks.remove(&partition)
        {
            let result = task_result(partition, task.join.await);
            // What it finished may be committed even if it then failed.
            self.commits.finish(task.progress.committable().into_iter()).await;
            result?;
        }
        self.tell_phase();
        Ok(())
    }

    fn tell_phase(&self) {
        let running = |task: &TaskHandle| task.progress.stats().state == PartitionState::Running;
        if self.generation >= 0 && self.assigning.is_none() && self.tasks.values().all(running) {
            self.phase.send_if_modified(|phase| {
                let modified = matches!(phase, Phase::Starting);
                *phase = Phase::Ready;
                modified
            });
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Get { partition, key, reply } => {
                if let Some(task) = self.tasks.get(&partition) {
                    // An ended task drops the reply, which says that the partition is not here.
                    let _ = task.control.send(Control::Get { key, reply });
                }
            }
            Command::Stats { reply } => {
                // Nobody waits any more: fine.
                let _ = reply.send(self.stats());
            }
            Command::Stop => {}
        }
    }

    fn stats(&self) -> ProcessorStats {
        let tasks = self.tasks.iter();
        ProcessorStats {
            group: self.group().to_owned(),
            generation: self.generation,
            partitions: tasks.map(|(number, task)| (*number, task.progress.stats())).collect(),
        }
    }

    /// Ends all tasks and waits for them; what drained ones finished is committed, lost ones are another member's matter.
    async fn close_tasks(&mut self, close: Close) -> Result<(), RunError> {
        self.phase.send_replace(Phase::Starting);
        self.assigning = None;
        for task in self.tasks.values() {
            // Ended already: its result tells.
            let _ = task.control.send(Control::Close(close));
        }
        let mut result = Ok(());
        for (partition, task) in &mut self.tasks {
            result = result.and(task_result(*partition, (&mut task.join).await));
        }
        if close == Close::Drain {
            self.commits.finish(committable(&self.tasks)).await;
        }
        self.commits.forget();
        self.tasks.clear();
        result
    }

    async fn end(&mut self) -> Result<(), RunError> {
        let drained = self.close_tasks(Close::Drain).await;
        if let Some(member) = self.member.take() {
            match tokio::time::timeout(LEAVE_PATIENCE, member.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(group = self.group(), %error, "group not left in order; it will notice by itself");
                }
                Err(_) => tracing::warn!(
                    group = self.group(), waited = ?LEAVE_PATIENCE,
                    "the group's coordinator does not answer; it will notice by itself that this member left"
                ),
            }
        }
        let closed = self.launch.producer.close().await.map_err(RunError::from);
        drained.and(closed)
    }
}

fn committable(tasks: &BTreeMap<i32, TaskHandle>) -> impl Iterator<Item = (TopicPartition, i64)> {
    tasks.values().flat_map(|task| task.progress.committable())
}

/// The committed offsets; `None` if the group moved on meanwhile, and what it says next decides.
async fn committed(offsets: Offsets, partitions: Vec<TopicPartition>) -> Result<Option<OffsetsFound>, CommitError> {
    loop {
        let error = match offsets.committed(&partitions).await {
            Ok(committed) => return Ok(Some(committed)),
            Err(error) => error,
        };
        tracing::warn!(%error, "committed offsets not read");
        match error.kind {
            CommitErrorKind::Timeout(_) => {}
            CommitErrorKind::NotAssigned | CommitErrorKind::Rebalanced(_) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// The answer to the assignment in `slot`, which is then empty; waits for ever if there is none. Cancel-safe.
async fn offsets_found(slot: &mut Option<Assigning>) -> Result<(Vec<i32>, Option<OffsetsFound>), RunError> {
    let Some(assigning) = slot.as_mut() else {
        return std::future::pending().await;
    };
    let joined = (&mut assigning.committed).await;
    let numbers = std::mem::take(&mut assigning.numbers);
    *slot = None;
    match joined {
        Ok(found) => Ok((numbers, found?)),
        Err(error) => Err(RunError::Task {
            partition: -1,
            message: error.to_string(),
        }),
    }
}

/// The next membership event; waits for ever once the group was left. Cancel-safe.
async fn next_event(member: &mut Option<GroupMember>) -> MembershipEvent {
    match member {
        Some(member) => member.next_event().await,
        None => std::future::pending().await,
    }
}

fn task_result(partition: i32, joined: Result<Result<(), RunError>, tokio::task::JoinError>) -> Result<(), RunError> {
    joined.unwrap_or_else(|error| {
        Err(RunError::Task {
            partition,
            message: error.to_string(),
        })
    })
}
