//! Opens connections, keeps the picture of the cluster fresh and moves requests; what to do is decided by the machines.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::ConnectionClass;
use super::links::{Destination, Links, Wanted};
use crate::cluster::{ClusterImage, CoordinatorCache, CoordinatorKind, Looked, Refresh};
use crate::config::{ClientConfig, ConfigError, parse_address};
use crate::connection::{BrokerAddress, CallError, CallErrorKind, Connection, Jitter, Opening, ReadBuffers};
use crate::protocol::{ErrorCode, Recovery};
use crate::transport::Connector;

/// Metadata v13: every broker this client knows has left the cluster (KIP-1102).
const METADATA: i16 = ApiKey::Metadata as i16;

/// What the clones of a client share.
pub(super) struct Core {
    pub(super) config: ClientConfig,
    pub(super) bootstrap: Vec<Arc<BrokerAddress>>,
    pub(super) image: watch::Sender<Arc<ClusterImage>>,
    opening: Opening,
    links: Mutex<Links>,
    /// The number of the next lane.
    lanes: AtomicU64,
    refresh: Mutex<Refresh>,
    to_refresh: Arc<Notify>,
    rounds: watch::Sender<Round>,
    coordinators: Mutex<CoordinatorCache>,
    jitter: Mutex<Jitter>,
    refreshing: AtomicBool,
    closed: watch::Sender<bool>,
}

/// How the last Metadata round ended.
#[derive(Debug, Clone, Default)]
struct Round {
    number: u64,
    error: Option<CallError>,
}

impl Core {
    pub(super) fn new(config: ClientConfig, connector: Arc<dyn Connector>) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let bootstrap = config
            .bootstrap
            .iter()
            .map(|address| parse_address(address).map(|(host, port)| Arc::new(BrokerAddress { id: -1, host, port })));
        let bootstrap = bootstrap.collect::<Result<Vec<_>, _>>()?;
        let mut jitter = Jitter::seeded(config.surroundings.seed());
        Ok(Arc::new(Self {
            bootstrap,
            image: watch::Sender::default(),
            opening: Opening {
                connector,
                client_id: config.client_id.as_str().into(),
                config: config.connection.clone(),
                buffers: ReadBuffers::default(),
            },
            links: Mutex::new(Links::new(config.connection.clone())),
            lanes: AtomicU64::new(0),
            refresh: Mutex::new(Refresh::new(&config.metadata, Jitter::seeded(jitter.bits()))),
            to_refresh: Arc::default(),
            rounds: watch::Sender::default(),
            coordinators: Mutex::default(),
            jitter: Mutex::new(jitter),
            refreshing: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            config,
        }))
    }

    /// When a call that starts now has to be over.
    pub(super) fn deadline(&self) -> Instant {
        now() + self.config.connection.request_timeout
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub(super) fn close(&self) {
        if self.closed.send_replace(true) {
            return;
        }
        info!("closing the client");
        for connection in lock(&self.links).drain() {
            connection.close("the client was closed");
        }
    }

    /// A number for a connection class of somebody's own.
    pub(super) fn next_lane(&self) -> u64 {
        self.lanes.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes the connections of some classes.
    pub(super) fn give_up(&self, classes: &[ConnectionClass]) {
        for connection in lock(&self.links).give_up(classes) {
            connection.close("nobody uses it any more");
        }
    }

    /// Runs `work` until the client is closed.
    pub(super) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        tokio::select! {
            biased;
            error = self.closed() => Err(error),
            done = work => done,
        }
    }

    /// Waits until the client is closed.
    pub(super) async fn closed(&self) -> CallError {
        // An error would mean that the sender is gone, which `self` owns.
        let _ = self.closed.subscribe().wait_for(|&closed| closed).await;
        CallError::new(CallErrorKind::Closed, "")
    }

    /// Replaces the image by the one `next` makes of it, if it makes one.
    pub(super) fn update_image(&self, next: impl FnOnce(&ClusterImage) -> Option<ClusterImage>) {
        self.image.send_if_modified(|image| match next(image) {
            Some(next) => {
                *image = Arc::new(next);
                true
            }
            None => false,
        });
    }

    /// A number below `bound`, by chance.
    pub(super) fn draw(&self, bound: usize) -> usize {
        lock(&self.jitter).below(bound)
    }

    pub(super) fn coordinator_known(&self, kind: CoordinatorKind, key: &str) -> Option<i32> {
        lock(&self.coordinators).node(kind, key)
    }

    pub(super) fn coordinator_found(&self, kind: CoordinatorKind, key: &str, node: i32) {
        lock(&self.coordinators).handle_found(kind, key, node);
    }

    pub(super) fn forget_coordinator(&self, kind: CoordinatorKind, key: &str, node: i32) {
        debug!(key, node, "no longer the coordinator");
        lock(&self.coordinators).handle_wrong(kind, key, node);
    }

    /// An open connection for general use, if there is one.
    pub(super) fn any_open(&self, silent: &[BrokerAddress]) -> Option<Connection> {
        lock(&self.links).any_open(silent, &mut lock(&self.jitter))
    }
}

