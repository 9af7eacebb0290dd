//! Reading a Produce response, versions 3 to 12.
//!
//! The connection's [`guard`](crate::rpc::guard) has walked every body before: an array holds the elements it claims, and memory
//! for them stays within its bound when it is reserved exactly, as it is here. What this reader believes without the guard is
//! less: a count that the bytes left can hold.

use std::time::Duration;

use crate::producer::request::FIRST_FLEXIBLE;
use crate::protocol::ErrorCode;

/// What the broker answered to one Produce request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProduceAnswer {
    pub(super) topics: Vec<TopicAnswer>,
    /// How long the broker wants to be left alone (KIP-219).
    pub(super) throttle: Duration,
    /// Where the leaders live that `current_leader` names (KIP-951).
    pub(super) endpoints: Vec<NodeEndpoint>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct TopicAnswer {
    pub(super) name: String,
    pub(super) partitions: Vec<PartitionAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionAnswer {
    pub(super) partition: i32,
    pub(super) code: ErrorCode,
    pub(super) base_offset: i64,
    pub(super) log_append_time: Option<i64>,
    /// -1 before version 5, or when the broker does not say.
    pub(super) log_start_offset: i64,
    /// The broker's words, with those about single records (KIP-467).
    pub(super) text: Option<String>,
    /// Leader and leader epoch, on leader errors from version 10 on.
    pub(super) current_leader: Option<(i32, i32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeEndpoint {
    pub(super) node: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// The response does not read as a Produce response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fewest bytes of a topic, a partition, a record error and an endpoint, in whichever version needs least.
const LEAST_TOPIC: usize = 3;
const LEAST_PARTITION: usize = 22;
const LEAST_RECORD_ERROR: usize = 6;
const LEAST_ENDPOINT: usize = 11;

/// Reads the body of a response of `version`.
pub(super) fn decode(version: i16, body: &[u8]) -> Result<ProduceAnswer, Malformed> {
    let mut reader = Reader {
        rest: body,
        flexible: version >= FIRST_FLEXIBLE,
    };
    let topics = reader.array_len(LEAST_TOPIC)?;
    let mut answer = ProduceAnswer {
        topics: Vec::with_capacity(topics),
        ..ProduceAnswer::default()
    };
    for _ in 0..topics {
        let name = reader.string()?.ok_or(Malformed)?.to_owned();
        let count = reader.array_len(LEAST_PARTITION)?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(partition(&mut reader, version)?);
        }
        reader.tagged_fields(|_, _| Ok(()))?;
        answer.topics.push(TopicAnswer { name, partitions });
    }
    answer.throttle = Duration::from_millis(u64::try_from(reader.i32()?).unwrap_or(0));
    reader.tagged_fields(|tag, field| {
        if tag == 0 && version >= 10 {
            answer.endpoints = endpoints(field)?;
        }
        Ok(())
    })?;
    Ok(answer)
}

fn partition(reader: &mut Reader<'_>, version: i16) -> Result<PartitionAnswer, Malformed> {
    let mut answer = PartitionAnswer {
        partition: reader.i32()?,
        code: ErrorCode(reader.i16()?),
        base_offset: reader.i64()?,
        log_append_time: Some(reader.i64()?).filter(|time| *time >= 0),
        log_start_offset: -1,
        text: None,
        current_leader: None,
    };
    if version >= 5 {
        answer.log_start_offset = reader.i64()?;
    }
    if version >= 8 {
        answer.text = words(reader)?;
    }
    reader.tagged_fields(|tag, mut field| {
        if tag == 0 && version >= 10 {
            answer.current_leader = Some((field.i32()?, field.i32()?));
        }
        Ok(())
    })?;
    Ok(answer)
}

/// The broker's message, or else what it says about the first bad record.
fn words(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut about_record = None;
    for _ in 0..reader.array_len(LEAST_RECORD_ERROR)? {
        let index = reader.i32()?;
        let message = reader.string()?;
        about_record.get_or_insert_with(|| format!("record {index} of the batch: {}", message.unwrap_or("invalid")));
        reader.tagged_fields(|_, _| Ok(()))?;
    }
    let message = reader.string()?.map(str::to_owned);
    Ok(match (message, about_record) {
        (Some(message), Some(record)) => Some(format!("{message} ({record})")),
        (message, record) => message.or(record),
    })
}

fn endpoints(mut field: Reader<'_>) -> Result<Vec<NodeEndpoint>, Malformed> {
    let count = field.array_len(LEAST_ENDPOINT)?;
    let mut endpoints = Vec::with_capacity(count);
    for _ in 0..count {
        let node = field.i32()?;
        let host = field.string()?.ok_or(Malformed)?.to_owned();
        let port = u16::try_from(field.i32()?).map_err(|_| Malformed)?;
        let _rack = field.string()?;
        field.tagged_fields(|_, _| Ok(()))?;
        endpoints.push(NodeEndpoint { node, host, port });
    }
    Ok(endpoints)
}

struct Reader<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.fixed().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.fixed().map(i64::from_be_bytes)
    }

    fn unsigned(&mut self) -> Result<usize, Malformed> {
        let mut value = 0u32;
        for shift in (0..32).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// Elements of an array of at least `least` bytes each, so more than `rest` can hold is a lie. A null array has none.
    fn array_len(&mut self, least: usize) -> Result<usize, Malformed> {
        let len = if self.flexible {
            self.unsigned()?.saturating_sub(1)
        } else {
            usize::try_from(self.i32()?.max(0)).map_err(|_| Malformed)?
        };
        if len > self.rest.len() / least {
            Err(Malformed)
        } else {
            Ok(len)
        }
    }

    fn string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let len = if self.flexible {
            self.unsigned()?.checked_sub(1)
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(len) = len else { return Ok(None) };
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| Malformed)
    }

    fn tagged_fields(
        &mut self,
        mut field: impl FnMut(usize, Reader<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let len = self.unsigned()?;
            let rest = self.take(len)?;
            field(tag, Reader { rest, flexible: true })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
