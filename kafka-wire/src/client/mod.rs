//! Whom to talk to: one [`Client`] stands for a cluster.
//!
//! It keeps connections (four classes per broker, opened when first needed), the picture of the cluster, and the coordinators.
//! Producers, fetchers, group members and the admin share one client through its clones. Nothing happens before the first call;
//! all tasks end when the last clone is dropped or the client is closed.
//!
//! Patience: `connection` and `call` make one attempt, paced by the back-off of that broker, because the caller knows whether
//! waiting or another broker is better. `call_any`, `coordinator` and `refresh` go on, from broker to broker and back to the
//! bootstrap addresses, until the request timeout has passed.

mod any_broker;
mod coordinator;
mod driver;
mod lanes;
mod links;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::Request;
use tokio::sync::watch;

use crate::cluster::{ClusterImage, CoordinatorKind, LeaderHint};
use crate::config::{ClientConfig, ConfigError};
use crate::connection::{BrokerAddress, CallError, Connection, Jitter};
use crate::protocol::TopicPartition;
use crate::transport::{Connector, TcpConnector};

use driver::Core;
pub(crate) use lanes::FetchLanes;
pub use lanes::GroupLane;
use links::Destination;

/// What a connection is used for. Requests that wait long at the broker must not hold up others behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionClass {
    /// Metadata, coordinators, offsets, heartbeats, admin.
    General,
    /// Produce.
    Produce,
    /// Fetch: waits at the broker for data, and the broker answers the requests of one connection in turn. Each lane of each
    /// fetcher has its own; see `FetchLanes`.
    Fetch(u64),
    /// JoinGroup and SyncGroup: wait at the broker for the other members. Each member has its own; see [`GroupLane`].
    GroupBlocking(u64),
}

/// A Kafka cluster, as seen by one application. Clones share everything.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bootstrap", &self.core.config.bootstrap)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client over TCP. No IO happens here.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Self::with_connector(config, Arc::new(TcpConnector))
    }

    /// A client over streams of another kind: TLS, or in memory.
    ///
    /// # Errors
    /// Names the setting that cannot work.
    pub fn with_connector(config: ClientConfig, connector: Arc<dyn Connector>) -> Result<Self, ConfigError> {
        Ok(Self {
            core: Core::new(config, connector)?,
        })
    }

    /// The settings the client was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.core.config
    }

    /// Closes every connection and ends every task; pending and later calls fail with `Closed`.
    pub async fn close(&self) {
        self.core.close();
    }

    /// The present picture of the cluster.
    pub fn cluster(&self) -> Arc<ClusterImage> {
        self.core.image.borrow().clone()
    }

    /// Follows the picture of the cluster.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.core.image.subscribe()
    }

    /// Asks the cluster anew and tracks `topics` from now on. Concurrent calls share a request.
    ///
    /// # Errors
    /// No broker answered within the request timeout.
    pub async fn refresh(&self, topics: &[Arc<str>]) -> Result<Arc<ClusterImage>, CallError> {
        Core::refresh(&self.core, topics).await
    }

    /// Wants a fresh picture without waiting for it.
    pub fn request_refresh(&self) {
        Core::request_refresh(&self.core);
    }
}

/// The seam for producer, fetcher, admin and group members; speaks the message crate's types and may change at any time.
#[doc(hidden)]
impl Client {
    /// A connection to a broker, opened if need be. One attempt, after the pause that earlier failures ask for.
    pub async fn connection(&self, node: i32, class: ConnectionClass) -> Result<Connection, CallError> {
        Core::connection(&self.core, Destination::Node(node), class).await
    }

    /// Connection classes for a fetcher.
    pub(crate) fn fetch_lanes(&self) -> FetchLanes {
        FetchLanes::of(self)
    }

    /// Waits until the client is closed; gives the error that every call has from then on.
    pub(crate) async fn closed(&self) -> CallError {
        self.core.closed().await
    }

    /// A connection class for a group member.
    pub fn group_lane(&self) -> GroupLane {
        GroupLane::of(self)
    }

    /// A seed for a machine of a sibling crate.
    pub fn seed(&self) -> u64 {
        self.core.config.surroundings.seed()
    }

