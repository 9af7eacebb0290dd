//! What a callback sees of its record, and how it answers.
//!
//! [`Context`] is the typed face for users: it reads the row of the record's key, and writes down puts, deletes and emits. Nothing
//! happens while the callback runs; `Effects` is what it asked for, and the partition loop performs that once it returned `Ok`:
//!
//! ```text
//!   record --> ContextCore --> Context<T> --> callback --> Ok  --> Effects, in order --> changelog, outputs, loop
//!                  |                             |
//!                  +-- ReadRows: overlay, store  +-------> Err --> Effects::clear: nothing was left behind
//! ```
//!
//! `ContextCore` is the same without types; there is one per record and it costs nothing to make.

mod callback_error;
mod effects;

use kafka_wire::protocol::batch::{Header, Headers};
use std::sync::Arc;

pub use callback_error::{CallbackError, CallbackErrorKind};
pub(crate) use effects::{Effects, Target};

use crate::codec::{Codec, CodecError};
use crate::graph::{GroupGraphCore, Loop, Output};
use crate::storage::StoreError;

/// The record a callback was called for, the row of its key in the group table, and the ways to answer.
///
/// `T` is the codec of the group table, or [`Stateless`](crate::Stateless) for a group without one; the methods that need a table
/// then do not exist.
pub struct Context<'a, T> {
    core: ContextCore<'a>,
    table: &'a T,
}

/// Headers and timestamp of a record that a callback or an emitter writes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordMeta<'h> {
    /// The headers, written in this order, duplicates included.
    pub headers: &'h [Header<'h>],
    /// Milliseconds since the epoch; `None` means now.
    pub timestamp: Option<i64>,
}

/// A context without types: what the partition loop makes of each record.
pub(crate) struct ContextCore<'a> {
    pub(crate) message: MessageRef<'a>,
    pub(crate) effects: &'a mut Effects,
    pub(crate) rows: &'a mut dyn ReadRows,
    /// Where rows are read into; reused from record to record.
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) graph: &'a GroupGraphCore,
}

/// A record of an input, borrowed from its batch.
#[derive(Clone, Copy)]
pub(crate) struct MessageRef<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    /// Empty for a record without a key, as in goka.
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

/// The group table as callbacks see it: effects of earlier records first, the store behind them.
pub(crate) trait ReadRows {
    /// Puts the value of `key` into `into`, replacing what is there, and tells whether there is one.
    fn get(&mut self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError>;
}

impl<'a, T> Context<'a, T> {
    pub(crate) fn new(core: ContextCore<'a>, table: &'a T) -> Context<'a, T> {
        Context { core, table }
    }

