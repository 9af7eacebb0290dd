//! One broker, one socket, many requests in flight.
//!
//! A [`Connection`] is a handle on two tasks around two machines: `Handshake` agrees on versions when the socket opens,
//! `InFlight` knows whose answer comes next. Requests are enqueued synchronously and in order; answers are futures, and dropping
//! one never disturbs the connection. A connection that ends stays ended; a new one is the business of the client.
//!
//! ```text
//!  send --> queue --> writer task ==> socket ==> reader task --> waiter      (a small request is written by its sender)
//!                        \____________ InFlight ____________/
//! ```
//!
//! Not here: whom to connect to (`cluster`, `client`), what an error code means (`protocol`).

mod backoff;
mod driver;
mod error;
mod frame_reader;
pub(crate) mod guard;
mod handshake;
mod in_flight;
mod pending_response;
mod permit;
mod read_buffer;
mod request;
mod versions;
mod writer;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable, Message, Request};

pub(crate) use backoff::{Backoff, Jitter};
pub(crate) use driver::Opening;
pub use error::{CallError, CallErrorKind};
pub use pending_response::PendingResponse;
pub use permit::Permit;
pub(crate) use read_buffer::ReadBuffers;

use driver::Shared;
use in_flight::{Expected, Unsent};
use request::HeaderVersions;

/// Where a broker listens. Node id -1 is a bootstrap address whose id is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerAddress {
    /// The broker's node id, -1 for a bootstrap address.
    pub id: i32,
    /// Host name or IP address as advertised.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl BrokerAddress {
    /// Whether one of `others` is reached at the same host and port.
    pub(crate) fn is_among(&self, others: &[BrokerAddress]) -> bool {
        others
            .iter()
            .any(|other| (&other.host, other.port) == (&self.host, self.port))
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        if self.id >= 0 {
            write!(f, " (broker {})", self.id)
        } else {
            f.write_str(" (bootstrap)")
        }
    }
}

/// A connection to one broker. Clones share it; when the last is dropped it closes after the last pending answer.
#[derive(Debug, Clone)]
pub struct Connection {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    client_id: Arc<str>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.release();
    }
}

impl Connection {
    fn new(shared: Arc<Shared>, client_id: Arc<str>) -> Self {
        Self {
            handle: Arc::new(Handle { shared, client_id }),
        }
    }

    /// The broker at the other end.
    pub fn broker(&self) -> &BrokerAddress {
        &self.handle.shared.broker
    }

    /// Whether the connection has ended; it never comes back.
    pub fn is_closed(&self) -> bool {
        self.handle.shared.is_closed()
    }

    /// The highest version of an API that both `ours` and the broker speak.
    pub fn version(&self, api_key: i16, ours: RangeInclusive<i16>) -> Option<i16> {
        self.handle.shared.versions.common(api_key, &ours)
    }

    /// The finalized level of a cluster feature, for example `transaction.version`; `None` when the cluster does not know it.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.handle.shared.versions.feature(name)
    }

    /// The version `call` would use for `R`: the lower of ours (at most `cap`) and the broker's.
    ///
    /// # Errors
    /// [`CallErrorKind::Unsupported`] names both ranges when there is none.
    pub fn version_for<R: Request>(&self, cap: Option<i16>) -> Result<i16, CallError> {
        let (lowest, highest) = (
            R::VERSIONS.min,
            cap.map_or(R::VERSIONS.max, |cap| cap.min(R::VERSIONS.max)),
        );
        self.version(R::KEY, lowest..=highest).ok_or_else(|| {
            let theirs = match self.handle.shared.versions.range(R::KEY) {
                Some(range) => format!("the broker speaks {} to {}", range.start(), range.end()),
                None => "the broker does not know this API".to_owned(),
            };
            let text = format!("we speak {lowest} to {highest}, {theirs}");
            CallError::new(CallErrorKind::Unsupported, text)
                .with_api(R::KEY)
                .with_broker(self.broker())
        })
    }

    /// Sends one typed request and waits for its answer, `timeout` from now at most.
    ///
    /// # Errors
    /// Timeout, disconnect, or an answer that cannot be understood. Error codes inside the answer are the caller's business.
    pub async fn call<R>(&self, request: &R, version: i16, timeout: Duration) -> Result<R::Response, CallError>
    where
        R: Request + Encodable,
        R::Response: Decodable + Message,
    {
        let shared = &self.handle.shared;
        let named = |error: CallError| error.with_api(R::KEY).with_broker(&shared.broker);
        let header = HeaderVersions::of(R::KEY, version).map_err(named)?;
        let frame = request::encode_typed((R::KEY, version, header), &self.handle.client_id, request).map_err(named)?;
        let expected = Expected {
            api_key: R::KEY,
            response_header: header.response,
            timeout,
        };
        let frame = Unsent {
            head: frame,
            body: Vec::new(),
            permits: Vec::new(),
        };
        let body = shared.send((expected, version), frame).await.map_err(named)?;
        guard::decode_checked(R::KEY, version, body).map_err(named)
    }

    /// Enqueues a request whose body comes in pieces, at once and in order; the pieces are written without copying.
    ///
    /// The future yields the response body behind the response header, which holds what it claims in `version` of the API.
    /// Dropping it never disturbs the connection.
    ///
    /// All `permits` must be given as long as it is written: they are asked right before every write to the socket, and when one is
    /// missing the connection is closed instead. What was not begun by then counts as not written.
    pub fn send(
        &self,
        api_key: i16,
        version: i16,
        body: Vec<Bytes>,
        timeout: Duration,
        permits: Vec<Permit>,
    ) -> PendingResponse {
        let head = HeaderVersions::of(api_key, version).and_then(|header| {
            let frame = request::encode_header((api_key, version, header), &self.handle.client_id, &body)?;
            Ok((
                frame,
                Expected {
                    api_key,
                    response_header: header.response,
                    timeout,
                },
            ))
        });
        match head {
            Ok((head, expected)) => {
                let frame = Unsent { head, body, permits };
                self.handle.shared.send((expected, version), frame)
            }
            Err(error) => PendingResponse::failed(error.with_broker(self.broker())),
        }
    }

    /// Ends the connection now; pending requests hear `reason`.
    pub(crate) fn close(&self, reason: &str) {
        self.handle.shared.close(CallError::new(CallErrorKind::Closed, reason));
    }
}
