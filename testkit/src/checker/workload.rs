//! Workloads that the checker understands: what a row must be after an input.
//!
//! [`Chain`] is the one that shows everything: its row counts the inputs of a key, chains their hashes, and names the input that
//! made it, so that any input that is lost, doubled, swapped or put on a stale row changes every later row of its key. [`Count`]
//! is plain counting, whose rows do not say what made them.

use std::fmt;

use bytes::Bytes;
use goka_core::{Codec, CodecError, Context, GraphError, GroupGraph, Int64, Output, Utf8};

use super::history::LogRecord;

/// An input as a workload sees it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record.
    pub record: &'a LogRecord,
}

/// A place in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// CRC-32C of the topic's name.
    pub topic: u32,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Place {
    /// The place of a record.
    pub fn new(topic: &str, partition: i32, offset: i64) -> Place {
        Place {
            topic: crc32c::crc32c(topic.as_bytes()),
            partition,
            offset,
        }
    }
}

/// What callbacks do with inputs. Every input that [`writes`](Workload::writes) makes exactly one changelog record.
pub trait Workload {
    /// The row of the input's key afterwards, if it was `row` before; `None` if it is deleted.
    fn apply(&self, row: Option<&[u8]>, input: Input<'_>) -> Option<Bytes>;

    /// Which input made a row, or a record that was emitted; `None` if it does not tell.
    fn made_by(&self, row: &[u8]) -> Option<Place>;

    /// Whether rows tell which input made them. Those that do not are only counted.
    fn tells_inputs(&self) -> bool {
        true
    }

    /// Whether the input writes to the table at all.
    fn writes(&self, _input: Input<'_>) -> bool {
        true
    }

    /// The topic to which the row is emitted, under the same key, after an input that did not delete it.
    fn emits_to(&self) -> Option<&str> {
        None
    }
}

/// The workload of [`ChainRow`]s.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The topic to which each new row is emitted, if there is one.
    pub output: Option<String>,
}

/// The row of a key in a [`Chain`]. An input whose value begins with `-` deletes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainRow {
    /// Inputs since the row was made.
    pub count: u64,
    /// Hash over all of them in their order.
    pub chain: u64,
    /// The last of them.
    pub made_by: Place,
}

impl ChainRow {
    /// The row after an input, if it was `row` before; `None` deletes it.
    pub fn after(row: Option<ChainRow>, event: &[u8], place: Place) -> Option<ChainRow> {
        if event.first() == Some(&b'-') {
            return None;
        }
        let (count, chain) = row.map_or((0, 0), |row| (row.count, row.chain));
        Some(ChainRow {
            count: count + 1,
            chain: mix(chain, event),
            made_by: place,
        })
    }

    /// What a callback does with its record.
    ///
    /// # Errors
    /// The row cannot be read or written.
    pub fn step(ctx: &mut Context<'_, Chained>, event: &str) -> Result<Option<ChainRow>, goka_core::CallbackError> {
        let place = Place::new(ctx.topic(), ctx.partition(), ctx.offset());
        let row = ChainRow::after(ctx.value()?, event.as_bytes(), place);
        match &row {
            Some(row) => ctx.set_value(row)?,
            None => ctx.delete()?,
        }
        Ok(row)
    }

    fn decode(bytes: &[u8]) -> Option<ChainRow> {
        let mut words = std::str::from_utf8(bytes).ok()?.split(' ');
        let row = ChainRow {
            count: words.next()?.parse().ok()?,
            chain: u64::from_str_radix(words.next()?, 16).ok()?,
            made_by: Place {
                topic: u32::from_str_radix(words.next()?, 16).ok()?,
                partition: words.next()?.parse().ok()?,
                offset: words.next()?.parse().ok()?,
            },
        };
        words.next().is_none().then_some(row)
    }
}

/// `count chain topic partition offset`, hashes in hexadecimal.
impl fmt::Display for ChainRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            topic,
            partition,
            offset,
        } = self.made_by;
        write!(f, "{} {:016x} {topic:08x} {partition} {offset}", self.count, self.chain)
    }
}

/// FNV-1a over the event, begun with the chain so far and its bits spread at the end.
fn mix(chain: u64, event: &[u8]) -> u64 {
    let begin = chain.rotate_left(29) ^ 0xcbf2_9ce4_8422_2325;
    let hash = event.iter().fold(begin, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let spread = (hash ^ hash >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ spread >> 29
}

/// The codec of [`ChainRow`]s: text, so that findings can show it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chained;

impl Codec for Chained {
    type Value = ChainRow;
    type Borrowed = ChainRow;

    fn encode(&self, value: &ChainRow, into: &mut Vec<u8>) -> Result<(), CodecError> {
        use std::io::Write as _;
        write!(into, "{value}").map_err(|error| CodecError::caused_by("Chained", error))
    }

    fn decode(&self, bytes: &[u8]) -> Result<ChainRow, CodecError> {
        ChainRow::decode(bytes).ok_or_else(|| CodecError::new("Chained", "not a chained row"))
    }
}

impl Chain {
    /// A graph that does what this workload says, with one input of text.
    ///
    /// # Errors
    /// A name is not one that Kafka or goka accepts.
    pub fn graph(&self, group: &str, input: &str) -> Result<GroupGraph<Chained>, GraphError> {
        let graph = GroupGraph::builder(group).persist(Chained);
        let Some(output) = &self.output else {
            let graph = graph.input(input, Utf8, |ctx, event| ChainRow::step(ctx, &event).map(drop));
            return graph.build();
        };
        let output = Output::new(output.as_str(), Chained);
        let to = output.clone();
        let graph = graph.output(&output);
        let graph = graph.input(input, Utf8, move |ctx, event| match ChainRow::step(ctx, &event)? {
            Some(row) => ctx.emit(&to, ctx.key(), &row),
            None => Ok(()),
        });
        graph.build()
    }
}

impl Workload for Chain {
    fn apply(&self, row: Option<&[u8]>, input: Input<'_>) -> Option<Bytes> {
        let event = input.record.value.as_deref().unwrap_or_default();
        let place = Place::new(input.topic, input.partition, input.record.offset);
        let row = ChainRow::after(row.and_then(ChainRow::decode), event, place)?;
        Some(Bytes::from(row.to_string()))
    }

    fn made_by(&self, row: &[u8]) -> Option<Place> {
        ChainRow::decode(row).map(|row| row.made_by)
    }

    fn emits_to(&self) -> Option<&str> {
        self.output.as_deref()
    }
}

/// Plain counting: a row is the number of inputs of its key, as [`Int64`] writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count;

impl Workload for Count {
    fn apply(&self, row: Option<&[u8]>, _: Input<'_>) -> Option<Bytes> {
        let count = row.and_then(|row| Int64.decode(row).ok()).unwrap_or(0) + 1;
        Some(Bytes::from(count.to_string()))
    }

    fn made_by(&self, _: &[u8]) -> Option<Place> {
        None
    }

    fn tells_inputs(&self) -> bool {
        false
    }
}