    /// A task of a sibling crate's, as the surroundings let it run.
    #[doc(hidden)]
    pub fn task<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        self.core.config.surroundings.clone().task(task)
    }

    /// The wall clock in milliseconds since 1970, as Kafka counts.
    pub fn wall_ms(&self) -> i64 {
        self.core.config.surroundings.wall_ms()
    }

    /// A source of chance for a machine.
    pub(crate) fn jitter(&self) -> Jitter {
        Jitter::seeded(self.core.draw(usize::MAX) as u64)
    }

    /// A connection to whichever broker answers first, tried until the request timeout has passed.
    pub async fn any_broker(&self) -> Result<Connection, CallError> {
        Core::any_broker(&self.core, self.core.deadline()).await
    }

    /// One typed request to one broker, in the highest common version (at most `max_version`).
    ///
    /// `wait` is how long the request itself may wait at the broker; the request timeout is added. A connection that turns out to
    /// be dead is replaced once, if the request was certainly not sent or only reads.
    pub async fn call<R: Request + Clone>(
        &self,
        node: i32,
        class: ConnectionClass,
        request: R,
        max_version: Option<i16>,
        wait: Duration,
    ) -> Result<R::Response, CallError> {
        self.call_with(node, class, |_| request.clone(), max_version, wait)
            .await
    }

    /// As [`call`](Self::call), for requests whose fields depend on the version: `build` gets the version agreed on.
    pub async fn call_with<R: Request>(
        &self,
        node: i32,
        class: ConnectionClass,
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
        wait: Duration,
    ) -> Result<R::Response, CallError> {
        Core::call(&self.core, (node, class), build, max_version, wait).await
    }

    /// One typed request to any broker, repeated elsewhere while that is safe and the request timeout has not passed.
    pub async fn call_any<R: Request + Clone>(
        &self,
        request: R,
        max_version: Option<i16>,
    ) -> Result<R::Response, CallError> {
        self.call_any_with(|_| request.clone(), max_version).await
    }

    /// As [`call_any`](Self::call_any), for requests whose fields depend on the version.
    pub async fn call_any_with<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
    ) -> Result<R::Response, CallError> {
        Core::call_any(&self.core, build, max_version).await
    }

    /// As [`call_any`](Self::call_any), and who answered: for callers that tell of error codes in the answer.
    pub(crate) async fn call_any_named<R: Request + Clone>(
        &self,
        request: R,
    ) -> Result<(BrokerAddress, R::Response), CallError> {
        Core::call_any_named(&self.core, |_| request.clone(), None).await
    }

    /// The node that coordinates a group; looked up until the request timeout has passed, then remembered.
    pub async fn coordinator(&self, group: &str) -> Result<i32, CallError> {
        Core::coordinator(&self.core, CoordinatorKind::Group, group).await
    }

    /// `node` said it does not coordinate `group`.
    pub fn forget_coordinator(&self, group: &str, node: i32) {
        self.core.forget_coordinator(CoordinatorKind::Group, group, node);
    }

    /// The node that coordinates a transactional id; as [`coordinator`](Self::coordinator).
    pub async fn transaction_coordinator(&self, transactional_id: &str) -> Result<i32, CallError> {
        Core::coordinator(&self.core, CoordinatorKind::Transaction, transactional_id).await
    }

    /// `node` said it does not coordinate `transactional_id`.
    pub fn forget_transaction_coordinator(&self, transactional_id: &str, node: i32) {
        self.core
            .forget_coordinator(CoordinatorKind::Transaction, transactional_id, node);
    }

    /// A Produce or Fetch error told the new leader (KIP-951). `endpoint` is the leader's node, host and port.
    pub fn apply_leader_hint(
        &self,
        partition: &TopicPartition,
        leader: i32,
        epoch: i32,
        endpoint: Option<(i32, String, u16)>,
    ) {
        let endpoint = endpoint.filter(|&(id, ..)| id == leader);
        let endpoint = endpoint.map(|(id, host, port)| BrokerAddress { id, host, port });
        self.core.update_image(|image| {
            image.after_hint(
                partition,
                LeaderHint {
                    leader,
                    epoch,
                    endpoint,
                },
            )
        });
    }
}