/// Connections.
impl Core {
    /// One attempt, shared with everybody who wants the same connection.
    pub(super) async fn connection(
        core: &Arc<Self>,
        to: Destination,
        class: ConnectionClass,
    ) -> Result<Connection, CallError> {
        let address = match core.address(to) {
            Some(address) => address,
            None => {
                Self::refresh(core, &[]).await?;
                core.address(to).ok_or_else(|| core.unknown(to))?
            }
        };
        if core.is_closed() {
            return Err(CallError::new(CallErrorKind::Closed, "").with_broker(&address));
        }
        let wanted = lock(&core.links).handle_wanted(now(), (to, class), &address, &mut lock(&core.jitter));
        let mut outcome = match wanted {
            Wanted::Open(connection) => return Ok(connection),
            Wanted::Wait(outcome) => outcome,
            Wanted::Start(teller, outcome, pause) => {
                tokio::spawn(open(Arc::clone(core), (to, class), Arc::clone(&address), teller, pause));
                outcome
            }
        };
        let told = outcome
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|told| told.clone());
        told.unwrap_or_else(|| {
            Err(CallError::new(CallErrorKind::Closed, "the attempt was given up").with_broker(&address))
        })
    }

    pub(super) fn address(&self, to: Destination) -> Option<Arc<BrokerAddress>> {
        match to {
            Destination::Bootstrap(index) => self.bootstrap.get(index).cloned(),
            Destination::Node(node) => self.image.borrow().broker(node).cloned(),
        }
    }

    fn unknown(&self, to: Destination) -> CallError {
        let image = self.image.borrow();
        let known: Vec<String> = image.brokers().map(ToString::to_string).collect();
        let text = format!("{to:?} is not in the cluster, which has {}", known.join(", "));
        CallError::new(CallErrorKind::Unreachable, text)
    }
}

/// Makes one attempt and tells everybody how it ended.
async fn open(
    core: Arc<Core>,
    key: (Destination, ConnectionClass),
    address: Arc<BrokerAddress>,
    teller: watch::Sender<Option<Result<Connection, CallError>>>,
    pause: Duration,
) {
    let attempt = async {
        tokio::time::sleep(pause).await;
        core.opening.open(Arc::clone(&address)).await
    };
    let opened = core.unless_closed(attempt).await;
    if let Err(error) = &opened
        && !core.is_closed()
    {
        warn!(%error, "cannot connect");
        if matches!(key.0, Destination::Node(_)) {
            Core::request_refresh(&core);
        }
    }
    lock(&core.links).handle_outcome(now(), key, &address, opened.as_ref().ok(), &mut lock(&core.jitter));
    if core.is_closed() {
        // Closing and this attempt may have crossed.
        core.close_late(&opened);
    }
    teller.send_replace(Some(opened));
}

/// Requests.
impl Core {
    /// One request to one broker; see [`Client::call`](super::Client::call).
    pub(super) async fn call<R: Request>(
        core: &Arc<Self>,
        (node, class): (i32, ConnectionClass),
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
        wait: Duration,
    ) -> Result<R::Response, CallError> {
        let timeout = core.config.connection.request_timeout + wait;
        let mut replaced = false;
        loop {
            let connection = Self::connection(core, Destination::Node(node), class).await;
            let connection = connection.map_err(|error| error.with_api(R::KEY))?;
            let version = connection.version_for::<R>(max_version)?;
            match connection.call(&build(version), version, timeout).await {
                Err(error) if !replaced && may_repeat(&error) => replaced = true,
                Err(error) => {
                    if error.is_transport() {
                        Self::request_refresh(core);
                    }
                    return Err(error);
                }
                Ok(response) => return Ok(response),
            }
        }
    }
}

/// Whether the same request may be sent again: it certainly did not arrive, or it only reads.
pub(super) fn may_repeat(error: &CallError) -> bool {
    let lost = matches!(error.kind, CallErrorKind::Disconnected { .. });
    let reads = error
        .api_key()
        .and_then(|key| ApiKey::try_from(key).ok())
        .is_some_and(only_reads);
    lost && (!error.possibly_written() || reads)
}

