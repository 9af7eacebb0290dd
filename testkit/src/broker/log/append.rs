//! Appending: what a client may write, checked in the order Kafka checks it.
//!
//! One batch per request and partition, format 2, base offset 0 (`ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords`); size, then CRC; then the batch's own claims and every record in it
//! (`LogValidator`); then the producer's sequence. What passes gets its offsets and the leader epoch; on a LogAppendTime
//! topic also the broker's time, which is the one change that needs a new CRC.

use bytes::{Bytes, BytesMut};
use kafka_wire::ErrorCode;
use kafka_wire::protocol::batch::{Batch, BatchError, BatchHeader, Batches};
use kafka_wire::protocol::compression::CompressionError;

use super::PartitionLog;
use super::producers::Sequence;
use crate::broker::cluster::TopicConfig;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// The records that are to blame, if single records are.
    pub(crate) records: Vec<RecordError>,
}

/// One refused record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordError {
    pub(crate) index: i32,
    pub(crate) message: String,
}

/// Where a batch came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendInfo {
    pub(crate) base_offset: i64,
    /// -1 unless the broker stamped the records, or the batch is a duplicate.
    pub(crate) log_append_time: i64,
    pub(crate) duplicate: bool,
}

impl AppendError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            records: Vec::new(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_RECORD, message)
    }
}

/// Where the bytes begin that the batch length counts.
const LENGTH_END: usize = 12;
const LEADER_EPOCH_AT: std::ops::Range<usize> = 12..16;
const CRC_AT: std::ops::Range<usize> = 17..21;
const ATTRIBUTES_AT: std::ops::Range<usize> = 21..23;
const MAX_TIMESTAMP_AT: std::ops::Range<usize> = 35..43;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const CODEC_ZSTD: i16 = 4;
/// `NO_TIMESTAMP` of a record.
const NO_TIMESTAMP: i64 = -1;

impl PartitionLog {
    /// Appends one batch as the leader of `epoch`. `version` is the Produce request's.
    ///
    /// # Errors
    ///
    /// What Kafka answers; nothing is appended then.
    pub(crate) fn append(
        &mut self,
        records: &Bytes,
        config: &TopicConfig,
        epoch: i32,
        now_ms: i64,
        version: i16,
    ) -> Result<AppendInfo, AppendError> {
        let batch = single_batch(records)?;
        let header = *batch.header();
        if version < 7 && header.attributes.0 & 0x07 == CODEC_ZSTD {
            return Err(AppendError::new(
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                "zstd needs Produce v7",
            ));
        }
        check_batch(&batch, &header, config)?;
        let max_timestamp = check_records(&batch, config, now_ms)?.unwrap_or(header.max_timestamp);
        let sequence = sequence(&header);
        if let Some(duplicate) = sequence.map(|it| self.producers.check(it)).transpose()?.flatten() {
            let (base_offset, log_append_time) = (duplicate.base_offset, duplicate.timestamp);
            return Ok(AppendInfo {
                base_offset,
                log_append_time,
                duplicate: true,
            });
        }
        let append_time = config.log_append_time.then_some(now_ms);
        let length = LENGTH_END + usize::try_from(header.batch_length).unwrap_or(0);
        let place = Place {
            base_offset: self.end,
            epoch,
            max_timestamp,
            append_time,
        };
        let (header, bytes) = stamp(header, &records[..length], place);
        let base_offset = self.end;
        self.epochs.assign(epoch, base_offset);
        if let Some(sequence) = sequence {
            self.producers.append(sequence, base_offset, header.max_timestamp);
        }
        self.push(header, bytes);
        Ok(AppendInfo {
            base_offset,
            log_append_time: append_time.unwrap_or(-1),
            duplicate: false,
        })
    }
}

/// The one batch a Produce request may hold for a partition. An incomplete batch behind it is cut off.
fn single_batch(records: &Bytes) -> Result<Batch<'_>, AppendError> {
    let mut batches = Batches::new(records);
    let first = batches
        .next()
        .ok_or_else(|| AppendError::invalid("Produce requests must hold one record batch per partition"))?;
    let first = first.map_err(|error| match error {
        BatchError::BadLength { .. } => AppendError::new(ErrorCode::CORRUPT_MESSAGE, error.to_string()),
        _ => AppendError::invalid(error.to_string()),
    })?;
    match batches.next() {
        None => Ok(first),
        Some(_) => Err(AppendError::invalid(
            "Produce requests must hold exactly one record batch per partition",
        )),
    }
}

