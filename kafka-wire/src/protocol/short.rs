//! Copies of few bytes without a call.
//!
//! Keys, numbers and most values are shorter than a call of `memcpy` takes: musl's, in static binaries, costs some 20 ns however
//! little it copies. These copy up to [`MOST`] bytes with two loads and two stores, and leave the rest to `memcpy`.

use bytes::{BufMut, BytesMut};

/// Bytes that are few.
pub(crate) const MOST: usize = 32;

/// Copies `from` to the start of `to`, which must be as long at least.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) {
    let length = from.len();
    let to = &mut to[..length];
    match length {
        0 => {}
        1..4 => {
            to[0] = from[0];
            to[length / 2] = from[length / 2];
            to[length - 1] = from[length - 1];
        }
        4..8 => both_ends::<4>(to, from),
        8..16 => both_ends::<8>(to, from),
        16..=MOST => both_ends::<16>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// The first `N` and the last `N` bytes, which overlap.
#[inline]
fn both_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

/// Appends `bytes` to `into`.
#[inline]
pub fn append(into: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > MOST {
        into.extend_from_slice(bytes);
        return;
    }
    // What is too much is overwritten by what comes next.
    let end = into.len() + bytes.len();
    into.extend_from_slice(&padded(bytes));
    into.truncate(end);
}

/// Appends `bytes` to `into`.
#[inline]
pub(crate) fn put(into: &mut BytesMut, bytes: &[u8]) {
    if bytes.len() > MOST {
        into.put_slice(bytes);
        return;
    }
    let end = into.len() + bytes.len();
    into.put_slice(&padded(bytes));
    into.truncate(end);
}

#[inline]
fn padded(bytes: &[u8]) -> [u8; MOST] {
    let mut padded = [0; MOST];
    copy(&mut padded, bytes);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_and_nothing_else_is_touched() {
        let from: Vec<u8> = (1..=100).collect();
        for length in 0..from.len() {
            let from = &from[..length];
            let mut to = [0; 120];
            copy(&mut to, from);
            assert_eq!(&to[..length], from);
            assert!(to[length..].iter().all(|byte| *byte == 0), "{length}");
            let mut vector = b"before".to_vec();
            append(&mut vector, from);
            append(&mut vector, b"after");
            assert_eq!(vector, [b"before", from, b"after"].concat());
            let mut buffer = BytesMut::from(&b"before"[..]);
            put(&mut buffer, from);
            put(&mut buffer, b"after");
            assert_eq!(buffer, [b"before", from, b"after"].concat());
        }
    }
}
