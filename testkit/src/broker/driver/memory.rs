//! Connections without sockets, for tests on virtual time.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use kafka_wire::transport::{BoxedStream, Connector};

use super::{Hub, door};

/// Bytes in flight each way before a writer waits.
const PIPE_BYTES: usize = 256 * 1024;

/// Connects to the brokers of one embedded cluster within the process.
#[derive(Debug)]
pub(in crate::broker) struct MemoryConnector {
    pub(in crate::broker) hub: Arc<Hub>,
}

#[async_trait]
impl Connector for MemoryConnector {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        let refused = || {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("no broker listens on {host}:{port}"),
            )
        };
        let node = self.hub.with(|core, _| core.node_at(host, port)).ok_or_else(refused)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        if door::enter(&self.hub, node, Box::new(ours)) {
            Ok(Box::new(theirs))
        } else {
            Err(refused())
        }
    }
}
