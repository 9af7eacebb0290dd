//! Whatever may listen at a broker's address, over streams in memory and in time that passes only when nothing else happens.

#![allow(dead_code, reason = "each suite uses its part")]
#![allow(clippy::disallowed_methods, reason = "the far side has tasks and time of its own")]

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use kafka_wire::rpc::guard::response_shape;
use kafka_wire::transport::{BoxedStream, Connector};
use kafka_wire::{Client, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Where the peer listens.
pub(crate) const ADDRESS: &str = "peer:9092";
/// The one topic of a sound cluster, with one partition.
pub(crate) const TOPIC: &str = "orders";

type Serving = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Plays the far side of every stream that a client opens.
#[derive(Clone)]
pub(crate) struct Peer {
    serve: Arc<dyn Fn(DuplexStream) -> Serving + Send + Sync>,
    /// Bytes that fit between the two sides.
    buffer: usize,
    /// Before every byte that the peer says.
    pause: Option<Duration>,
}

impl Peer {
    /// `serve` has each stream to itself and ends it by returning.
    pub(crate) fn new<F: Future<Output = io::Result<()>> + Send + 'static>(
        serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            serve: Arc::new(move |stream| Box::pin(serve(stream))),
            buffer: 1 << 16,
            pause: None,
        }
    }

    /// Says `bytes` to everybody and waits for the end.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                stream.write_all(&bytes).await?;
                while stream.read_u8().await.is_ok() {}
                Ok(())
            }
        })
    }

    /// A broker that agrees on versions and gives the answers of `answer`.
    pub(crate) fn broker(answer: impl Fn(ApiKey, i16) -> Answer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::new(move |stream| speak(stream, Arc::clone(&answer)))
    }

    /// Lets so few bytes through at a time.
    pub(crate) fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// Lets the peer pause before every byte it says.
    pub(crate) fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// A client that knows no other address.
    pub(crate) fn client(&self) -> Client {
        let config = ClientConfig::new([ADDRESS]).with_connect_timeout(Duration::from_secs(10));
        let config = config.with_request_timeout(Duration::from_secs(30));
        Client::with_connector(config, Arc::new(self.clone())).expect("the settings are valid")
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

#[async_trait]
impl Connector for Peer {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        assert_eq!(format!("{host}:{port}"), ADDRESS);
        let (near, far) = tokio::io::duplex(self.buffer);
        // A side that ends early is part of the play.
        tokio::spawn((self.serve)(far));
        let Some(pause) = self.pause else {
            return Ok(Box::new(near));
        };
        let (client, between) = tokio::io::duplex(self.buffer);
        tokio::spawn(drip(near, between, pause));
        Ok(Box::new(client))
    }
}

/// Hands on what the peer says byte by byte, and what the client says as it comes.
async fn drip(peer: DuplexStream, client: DuplexStream, pause: Duration) -> io::Result<()> {
    let (mut from_peer, mut to_peer) = tokio::io::split(peer);
    let (mut from_client, mut to_client) = tokio::io::split(client);
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_peer).await });
    loop {
        let byte = from_peer.read_u8().await?;
        tokio::time::sleep(pause).await;
        to_client.write_u8(byte).await?;
    }
}

/// What a broker says to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A frame with the right header and this body.
    Body(Vec<u8>),
    /// These bytes.
    Raw(Vec<u8>),
    /// These bytes and the end of the connection.
    Last(Vec<u8>),
}

/// The answers of a sound broker to `ApiVersions` and Metadata, that of `other` to the rest.
pub(crate) fn sound(other: impl Fn(ApiKey, i16) -> Answer) -> impl Fn(ApiKey, i16) -> Answer {
    move |api, version| match api {
        ApiKey::ApiVersions => Answer::Body(encode(&versions(), version)),
        ApiKey::Metadata => Answer::Body(encode(&picture(), version)),
        _ => other(api, version),
    }
}

async fn speak(mut stream: DuplexStream, answer: Arc<impl Fn(ApiKey, i16) -> Answer>) -> io::Result<()> {
    while answer_one(&mut stream, &*answer).await? {}
    Ok(())
}

/// Answers the next request; whether there may be another.
pub(crate) async fn answer_one(stream: &mut DuplexStream, answer: &impl Fn(ApiKey, i16) -> Answer) -> io::Result<bool> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    let api = ApiKey::try_from(number(0)).expect("the client sends what it knows");
    let version = number(2);
    let body = match answer(api, version) {
        Answer::Body(body) => body,
        Answer::Raw(bytes) => return stream.write_all(&bytes).await.map(|()| true),
        Answer::Last(bytes) => return stream.write_all(&bytes).await.map(|()| false),
    };
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    let mut out = encode(&header, api.response_header_version(version));
    out.extend(body);
    stream.write_u32(out.len() as u32).await?;
    stream.write_all(&out).await?;
    Ok(true)
}

/// Every API that is known, in every version.
fn versions() -> ApiVersionsResponse {
    let known = (0..100).filter(|key| response_shape(*key).is_some());
    let apis = known.filter_map(|key| {
        let versions = ApiKey::try_from(key).ok()?.valid_versions();
        let api = ApiVersion::default().with_api_key(key);
        Some(api.with_min_version(versions.min).with_max_version(versions.max))
    });
    ApiVersionsResponse::default().with_api_keys(apis.collect())
}

/// A cluster of the peer alone, with one topic.
fn picture() -> MetadataResponse {
    let node = BrokerId(0);
    let broker = MetadataResponseBroker::default().with_node_id(node);
    let broker = broker.with_host(StrBytes::from_static_str("peer")).with_port(9092);
    let partition = MetadataResponsePartition::default()
        .with_leader_id(node)
        .with_replica_nodes(vec![node])
        .with_isr_nodes(vec![node]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str(TOPIC))))
        .with_partitions(vec![partition]);
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(node)
        .with_topics(vec![topic])
}

/// A message's bytes.
pub(crate) fn encode(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message
        .encode(&mut bytes, version)
        .expect("every field is in every version");
    bytes
}

/// Runs a test in paused time; ten minutes of it are as good as for ever.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(600), test)
            .await
            .expect("it hangs")
    })
}
