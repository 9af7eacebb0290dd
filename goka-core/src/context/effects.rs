//! What a callback wants to happen, collected and not performed.
//!
//! A callback may fail at its last line; had its puts and emits been performed as they were called, half of them would be out.
//! So they are written down here, in order, and the partition loop performs them when the callback returned `Ok`; on `Err` it
//! calls [`Effects::clear`] and nothing was left behind.
//!
//! One value serves all records of a partition: bytes go to one arena, entries to small vectors, and all of them keep their
//! memory, so that a record in steady state allocates nothing.

use std::ops::Range;

use kafka_wire::protocol::batch::Header;
use kafka_wire::rpc::short;

use super::RecordMeta;
use crate::codec::CodecError;

/// Memory beyond this is given back once a record leaves most of it unused.
const KEPT_BYTES: usize = 1 << 20;
const KEPT_ENTRIES: usize = 1 << 14;

/// Where an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The group table: one changelog record, without a value for a delete.
    Table,
    /// The output with this index in [`GroupGraphCore::outputs`](crate::graph::GroupGraphCore::outputs), the loop among them.
    Output(usize),
}

/// The effects of one callback, in the order it called for them.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    arena: Vec<u8>,
    headers: Vec<HeaderSpan>,
    entries: Vec<Entry>,
    // The last effect on the row of the record's key: what `Context::value` sees.
    own_row: Option<usize>,
    // A codec removed bytes that were not its own; nothing in the arena can be believed.
    damaged: Option<CodecError>,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    key: Range<usize>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    timestamp: Option<i64>,
}

#[derive(Debug)]
struct HeaderSpan {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// One effect: a record to be written.
#[derive(Clone, Copy)]
pub(crate) struct EffectRef<'e> {
    effects: &'e Effects,
    entry: &'e Entry,
}

impl Effects {
    /// Forgets everything, keeping the memory for the next record.
    pub(crate) fn clear(&mut self) {
        empty(&mut self.arena, KEPT_BYTES);
        empty(&mut self.headers, KEPT_ENTRIES);
        empty(&mut self.entries, KEPT_ENTRIES);
        self.own_row = None;
        self.damaged = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The effects in the order the callback called for them.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = EffectRef<'_>> {
        self.entries.iter().map(|entry| EffectRef { effects: self, entry })
    }

    /// What the callback did to its own row so far: nothing, `Some(None)` for a delete, `Some(Some(bytes))` for a put.
    pub(crate) fn own_row(&self) -> Option<Option<&[u8]>> {
        let entry = &self.entries[self.own_row?];
        Some(entry.value.clone().map(|span| &self.arena[span]))
    }

    /// Writes down a record with the value that `encode` appends.
    ///
    /// # Errors
    /// `encode` failed, or broke the codec's contract by removing bytes that were there before; nothing is written down then.
    pub(crate) fn push(
        &mut self,
        target: Target,
        key: &[u8],
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
        meta: RecordMeta<'_>,
    ) -> Result<(), CodecError> {
        let start = self.arena.len();
        let outcome = encode(&mut self.arena);
        if self.arena.len() < start {
            let error = CodecError::new(
                "of this edge",
                "its encode removed bytes that were in the buffer before; a codec may only append",
            );
            // Spans of earlier effects must stay inside the arena until the record is given up.
            self.arena.resize(start, 0);
            self.damaged = Some(error.clone());
            return Err(error);
        }
        if let Err(error) = outcome {
            self.arena.truncate(start);
            return Err(error);
        }
        let value = start..self.arena.len();
        self.record(target, key, Some(value), meta);
        Ok(())
    }

    /// Writes down a record without a value: a delete, or a tombstone for a topic.
    pub(crate) fn push_nil(&mut self, target: Target, key: &[u8], meta: RecordMeta<'_>) {
        self.record(target, key, None, meta);
    }

    /// The error that makes all effects of this callback void, even if the callback swallowed it.
    pub(crate) fn damage(&self) -> Option<&CodecError> {
        self.damaged.as_ref()
    }

