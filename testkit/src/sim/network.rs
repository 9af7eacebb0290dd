//! The network between processes and brokers: who reaches whom, and what becomes of each frame.
//!
//! Decides; the bytes are moved by [`super::link`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::chance::Chance;
use super::leases::Leases;
use super::owners::Owners;
use super::plan::{LinkRates, Plan};
use super::trace::Trace;
use super::writes::Writes;

/// The direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// To the broker.
    Up,
    /// To the process.
    Down,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Arrives,
    /// Byte by byte.
    Dribbles,
    /// So many bytes arrive, then the connection is gone.
    CutAfter(usize),
    /// It is lost, as everything after it on this connection, and nobody is told.
    Lost,
}

/// Shared by all links.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) trace: Trace,
    /// Who owned which partition when.
    pub(super) owners: Owners,
    /// Until when who may write.
    pub(super) leases: Leases,
    /// Who wrote what.
    pub(super) writes: Writes,
    request_timeout: Duration,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    rates: LinkRates,
    /// Directions in which nothing gets through for now.
    blocked: BTreeSet<(u32, i32, Way)>,
    next_connection: u64,
    connections: BTreeMap<u64, Arc<Connection>>,
}

/// One connection of a process with a broker.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) process: u64,
    pub(super) node: i32,
    cut: Notify,
    pub(super) state: Mutex<ConnectionState>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
    pub(super) sent_at: Duration,
}

#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    pub(super) is_cut: bool,
    pub(super) is_silent: bool,
    /// Requests whose answers are to come, in their order.
    pub(super) asked: VecDeque<Asked>,
    /// The second of the run, and the requests in it so far.
    pub(super) busy: (u64, u32),
}

impl Connection {
    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cut(&self) {
        self.lock().is_cut = true;
        self.cut.notify_waiters();
    }

    pub(super) async fn was_cut(&self) {
        let mut cut = std::pin::pin!(self.cut.notified());
        cut.as_mut().enable();
        if !self.lock().is_cut {
            cut.await;
        }
    }
}

impl Network {
    pub(super) fn new(plan: &Plan, trace: Trace) -> Arc<Network> {
        Arc::new(Network {
            trace,
            owners: Owners::default(),
            leases: Leases::new(plan.processor.session_timeout),
            writes: Writes::default(),
            request_timeout: plan.request_timeout,
            state: Mutex::new(State {
                chance: Chance::new(plan.seed, 2),
                rates: plan.link,
                blocked: BTreeSet::new(),
                next_connection: 0,
                connections: BTreeMap::new(),
            }),
            changed: Notify::new(),
        })
    }

    /// How long it takes to connect.
    pub(super) fn connect_delay(&self) -> Duration {
        let mut state = self.lock();
        let most = state.rates.delay_ms;
        state.chance.millis(0, most)
    }

    pub(super) fn connected(&self, process: u64, node: i32) -> Arc<Connection> {
        let mut state = self.lock();
        let number = state.next_connection;
        state.next_connection += 1;
        let connection = Arc::new(Connection {
            number,
            process,
            node,
            cut: Notify::new(),
            state: Mutex::default(),
        });
        state.connections.insert(number, Arc::clone(&connection));
        connection
    }

    pub(super) fn disconnected(&self, connection: &Connection) {
        self.lock().connections.remove(&connection.number);
    }

    /// Draws what becomes of a frame.
    pub(super) fn fate(&self, way: Way, length: usize) -> Fate {
        let mut state = self.lock();
        let State { chance, rates, .. } = &mut *state;
        let mut delay = chance.millis(0, rates.delay_ms);
        if chance.per_mille(rates.slow) {
            self.trace.met("slow frame");
            delay += chance.millis(20, 700);
        }
        let mut end = End::Arrives;
        if chance.per_mille(rates.dribble) && length < 4096 {
            self.trace.met("byte by byte");
            end = End::Dribbles;
        }
        if chance.per_mille(rates.cut) {
            let bytes = chance.pick(&[0, length / 2, length]).unwrap_or(0);
            self.trace.met("connection cut");
            end = End::CutAfter(bytes);
        }
        if way == Way::Down {
            if chance.per_mille(rates.lose_answer) {
                self.trace.met("answer lost after the request was carried out");
                end = End::CutAfter(0);
            } else if chance.per_mille(rates.late_answer) {
                self.trace.met("answer later than the time-out");
                delay += self.request_timeout + chance.millis(0, 2000);
            }
        }
        if chance.per_mille(rates.half_open) {
            self.trace.met("connection half open");
            end = End::Lost;
        }
        Fate { delay, end }
    }

    /// Blocks a direction, or lets it work again.
    pub(super) fn block(&self, who: u32, node: i32, way: Way, blocked: bool) {
        let mut state = self.lock();
        if blocked {
            state.blocked.insert((who, node, way));
        } else {
            state.blocked.remove(&(who, node, way));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until a direction works.
    pub(super) async fn passable(&self, who: u32, node: i32, way: Way) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.lock().blocked.contains(&(who, node, way)) {
                return;
            }
            changed.await;
        }
    }

    /// Cuts the connections that fit.
    pub(super) fn cut(&self, fits: impl Fn(&Connection) -> bool) -> usize {
        let connections: Vec<_> = self.lock().connections.values().cloned().collect();
        let cut = connections.iter().filter(|connection| fits(connection));
        cut.map(|connection| connection.cut()).count()
    }

    /// From now on everything works. Connections that nobody would ever end are ended.
    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.rates = LinkRates {
            delay_ms: state.rates.delay_ms,
            ..LinkRates::default()
        };
        state.blocked.clear();
        drop(state);
        self.changed.notify_waiters();
        self.cut(|connection| connection.lock().is_silent);
    }

    pub(super) fn open_connections(&self) -> usize {
        self.lock().connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