fn check_batch(batch: &Batch<'_>, header: &BatchHeader, config: &TopicConfig) -> Result<(), AppendError> {
    if header.base_offset != 0 {
        return Err(AppendError::invalid(format!(
            "the base offset should be 0, but it is {}",
            header.base_offset
        )));
    }
    let size = i64::from(header.batch_length) + 12;
    if size > i64::from(config.max_message_bytes) {
        let limit = config.max_message_bytes;
        let message = format!("the record batch has {size} bytes, more than the {limit} of max.message.bytes");
        return Err(AppendError::new(ErrorCode::MESSAGE_TOO_LARGE, message));
    }
    batch
        .verify_crc()
        .map_err(|error| AppendError::new(ErrorCode::CORRUPT_MESSAGE, error.to_string()))?;
    if header.last_offset_delta < 0 || header.record_count <= 0 {
        return Err(AppendError::invalid("the batch holds no records"));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return Err(AppendError::invalid(
            "the batch's offsets and its number of records disagree",
        ));
    }
    if header.attributes.is_control() {
        return Err(AppendError::invalid("clients may not write control records"));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(AppendError::invalid("an idempotent batch needs a sequence number"));
    }
    if header.attributes.is_transactional() {
        return Err(AppendError::new(
            ErrorCode::INVALID_TXN_STATE,
            "Record was not part of an ongoing transaction",
        ));
    }
    Ok(())
}

/// Reads every record; the largest timestamp. Batches of a codec that kafka-wire does not read are taken unread.
fn check_records(batch: &Batch<'_>, config: &TopicConfig, now_ms: i64) -> Result<Option<i64>, AppendError> {
    let mut scratch = Vec::new();
    let records = match batch.records(&mut scratch) {
        Ok(records) => records,
        Err(BatchError::Compression {
            error: CompressionError::Unsupported { .. },
            ..
        }) => return Ok(None),
        // Kafka's decompressors throw what it has no code for.
        Err(error) => return Err(AppendError::new(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string())),
    };
    let mut refused = Vec::new();
    let mut timestamps_only = true;
    let mut count = 0;
    let mut max_timestamp = NO_TIMESTAMP;
    for record in records {
        let record = record.map_err(|error| AppendError::invalid(error.to_string()))?;
        if let Some((code, message)) = refusal(record.key, record.timestamp, batch, config, now_ms) {
            timestamps_only &= code == ErrorCode::INVALID_TIMESTAMP;
            refused.push(RecordError { index: count, message });
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        count += 1;
    }
    if count != batch.header().record_count {
        return Err(AppendError::invalid("the batch holds fewer records than it says"));
    }
    match (refused.is_empty(), timestamps_only) {
        (true, _) => Ok(Some(max_timestamp)),
        (false, true) => Err(AppendError {
            code: ErrorCode::INVALID_TIMESTAMP,
            message: "One or more records have been rejected due to invalid timestamp".to_owned(),
            records: refused,
        }),
        (false, false) => Err(AppendError {
            code: ErrorCode::INVALID_RECORD,
            message: format!(
                "One or more records have been rejected due to {} record errors in total",
                refused.len()
            ),
            records: refused,
        }),
    }
}

fn refusal(
    key: Option<&[u8]>,
    timestamp: i64,
    batch: &Batch<'_>,
    config: &TopicConfig,
    now_ms: i64,
) -> Option<(ErrorCode, String)> {
    if config.compact && key.is_none() {
        return Some((
            ErrorCode::INVALID_RECORD,
            "Compacted topic cannot accept message without key".to_owned(),
        ));
    }
    if !config.log_append_time && timestamp != NO_TIMESTAMP {
        let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
        let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
        if !(oldest..=newest).contains(&timestamp) {
            let message = format!("Timestamp {timestamp} is out of range. It should be within [{oldest}, {newest}]");
            return Some((ErrorCode::INVALID_TIMESTAMP, message));
        }
    } else if batch.header().attributes.is_log_append_time() {
        let message = "Producer should not set timestamp type to LogAppendTime".to_owned();
        return Some((ErrorCode::INVALID_TIMESTAMP, message));
    }
    None
}

fn sequence(header: &BatchHeader) -> Option<Sequence> {
    (header.producer_id >= 0).then_some(Sequence {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        first: header.base_sequence,
        delta: header.last_offset_delta,
    })
}

/// What the broker writes into a batch.
struct Place {
    base_offset: i64,
    epoch: i32,
    /// Of the records; the producer's own claim is corrected.
    max_timestamp: i64,
    append_time: Option<i64>,
}

/// The batch as it lies in the log. Base offset and leader epoch are outside the CRC, timestamps are not.
fn stamp(mut header: BatchHeader, batch: &[u8], place: Place) -> (BatchHeader, Bytes) {
    let mut bytes = BytesMut::from(batch);
    bytes[..8].copy_from_slice(&place.base_offset.to_be_bytes());
    bytes[LEADER_EPOCH_AT].copy_from_slice(&place.epoch.to_be_bytes());
    header.base_offset = place.base_offset;
    header.partition_leader_epoch = place.epoch;
    let max_timestamp = place.append_time.unwrap_or(place.max_timestamp);
    if place.append_time.is_some() || max_timestamp != header.max_timestamp {
        if place.append_time.is_some() {
            header.attributes.0 |= ATTRIBUTE_LOG_APPEND_TIME;
        }
        header.max_timestamp = max_timestamp;
        bytes[ATTRIBUTES_AT].copy_from_slice(&header.attributes.0.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT].copy_from_slice(&max_timestamp.to_be_bytes());
        seal(&mut bytes);
    }
    (header, bytes.freeze())
}

/// Writes the CRC over everything behind it.
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT.start..]);
    batch[CRC_AT].copy_from_slice(&crc.to_be_bytes());
}
