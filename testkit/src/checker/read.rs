//! Fills a [`History`] from a cluster over the wire, and from stores on disk.
//!
//! Logs are read raw and uncommitted, so that every record shows which producer wrote it. A committed offset's past is kept by
//! Apache Kafka in `__consumer_offsets`, which can be read like any topic; the embedded broker keeps the last one only.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes};
use goka_core::storage::{KeyRange, StoreBuilder, StoreError, StoreName};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::admin::{AdminError, OffsetSpec};
use kafka_wire::protocol::batch::{BatchError, BatchHeader, Batches};
use kafka_wire::rpc::ConnectionClass;
use kafka_wire::{
    CallError, Client, ConfigError, FetchError, FetchedBatch, Fetcher, FetcherConfig, IsolationLevel, OffsetReset,
    RecordCursor, StartOffset, TopicPartition,
};

use super::history::{Commit, History, InputHistory, Log, LogRecord, OutputLog, StoreImage, Writer};

/// The topic in which Apache Kafka keeps what groups committed.
const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// A history could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A broker did not tell where a log begins and ends.
    #[error("the bounds of a log: {0}")]
    Bounds(#[from] AdminError),
    /// A log could not be read.
    #[error("a log: {0}")]
    Log(#[from] FetchError),
    /// What was read is no batch.
    #[error("a batch: {0}")]
    Batch(#[from] BatchError),
    /// The group's coordinator did not tell what is committed.
    #[error("committed offsets: {0}")]
    Committed(#[from] CallError),
    /// There is no such partition.
    #[error("{0} is not there")]
    Missing(TopicPartition),
    /// The reader's settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads histories of groups from one cluster.
#[derive(Debug, Clone)]
pub struct Reader {
    client: Client,
}

/// What there is to read of a group.
#[derive(Debug, Clone, Default)]
pub struct GroupTopics {
    /// The group.
    pub group: String,
    /// Its inputs.
    pub inputs: Vec<String>,
    /// The changelog of its table.
    pub table: String,
    /// Where it emits to.
    pub outputs: Vec<String>,
    /// How many partitions each of them has.
    pub partitions: i32,
    /// Whether to read every commit, which only Apache Kafka tells.
    pub every_commit: bool,
}

impl Reader {
    /// A reader of the cluster that `client` stands for.
    pub fn new(client: Client) -> Reader {
        Reader { client }
    }

    /// Reads everything but stores, which are added by [`add_stores`].
    ///
    /// # Errors
    /// Something cannot be read.
    pub async fn history(&self, of: &GroupTopics) -> Result<History, ReadError> {
        let mut history = History::default();
        let mut commits = match of.every_commit {
            true => self.commits(&of.group).await?,
            false => BTreeMap::new(),
        };
        for topic in &of.inputs {
            let committed = self.committed(&of.group, topic, of.partitions).await?;
            for number in 0..of.partitions {
                let known = commits.remove(&TopicPartition::new(topic.as_str(), number));
                let input = InputHistory {
                    log: self.log(topic, number).await?,
                    committed: committed.get(&number).copied(),
                    commits: of.every_commit.then(|| known.unwrap_or_default()),
                };
                let partition = history.partitions.entry(number).or_default();
                partition.inputs.insert(topic.clone(), input);
            }
        }
        for number in 0..of.partitions {
            let partition = history.partitions.entry(number).or_default();
            partition.changelog = self.log(&of.table, number).await?;
        }
        for topic in &of.outputs {
            for partition in 0..of.partitions {
                history.outputs.push(OutputLog {
                    topic: topic.clone(),
                    partition,
                    log: self.log(topic, partition).await?,
                });
            }
        }
        Ok(history)
    }

    /// Reads a partition from its start to where it ends now.
    ///
    /// # Errors
    /// A broker does not answer, or the log cannot be read.
    pub async fn log(&self, topic: &str, partition: i32) -> Result<Log, ReadError> {
        let at = TopicPartition::new(topic, partition);
        let (start, end) = self.bounds(topic, partition).await?;
        let mut log = Log {
            start,
            end,
            ..Log::default()
        };
        let fetcher = Fetcher::new(self.client.clone(), FetcherConfig::default())?;
        let mut fetch = fetcher.fetch(at.clone(), StartOffset::Earliest, OffsetReset::Error);
        let mut next = start;
        while next < end {
            let batch = fetch.next().await.ok_or_else(|| ReadError::Missing(at.clone()))??;
            next = batch.next_offset;
            append(&mut log, batch)?;
        }
        // What came meanwhile belongs to another look.
        log.records.retain(|record| record.offset < end);
        Ok(log)
    }

    /// Where a partition begins and ends now.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), ReadError> {
        let at = &TopicPartition::new(topic, partition);
        let admin = self.client.admin();
        let mut bounds = [0; 2];
        for (bound, spec) in bounds.iter_mut().zip([OffsetSpec::Earliest, OffsetSpec::Latest]) {
            let asked = [(at.clone(), spec)];
            let listed = admin.list_offsets(&asked, IsolationLevel::ReadUncommitted).await?;
            let found = listed.get(at).ok_or_else(|| ReadError::Missing(at.clone()))?;
            *bound = found.offset;
        }
        Ok((bounds[0], bounds[1]))
    }

    /// What a group has committed of a topic, asked for without being a member.
    ///
    /// # Errors
    /// The coordinator is not found or does not answer.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>, ReadError> {
        let name = |text: &str| StrBytes::from_string(text.to_owned());
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(name(topic)))
            .with_partition_indexes((0..partitions).collect());
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(name(group)))
            .with_topics(Some(vec![topic]));
        let node = self.client.coordinator(group).await?;
        let wait = std::time::Duration::ZERO;
        let answer = self.client.call(node, ConnectionClass::General, request, Some(7), wait);
        let answer = answer.await?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let committed = partitions.filter(|partition| partition.committed_offset >= 0);
        Ok(committed
            .map(|partition| (partition.partition_index, partition.committed_offset))
            .collect())
    }

    /// Every commit of a group in the order in which its coordinator stored them.
    ///
    /// # Errors
    /// The cluster does not keep them in a topic, or it cannot be read.
    pub async fn commits(&self, group: &str) -> Result<BTreeMap<TopicPartition, Vec<Commit>>, ReadError> {
        let described = self.client.admin().describe_topics(&[CONSUMER_OFFSETS]).await?;
        let mut commits: BTreeMap<_, Vec<_>> = BTreeMap::new();
        // A group's commits all lie in one partition.
        for number in described.iter().flat_map(|topic| &topic.partitions) {
            for record in self.log(CONSUMER_OFFSETS, number.partition).await?.records {
                if let Some((at, offset)) = stored_commit(&record, group) {
                    commits.entry(at).or_default().push(Commit {
                        offset,
                        changelog_end: None,
                    });
                }
            }
        }
        Ok(commits)
    }
}

