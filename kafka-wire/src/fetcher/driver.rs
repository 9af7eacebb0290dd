//! Moves requests, answers and time around the [`Schedule`]: one task per fetcher.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::FetcherConfig;
use super::memory::{FetchMemory, Held};
use super::partition_fetch::Shelf;
use super::position::{OffsetReset, StartOffset};
use super::schedule::{Event, Schedule};
use super::wire::{Answer, Kind, Lane, Request};
use crate::client::{Client, ConnectionClass, FetchLanes};
use crate::connection::{CallError, CallErrorKind};
use crate::protocol::TopicPartition;

/// What readers tell the driver.
#[derive(Debug)]
pub(super) enum Command {
    Added {
        id: u64,
        topic_partition: TopicPartition,
        start: StartOffset,
        reset: OffsetReset,
        shelf: Arc<Shelf>,
    },
    Removed {
        id: u64,
    },
    Paused {
        id: u64,
        paused: bool,
    },
    Taken {
        id: u64,
        bytes: usize,
    },
}

/// What the driver waited for.
enum Done {
    Answer(u64, Result<Answer, CallError>, Held),
    LookedUp(Arc<str>, Result<(), CallError>),
}

/// Starts the task of a fetcher. It ends when the fetcher and every reader is dropped.
pub(super) fn start(
    client: Client,
    config: FetcherConfig,
    memory: Arc<FetchMemory>,
    commands: mpsc::UnboundedReceiver<Command>,
) {
    let largest = client.config().connection.max_response_bytes;
    let machine = Schedule::new(
        config.clone(),
        (largest, memory.limit()),
        client.cluster(),
        client.jitter(),
    );
    let surroundings = client.clone();
    let driver = Driver {
        lanes: client.fetch_lanes(),
        client,
        config,
        memory,
        commands,
        machine,
        shelves: BTreeMap::new(),
        looking_up: HashSet::new(),
        calls: JoinSet::new(),
    };
    tokio::spawn(surroundings.task(driver.run()));
}

struct Driver {
    client: Client,
    /// Connections of this fetcher alone: brokers answer the requests of one connection in turn, and fetches wait.
    lanes: FetchLanes,
    config: FetcherConfig,
    memory: Arc<FetchMemory>,
    commands: mpsc::UnboundedReceiver<Command>,
    machine: Schedule,
    shelves: BTreeMap<u64, Arc<Shelf>>,
    looking_up: HashSet<Arc<str>>,
    calls: JoinSet<Done>,
}

