//! What is asked of a broker and what it answers, as Fetch, ListOffsets and OffsetForLeaderEpoch. Pure functions.
//!
//! Fetches are sessionless (KIP-227 sessions save the repeated partition list, some 30 bytes a partition, at the price of state
//! on both sides). From version 13 on topics go by their id (KIP-516), before by name. An answer is matched to what was asked;
//! partitions that were not asked for, or come twice, are left out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::memory::Held;
use super::position::{Bound, Leader, Want};
use super::{AbortedTransaction, FetcherConfig, Watermarks};
use crate::protocol::{ErrorCode, IsolationLevel, TopicId, TopicPartition};

/// The newest Fetch version spoken; the next one is for followers.
pub(super) const FETCH_MAX: i16 = 17;
/// The newest Fetch version that names topics instead of giving their ids.
pub(super) const FETCH_BY_NAME: i16 = 12;

/// One request to one broker.
#[derive(Debug)]
pub(super) struct Request {
    /// Under which the answer is handed back.
    pub(super) ticket: u64,
    pub(super) node: i32,
    pub(super) kind: Kind,
    pub(super) partitions: Vec<Asked>,
    /// Bytes of records that the answer may hold; reserved before it is sent.
    pub(super) max_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fetch { lane: Lane, wait: Duration },
    Offsets(IsolationLevel),
    EpochEnds,
}

/// Brokers answer the requests of one connection in turn, so that there is one for fetches that wait and one for those that
/// must not wait behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Long,
    Short,
}

/// One partition of a request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) topic_partition: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) leader: Leader,
    pub(super) want: Want,
    pub(super) max_bytes: usize,
}

/// What a broker answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Of the request as a whole.
    pub(super) code: ErrorCode,
    pub(super) throttle: Duration,
    /// By the place in [`Request::partitions`].
    pub(super) partitions: Vec<(usize, Told)>,
    /// Node, host and port of leaders told about (KIP-951).
    pub(super) endpoints: Vec<(i32, String, u16)>,
    /// Counts its bytes.
    pub(super) held: Option<Arc<Held>>,
}

/// What a broker said about one partition.
#[derive(Debug)]
pub(super) enum Told {
    Error {
        code: ErrorCode,
        /// The new leader and its epoch, if the broker told them (KIP-951).
        leader: Option<(i32, i32)>,
    },
    Records(Fetched),
    Offset(i64),
    EpochEnd {
        epoch: i32,
        end_offset: i64,
    },
}

