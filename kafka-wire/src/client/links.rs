//! The connections of a client: at most one per destination and class, opened once and shared.
//!
//! ```text
//!  Idle --start--> Opening --handle_opened--> Open --closed, or the address changed--> Idle
//!                     \--handle_failed--> Idle, longer pause
//! ```
//!
//! A pure table: it says what to do, the driver opens sockets. A connection that ended soon after it opened counts as a failure,
//! so that a broker which accepts and drops is not hammered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ConnectionClass;
use crate::config::ConnectionConfig;
use crate::connection::{Backoff, BrokerAddress, CallError, Connection, Jitter};

/// Where a connection leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Destination {
    /// A bootstrap address, by its place in the configuration.
    Bootstrap(usize),
    /// A broker of the cluster image.
    Node(i32),
}

/// The outcome of an attempt, for everybody who waits for it.
pub(super) type Outcome = watch::Receiver<Option<Result<Connection, CallError>>>;

/// What somebody who wants a connection gets.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Here it is.
    Open(Connection),
    /// An attempt is under way.
    Wait(Outcome),
    /// The caller has to make the attempt, after this pause.
    Start(watch::Sender<Option<Result<Connection, CallError>>>, Outcome, Duration),
}

/// Every connection of a client.
#[derive(Debug)]
pub(super) struct Links {
    config: ConnectionConfig,
    links: BTreeMap<(Destination, ConnectionClass), Link>,
}

#[derive(Debug)]
struct Link {
    address: Arc<BrokerAddress>,
    backoff: Backoff,
    state: LinkState,
}

#[derive(Debug)]
enum LinkState {
    Idle,
    Opening(Outcome),
    Open(Connection, Instant),
}

impl Links {
    /// No connection yet.
    pub(super) fn new(config: ConnectionConfig) -> Self {
        Self {
            config,
            links: BTreeMap::new(),
        }
    }

    /// Somebody wants a connection to `address`.
    pub(super) fn handle_wanted(
        &mut self,
        now: Instant,
        key: (Destination, ConnectionClass),
        address: &Arc<BrokerAddress>,
        jitter: &mut Jitter,
    ) -> Wanted {
        let config = &self.config;
        let fresh = || Link {
            address: Arc::clone(address),
            backoff: Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max),
            state: LinkState::Idle,
        };
        let link = self.links.entry(key).or_insert_with(fresh);
        if link.address != *address {
            *link = fresh();
        }
        match &link.state {
            LinkState::Open(connection, _) if !connection.is_closed() => return Wanted::Open(connection.clone()),
            // Past a failed attempt nobody has cleared away (its task was aborted) a new one starts.
            LinkState::Opening(outcome) if outcome.has_changed().is_ok() => return Wanted::Wait(outcome.clone()),
            LinkState::Open(_, since) if now < *since + config.reconnect_backoff_max => {
                link.backoff.handle_failure(now, jitter);
            }
            LinkState::Open(..) => link.backoff.handle_success(),
            LinkState::Idle | LinkState::Opening(_) => {}
        }
        let (teller, outcome) = watch::channel(None);
        link.state = LinkState::Opening(outcome.clone());
        Wanted::Start(teller, outcome, link.backoff.pause(now))
    }

    /// The attempt for `address` ended. News about an address that has changed meanwhile is not kept.
    pub(super) fn handle_outcome(
        &mut self,
        now: Instant,
        key: (Destination, ConnectionClass),
        address: &Arc<BrokerAddress>,
        outcome: Option<&Connection>,
        jitter: &mut Jitter,
    ) {
        let Some(link) = self.links.get_mut(&key).filter(|link| link.address == *address) else {
            return;
        };
        link.state = match outcome {
            Some(connection) => LinkState::Open(connection.clone(), now),
            None => {
                link.backoff.handle_failure(now, jitter);
                LinkState::Idle
            }
        };
    }

    /// An open connection for general use to any broker but the `silent`; bootstrap connections only when there is no other.
    pub(super) fn any_open(&self, silent: &[BrokerAddress], jitter: &mut Jitter) -> Option<Connection> {
        let open = |bootstrap: bool| {
            self.links
                .iter()
                .filter_map(move |(&(to, class), link)| match &link.state {
                    LinkState::Open(connection, _)
                        if class == ConnectionClass::General
                            && matches!(to, Destination::Bootstrap(_)) == bootstrap
                            && !connection.is_closed()
                            && !link.address.is_among(silent) =>
                    {
                        Some(connection)
                    }
                    _ => None,
                })
        };
        let bootstrap = open(false).next().is_none();
        let count = open(bootstrap).count();
        open(bootstrap).nth(jitter.below(count)).cloned()
    }

    /// Gives up the connections of some classes; the driver closes them.
    pub(super) fn give_up(&mut self, classes: &[ConnectionClass]) -> Vec<Connection> {
        let given = self.links.extract_if(.., |(_, class), _| classes.contains(class));
        given.filter_map(|(_, link)| link.into_open()).collect()
    }

    /// Gives up every connection; the driver closes them.
    pub(super) fn drain(&mut self) -> Vec<Connection> {
        let links = std::mem::take(&mut self.links);
        links.into_values().filter_map(Link::into_open).collect()
    }
}

impl Link {
    fn into_open(self) -> Option<Connection> {
        match self.state {
            LinkState::Open(connection, _) => Some(connection),
            LinkState::Idle | LinkState::Opening(_) => None,
        }
    }
}
