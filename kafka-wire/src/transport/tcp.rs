//! TCP: resolves the name at each attempt, tries every address it stands for, and switches off Nagle's algorithm.
//!
//! Addresses are tried in the resolver's order with a short head start each (RFC 8305, "happy eyeballs"), so that one that
//! swallows packets costs a quarter of a second and not the whole connect timeout.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{BoxedStream, Connector};

/// Head start of one address over the next (RFC 8305, section 5 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Plain TCP with `TCP_NODELAY`, over every address a name resolves to (KIP-602).
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        let stream = first_to_answer(addresses).await?;
        // Requests are written whole; waiting for more bytes only adds latency.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Starts with the first address, adds one more at each failure or elapsed head start, and keeps the first that connects.
async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut refusals: Vec<String> = Vec::new();
    let mut kind = io::ErrorKind::NotFound;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(async move { TcpStream::connect(address).await.map_err(|error| (address, error)) });
        } else if attempts.is_empty() {
            let tried = if refusals.is_empty() {
                "the name has no address".to_owned()
            } else {
                refusals.join("; ")
            };
            return Err(io::Error::new(kind, tried));
        }
        let head_start = if waiting.len() == 0 { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(head_start, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err((address, error))))) => {
                kind = error.kind();
                refusals.push(format!("{address}: {error}"));
            }
            Ok(Some(Err(_))) | Ok(None) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn closed_port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn every_address_is_tried_until_one_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let stream = first_to_answer(vec![closed_port().await, closed_port().await, open])
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn the_error_names_every_address_that_refused() {
        let (one, two) = (closed_port().await, closed_port().await);
        let error = first_to_answer(vec![one, two]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            error.to_string().contains(&one.to_string()) && error.to_string().contains(&two.to_string()),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_an_error() {
        assert_eq!(
            first_to_answer(Vec::new()).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
