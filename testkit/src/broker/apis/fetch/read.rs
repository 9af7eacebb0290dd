//! Reading the logs for a fetch (`ReplicaManager.readFromLog`, `Partition.fetchRecords`).

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::{FROM_FOLLOWERS_SINCE, Fetch, Target, TopicRef, Wanted};
use crate::broker::core::State;

/// What one pass over all wanted partitions found.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) partitions: Vec<(Target, Partition)>,
    /// Bytes of records found.
    pub(super) bytes: usize,
    /// Partitions that exist.
    pub(super) served: usize,
    /// Something must be told at once: an error of an existing partition, or a diverging epoch.
    pub(super) urgent: bool,
}

/// What was found of one partition. Offsets are -1 where Kafka does not tell them.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) error: ErrorCode,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
    /// Epoch and end of the last epoch both sides know, when the reader's log has diverged (KIP-595).
    pub(super) diverging: Option<(i32, i64)>,
    pub(super) records: Vec<Bytes>,
}

impl Partition {
    pub(super) fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging: None,
            records: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

impl Fetch {
    /// Reads every wanted partition in order, within the byte limits.
    pub(super) fn read(&self, state: &State) -> Read {
        let mut read = Read {
            partitions: Vec::with_capacity(self.wanted.len()),
            bytes: 0,
            served: 0,
            urgent: false,
        };
        for (target, wanted) in &self.wanted {
            let partition = match self.exists(state, target) {
                Err(code) => Partition::failed(code),
                Ok((topic, index)) => {
                    read.served += 1;
                    let left = self.max_bytes.saturating_sub(read.bytes);
                    let found = self.read_one(state, &topic, index, wanted, left, read.bytes == 0);
                    let found = found.unwrap_or_else(Partition::failed);
                    read.urgent |= !found.error.is_ok() || found.diverging.is_some();
                    found
                }
            };
            read.bytes += partition.size();
            read.partitions.push((target.clone(), partition));
        }
        read
    }

    /// Errors here do not hurry the answer: Kafka sorts these partitions out before it reads.
    fn exists(&self, state: &State, target: &Target) -> Result<(String, i32), ErrorCode> {
        let unknown = match target.topic {
            TopicRef::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            TopicRef::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
        };
        let topic = target.name(state).ok_or(unknown)?;
        match state.cluster.partition(&topic, target.partition) {
            Some(_) => Ok((topic, target.partition)),
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        }
    }

    fn read_one(
        &self,
        state: &State,
        topic: &str,
        index: i32,
        wanted: &Wanted,
        left: usize,
        at_least_one: bool,
    ) -> Result<Partition, ErrorCode> {
        if let Some(code) = self.injected {
            return Err(code);
        }
        let partition = state
            .cluster
            .partition(topic, index)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let leader_only = self.version < FROM_FOLLOWERS_SINCE;
        partition.check_access(self.node, wanted.current_leader_epoch, leader_only)?;
        let log = &partition.log;
        let end = partition.high_watermark();
        let diverging = match wanted.last_fetched_epoch {
            -1 => None,
            epoch => {
                let (known, known_end) = log.epochs.end_of(epoch, end).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
                (known < epoch || known_end < wanted.offset).then_some((known, known_end))
            }
        };
        let readable = log.start_offset()..=end;
        if wanted.offset < log.start_offset() || (diverging.is_none() && !readable.contains(&wanted.offset)) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let limit = left.min(usize::try_from(wanted.max_bytes).unwrap_or(0));
        let records = match diverging {
            Some(_) => Vec::new(),
            None => log.read(wanted.offset, limit, at_least_one),
        };
        Ok(Partition {
            error: ErrorCode::NONE,
            high_watermark: end,
            last_stable_offset: end,
            log_start_offset: log.start_offset(),
            diverging,
            records,
        })
    }
}
