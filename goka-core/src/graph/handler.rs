//! An input without its types: decode, call, done.

use crate::codec::Codec;
use crate::context::{CallbackError, CallbackErrorKind, Context, ContextCore};

/// What the partition loop calls for each record of an input.
pub(crate) trait InputHandler: Send + Sync {
    /// Decodes the record and calls the callback. On `Ok` the effects are complete; on `Err` the caller clears them.
    fn handle(&self, core: &mut ContextCore<'_>) -> Result<Handled, CallbackError>;
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// The callback ran.
    Called,
    /// The record has no value and the edge's codec gives that no meaning: it was skipped, and is worth counting.
    SkippedNil,
}

/// An input with its types.
pub(crate) struct TypedInput<T, C, F> {
    pub(crate) table: T,
    pub(crate) codec: C,
    pub(crate) callback: F,
}

impl<T, C, F> InputHandler for TypedInput<T, C, F>
where
    T: Send + Sync,
    C: Codec,
    F: Fn(&mut Context<'_, T>, C::Value) -> Result<(), CallbackError> + Send + Sync,
{
    fn handle(&self, core: &mut ContextCore<'_>) -> Result<Handled, CallbackError> {
        let value = match core.message.value {
            Some(bytes) => self.codec.decode(bytes).map_err(CallbackError::decode)?,
            None => match self.codec.decode_nil() {
                Some(value) => value,
                None => return Ok(Handled::SkippedNil),
            },
        };
        (self.callback)(&mut Context::new(core.reborrow(), &self.table), value)?;
        match core.effects.damage() {
            None => Ok(Handled::Called),
            Some(damage) => Err(CallbackError::new(
                CallbackErrorKind::Encode,
                "the effects of this callback are void",
                damage.clone(),
            )),
        }
    }
}
