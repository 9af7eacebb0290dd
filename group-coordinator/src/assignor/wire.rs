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
//! as bytes are left to back it.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

/// `protocol_type` of every group of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

const VERSION: i16 = 0;

/// What of a subscription concerns an assignor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topics: Vec<String>,
    pub(crate) user_data: Option<Bytes>,
}

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
    let count = input.count(2)?;
    let topics = (0..count).map(|_| input.string()).collect::<Result<_, _>>()?;
    let user_data = input.nullable_bytes()?.map(Bytes::copy_from_slice);
    Ok(Subscription { topics, user_data })
}

/// No bytes at all is no partitions: leaders leave out members that get none.
pub(crate) fn decode_assignment(bytes: &[u8]) -> Result<BTreeMap<String, Vec<i32>>, Malformed> {
    let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if bytes.is_empty() {
        return Ok(partitions);
    }
    let mut input = Reader {
        rest: bytes,
        what: "assignment",
    };
    input.version()?;
    for _ in 0..input.count(2 + 4)? {
        let topic = input.string()?;
        let numbers = partitions.entry(topic).or_default();
        for _ in 0..input.count(4)? {
            match input.i32()? {
                negative if negative < 0 => return Err(input.malformed()),
                number => numbers.push(number),
            }
        }
    }
    input.nullable_bytes()?;
    for numbers in partitions.values_mut() {
        numbers.sort_unstable();
        numbers.dedup();
    }
    Ok(partitions)
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

    fn string(&mut self) -> Result<String, Malformed> {
        let len = usize::try_from(self.i16()?).map_err(|_| self.malformed())?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| self.malformed())?;
        Ok(text.to_owned())
    }

    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => self.take(usize::try_from(len).map_err(|_| self.malformed())?).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As sarama writes it for a goka group with inputs `one` and `two`.
    const SUBSCRIPTION: &[u8] = b"\x00\x00\x00\x00\x00\x02\x00\x03one\x00\x03two\xff\xff\xff\xff";
    /// Partitions 0, 2, 4 of `one`.
    const ASSIGNMENT: &[u8] =
        b"\x00\x00\x00\x00\x00\x01\x00\x03one\x00\x00\x00\x03\0\0\0\0\0\0\0\x02\0\0\0\x04\xff\xff\xff\xff";

    fn topics() -> Vec<String> {
        vec!["one".into(), "two".into()]
    }

    #[test]
    fn a_subscription_has_gokas_bytes() {
        assert_eq!(encode_subscription(&topics(), None), SUBSCRIPTION);
        assert_eq!(
            decode_subscription(SUBSCRIPTION),
            Ok(Subscription {
                topics: topics(),
                user_data: None
            })
        );
    }

    #[test]
    fn topics_keep_the_order_of_their_definition() {
        let encoded = encode_subscription(&["two".into(), "one".into()], None);
        assert_eq!(decode_subscription(&encoded).unwrap().topics, ["two", "one"]);
    }

    #[test]
    fn an_assignment_has_gokas_bytes() {
        let partitions = BTreeMap::from([("one".to_owned(), vec![0, 2, 4])]);
        assert_eq!(encode_assignment(&partitions), ASSIGNMENT);
        assert_eq!(decode_assignment(ASSIGNMENT), Ok(partitions));
    }

    #[test]
    fn user_data_of_saramas_own_golden_bytes_is_read() {
        let bytes = b"\x00\x00\x00\x00\x00\x02\x00\x03one\x00\x03two\x00\x00\x00\x03\x01\x02\x03";
        let user_data = Some(Bytes::from_static(b"\x01\x02\x03"));
        assert_eq!(
            decode_subscription(bytes),
            Ok(Subscription {
                topics: topics(),
                user_data
            })
        );
        assert_eq!(encode_subscription(&topics(), Some(b"\x01\x02\x03")), &bytes[..]);
    }

    #[test]
    fn later_versions_are_read_and_what_they_append_is_ignored() {
        let owned = b"\x00\x00\x00\x01\x00\x03one\x00\x00\x00\x01\x00\x00\x00\x05";
        let generation = b"\x00\x00\x00\x07";
        let rack = b"\x00\x01r";
        for (version, appended) in [
            (1, vec![]), // claimed, not sent: old sarama-cluster
            (1, owned.to_vec()),
            (2, [&owned[..], generation].concat()),
            (3, [&owned[..], generation, rack].concat()),
            (9, vec![1, 2, 3]),
        ] {
            let mut bytes = [SUBSCRIPTION, &appended].concat();
            bytes[1] = version;
            assert_eq!(
                decode_subscription(&bytes).map(|read| read.topics),
                Ok(topics()),
                "version {version}"
            );
        }
    }

    #[test]
    fn no_bytes_are_an_empty_assignment() {
        assert_eq!(decode_assignment(b""), Ok(BTreeMap::new()));
    }

    #[test]
    fn a_partition_named_twice_is_assigned_once() {
        let mut bytes = ASSIGNMENT.to_vec();
        bytes[22] = 4; // 0, 2, 4 becomes 0, 4, 4
        assert_eq!(decode_assignment(&bytes).unwrap()["one"], [0, 4]);
    }

    #[test]
    fn hostile_bytes_are_refused_without_allocating_by_their_word() {
        let cases: [&[u8]; 7] = [
            b"\x00",
            b"\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff",     // version -1
            b"\x00\x00\x7f\xff\xff\xff\x00\x01a",            // 2^31 - 1 topics
            b"\x00\x00\xff\xff\xff\xff",                     // -1 topics
            b"\x00\x00\x00\x00\x00\x01\xff\xffx\0\0\0\0",    // topic of length -1
            b"\x00\x00\x00\x00\x00\x01\x00\x01\xff\0\0\0\0", // not UTF-8
            b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xfe",     // user data of length -2
        ];
        for bytes in cases {
            assert!(decode_subscription(bytes).is_err(), "{bytes:?}");
            assert!(decode_assignment(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_negative_partition_is_refused() {
        let partitions = BTreeMap::from([("one".to_owned(), vec![-1])]);
        assert!(decode_assignment(&encode_assignment(&partitions)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_subscription(&bytes);
            let _ = decode_assignment(&bytes);
        }

        #[test]
        fn what_is_encoded_is_decoded(
            partitions in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::btree_set(0_i32..1000, 0..9), 0..5),
            user_data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
        ) {
            let partitions: BTreeMap<String, Vec<i32>> =
                partitions.into_iter().map(|(topic, numbers)| (topic, numbers.into_iter().collect())).collect();
            prop_assert_eq!(decode_assignment(&encode_assignment(&partitions)), Ok(partitions.clone()));
            let topics: Vec<String> = partitions.into_keys().collect();
            let read = decode_subscription(&encode_subscription(&topics, user_data.as_deref())).unwrap();
            prop_assert_eq!(read, Subscription { topics, user_data: user_data.map(Bytes::from) });
        }
    }
}
