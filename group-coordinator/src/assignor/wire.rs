//! The bytes inside `JoinGroup` and `SyncGroup`: Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`.
//!
//! ```text
//! Subscription  version: i16 | topics: [string] | user data: nullable bytes           version 0
//!               | owned: [topic: string, partitions: [i32]]                           since 1 (KIP-429)
//!               | generation: i32                                                     since 2 (KIP-792)
//!               | rack: nullable string                                               since 3 (KIP-881)
//! Assignment    version: i16 | [topic: string, partitions: [i32]] | user data: nullable bytes
//! ```
//! We write version 0 of both, as goka does. We read what others write: any version, the fields after version 0 ignored;
//! newer versions only append (ConsumerProtocol.java reads them the same way), and some clients claim version 1 without its
//! field. Everything read comes from another member by way of the broker and is not trusted: a count is believed only as far
//! as bytes are left to back it, and reading takes no more memory than the guard allows for an answer of that length
//! ([`allowed_memory`]: 64 KiB and eight times its own). No topic has an empty name, so such a name is refused.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire::rpc::guard::allowed_memory;

/// `protocol_type` of every group of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

const VERSION: i16 = 0;

/// The fewest bytes of a topic: the length of its name and one letter.
const LEAST_TOPIC: usize = 2 + 1;

/// What of a subscription concerns an assignor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: Vec<String>,
    pub(crate) user_data: Option<Bytes>,
}

/// A member's partitions: topics ascending, each once, with ascending numbers. Flat, because a map's nodes would take more
/// memory than the bytes of many small topics may.
pub(crate) type Share = Vec<(String, Vec<i32>)>;

/// Bytes of another member that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub(crate) struct Malformed {
    what: &'static str,
}

/// Strings must have been checked to fit (`GroupConfig::validate`).
pub(crate) fn encode_subscription(topics: &[String], user_data: Option<&[u8]>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, topics.len());
    topics.iter().for_each(|topic| put_string(&mut out, topic));
    put_nullable_bytes(&mut out, user_data);
    out.freeze()
}

pub(crate) fn encode_assignment(partitions: &BTreeMap<String, Vec<i32>>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, partitions.len());
    for (topic, numbers) in partitions {
        put_string(&mut out, topic);
        put_count(&mut out, numbers.len());
        numbers.iter().for_each(|number| out.put_i32(*number));
    }
    put_nullable_bytes(&mut out, None);
    out.freeze()
}

pub(crate) fn decode_subscription(bytes: &[u8]) -> Result<Subscription, Malformed> {
    let mut input = Reader {
        rest: bytes,
        what: "subscription",
    };
    input.version()?;
    let count = input.count(LEAST_TOPIC)?;
    // Read twice: first for what it takes, then for good.
    let mut ahead = Reader { ..input };
    let mut letters = 0;
    for _ in 0..count {
        letters += ahead.topic()?.len();
    }
    let user_data = ahead.nullable_bytes()?;
    // Only hundreds of thousands of names of one letter take more.
    let memory = count * size_of::<String>() + letters + user_data.map_or(0, <[u8]>::len);
    if memory > allowed_memory(bytes.len()) {
        return Err(input.malformed());
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(input.topic()?.to_owned());
    }
    let user_data = user_data.map(Bytes::copy_from_slice);
    Ok(Subscription { topics, user_data })
}

/// No bytes at all is no partitions: leaders leave out members that get none.
pub(crate) fn decode_assignment(bytes: &[u8]) -> Result<Share, Malformed> {
    if bytes.is_empty() {
        return Ok(Share::new());
    }
    let mut input = Reader {
        rest: bytes,
        what: "assignment",
    };
    input.version()?;
    let count = input.count(LEAST_TOPIC + 4)?;
    let mut share = Share::with_capacity(count);
    for _ in 0..count {
        let topic = input.topic()?.to_owned();
        let count = input.count(4)?;
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            match input.i32()? {
                negative if negative < 0 => return Err(input.malformed()),
                number => numbers.push(number),
            }
        }
        share.push((topic, numbers));
    }
    input.nullable_bytes()?;
    share.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    share.dedup_by(|(again, more), (topic, numbers)| {
        let repeated = again == topic;
        if repeated {
            numbers.append(more);
        }
        repeated
    });
    for (_, numbers) in &mut share {
        numbers.sort_unstable();
        numbers.dedup();
    }
    Ok(share)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

fn put_string(out: &mut BytesMut, text: &str) {
    debug_assert!(
        text.len() <= i16::MAX as usize,
        "checked by GroupConfig::validate or read from a Kafka string"
    );
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn put_nullable_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => out.put_i32(-1),
        Some(bytes) => {
            put_count(out, bytes.len());
            out.put_slice(bytes);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn malformed(&self) -> Malformed {
        Malformed { what: self.what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn version(&mut self) -> Result<(), Malformed> {
        if self.i16()? < 0 { Err(self.malformed()) } else { Ok(()) }
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// An array's length, which the bytes left must be able to hold.
    fn count(&mut self, least_item_len: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?).map_err(|_| self.malformed())?;
        if count > self.rest.len() / least_item_len {
            Err(self.malformed())
        } else {
            Ok(count)
        }
    }

    fn topic(&mut self) -> Result<&'a str, Malformed> {
        match usize::try_from(self.i16()?) {
            Ok(len) if len > 0 => std::str::from_utf8(self.take(len)?).map_err(|_| self.malformed()),
            _ => Err(self.malformed()),
        }
    }

    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => self.take(usize::try_from(len).map_err(|_| self.malformed())?).map(Some),
        }
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