impl Told {
    /// Bytes of the records in it.
    pub(super) fn record_bytes(&self) -> usize {
        match self {
            Told::Records(fetched) => fetched.records.len(),
            Told::Error { .. } | Told::Offset(_) | Told::EpochEnd { .. } => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) records: Bytes,
    pub(super) watermarks: Watermarks,
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl Request {
    /// The newest Fetch version that can say it: without a topic's id only a name can be given.
    pub(super) fn fetch_version(&self) -> i16 {
        match self.partitions.iter().any(|asked| asked.topic_id.is_zero()) {
            true => FETCH_BY_NAME,
            false => FETCH_MAX,
        }
    }

    /// The Fetch request in `version`.
    pub(super) fn to_fetch(&self, version: i16, config: &FetcherConfig) -> FetchRequest {
        let wait = match self.kind {
            Kind::Fetch { wait, .. } => wait,
            Kind::Offsets(_) | Kind::EpochEnds => Duration::ZERO,
        };
        let topics = self.in_turn(|asked| {
            let Want::Records(offset) = asked.want else { return None };
            Some(
                FetchPartition::default()
                    .with_partition(asked.topic_partition.partition)
                    .with_current_leader_epoch(if version >= 9 { asked.leader.epoch } else { -1 })
                    .with_fetch_offset(offset)
                    .with_partition_max_bytes(to_i32(asked.max_bytes)),
            )
        });
        let topics = topics.into_iter().map(|(asked, partitions)| {
            let topic = FetchTopic::default().with_partitions(partitions);
            match version > FETCH_BY_NAME {
                // A topic id has the sixteen bytes that this conversion wants.
                true => topic.with_topic_id(asked.topic_id.0.to_vec().try_into().unwrap_or_default()),
                false => topic.with_topic(name(asked)),
            }
        });
        FetchRequest::default()
            .with_max_wait_ms(to_i32(wait.as_millis() as usize))
            .with_min_bytes(to_i32(config.min_bytes))
            .with_max_bytes(to_i32(self.max_bytes))
            .with_isolation_level(config.isolation.code())
            .with_topics(topics.collect())
    }

    /// The ListOffsets request in `version`.
    pub(super) fn to_list_offsets(&self, version: i16) -> ListOffsetsRequest {
        let isolation = match self.kind {
            Kind::Offsets(isolation) if version >= 2 => isolation.code(),
            _ => 0,
        };
        let topics = self.by_topic(|asked| {
            let timestamp = match asked.want {
                Want::Offset(Bound::Latest, _) => -1,
                Want::Offset(Bound::Earliest, _) => -2,
                Want::Records(_) | Want::EpochEnd(_) => return None,
            };
            Some(
                ListOffsetsPartition::default()
                    .with_partition_index(asked.topic_partition.partition)
                    .with_current_leader_epoch(if version >= 4 { asked.leader.epoch } else { -1 })
                    .with_timestamp(timestamp),
            )
        });
        let topics = topics.into_iter().map(|(asked, partitions)| {
            ListOffsetsTopic::default()
                .with_name(name(asked))
                .with_partitions(partitions)
        });
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation)
            .with_topics(topics.collect())
    }

    /// The OffsetForLeaderEpoch request in `version`.
    pub(super) fn to_epoch_ends(&self, version: i16) -> OffsetForLeaderEpochRequest {
        let topics = self.by_topic(|asked| {
            let Want::EpochEnd(epoch) = asked.want else { return None };
            Some(
                OffsetForLeaderPartition::default()
                    .with_partition(asked.topic_partition.partition)
                    .with_current_leader_epoch(asked.leader.epoch)
                    .with_leader_epoch(epoch),
            )
        });
        let topics = topics.into_iter().map(|(asked, partitions)| {
            OffsetForLeaderTopic::default()
                .with_topic(name(asked))
                .with_partitions(partitions)
        });
        let request = OffsetForLeaderEpochRequest::default().with_topics(topics.collect());
        match version >= 3 {
            true => request.with_replica_id(BrokerId(-1)),
            false => request,
        }
    }

    /// Groups neighbours of one topic. Brokers fill a response in the order of the request, so that a topic is named again where
    /// others came in between; Java does the same.
    fn in_turn<P>(&self, partition: impl Fn(&Asked) -> Option<P>) -> Vec<(&Asked, Vec<P>)> {
        let of_one_topic = |a: &Asked, b: &Asked| a.topic_partition.topic == b.topic_partition.topic;
        let runs = self.partitions.chunk_by(of_one_topic);
        runs.map(|run| (&run[0], run.iter().filter_map(&partition).collect()))
            .collect()
    }

    /// Groups by topic.
    fn by_topic<P>(&self, partition: impl Fn(&Asked) -> Option<P>) -> Vec<(&Asked, Vec<P>)> {
        let mut places = HashMap::<&str, usize>::new();
        let mut topics = Vec::<(&Asked, Vec<P>)>::new();
        for asked in &self.partitions {
            let place = *places.entry(&asked.topic_partition.topic).or_insert(topics.len());
            if place == topics.len() {
                topics.push((asked, Vec::new()));
            }
            topics[place].1.extend(partition(asked));
        }
        topics
    }

    /// Matches a Fetch response.
    pub(super) fn fetched(&self, response: FetchResponse) -> Answer {
        let mut open = Open::of(self);
        let mut partitions = Vec::new();
        for topic in response.responses {
            let Some(name) = open.name(TopicId(*topic.topic_id.as_bytes()), topic.topic.as_str()) else {
                continue;
            };
            for partition in topic.partitions {
                if let Some(place) = open.take(name, partition.partition_index) {
                    partitions.push((place, told(partition)));
                }
            }
        }
        let endpoints = response.node_endpoints.into_iter().filter_map(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            Some((endpoint.node_id.0, endpoint.host.to_string(), port))
        });
        Answer {
            code: ErrorCode(response.error_code),
            throttle: throttle(response.throttle_time_ms),
            partitions,
            endpoints: endpoints.collect(),
            held: None,
        }
    }

