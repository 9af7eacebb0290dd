//! The listener of one node.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire::transport::BoxedStream;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use super::{Hub, connection};

/// How long to wait before trying again to take back a port that is in use.
const REBIND_PAUSE: Duration = Duration::from_millis(20);

/// Listens for a node and keeps its door: open while the node accepts connections, gone while it does not.
pub(in crate::broker) async fn bind(hub: &Arc<Hub>, node: i32) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    hub.spawn(keep(Arc::clone(hub), node, listener, address));
    Ok(address)
}

async fn keep(hub: Arc<Hub>, node: i32, listener: TcpListener, address: SocketAddr) {
    let mut changes = hub.doors.subscribe();
    let mut listener = listener;
    loop {
        accept(&hub, node, &listener, &mut changes).await;
        drop(listener);
        while !hub.with(|core, _| core.accepts_connections(node)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        listener = rebind(address).await;
    }
}

/// Accepts until the node refuses.
async fn accept(hub: &Arc<Hub>, node: i32, listener: &TcpListener, changes: &mut watch::Receiver<u64>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    drop(stream.set_nodelay(true));
                    if !enter(hub, node, Box::new(stream)) {
                        return;
                    }
                }
                Err(error) => warn!(node, %error, "could not accept a connection"),
            },
            changed = changes.changed() => {
                if changed.is_err() || !hub.with(|core, _| core.accepts_connections(node)) {
                    return;
                }
            }
        }
    }
}

/// Starts serving a stream to a node; whether the node takes it.
pub(super) fn enter(hub: &Arc<Hub>, node: i32, stream: BoxedStream) -> bool {
    let Some((id, outputs)) = hub.open(node) else {
        return false;
    };
    hub.spawn(connection::run(Arc::clone(hub), stream, id, outputs));
    true
}

async fn rebind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => warn!(%address, %error, "the port is not free yet"),
        }
        tokio::time::sleep(REBIND_PAUSE).await;
    }
}
