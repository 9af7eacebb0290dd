//! Moves bytes and time between sockets and [`BrokerCore`]; decides nothing.
//!
//! ```text
//!   door (one task per node) ---- accept ----> connection (one task each) <---- MemoryConnector
//!                                                 | frames        ^ outputs
//!                                                 v               |
//!                                          Hub: BrokerCore behind a lock
//!                                                 ^
//!   clock (one task) ---- next_timeout, handle_timeout
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

mod clock;
mod connection;
mod door;
mod memory;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

pub(super) use self::door::bind;
pub(super) use self::memory::MemoryConnector;
use super::core::{BrokerCore, ConnectionId, Output};

/// What all tasks of a cluster share.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    tasks: Mutex<JoinSet<()>>,
    /// The next timeout may have changed.
    timer: Notify,
    /// Counts changes of who accepts connections.
    doors: watch::Sender<u64>,
    request_max_bytes: u32,
}

#[derive(Debug)]
struct State {
    core: BrokerCore,
    outboxes: HashMap<ConnectionId, mpsc::UnboundedSender<Output>>,
}

impl Hub {
    pub(super) fn new(core: BrokerCore, request_max_bytes: u32) -> Arc<Self> {
        let hub = Arc::new(Self {
            state: Mutex::new(State {
                core,
                outboxes: HashMap::new(),
            }),
            tasks: Mutex::new(JoinSet::new()),
            timer: Notify::new(),
            doors: watch::Sender::new(0),
            request_max_bytes,
        });
        hub.spawn(clock::run(Arc::clone(&hub)));
        hub
    }

    /// Gives the core an input, then hands out what came of it.
    pub(super) fn with<R>(&self, input: impl FnOnce(&mut BrokerCore, Instant) -> R) -> R {
        let mut state = self.lock();
        let result = input(&mut state.core, tokio::time::Instant::now().into_std());
        while let Some(output) = state.core.poll_response() {
            if let Some(outbox) = state.outboxes.get(&output.connection) {
                // A connection that is just ending no longer listens.
                drop(outbox.send(output));
            }
        }
        drop(state);
        self.timer.notify_one();
        result
    }

    /// Tells the doors to look again who accepts connections.
    pub(super) fn doors_changed(&self) {
        self.doors.send_modify(|changes| *changes += 1);
    }

    /// Opens a connection to a node, unless it refuses.
    fn open(&self, node: i32) -> Option<(ConnectionId, mpsc::UnboundedReceiver<Output>)> {
        let mut state = self.lock();
        let connection = state.core.handle_connected(node)?;
        let (outbox, outputs) = mpsc::unbounded_channel();
        state.outboxes.insert(connection, outbox);
        Some((connection, outputs))
    }

    fn close(&self, connection: ConnectionId) {
        self.with(|core, now| core.handle_disconnected(now, connection));
        self.lock().outboxes.remove(&connection);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends every task: doors shut, connections break off.
    pub(super) fn abort(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Ends every task and waits until they are gone.
    pub(super) async fn shut_down(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