    /// Matches a ListOffsets response.
    pub(super) fn listed(&self, response: &ListOffsetsResponse) -> Answer {
        let mut open = Open::of(self);
        let mut partitions = Vec::new();
        for topic in &response.topics {
            for partition in &topic.partitions {
                if let Some(place) = open.take(topic.name.as_str(), partition.partition_index) {
                    partitions.push((place, ok_or(partition.error_code, Told::Offset(partition.offset))));
                }
            }
        }
        Answer::of(response.throttle_time_ms, partitions)
    }

    /// Matches an OffsetForLeaderEpoch response.
    pub(super) fn epochs_ended(&self, response: &OffsetForLeaderEpochResponse) -> Answer {
        let mut open = Open::of(self);
        let mut partitions = Vec::new();
        for topic in &response.topics {
            for partition in &topic.partitions {
                if let Some(place) = open.take(topic.topic.as_str(), partition.partition) {
                    let (epoch, end_offset) = (partition.leader_epoch, partition.end_offset);
                    partitions.push((place, ok_or(partition.error_code, Told::EpochEnd { epoch, end_offset })));
                }
            }
        }
        Answer::of(response.throttle_time_ms, partitions)
    }
}

impl Answer {
    /// Bytes of the records in it.
    pub(super) fn record_bytes(&self) -> usize {
        self.partitions.iter().map(|(_, told)| told.record_bytes()).sum()
    }

    fn of(throttle_time_ms: i32, partitions: Vec<(usize, Told)>) -> Answer {
        Answer {
            code: ErrorCode::NONE,
            throttle: throttle(throttle_time_ms),
            partitions,
            endpoints: Vec::new(),
            held: None,
        }
    }
}

/// The partitions of a request that are not answered yet.
struct Open<'a> {
    names: HashMap<TopicId, &'a str>,
    places: HashMap<&'a str, HashMap<i32, usize>>,
}

impl<'a> Open<'a> {
    fn of(request: &'a Request) -> Open<'a> {
        let (mut names, mut places) = (HashMap::new(), HashMap::<&str, HashMap<i32, usize>>::new());
        for (place, asked) in request.partitions.iter().enumerate() {
            let topic = &*asked.topic_partition.topic;
            names.insert(asked.topic_id, topic);
            places
                .entry(topic)
                .or_default()
                .insert(asked.topic_partition.partition, place);
        }
        Open { names, places }
    }

    /// The topic's name: by its id if the response has ids.
    fn name<'n>(&self, id: TopicId, name: &'n str) -> Option<&'n str>
    where
        'a: 'n,
    {
        match id.is_zero() {
            true => Some(name),
            false => self.names.get(&id).copied(),
        }
    }

    fn take(&mut self, topic: &str, partition: i32) -> Option<usize> {
        self.places.get_mut(topic)?.remove(&partition)
    }
}

fn told(partition: PartitionData) -> Told {
    let code = ErrorCode(partition.error_code);
    if !code.is_ok() {
        let leader = &partition.current_leader;
        let known = leader.leader_id.0 >= 0 && leader.leader_epoch >= 0;
        return Told::Error {
            code,
            leader: known.then_some((leader.leader_id.0, leader.leader_epoch)),
        };
    }
    let records = partition.records.unwrap_or_default();
    if records.is_empty() && partition.preferred_read_replica.0 >= 0 {
        // We name no rack, so no broker should send us to a follower (KIP-392); asking on without a pause would spin.
        return Told::Error {
            code: ErrorCode::REPLICA_NOT_AVAILABLE,
            leader: None,
        };
    }
    let aborted = partition.aborted_transactions.unwrap_or_default();
    Told::Records(Fetched {
        records,
        watermarks: Watermarks {
            log_start: partition.log_start_offset,
            high: partition.high_watermark,
            last_stable: partition.last_stable_offset,
        },
        aborted: aborted
            .iter()
            .map(|aborted| AbortedTransaction {
                producer_id: aborted.producer_id.0,
                first_offset: aborted.first_offset,
            })
            .collect(),
    })
}

fn ok_or(code: i16, told: Told) -> Told {
    match code {
        0 => told,
        code => Told::Error {
            code: ErrorCode(code),
            leader: None,
        },
    }
}

fn name(asked: &Asked) -> TopicName {
    TopicName(StrBytes::from_string(asked.topic_partition.topic.to_string()))
}

fn to_i32(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// How long a broker asks us to be quiet (KIP-219), believed up to five minutes.
fn throttle(milliseconds: i32) -> Duration {
    Duration::from_millis(milliseconds.clamp(0, 300_000) as u64)
}

#[cfg(test)]
mod tests;