impl Driver {
    async fn run(mut self) {
        let mut images = self.client.subscribe();
        let mut followed = true;
        // A partition that is paused or full asks for nothing, and would not learn of it from an answer.
        let client = self.client.clone();
        let mut closed = pin!(client.closed());
        let mut closed_by = None;
        let memory = Arc::clone(&self.memory);
        loop {
            // Before the machine looks at what is in use, so that nothing released after that is missed.
            let freed = memory.freed();
            self.machine.handle_memory(memory.used());
            self.act();
            // Without a pause to wait for, the timer is far away.
            let due = self
                .machine
                .next_timeout()
                .unwrap_or_else(|| now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(done) = self.calls.join_next() => self.handle_done(done),
                changed = images.changed(), if followed => match changed {
                    Ok(()) => {
                        let image = Arc::clone(&images.borrow_and_update());
                        self.machine.handle_image(now(), image);
                    }
                    Err(_) => followed = false,
                },
                error = &mut closed, if closed_by.is_none() => closed_by = Some(error),
                () = freed, if self.machine.wants_memory() => {}
                () = tokio::time::sleep_until(due.into()) => self.machine.handle_timeout(now()),
            }
            while let Ok(command) = self.commands.try_recv() {
                self.handle_command(command);
            }
            if let Some(error) = &closed_by {
                self.machine.handle_closed(error);
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Added {
                id,
                topic_partition,
                start,
                reset,
                shelf,
            } => {
                self.shelves.insert(id, shelf);
                self.machine.handle_added(now(), id, topic_partition, (start, reset));
            }
            Command::Removed { id } => {
                self.shelves.remove(&id);
                self.machine.handle_removed(id);
            }
            Command::Paused { id, paused } => self.machine.handle_paused(id, paused),
            Command::Taken { id, bytes } => self.machine.handle_taken(id, bytes),
        }
    }

    fn handle_done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Answer(ticket, mut answer, mut held)) => {
                if let Ok(answer) = &mut answer {
                    held.resize(answer.record_bytes());
                    answer.held = Some(Arc::new(held));
                }
                self.machine.handle_answer(now(), ticket, answer);
            }
            Ok(Done::LookedUp(topic, outcome)) => {
                self.looking_up.remove(&topic);
                match outcome {
                    Err(error) if error.kind == CallErrorKind::Closed => self.machine.handle_closed(&error),
                    // The positions pause and ask again.
                    Err(error) => tracing::debug!(%topic, %error, "topic not looked up"),
                    Ok(()) => self.machine.handle_image(now(), self.client.cluster()),
                }
            }
            // A call has no reason to panic; if one does, its partitions must not wait for ever.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => tracing::debug!(%error, "a call was cut short"),
            },
        }
    }

    /// Does what the machine wants, and passes on what it says.
    fn act(&mut self) {
        loop {
            while let Some(event) = self.machine.poll_event() {
                self.handle_event(event);
            }
            let Some(request) = self.machine.poll_request(now()) else {
                return;
            };
            let (client, config, lanes) = (self.client.clone(), self.config.clone(), self.lanes.clone());
            let held = Held::new(&self.memory, request.max_bytes);
            self.calls.spawn(async move {
                let answer = call(&client, &config, &lanes, &request).await;
                Done::Answer(request.ticket, answer, held)
            });
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::TopicKnown { id, topic_id } => self.with_shelf(id, |shelf| shelf.set_topic_id(topic_id)),
            Event::Answered { id, watermarks, batch } => self.with_shelf(id, |shelf| shelf.push(watermarks, batch)),
            Event::Full { id, excess } => {
                let taken = self.shelves.get(&id).and_then(|shelf| shelf.tell_at(excess));
                if let Some(bytes) = taken {
                    self.machine.handle_taken(id, bytes);
                }
            }
            Event::Failed { id, error } => {
                if let Some(shelf) = self.shelves.remove(&id) {
                    shelf.end(Some(error));
                }
            }
            Event::LookUp { topic } => {
                if self.looking_up.insert(Arc::clone(&topic)) {
                    let client = self.client.clone();
                    self.calls.spawn(async move {
                        let outcome = client.refresh(std::slice::from_ref(&topic)).await;
                        Done::LookedUp(topic, outcome.map(drop))
                    });
                }
            }
            Event::LeaderHint {
                topic_partition,
                leader,
                epoch,
                endpoint,
            } => {
                self.client.apply_leader_hint(&topic_partition, leader, epoch, endpoint);
            }
        }
    }

    fn with_shelf(&self, id: u64, f: impl FnOnce(&Shelf)) {
        if let Some(shelf) = self.shelves.get(&id) {
            f(shelf);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Readers must not wait for what nobody fetches any more.
        for shelf in self.shelves.values() {
            shelf.end(None);
        }
    }
}

async fn call(
    client: &Client,
    config: &FetcherConfig,
    lanes: &FetchLanes,
    request: &Request,
) -> Result<Answer, CallError> {
    let node = request.node;
    match request.kind {
        Kind::Fetch { lane, wait } => {
            let class = match lane {
                Lane::Long => lanes.long(),
                Lane::Short => lanes.short(),
            };
            let (build, cap) = (|version| request.to_fetch(version, config), request.fetch_version());
            let response = client.call_with(node, class, build, Some(cap), wait).await?;
            Ok(request.fetched(response))
        }
        Kind::Offsets(_) => {
            let build = |version| request.to_list_offsets(version);
            let response = client
                .call_with(node, ConnectionClass::General, build, None, Duration::ZERO)
                .await?;
            Ok(request.listed(&response))
        }
        Kind::EpochEnds => {
            let build = |version| request.to_epoch_ends(version);
            let response = client
                .call_with(node, ConnectionClass::General, build, None, Duration::ZERO)
                .await?;
            Ok(request.epochs_ended(&response))
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