/// Requests that change nothing at the broker, or nothing that matters when done twice.
pub(super) fn only_reads(api: ApiKey) -> bool {
    use ApiKey as A;
    matches!(
        api,
        A::Metadata
            | A::FindCoordinator
            | A::ListOffsets
            | A::OffsetForLeaderEpoch
            | A::OffsetFetch
            | A::DescribeConfigs
            | A::DescribeCluster
            | A::DescribeGroups
            | A::ListGroups
            | A::InitProducerId
    )
}

/// The picture of the cluster.
impl Core {
    /// Waits for a picture that was asked for after this call.
    pub(super) async fn refresh(core: &Arc<Self>, topics: &[Arc<str>]) -> Result<Arc<ClusterImage>, CallError> {
        let mut rounds = core.rounds.subscribe();
        let wanted = Self::ask(core, topics);
        core.unless_closed(async {
            let ended = rounds.wait_for(|round| round.number >= wanted).await;
            let gone = |_| CallError::new(CallErrorKind::Closed, "");
            match &ended.map_err(gone)?.error {
                Some(error) => Err(error.clone()),
                None => Ok(()),
            }
        })
        .await?;
        Ok(core.image.borrow().clone())
    }

    /// Wants a fresh picture without waiting.
    pub(super) fn request_refresh(core: &Arc<Self>) {
        Self::ask(core, &[]);
    }

    fn ask(core: &Arc<Self>, topics: &[Arc<str>]) -> u64 {
        let round = lock(&core.refresh).handle_ask(now(), topics);
        if !core.refreshing.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep_fresh(
                Arc::downgrade(core),
                Arc::clone(&core.to_refresh),
                core.closed.subscribe(),
            ));
        }
        core.to_refresh.notify_one();
        round
    }

    /// One Metadata round.
    async fn look(core: &Arc<Self>, topics: Vec<Arc<str>>) -> Result<Looked, CallError> {
        let response = Self::call_any(core, |version| metadata_request(version, &topics), None).await?;
        let code = ErrorCode(response.error_code);
        if code == ErrorCode::REBOOTSTRAP_REQUIRED {
            warn!("the cluster asks to start over from the bootstrap addresses");
            core.update_image(|image| Some(image.without_brokers()));
        }
        if !code.is_ok() {
            return Err(CallError::refused(METADATA, code, None));
        }
        let mut told = false;
        core.update_image(|image| {
            let next = image.after_metadata(&response);
            told = next.is_some();
            next
        });
        if !told {
            return Err(CallError::new(CallErrorKind::Protocol, "no broker in the answer").with_api(METADATA));
        }
        let may_come = |code: i16| matches!(ErrorCode(code).recovery(), Recovery::RefreshMetadata | Recovery::Retry);
        let gaps = response
            .topics
            .iter()
            .any(|topic| topic.error_code != 0 && may_come(topic.error_code));
        Ok(if gaps { Looked::Incomplete } else { Looked::Complete })
    }
}

/// Asks about these topics, or about the brokers alone when there are none (which v0 cannot express: empty meant all).
pub(crate) fn metadata_request(version: i16, topics: &[Arc<str>]) -> MetadataRequest {
    let topics = topics.iter().map(|name| {
        let name = TopicName(StrBytes::from_string(name.to_string()));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    // Before v4 a topic that does not exist is created by asking for it; there is no field to forbid it.
    MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(version < 4)
}

/// The refresh task. Holds the client only while a round runs, so that dropping the last clone ends it.
async fn keep_fresh(core: Weak<Core>, wake: Arc<Notify>, mut closed: watch::Receiver<bool>) {
    loop {
        let Some(strong) = core.upgrade().filter(|core| !core.is_closed()) else {
            return;
        };
        let (request, due) = {
            let mut refresh = lock(&strong.refresh);
            (refresh.poll_request(now()), refresh.next_timeout())
        };
        if let Some((number, topics)) = request {
            let looked = strong.unless_closed(Core::look(&strong, topics)).await;
            let told = looked.as_ref().map_or(Looked::Failed, |looked| *looked);
            lock(&strong.refresh).handle_outcome(now(), told);
            if let Err(error) = &looked {
                warn!(%error, "cannot refresh the picture of the cluster");
            }
            strong.rounds.send_replace(Round {
                number,
                error: looked.err(),
            });
            continue;
        }
        drop(strong);
        let due = due.unwrap_or_else(|| now() + Duration::from_secs(3600));
        tokio::select! {
            biased;
            changed = closed.changed() => if changed.is_err() { return },
            () = wake.notified() => {}
            () = tokio::time::sleep_until(due.into()) => {}
        }
    }
}

impl Core {
    fn close_late(&self, opened: &Result<Connection, CallError>) {
        if let Ok(connection) = opened {
            connection.close("the client was closed");
        }
        drop(lock(&self.links).drain());
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A lock whose holder panicked still guards a consistent table: no panic is possible between two writes of one update.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
