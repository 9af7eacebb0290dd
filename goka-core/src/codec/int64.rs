//! goka's `codec.Int64`: a signed 64-bit number as decimal ASCII text, so 42 is the two bytes `34 32`.
//!
//! Decoding is strict: it accepts exactly what encoding writes. `+1`, ` 1`, `007` and `-0` are refused, because two spellings of
//! one number would make equal rows differ, and a value with a blank in front is more often a wrong codec than a number.

use kafka_wire::rpc::short;

use super::{Codec, CodecError};

/// The longest text: `-9223372036854775808`.
const MAX_DIGITS: usize = 20;

/// `i64` as decimal ASCII text, compatible with goka's `codec.Int64`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Int64;

impl Codec for Int64 {
    type Value = i64;
    type Borrowed = i64;

    fn encode(&self, value: &i64, into: &mut Vec<u8>) -> Result<(), CodecError> {
        // Digits from the right into a stack buffer: no allocation and no formatter in the counter's inner loop.
        let mut text = [0u8; MAX_DIGITS];
        let mut start = MAX_DIGITS;
        let mut rest = value.unsigned_abs();
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if *value < 0 {
            start -= 1;
            text[start] = b'-';
        }
        short::append(into, &text[start..]);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<i64, CodecError> {
        let (negative, digits) = match bytes.split_first() {
            Some((b'-', digits)) => (true, digits),
            _ => (false, bytes),
        };
        match digits {
            [] => return Err(refuse(bytes, "holds no digit")),
            [b'0'] if negative => return Err(refuse(bytes, "is a negative zero")),
            [b'0', _, ..] => return Err(refuse(bytes, "starts with a zero")),
            _ => {}
        }
        let mut value = 0i64;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(refuse(bytes, "holds something other than a digit"));
            }
            // Counts down for negative numbers, as i64::MIN has no positive twin.
            let step = if negative { -i64::from(digit) } else { i64::from(digit) };
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(step))
                .ok_or_else(|| refuse(bytes, "does not fit 64 bits"))?;
        }
        Ok(value)
    }
}

fn refuse(bytes: &[u8], why: &str) -> CodecError {
    CodecError::new(
        "Int64",
        format!("not a decimal number: the value of {} bytes {why}", bytes.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Int64.encode(&value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn numbers_are_written_as_goka_writes_them() {
        assert_eq!(encoded(42), [0x34, 0x32]);
        assert_eq!(encoded(0), b"0");
        assert_eq!(encoded(-7), b"-7");
        assert_eq!(encoded(i64::MAX), b"9223372036854775807");
        assert_eq!(encoded(i64::MIN), b"-9223372036854775808");
    }

    #[test]
    fn encoding_appends_behind_what_is_there() {
        let mut bytes = b"kept".to_vec();
        Int64.encode(&5, &mut bytes).unwrap();
        assert_eq!(bytes, b"kept5");
    }

    #[test]
    fn anything_but_the_canonical_text_is_refused() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "007",
            "-0",
            "-01",
            "1.0",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
        ] {
            assert!(Int64.decode(text.as_bytes()).is_err(), "accepted {text:?}");
        }
        assert!(
            Int64.decode(&[0, 0, 0, 0, 0, 0, 0, 42]).is_err(),
            "a binary number is not text"
        );
        assert_eq!(
            Int64.decode(b"+1").unwrap_err().to_string(),
            "codec Int64: not a decimal number: the value of 2 bytes holds something other than a digit"
        );
    }

    #[test]
    fn both_ends_of_the_range_are_read() {
        assert_eq!(Int64.decode(b"9223372036854775807").unwrap(), i64::MAX);
        assert_eq!(Int64.decode(b"-9223372036854775808").unwrap(), i64::MIN);
    }

    proptest! {
        #[test]
        fn every_number_survives_the_round_trip(value: i64) {
            prop_assert_eq!(encoded(value), value.to_string().into_bytes());
            prop_assert_eq!(Int64.decode(&encoded(value)).unwrap(), value);
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(value) = Int64.decode(&bytes) {
                prop_assert_eq!(encoded(value), bytes);
            }
        }
    }
}