    fn record(&mut self, target: Target, key: &[u8], value: Option<Range<usize>>, meta: RecordMeta<'_>) {
        let key = self.store(key);
        let first_header = self.headers.len();
        for header in meta.headers {
            let key = self.store(header.key);
            let value = header.value.map(|value| self.store(value));
            self.headers.push(HeaderSpan { key, value });
        }
        if target == Target::Table {
            self.own_row = Some(self.entries.len());
        }
        let headers = first_header..self.headers.len();
        self.entries.push(Entry {
            target,
            key,
            value,
            headers,
            timestamp: meta.timestamp,
        });
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        short::append(&mut self.arena, bytes);
        start..self.arena.len()
    }
}

impl<'e> EffectRef<'e> {
    pub(crate) fn target(self) -> Target {
        self.entry.target
    }

    pub(crate) fn key(self) -> &'e [u8] {
        &self.effects.arena[self.entry.key.clone()]
    }

    /// `None` deletes a row, or is a tombstone for a topic.
    pub(crate) fn value(self) -> Option<&'e [u8]> {
        self.entry.value.clone().map(|span| &self.effects.arena[span])
    }

    /// Milliseconds since the epoch; `None` leaves it to the partition loop.
    pub(crate) fn timestamp(self) -> Option<i64> {
        self.entry.timestamp
    }

    /// Whether it has neither headers nor a timestamp.
    pub(crate) fn is_plain(self) -> bool {
        self.entry.headers.is_empty() && self.entry.timestamp.is_none()
    }

    /// Calls `with` with the headers in order, duplicates kept. Up to eight of them need no allocation.
    pub(crate) fn with_headers<R>(self, with: impl FnOnce(&[Header<'e>]) -> R) -> R {
        const ON_STACK: usize = 8;
        let spans = &self.effects.headers[self.entry.headers.clone()];
        if spans.len() <= ON_STACK {
            let mut headers = [Header { key: &[], value: None }; ON_STACK];
            for (header, span) in headers.iter_mut().zip(spans) {
                *header = self.header(span);
            }
            with(&headers[..spans.len()])
        } else {
            with(&spans.iter().map(|span| self.header(span)).collect::<Vec<_>>())
        }
    }

    fn header(self, span: &HeaderSpan) -> Header<'e> {
        let arena: &'e [u8] = &self.effects.arena;
        Header {
            key: &arena[span.key.clone()],
            value: span.value.clone().map(|span| &arena[span]),
        }
    }
}

