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

use super::RecordMeta;
use crate::codec::CodecError;

/// Memory beyond this is given back once a record leaves most of it unused.
const KEPT_BYTES: usize = 1 << 20;

/// Where an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The row of the message's key in the group table.
    Row,
    /// The output with this index in [`GroupGraphCore::outputs`](crate::graph::GroupGraphCore::outputs).
    Output(usize),
    /// The loop topic.
    Loop,
}

/// The effects of one callback, in the order it called for them.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    arena: Vec<u8>,
    headers: Vec<HeaderSpan>,
    entries: Vec<Entry>,
    // The last effect on the message's row: what `Context::value` sees.
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

/// One effect, as the partition loop performs it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EffectRef<'e> {
    /// The message's key gets this value in the group table: one changelog record.
    Put { value: &'e [u8], meta: EffectMeta<'e> },
    /// The message's key leaves the group table: one changelog record without a value.
    Delete { meta: EffectMeta<'e> },
    /// A record for the output with this index.
    Emit {
        output: usize,
        key: &'e [u8],
        value: Option<&'e [u8]>,
        meta: EffectMeta<'e>,
    },
    /// A record for the loop topic.
    Loop {
        key: &'e [u8],
        value: Option<&'e [u8]>,
        meta: EffectMeta<'e>,
    },
}

/// The headers and the timestamp the callback asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EffectMeta<'e> {
    effects: &'e Effects,
    entry: &'e Entry,
}

impl Effects {
    pub(crate) fn new() -> Effects {
        Effects::default()
    }

    /// Forgets everything, keeping the memory for the next record.
    pub(crate) fn clear(&mut self) {
        let used = self.arena.len();
        self.arena.clear();
        if self.arena.capacity() > KEPT_BYTES && used < self.arena.capacity() / 8 {
            self.arena.shrink_to(KEPT_BYTES);
        }
        self.headers.clear();
        self.entries.clear();
        self.own_row = None;
        self.damaged = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many effects there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes of keys, values and headers they hold.
    pub(crate) fn byte_len(&self) -> usize {
        self.arena.len()
    }

    /// The effects in the order the callback called for them.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = EffectRef<'_>> {
        self.entries.iter().map(|entry| self.resolve(entry))
    }

    /// What this callback did to the message's row so far: nothing, `Some(None)` for a delete, `Some(Some(bytes))` for a put.
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
        // The row's key is the message's and stays with the message.
        let key = if target == Target::Row { 0..0 } else { self.store(key) };
        let first_header = self.headers.len();
        for header in meta.headers {
            let key = self.store(header.key);
            let value = header.value.map(|value| self.store(value));
            self.headers.push(HeaderSpan { key, value });
        }
        if target == Target::Row {
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
        self.arena.extend_from_slice(bytes);
        start..self.arena.len()
    }

    fn resolve<'e>(&'e self, entry: &'e Entry) -> EffectRef<'e> {
        let key = &self.arena[entry.key.clone()];
        let value = entry.value.clone().map(|span| &self.arena[span]);
        let meta = EffectMeta { effects: self, entry };
        match (entry.target, value) {
            (Target::Row, Some(value)) => EffectRef::Put { value, meta },
            (Target::Row, None) => EffectRef::Delete { meta },
            (Target::Output(output), value) => EffectRef::Emit {
                output,
                key,
                value,
                meta,
            },
            (Target::Loop, value) => EffectRef::Loop { key, value, meta },
        }
    }
}

