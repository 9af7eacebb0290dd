//! A TCP proxy that lets connections go wrong, in front of any broker.
//!
//! ```text
//!   client ──> FaultProxy ──to_broker: delay, rate, drip, cut, stall, loss──> broker
//!          <──────────────to_client:  the same──────────────────────────────
//! ```
//!
//! It changes no byte and knows nothing of Kafka, so that brokers' answers still name their own addresses. Either the broker
//! advertises the proxy's address (`testkit/kafka/kafka start --advertise PORT`), or clients dial through [`Proxies::connector`].
//!
//! All chance comes from a seed: equal seeds draw equal lifetimes for connections accepted in equal order.

mod connector;
mod faults;
mod pump;
mod random;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::connector::Proxies;
pub use self::faults::{Faults, Way};
use self::pump::{End, pump};
use self::random::Random;

/// A proxy in front of one broker. Dropping it cuts its connections and frees its port.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Figures of a proxy since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that the proxy itself ended: their time was over, or they were cut.
    pub cut: u64,
    /// Bytes that reached the broker.
    pub to_broker: u64,
    /// Bytes that reached the client.
    pub to_client: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    faults: watch::Sender<Faults>,
    /// Counts cuts; a connection ends with the first one after its start.
    cuts: watch::Sender<u64>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    cut: AtomicU64,
    to_broker: AtomicU64,
    to_client: AtomicU64,
}

impl FaultProxy {
    /// A proxy on a free port of 127.0.0.1 in front of `upstream`, which is `host:port`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(upstream: &str, seed: u64) -> io::Result<FaultProxy> {
        FaultProxy::listen(0, upstream, seed).await
    }

    /// A proxy on a port of 127.0.0.1.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn listen(port: u16, upstream: &str, seed: u64) -> io::Result<FaultProxy> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            faults: watch::Sender::new(Faults::default()),
            cuts: watch::Sender::new(0),
            counters: Counters::default(),
        });
        Ok(FaultProxy {
            address: listener.local_addr()?,
            accepting: tokio::spawn(accept(listener, Arc::clone(&shared), Random::new(seed))),
            shared,
        })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets this go wrong from now on. Open connections keep the lifetime that they were given.
    pub fn set(&self, faults: Faults) {
        self.shared.faults.send_replace(faults);
    }

    /// Cuts every open connection, wherever its bytes are.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What happened so far.
    pub fn stats(&self) -> ProxyStats {
        let counters = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyStats {
            accepted: get(&counters.accepted),
            open: get(&counters.open),
            cut: get(&counters.cut),
            to_broker: get(&counters.to_broker),
            to_client: get(&counters.to_client),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until it is aborted, which ends the connections too.
async fn accept(listener: TcpListener, shared: Arc<Shared>, mut random: Random) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, or gone before it was accepted: the next one may be better.
                let Ok((client, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let lifetime = shared.faults.borrow().lifetime.clone();
                let lifetime = lifetime.map_or(Duration::MAX, |range| random.between(range));
                let shared = Arc::clone(&shared);
                // Before it runs: a cut from now on concerns it.
                let cuts = shared.cuts.subscribe();
                connections.spawn(async move { shared.serve(client, cuts, lifetime).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Shared {
    async fn serve(&self, client: TcpStream, mut cuts: watch::Receiver<u64>, lifetime: Duration) {
        let counters = &self.counters;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let _open = Open::new(&counters.open);
        let end = tokio::select! {
            _ = cuts.changed() => End::Cut,
            () = tokio::time::sleep(lifetime) => End::Cut,
            end = self.relay(client) => end,
        };
        if end == End::Cut {
            counters.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Moves bytes until one side is done; both streams are closed when this returns.
    async fn relay(&self, client: TcpStream) -> End {
        let faults = self.faults.subscribe();
        if faults.borrow().half_open {
            return swallow(client).await;
        }
        let Ok(broker) = TcpStream::connect(&self.upstream).await else {
            return End::Closed;
        };
        for stream in [&client, &broker] {
            // A stream that does not take it is only slower.
            let _ = stream.set_nodelay(true);
        }
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let counters = &self.counters;
        tokio::select! {
            end = pump(from_client, to_broker, faults.clone(), |faults| &faults.to_broker, &counters.to_broker) => end,
            end = pump(from_broker, to_client, faults.clone(), |faults| &faults.to_client, &counters.to_client) => end,
        }
    }
}

/// Reads what comes, for nobody.
async fn swallow(client: TcpStream) -> End {
    let mut nothing = [0; 4096];
    loop {
        if client.readable().await.is_err() {
            return End::Closed;
        }
        match client.try_read(&mut nothing) {
            Ok(0) => return End::Closed,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return End::Closed,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Open<'a>(&'a AtomicU64);

impl Open<'_> {
    fn new(open: &AtomicU64) -> Open<'_> {
        open.fetch_add(1, Ordering::Relaxed);
        Open(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
