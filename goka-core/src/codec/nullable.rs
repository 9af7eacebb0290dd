//! A codec around a codec, for inputs whose tombstones mean something: goka's `NilProcess`.

use super::{Codec, CodecError};

/// Hands records without a value to the callback as `None` instead of skipping them.
///
/// Only inputs notice the difference; everything else encodes and decodes as the codec inside.
///
/// ```
/// use goka_core::{CallbackError, GroupGraph, Int64, Nullable, Utf8};
///
/// let graph = GroupGraph::builder("follower")
///     .persist(Utf8)
///     .input("profiles", Nullable(Utf8), |ctx, profile| match profile {
///         Some(profile) => ctx.set_value(&profile),
///         None => ctx.delete(),
///     })
///     .build()
///     .unwrap();
/// assert_eq!(graph.group(), "follower");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nullable<C>(
    /// The codec of the records that have a value.
    pub C,
);

impl<C: Codec> Codec for Nullable<C> {
    type Value = Option<C::Value>;
    type Borrowed = C::Borrowed;

    fn encode(&self, value: &C::Borrowed, into: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.encode(value, into)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<C::Value>, CodecError> {
        self.0.decode(bytes).map(Some)
    }

    fn decode_nil(&self) -> Option<Option<C::Value>> {
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Int64, Utf8};
    use super::*;

    #[test]
    fn only_nullable_gives_a_tombstone_a_meaning() {
        assert_eq!(Utf8.decode_nil(), None);
        assert_eq!(Nullable(Utf8).decode_nil(), Some(None));
        assert_eq!(Nullable(Int64).decode(b"3").unwrap(), Some(3));
        assert!(
            Nullable(Int64).decode(b"").is_err(),
            "an empty value is not a tombstone"
        );
    }
}