impl<'e> EffectMeta<'e> {
    /// Milliseconds since the epoch; `None` leaves it to the partition loop.
    pub(crate) fn timestamp(self) -> Option<i64> {
        self.entry.timestamp
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

#[cfg(test)]
mod tests {
    use super::*;

    fn put(effects: &mut Effects, value: &[u8]) {
        effects
            .push(
                Target::Row,
                b"ignored",
                |into| {
                    into.extend_from_slice(value);
                    Ok(())
                },
                RecordMeta::default(),
            )
            .unwrap();
    }

    /// One line per effect, so that order and content are compared at once.
    fn told(effects: &Effects) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let nil = |value: Option<&[u8]>| value.map_or("nil".to_owned(), text);
        effects
            .iter()
            .map(|effect| match effect {
                EffectRef::Put { value, .. } => format!("put {}", text(value)),
                EffectRef::Delete { .. } => "delete".to_owned(),
                EffectRef::Emit { output, key, value, .. } => format!("emit {output} {} {}", text(key), nil(value)),
                EffectRef::Loop { key, value, .. } => format!("loop {} {}", text(key), nil(value)),
            })
            .collect()
    }

    #[test]
    fn effects_come_back_in_the_order_of_the_calls() {
        let mut effects = Effects::new();
        put(&mut effects, b"1");
        effects
            .push(
                Target::Output(2),
                b"k",
                |into| {
                    into.push(b'v');
                    Ok(())
                },
                RecordMeta::default(),
            )
            .unwrap();
        effects.push_nil(Target::Row, b"", RecordMeta::default());
        effects
            .push(Target::Loop, b"again", |_| Ok(()), RecordMeta::default())
            .unwrap();
        effects.push_nil(Target::Output(0), b"gone", RecordMeta::default());
        put(&mut effects, b"2");
        assert_eq!(
            told(&effects),
            [
                "put 1",
                "emit 2 k v",
                "delete",
                "loop again ",
                "emit 0 gone nil",
                "put 2"
            ]
        );
        assert_eq!(effects.len(), 6);
    }

    #[test]
    fn the_last_effect_on_the_row_is_the_one_a_read_sees() {
        let mut effects = Effects::new();
        assert_eq!(effects.own_row(), None);
        put(&mut effects, b"1");
        put(&mut effects, b"22");
        effects.push_nil(Target::Output(0), b"other", RecordMeta::default());
        assert_eq!(effects.own_row(), Some(Some(&b"22"[..])));
        effects.push_nil(Target::Row, b"", RecordMeta::default());
        assert_eq!(effects.own_row(), Some(None));
    }

    #[test]
    fn a_cleared_collection_holds_nothing_and_keeps_its_memory() {
        let mut effects = Effects::new();
        put(&mut effects, &[7; 500]);
        let capacity = effects.arena.capacity();
        effects.clear();
        assert!(effects.is_empty());
        assert_eq!(effects.byte_len(), 0);
        assert_eq!(effects.own_row(), None);
        assert_eq!(effects.arena.capacity(), capacity);
        put(&mut effects, b"next");
        assert_eq!(told(&effects), ["put next"]);
    }

    #[test]
    fn the_memory_of_one_huge_record_is_given_back() {
        let mut effects = Effects::new();
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
        let mut effects = Effects::new();
        put(&mut effects, b"1");
        let failed = effects.push(
            Target::Row,
            b"",
            |into| {
                into.extend_from_slice(b"half");
                Err(CodecError::new("Test", "no"))
            },
            RecordMeta::default(),
        );
        assert!(failed.is_err());
        assert_eq!(effects.byte_len(), 1);
        assert_eq!(told(&effects), ["put 1"]);
        assert!(
            effects.damage().is_none(),
            "a value that cannot be written harms nobody else"
        );
    }

    #[test]
    fn a_codec_that_eats_the_bytes_of_others_voids_the_record() {
        let mut effects = Effects::new();
        put(&mut effects, b"12345");
        let error = effects
            .push(
                Target::Loop,
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
            let mut effects = Effects::new();
            let meta = RecordMeta {
                headers: &headers,
                timestamp: Some(17),
            };
            effects.push_nil(Target::Output(0), b"k", meta);
            let Some(EffectRef::Emit { meta, .. }) = effects.iter().next() else {
                panic!("one emit")
            };
            assert_eq!(meta.timestamp(), Some(17));
            meta.with_headers(|kept| {
                assert_eq!(kept.len(), count);
                for (kept, given) in kept.iter().zip(&headers) {
                    assert_eq!((kept.key, kept.value), (given.key, given.value));
                }
            });
        }
    }
}
