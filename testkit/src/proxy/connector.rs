//! One proxy per broker of a cluster, and a way for clients to dial through them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use kafka_wire::transport::{BoxedStream, Connector, TcpConnector};

use super::{FaultProxy, Faults, ProxyStats};

/// Proxies in front of all brokers of a cluster.
#[derive(Debug)]
pub struct Proxies {
    /// By the address that the broker advertises, `host:port`.
    proxies: BTreeMap<String, FaultProxy>,
}

impl Proxies {
    /// Starts a proxy in front of each broker, which are given as `host:port`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(brokers: &[String], seed: u64) -> io::Result<Proxies> {
        let mut proxies = BTreeMap::new();
        for (broker, number) in brokers.iter().zip(0..) {
            let proxy = FaultProxy::start(broker, seed.wrapping_add(number)).await?;
            proxies.insert(broker.clone(), proxy);
        }
        Ok(Proxies { proxies })
    }

    /// Lets this go wrong at every broker from now on.
    pub fn set(&self, faults: &Faults) {
        for proxy in self.proxies.values() {
            proxy.set(faults.clone());
        }
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.proxies.values().for_each(FaultProxy::cut);
    }

    /// The proxy in front of a broker.
    pub fn of(&self, broker: &str) -> Option<&FaultProxy> {
        self.proxies.get(broker)
    }

    /// Figures of all proxies together.
    pub fn stats(&self) -> ProxyStats {
        let all = self.proxies.values().map(FaultProxy::stats);
        all.fold(ProxyStats::default(), |sum, one| ProxyStats {
            accepted: sum.accepted + one.accepted,
            open: sum.open + one.open,
            cut: sum.cut + one.cut,
            to_broker: sum.to_broker + one.to_broker,
            to_client: sum.to_client + one.to_client,
        })
    }

    /// `broker=proxy` for each broker: what [`via`](Proxies::via) reads in another process.
    pub fn routes(&self) -> Vec<String> {
        let proxies = self.proxies.iter();
        proxies
            .map(|(broker, proxy)| format!("{broker}={}", proxy.address()))
            .collect()
    }

    /// Dials the proxy wherever a client means the broker; brokers without a proxy are dialled themselves.
    pub fn connector(&self) -> Arc<dyn Connector> {
        let proxies = self.proxies.iter();
        Arc::new(Detour {
            routes: proxies
                .map(|(broker, proxy)| (broker.clone(), proxy.address()))
                .collect(),
        })
    }

    /// A connector for routes that another process told.
    ///
    /// # Errors
    /// A route is not `host:port=address:port`.
    pub fn via<'a>(routes: impl IntoIterator<Item = &'a str>) -> io::Result<Arc<dyn Connector>> {
        let wrong = |route: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{route} is no route"));
        let routes = routes.into_iter().map(|route| {
            let (broker, proxy) = route.split_once('=').ok_or_else(|| wrong(route))?;
            Ok((broker.to_owned(), proxy.parse().map_err(|_| wrong(route))?))
        });
        Ok(Arc::new(Detour {
            routes: routes.collect::<io::Result<_>>()?,
        }))
    }
}

#[derive(Debug)]
struct Detour {
    routes: BTreeMap<String, SocketAddr>,
}

#[async_trait]
impl Connector for Detour {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        match self.routes.get(&format!("{host}:{port}")) {
            Some(proxy) => TcpConnector.connect(&proxy.ip().to_string(), proxy.port()).await,
            None => TcpConnector.connect(host, port).await,
        }
    }
}