    /// The group this processor belongs to.
    pub fn group(&self) -> &'a str {
        self.core.graph.group()
    }

    /// The topic the record came from.
    pub fn topic(&self) -> &'a str {
        self.core.message.topic
    }

    /// The partition the record came from, which is also the partition of the group table.
    pub fn partition(&self) -> i32 {
        self.core.message.partition
    }

    /// The record's offset in its partition.
    pub fn offset(&self) -> i64 {
        self.core.message.offset
    }

    /// The record's timestamp in milliseconds since the epoch, by the producer's or the broker's clock as the topic is configured.
    pub fn timestamp(&self) -> i64 {
        self.core.message.timestamp
    }

    /// The record's key; empty if it has none.
    pub fn key(&self) -> &'a [u8] {
        self.core.message.key
    }

    /// The record's key as text.
    ///
    /// # Errors
    /// The key is not UTF-8.
    pub fn key_str(&self) -> Result<&'a str, CallbackError> {
        std::str::from_utf8(self.key())
            .map_err(|error| CallbackError::new(CallbackErrorKind::Malformed, "the record's key is not text", error))
    }

    /// The record's value as it came, not decoded; `None` if it has none.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        self.core.message.value
    }

    /// The record's headers in their order, duplicates kept. They are parsed while they are walked.
    pub fn headers(&self) -> Headers<'a> {
        self.core.message.headers
    }

    /// The value of the last header called `name`; an empty slice for a header without a value.
    ///
    /// # Errors
    /// The headers are malformed.
    pub fn header(&self, name: &str) -> Result<Option<&'a [u8]>, CallbackError> {
        let mut found = None;
        for header in self.headers().iter() {
            let header = header.map_err(|error| {
                CallbackError::new(
                    CallbackErrorKind::Malformed,
                    "the record's headers are malformed",
                    error,
                )
            })?;
            if header.key == name.as_bytes() {
                found = Some(header.value.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Sends a record to an output.
    ///
    /// # Errors
    /// The group graph does not declare the output, or the value cannot be encoded.
    pub fn emit<C: Codec>(
        &mut self,
        output: &Output<C>,
        key: impl AsRef<[u8]>,
        value: &C::Borrowed,
    ) -> Result<(), CallbackError> {
        self.emit_with(output, key, value, RecordMeta::default())
    }

    /// Sends a record with headers or a timestamp to an output.
    ///
    /// # Errors
    /// As [`emit`](Context::emit).
    pub fn emit_with<C: Codec>(
        &mut self,
        output: &Output<C>,
        key: impl AsRef<[u8]>,
        value: &C::Borrowed,
        meta: RecordMeta<'_>,
    ) -> Result<(), CallbackError> {
        let target = Target::Output(self.core.graph.output_index(output)?);
        self.core
            .effects
            .push(target, key.as_ref(), |into| output.codec().encode(value, into), meta)
            .map_err(|error| encode_error("record for the output", output.topic(), error))
    }

    /// Sends a record without a value, a tombstone, to an output.
    ///
    /// # Errors
    /// The group graph does not declare the output.
    pub fn emit_tombstone<C: Codec>(&mut self, output: &Output<C>, key: impl AsRef<[u8]>) -> Result<(), CallbackError> {
        let target = Target::Output(self.core.graph.output_index(output)?);
        self.core.effects.push_nil(target, key.as_ref(), RecordMeta::default());
        Ok(())
    }

    /// Sends a record to the group's own loop topic, and with it to the owner of `key`'s row.
    ///
    /// # Errors
    /// The group graph does not declare the loop, or the value cannot be encoded.
    pub fn loopback<C: Codec>(
        &mut self,
        edge: &Loop<C>,
        key: impl AsRef<[u8]>,
        value: &C::Borrowed,
    ) -> Result<(), CallbackError> {
        self.loopback_with(edge, key, value, RecordMeta::default())
    }

    /// Sends a record with headers or a timestamp to the group's own loop topic.
    ///
    /// # Errors
    /// As [`loopback`](Context::loopback).
    pub fn loopback_with<C: Codec>(
        &mut self,
        edge: &Loop<C>,
        key: impl AsRef<[u8]>,
        value: &C::Borrowed,
        meta: RecordMeta<'_>,
    ) -> Result<(), CallbackError> {
        let index = self.core.graph.loop_index(edge)?;
        self.core
            .effects
            .push(
                Target::Output(index),
                key.as_ref(),
                |into| edge.codec().encode(value, into),
                meta,
            )
            .map_err(|error| encode_error("record for the loop", &self.core.graph.outputs()[index].topic, error))
    }
}

impl<T: Codec> Context<'_, T> {
    /// The row of the record's key in the group table, with what this callback already did to it; `None` if there is none.
    ///
    /// # Errors
    /// The store cannot be read, or holds bytes that the table's codec does not understand.
    pub fn value(&mut self) -> Result<Option<T::Value>, CallbackError> {
        let ContextCore {
            message,
            effects,
            rows,
            scratch,
            ..
        } = &mut self.core;
        let row = match effects.own_row() {
            Some(row) => row,
            None if rows.get(message.key, scratch).map_err(CallbackError::store)? => Some(&scratch[..]),
            None => None,
        };
        row.map(|bytes| self.table.decode(bytes)).transpose().map_err(|error| {
            CallbackError::new(
                CallbackErrorKind::Row,
                "the row in the group table cannot be decoded",
                error,
            )
        })
    }

    /// Sets the row of the record's key. Every call is one record in the changelog, in the order of the calls.
    ///
    /// # Errors
    /// The value cannot be encoded.
    pub fn set_value(&mut self, value: &T::Borrowed) -> Result<(), CallbackError> {
        self.set_value_with(value, RecordMeta::default())
    }

    /// Sets the row of the record's key, with headers or a timestamp on the changelog record.
    ///
    /// # Errors
    /// As [`set_value`](Context::set_value).
    pub fn set_value_with(&mut self, value: &T::Borrowed, meta: RecordMeta<'_>) -> Result<(), CallbackError> {
        let (key, table) = (self.core.message.key, self.table);
        self.core
            .effects
            .push(Target::Table, key, |into| table.encode(value, into), meta)
            .map_err(|error| CallbackError::new(CallbackErrorKind::Encode, "the row cannot be encoded", error))
    }

    /// Removes the row of the record's key: one record without a value in the changelog.
    ///
    /// # Errors
    /// None today; a result so that a callback can end with it as with [`set_value`](Context::set_value).
    pub fn delete(&mut self) -> Result<(), CallbackError> {
        self.core
            .effects
            .push_nil(Target::Table, self.core.message.key, RecordMeta::default());
        Ok(())
    }
}

impl ContextCore<'_> {
    /// The same context for a shorter time.
    pub(crate) fn reborrow(&mut self) -> ContextCore<'_> {
        ContextCore {
            message: self.message,
            effects: self.effects,
            rows: self.rows,
            scratch: self.scratch,
            graph: self.graph,
        }
    }
}

fn encode_error(what: &str, topic: &str, error: CodecError) -> CallbackError {
    CallbackError::new(
        CallbackErrorKind::Encode,
        format!("the {what} {topic} cannot be encoded"),
        error,
    )
}

#[cfg(test)]
mod tests;
