//! Text and plain bytes: goka's `codec.String` and `codec.Bytes`, and bytes that nobody copies.

use super::{Codec, CodecError};

/// Text as raw UTF-8, compatible with goka's `codec.String`.
///
/// Go strings may hold any bytes, Rust's may not: decoding refuses what is not UTF-8 and says at which byte. Use [`Bytes`] for
/// those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8;

impl Codec for Utf8 {
    type Value = String;
    type Borrowed = str;

    fn encode(&self, value: &str, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(CodecError::caused_by("Utf8", error)),
        }
    }
}

/// Bytes as they are, compatible with goka's `codec.Bytes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes;

impl Codec for Bytes {
    type Value = Vec<u8>;
    type Borrowed = [u8];

    fn encode(&self, value: &[u8], into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        Ok(bytes.to_vec())
    }
}

/// Bytes that are left where they are: for inputs whose callback does not need the value, or reads it in place with
/// [`Context::bytes`](crate::Context::bytes), which saves a copy per record. For outputs and tables it is [`Bytes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undecoded;

impl Codec for Undecoded {
    type Value = ();
    type Borrowed = [u8];

    fn encode(&self, value: &[u8], into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, _bytes: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_its_own_bytes() {
        let mut bytes = Vec::new();
        Utf8.encode("日本", &mut bytes).unwrap();
        assert_eq!(bytes, "日本".as_bytes());
        assert_eq!(Utf8.decode(&bytes).unwrap(), "日本");
        assert_eq!(
            Utf8.decode(b"").unwrap(),
            "",
            "an empty value is a value, not a tombstone"
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_without_quoting_them() {
        let error = Utf8.decode(b"secret\xff").unwrap_err();
        assert_eq!(error.codec(), "Utf8");
        assert!(error.to_string().contains("index 6"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn bytes_pass_unchanged() {
        let mut bytes = vec![9];
        Bytes.encode(&[0, 255], &mut bytes).unwrap();
        assert_eq!(bytes, [9, 0, 255]);
        assert_eq!(Bytes.decode(&bytes).unwrap(), [9, 0, 255]);
    }
}
