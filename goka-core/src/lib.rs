//! goka-core

mod codec;
pub mod storage;

#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Bytes, Codec, CodecError, Int64, Nullable, Utf8};
