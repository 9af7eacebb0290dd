//! The cluster a test runs on, whichever kind it is, and the few steps that most tests share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_wire::admin::{NewTopic, OffsetSpec};
use kafka_wire::protocol::batch::{Batches, Header};
use kafka_wire::protocol::compression::CodecId;
use kafka_wire::{
    Client, ClientConfig, Compression, FetchedBatch, Fetcher, FetcherConfig, IsolationLevel, OffsetReset, Partitioner,
    Producer, ProducerConfig, ProducerRecord, RecordCursor, StartOffset, TopicPartition, TopicProducer,
};
use testkit::broker::{BrokerConfig, EmbeddedBroker};

use crate::cuts::Cuts;

/// Longer than anything that works takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running cluster.
pub(crate) struct Cluster {
    embedded: Option<EmbeddedBroker>,
    bootstrap: Vec<String>,
    client: Client,
}

/// A record as it was found in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Found {
    /// The value as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }
}

impl Cluster {
    /// Three embedded brokers; topics are replicated to all of them.
    pub(crate) async fn embedded() -> Cluster {
        let mut config = BrokerConfig::with_brokers(3);
        // As `testkit/kafka/kafka` sets up the other kind: tests do not wait for the dead as long as users do.
        config.groups.min_session_timeout = Duration::from_secs(1);
        let broker = EmbeddedBroker::start(config).await.unwrap();
        let bootstrap = broker.bootstrap();
        let client = Client::new(ClientConfig::new(bootstrap.clone())).unwrap();
        Cluster {
            embedded: Some(broker),
            bootstrap,
            client,
        }
    }

    /// The Apache Kafka that runs already.
    #[cfg(feature = "real-kafka")]
    pub(crate) async fn kafka() -> Cluster {
        let bootstrap = std::env::var("KAFKA_BOOTSTRAP").expect(
            "KAFKA_BOOTSTRAP is not set: run `testkit/kafka/kafka start` and export the line it prints, or leave out the \
             feature real-kafka",
        );
        let bootstrap: Vec<String> = bootstrap.split(',').map(str::to_owned).collect();
        let client = Client::new(ClientConfig::new(bootstrap.clone())).unwrap();
        Cluster {
            embedded: None,
            bootstrap,
            client,
        }
    }

    /// The brokers themselves; for tests that run on the embedded kind only.
    pub(crate) fn broker(&self) -> &EmbeddedBroker {
        self.embedded.as_ref().expect("the embedded kind")
    }

    /// The brokers themselves, if they are the embedded kind.
    pub(crate) fn embedded_broker(&self) -> Option<&EmbeddedBroker> {
        self.embedded.as_ref()
    }

    /// Whether every commit can be read from `__consumer_offsets`, and not only the last one.
    pub(crate) fn keeps_commits(&self) -> bool {
        self.embedded.is_none()
    }

    pub(crate) fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// The client of this test.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of its own, that nothing shares.
    pub(crate) fn new_client(&self) -> Client {
        Client::new(ClientConfig::new(self.bootstrap.clone())).unwrap()
    }

    /// A client whose connections can be cut.
    pub(crate) fn client_through(&self, cuts: &Cuts) -> Client {
        Client::with_connector(ClientConfig::new(self.bootstrap.clone()), Arc::new(cuts.clone())).unwrap()
    }

