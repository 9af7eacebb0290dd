//! A byte stream to a broker, and how one is made.
//!
//! Everything above this module sees only [`ByteStream`]. [`TcpConnector`] is the default; tests and the in-process broker bring
//! streams of their own through [`Connector`], and so would TLS. Nothing here knows what the bytes mean.

mod tcp;

use std::fmt::Debug;
use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use tcp::TcpConnector;

/// Bytes both ways, in order. Implemented for every type that can do it.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// A stream whose kind no longer matters.
pub type BoxedStream = Box<dyn ByteStream>;

/// Opens streams to the addresses a cluster advertises.
///
/// An implementation need not mind time: the caller drops the future when the connect timeout has passed.
#[async_trait]
pub trait Connector: Send + Sync + 'static + Debug {
    /// Opens one stream to `host:port`.
    ///
    /// # Errors
    /// Whatever kept the stream from opening; the caller adds the address and decides about another attempt.
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream>;
}
