//! Zigzag variable-length integers, as record batches use them (KIP-98).

use bytes::{BufMut, BytesMut};

/// Reads a variable-length i32 at `*at` and moves `*at` past it; `None` if the bytes end, or it is longer than five bytes.
#[inline]
pub(crate) fn read_i32(bytes: &[u8], at: &mut usize) -> Option<i32> {
    // One byte holds lengths to 63, by far the most common.
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(i32::from(first >> 1) ^ -i32::from(first & 1));
    }
    let mut value = u32::from(first & 0x7f);
    for length in 1..5 {
        let byte = *bytes.get(*at + length)?;
        value |= u32::from(byte & 0x7f) << (7 * length);
        if byte < 0x80 {
            *at += length + 1;
            return Some((value >> 1) as i32 ^ -((value & 1) as i32));
        }
    }
    None
}

/// Reads a variable-length i64, as [`read_i32`] does; at most ten bytes.
#[inline]
pub(crate) fn read_i64(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0u64;
    for length in 0..10 {
        let byte = *bytes.get(*at + length)?;
        value |= u64::from(byte & 0x7f) << (7 * length);
        if byte < 0x80 {
            *at += length + 1;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Appends `value`.
#[inline]
pub(crate) fn put_i64(into: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}

/// Appends `value`.
#[inline]
pub(crate) fn put_i32(into: &mut BytesMut, value: i32) {
    put_i64(into, i64::from(value));
}

/// Bytes that `value` takes.
#[inline]
pub(crate) fn len_i64(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values_have_known_bytes() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (1, vec![2]),
            (63, vec![126]),
            (64, vec![128, 1]),
        ] {
            let mut buffer = BytesMut::new();
            put_i64(&mut buffer, value);
            assert_eq!(buffer.to_vec(), bytes);
        }
    }

    #[test]
    fn bytes_that_end_early_or_never_are_refused() {
        assert_eq!(read_i32(&[0x80], &mut 0), None);
        assert_eq!(read_i32(&[0xff; 6], &mut 0), None);
        assert_eq!(read_i64(&[0xff; 11], &mut 0), None);
        assert_eq!(read_i64(&[], &mut 0), None);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(value: i64, small: i32) {
            let mut buffer = BytesMut::new();
            put_i64(&mut buffer, value);
            prop_assert_eq!(buffer.len(), len_i64(value));
            let end = buffer.len();
            put_i32(&mut buffer, small);
            let mut at = 0;
            prop_assert_eq!(read_i64(&buffer, &mut at), Some(value));
            prop_assert_eq!(at, end);
            prop_assert_eq!(read_i32(&buffer, &mut at), Some(small));
            prop_assert_eq!(at, buffer.len());
        }
    }
}