/// Empties `items`, giving memory back if one extraordinary record made it grow.
fn empty<T>(items: &mut Vec<T>, kept: usize) {
    let used = items.len();
    items.clear();
    if items.capacity() > kept && used < items.capacity() / 8 {
        items.shrink_to(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(effects: &mut Effects, value: &[u8]) {
        let append = |into: &mut Vec<u8>| {
            into.extend_from_slice(value);
            Ok(())
        };
        effects
            .push(Target::Table, b"own", append, RecordMeta::default())
            .unwrap();
    }

    /// One line per effect, so that order and content are compared at once.
    fn told(effects: &Effects) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        effects
            .iter()
            .map(|effect| {
                let target = match effect.target() {
                    Target::Table => "row".to_owned(),
                    Target::Output(index) => format!("output {index}"),
                };
                format!(
                    "{target} {} {}",
                    text(effect.key()),
                    effect.value().map_or("nil".to_owned(), text)
                )
            })
            .collect()
    }

    #[test]
    fn effects_come_back_in_the_order_of_the_calls() {
        let mut effects = Effects::default();
        put(&mut effects, b"1");
        let append = |into: &mut Vec<u8>| {
            into.push(b'v');
            Ok(())
        };
        effects
            .push(Target::Output(2), b"k", append, RecordMeta::default())
            .unwrap();
        effects.push_nil(Target::Table, b"own", RecordMeta::default());
        effects
            .push(Target::Output(1), b"again", |_| Ok(()), RecordMeta::default())
            .unwrap();
        effects.push_nil(Target::Output(0), b"gone", RecordMeta::default());
        put(&mut effects, b"2");
        let order = [
            "row own 1",
            "output 2 k v",
            "row own nil",
            "output 1 again ",
            "output 0 gone nil",
            "row own 2",
        ];
        assert_eq!(told(&effects), order);
    }

    #[test]
    fn the_last_effect_on_the_row_is_the_one_a_read_sees() {
        let mut effects = Effects::default();
        assert_eq!(effects.own_row(), None);
        put(&mut effects, b"1");
        put(&mut effects, b"22");
        effects.push_nil(Target::Output(0), b"other", RecordMeta::default());
        assert_eq!(effects.own_row(), Some(Some(&b"22"[..])));
        effects.push_nil(Target::Table, b"", RecordMeta::default());
        assert_eq!(effects.own_row(), Some(None));
    }

    #[test]
    fn a_cleared_collection_holds_nothing_and_keeps_its_memory() {
        let mut effects = Effects::default();
        put(&mut effects, &[7; 500]);
        let capacity = effects.arena.capacity();
        effects.clear();
        assert!(effects.is_empty());
        assert_eq!(effects.own_row(), None);
        assert_eq!(effects.arena.capacity(), capacity);
        put(&mut effects, b"next");
        assert_eq!(told(&effects), ["row own next"]);
    }

    #[test]
    fn the_memory_of_one_huge_record_is_given_back() {
        let mut effects = Effects::default();
        put(&mut effects, &vec![7; 64 << 20]);
        effects.clear();
        put(&mut effects, b"small");
        effects.clear();
        assert!(
            effects.arena.capacity() <= 2 * KEPT_BYTES,
            "{}",
            effects.arena.capacity()
        );
    }

    #[test]
    fn a_failed_encode_leaves_no_bytes_behind() {
        let mut effects = Effects::default();
        put(&mut effects, b"1");
        let failed = effects.push(
            Target::Table,
            b"",
            |into| {
                into.extend_from_slice(b"half");
                Err(CodecError::new("Test", "no"))
            },
            RecordMeta::default(),
        );
        assert!(failed.is_err());
        assert_eq!(effects.arena, b"1own");
        assert_eq!(told(&effects), ["row own 1"]);
        assert!(
            effects.damage().is_none(),
            "a value that cannot be written harms nobody else"
        );
    }

    #[test]
    fn a_codec_that_eats_the_bytes_of_others_voids_the_record() {
        let mut effects = Effects::default();
        put(&mut effects, b"12345");
        let error = effects
            .push(
                Target::Output(0),
                b"k",
                |into| {
                    into.clear();
                    Ok(())
                },
                RecordMeta::default(),
            )
            .unwrap_err();
        assert!(error.to_string().contains("may only append"), "{error}");
        assert!(effects.damage().is_some());
        assert_eq!(
            effects.iter().count(),
            1,
            "what is there can still be walked without a panic"
        );
        effects.clear();
        assert!(effects.damage().is_none());
    }

    #[test]
    fn headers_keep_their_order_and_their_duplicates() {
        for count in [0, 1, 8, 9, 40] {
            let headers: Vec<Header<'_>> = (0..count)
                .map(|index| Header {
                    key: b"same",
                    value: (index % 2 == 0).then_some(&b"even"[..]),
                })
                .collect();
            let mut effects = Effects::default();
            let meta = RecordMeta {
                headers: &headers,
                timestamp: Some(17),
            };
            effects.push_nil(Target::Output(0), b"k", meta);
            let effect = effects.iter().next().unwrap();
            assert_eq!(effect.timestamp(), Some(17));
            effect.with_headers(|kept| {
                assert_eq!(kept.len(), count);
                for (kept, given) in kept.iter().zip(&headers) {
                    assert_eq!((kept.key, kept.value), (given.key, given.value));
                }
            });
        }
    }
}
