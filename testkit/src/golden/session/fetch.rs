//! Records: ours read back, then those of the Java client.

use std::sync::Arc;

use kafka_wire::fetcher::{FetchErrorKind, Fetcher, FetcherConfig, OffsetReset, PartitionFetch, StartOffset};
use kafka_wire::{Client, FetchError, IsolationLevel, RecordCursor, TopicPartition};

use super::produce::{Record, three_records};
use super::{Session, SessionError, Step, TOPIC, done, same};

impl<B: Fn(&str)> Session<B> {
    pub(super) async fn fetch(&self) -> Step {
        (self.begin)("records are fetched");
        let expected: Vec<Record> = (0..3)
            .flat_map(|batch| {
                three_records()
                    .into_iter()
                    .map(move |record| (record.0 + 3 * batch, record))
            })
            .map(|(offset, (_, timestamp, key, value, headers))| (offset, timestamp, key, value, headers))
            .collect();
        let found = done("fetching", read(&self.client, TOPIC, 0, 9).await)?;
        same("the records", found, expected)?;

        (self.begin)("records beyond the end are fetched");
        let found = read(&self.client, TOPIC, 1000, 1010).await.map_err(|error| error.kind);
        match found {
            Err(FetchErrorKind::OffsetOutOfRange {
                log_start: 0,
                log_end: 9,
            }) => Ok(()),
            other => Err(SessionError::new("beyond the end", other)),
        }
    }

    /// Reads what `JavaTopics.java` has written.
    ///
    /// # Errors
    ///
    /// The first topic that was not readable, or held something else.
    pub async fn read_java_topics(&self) -> Step {
        for codec in ["none", "snappy", "lz4"] {
            let topic = format!("java-{codec}");
            let found = done(&topic, self.read_java(&topic, 3).await)?;
            same(&topic, found, three_records())?;
        }
        for codec in ["gzip", "zstd"] {
            let topic = format!("java-{codec}");
            match self.read_java(&topic, 3).await {
                Err(error) if error.to_string().contains(codec) => {}
                other => return Err(SessionError::new("a codec we do not have", other)),
            }
        }
        let records = done("reading", self.read_java("java-append-time", 3).await)?;
        let young = records.iter().filter(|record| record.1 > 1_700_000_000_000).count();
        same("records with the broker's time", young, 3)?;

        // a, b, commit, c, d, abort, e, commit
        let records = done("reading", self.read_java("java-transactions", 8).await)?;
        let committed: Vec<_> = records.into_iter().map(|(offset, _, key, ..)| (offset, key)).collect();
        let expected = [(0, b"a"), (1, b"b"), (6, b"e")].map(|(offset, key)| (offset, Some(key.to_vec())));
        same("committed records", committed, expected.to_vec())
    }

    /// By a client of its own, which asks for no other topic.
    async fn read_java(&self, topic: &str, end: i64) -> Result<Vec<Record>, FetchError> {
        (self.begin)(&format!("{topic} is fetched"));
        let client = Client::with_connector(self.config.clone(), Arc::clone(&self.connector))
            .expect("the session's own client has the same configuration");
        let records = read(&client, topic, 0, end).await;
        client.close().await;
        records
    }
}

/// The records of partition 0 from `start` on until the position is `end`, read by a fetcher of their own.
async fn read(client: &Client, topic: &str, start: i64, end: i64) -> Result<Vec<Record>, FetchError> {
    let isolation = IsolationLevel::ReadCommitted;
    let config = FetcherConfig::default().with_isolation(isolation);
    let fetcher = Fetcher::new(client.clone(), config).expect("the default settings are valid");
    let partition = TopicPartition::new(topic, 0);
    let mut fetch = fetcher.fetch(partition, StartOffset::Offset(start), OffsetReset::Error);
    let records = read_until(&mut fetch, end, isolation).await;
    // The next request is on its way; let it come back with nothing new.
    tokio::time::sleep(2 * FetcherConfig::default().max_wait).await;
    records
}

async fn read_until(
    fetch: &mut PartitionFetch,
    end: i64,
    isolation: IsolationLevel,
) -> Result<Vec<Record>, FetchError> {
    let mut records = Vec::new();
    while let Some(batch) = fetch.next().await.transpose()? {
        let mut cursor = RecordCursor::new(batch, isolation);
        while let Some(record) = cursor.next_record()? {
            let headers = record.headers.iter().flatten();
            let headers = headers.map(|it| (it.key.to_vec(), it.value.map(<[u8]>::to_vec)));
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            records.push((record.offset, record.timestamp, key, value, headers.collect()));
        }
        if cursor.next_offset() >= end {
            break;
        }
    }
    Ok(records)
}