    pub(crate) fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::new(self.client(), config).unwrap()
    }

    pub(crate) fn fetcher(&self, config: FetcherConfig) -> Fetcher {
        Fetcher::new(self.client(), config).unwrap()
    }

    /// Creates a topic under a name that no other has.
    pub(crate) async fn topic(&self, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = unique("topic");
        let topic = configs
            .iter()
            .fold(NewTopic::new(&name, partitions), |topic, (name, value)| {
                topic.with_config(*name, *value)
            });
        let created = within("a topic's creation", self.client.admin().create_topics(&[topic])).await;
        created.unwrap().remove(0).1.unwrap();
        name
    }

    /// Appends values to a partition and waits until they are there.
    pub(crate) async fn write<V: AsRef<[u8]>>(&self, topic: &str, partition: i32, values: impl IntoIterator<Item = V>) {
        let producer = self.producer(ProducerConfig::default());
        let sender = sender(&producer, topic).await;
        for value in values {
            let record = ProducerRecord {
                value: Some(value.as_ref()),
                partition: Some(partition),
                ..ProducerRecord::default()
            };
            drop(sender.send(record).unwrap());
        }
        within("the last acknowledgement", producer.close()).await.unwrap();
    }

    /// Where a partition begins and ends.
    pub(crate) async fn bounds(&self, topic: &str, partition: i32) -> (i64, i64) {
        let at = TopicPartition::new(topic, partition);
        let admin = self.client.admin();
        let mut bounds = [0; 2];
        for (bound, spec) in bounds.iter_mut().zip([OffsetSpec::Earliest, OffsetSpec::Latest]) {
            let asked = [(at.clone(), spec)];
            let listed = within(
                "an offset's look-up",
                admin.list_offsets(&asked, IsolationLevel::ReadUncommitted),
            );
            *bound = listed.await.unwrap()[&at].offset;
        }
        (bounds[0], bounds[1])
    }

    /// The batches of a whole partition, as it is now.
    pub(crate) async fn batches(&self, topic: &str, partition: i32) -> Vec<FetchedBatch> {
        let (start, end) = self.bounds(topic, partition).await;
        let fetcher = self.fetcher(FetcherConfig::default());
        let mut fetch = fetcher.fetch(
            TopicPartition::new(topic, partition),
            StartOffset::Earliest,
            OffsetReset::Error,
        );
        let (mut batches, mut next) = (Vec::new(), start);
        while next < end {
            let batch = within("records that are there", fetch.next()).await.unwrap().unwrap();
            next = batch.next_offset;
            batches.push(batch);
        }
        batches
    }

    /// The records of a whole partition, as it is now.
    pub(crate) async fn records(&self, topic: &str, partition: i32) -> Vec<Found> {
        let batches = self.batches(topic, partition).await;
        batches.into_iter().flat_map(records_of).collect()
    }

    /// How many records each batch of a partition holds, and in which codec.
    pub(crate) async fn codecs(&self, topic: &str, partition: i32) -> Vec<(i32, CodecId)> {
        let batches = self.batches(topic, partition).await;
        let codecs = batches.iter().flat_map(|fetched| {
            Batches::new(&fetched.records).map(|batch| {
                let header = *batch.unwrap().header();
                (header.record_count, header.attributes.codec())
            })
        });
        codecs.collect()
    }
}

/// The records of a fetched batch.
pub(crate) fn records_of(batch: FetchedBatch) -> Vec<Found> {
    let mut cursor = RecordCursor::new(batch, IsolationLevel::ReadUncommitted);
    let mut found = Vec::new();
    while let Some(record) = cursor.next_record().unwrap() {
        let own = |header: Header<'_>| (header.key.to_vec(), header.value.map(<[u8]>::to_vec));
        found.push(Found {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|header| own(header.unwrap())).collect(),
        });
    }
    found
}

/// A sender for one topic.
pub(crate) async fn sender(producer: &Producer, topic: &str) -> TopicProducer {
    within("a topic's look-up", producer.topic(topic, Partitioner::Fnv1a))
        .await
        .unwrap()
}

/// A record whose key and value are `text`.
pub(crate) fn keyed(text: &str) -> ProducerRecord<'_> {
    ProducerRecord {
        key: Some(text.as_bytes()),
        value: Some(text.as_bytes()),
        ..ProducerRecord::default()
    }
}

/// A producer configuration with a codec.
pub(crate) fn compressed(compression: Compression) -> ProducerConfig {
    ProducerConfig {
        compression,
        ..ProducerConfig::default()
    }
}

/// A name that nothing else has, also not in earlier runs on the same cluster.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{}-{number}", std::process::id(), unix_ms())
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// What must come, in good time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {DEADLINE:?}"))
}

/// What must become true, in good time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_true: impl FnMut() -> F) {
    let poll = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, poll).await;
}