fn append(log: &mut Log, batch: FetchedBatch) -> Result<(), ReadError> {
    let mut headers: Vec<BatchHeader> = Vec::new();
    for batch in Batches::new(&batch.records) {
        headers.push(*batch?.header());
    }
    let mut cursor = RecordCursor::new(batch, IsolationLevel::ReadUncommitted);
    while let Some(record) = cursor.next_record()? {
        let index = headers.partition_point(|header| header.next_offset() <= record.offset);
        log.records.push(LogRecord {
            offset: record.offset,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            writer: headers.get(index).and_then(|header| writer(header, record.offset)),
            origin: None,
        });
    }
    Ok(())
}

/// Who wrote the record at `offset` of a batch; nobody that could be told apart if its producer was not idempotent.
fn writer(header: &BatchHeader, offset: i64) -> Option<Writer> {
    let within = i32::try_from(offset - header.base_offset).ok()?;
    (header.producer_id >= 0).then(|| Writer {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        // They go from 0 to 2^31 - 1 and begin again.
        sequence: header.base_sequence.wrapping_add(within) & i32::MAX,
    })
}

/// The commit that a record of `__consumer_offsets` stores, if it is one of `group` (Kafka's OffsetCommitKey and -Value).
fn stored_commit(record: &LogRecord, group: &str) -> Option<(TopicPartition, i64)> {
    let (mut key, mut value) = (record.key.clone()?, record.value.clone()?);
    let text = |from: &mut Bytes| -> Option<Bytes> {
        let length = usize::from(from.try_get_u16().ok()?);
        (from.len() >= length).then(|| from.split_to(length))
    };
    // Versions 0 and 1 are commits, 2 and later are groups.
    if key.try_get_i16().ok()? > 1 || text(&mut key)? != group.as_bytes() {
        return None;
    }
    let topic = text(&mut key)?;
    let at = TopicPartition::new(std::str::from_utf8(&topic).ok()?, key.try_get_i32().ok()?);
    value.try_get_i16().ok()?;
    Some((at, value.try_get_i64().ok()?))
}

/// Adds the stores of a table as they are on disk; whoever had them must have let go. Gives what was damaged and set aside.
///
/// # Errors
/// A store cannot be opened or read.
pub fn add_stores(
    history: &mut History,
    name: &str,
    stores: &dyn StoreBuilder,
    owner: &str,
    table: &str,
) -> Result<Vec<String>, StoreError> {
    let mut rebuilt = Vec::new();
    for (number, partition) in &mut history.partitions {
        let opened = stores.open(StoreName {
            owner,
            topic: table,
            partition: *number,
        })?;
        let mut image = StoreImage {
            name: format!("{name}-{number}"),
            checkpoint: opened.store.checkpoint()?.map(|checkpoint| checkpoint.offset),
            rows: BTreeMap::new(),
        };
        for row in opened.store.scan(KeyRange::all())? {
            let (key, value) = row?;
            image.rows.insert(key.into(), value.into());
        }
        opened.store.close()?;
        rebuilt.extend(opened.rebuilt);
        partition.stores.push(image);
    }
    Ok(rebuilt)
}
