//! The envelope of a Produce request, written around batches that are never copied.
//!
//! Versions 3 to 8 are the old fixed-length encoding, 9 to 12 the flexible one (KIP-482); the fields are the same. Version
//! 13 names topics by id and is not spoken. `acks` is always -1: an idempotent producer waits for all in-sync replicas.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::TopicPartition;

/// The API key of Produce.
pub(super) const PRODUCE: i16 = 0;

/// The versions this module writes and [`response`](super::response) reads.
pub(super) const VERSIONS: RangeInclusive<i16> = 3..=12;

/// The first version with compact lengths and tagged fields.
pub(super) const FIRST_FLEXIBLE: i16 = 9;

/// The pieces of a request body, to be written one after the other. `batches` has the partitions of a topic side by side.
pub(super) fn encode(version: i16, timeout: Duration, batches: &[(TopicPartition, Bytes)]) -> Vec<Bytes> {
    let mut envelope = Envelope {
        flexible: version >= FIRST_FLEXIBLE,
        buffer: BytesMut::with_capacity(64 + 64 * batches.len()),
        cuts: Vec::with_capacity(batches.len()),
    };
    envelope.head(timeout);
    let topics = batches.chunk_by(|(one, _), (next, _)| one.topic == next.topic);
    envelope.array_len(topics.clone().count());
    for partitions in topics {
        envelope.string(&partitions[0].0.topic);
        envelope.array_len(partitions.len());
        for (topic_partition, batch) in partitions {
            envelope.partition(topic_partition.partition, batch.len());
        }
        envelope.tagged_fields();
    }
    envelope.tagged_fields();
    envelope.interleave(batches)
}

struct Envelope {
    flexible: bool,
    buffer: BytesMut,
    /// Where in `buffer` the batches belong.
    cuts: Vec<usize>,
}

impl Envelope {
    fn head(&mut self, timeout: Duration) {
        // The transactional id: null.
        if self.flexible {
            self.buffer.put_u8(0);
        } else {
            self.buffer.put_i16(-1);
        }
        self.buffer.put_i16(-1);
        self.buffer
            .put_i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    }

    fn array_len(&mut self, len: usize) {
        if self.flexible {
            put_unsigned(&mut self.buffer, len + 1);
        } else {
            self.buffer.put_i32(len as i32);
        }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            put_unsigned(&mut self.buffer, text.len() + 1);
        } else {
            self.buffer.put_i16(text.len() as i16);
        }
        self.buffer.put_slice(text.as_bytes());
    }

    fn partition(&mut self, index: i32, batch_len: usize) {
        self.buffer.put_i32(index);
        if self.flexible {
            put_unsigned(&mut self.buffer, batch_len + 1);
        } else {
            self.buffer.put_i32(batch_len as i32);
        }
        self.cuts.push(self.buffer.len());
        self.tagged_fields();
    }

    fn tagged_fields(&mut self) {
        if self.flexible {
            self.buffer.put_u8(0);
        }
    }

    fn interleave(self, batches: &[(TopicPartition, Bytes)]) -> Vec<Bytes> {
        let envelope = self.buffer.freeze();
        let mut pieces = Vec::with_capacity(2 * batches.len() + 1);
        let mut from = 0;
        for (cut, (_, batch)) in self.cuts.into_iter().zip(batches) {
            pieces.push(envelope.slice(from..cut));
            pieces.push(batch.clone());
            from = cut;
        }
        if from < envelope.len() {
            pieces.push(envelope.slice(from..));
        }
        pieces
    }
}

fn put_unsigned(into: &mut BytesMut, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        into.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::protocol::Decodable;

    use super::*;

    fn batches() -> Vec<(TopicPartition, Bytes)> {
        vec![
            (TopicPartition::new("orders", 0), Bytes::from(vec![7; 300])),
            (TopicPartition::new("orders", 4), Bytes::from(vec![8; 5])),
            (TopicPartition::new("payments", 1), Bytes::from(vec![9; 70_000])),
        ]
    }

    #[test]
    fn an_independent_decoder_reads_every_version_back() {
        for version in VERSIONS {
            let pieces = encode(version, Duration::from_secs(30), &batches());
            let mut body = Bytes::from(pieces.concat());
            let request = ProduceRequest::decode(&mut body, version).unwrap();
            assert!(body.is_empty(), "version {version} leaves {} bytes", body.len());
            assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
            assert_eq!(request.transactional_id, None);
            let read: Vec<(String, i32, Bytes)> = request
                .topic_data
                .iter()
                .flat_map(|topic| {
                    let name = topic.name.to_string();
                    topic
                        .partition_data
                        .iter()
                        .map(move |partition| (name.clone(), partition.index, partition.records.clone().unwrap()))
                })
                .collect();
            let sent: Vec<_> = batches()
                .into_iter()
                .map(|(at, bytes)| (at.topic.to_string(), at.partition, bytes))
                .collect();
            assert_eq!(read, sent, "version {version}");
            assert_eq!(request.topic_data.len(), 2);
        }
    }

    #[test]
    fn batches_are_passed_on_not_copied() {
        let batches = batches();
        let pieces = encode(12, Duration::from_secs(1), &batches);
        for (_, batch) in &batches {
            assert!(
                pieces
                    .iter()
                    .any(|piece| piece.as_ptr() == batch.as_ptr() && piece.len() == batch.len())
            );
        }
    }
}
