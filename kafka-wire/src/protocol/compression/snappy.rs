//! Snappy, raw and in the framing of `snappy-java` ("xerial").
//!
//! Java clients write the framing: a 16-byte header, then blocks, each behind its length. franz-go and librdkafka write raw
//! snappy. Both are read; the framing is written, since every client reads it.

use super::CompressionError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version 1, compatible with version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK_LEN: usize = 32 << 10;
/// A copy of 64 bytes takes 3 in the input; snappy cannot do better.
const BEST_RATIO: usize = 22;

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_LEN)];
    let mut frame = Vec::with_capacity(bytes.len() / 2 + 32);
    frame.extend_from_slice(&HEADER);
    for chunk in bytes.chunks(BLOCK_LEN) {
        // The buffer has the codec's own maximum, the only thing it can fail for.
        let length = encoder
            .compress(chunk, &mut block)
            .expect("the block buffer holds any compressed block");
        frame.extend_from_slice(&(length as u32).to_be_bytes());
        frame.extend_from_slice(&block[..length]);
    }
    frame
}

pub(super) fn decompress(bytes: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        return decompress_block(bytes, into, limit);
    };
    rest = rest.get(8..).ok_or_else(|| damaged("it ends in the header"))?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk()
            .ok_or_else(|| damaged("it ends in a block's length"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after
            .split_at_checked(length)
            .ok_or_else(|| damaged("it ends in a block"))?;
        decompress_block(block, into, limit)?;
        rest = after;
    }
    Ok(())
}

fn decompress_block(block: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
    let claimed = snap::raw::decompress_len(block).map_err(|_| damaged("a block's length is no number"))?;
    if claimed > block.len().saturating_mul(BEST_RATIO) {
        return Err(damaged("a block claims more than it can hold"));
    }
    let start = into.len();
    if start.checked_add(claimed).is_none_or(|total| total > limit) {
        return Err(CompressionError::TooLarge { limit });
    }
    into.resize(start + claimed, 0);
    let length = snap::raw::Decoder::new().decompress(block, &mut into[start..]);
    into.truncate(start + length.map_err(|_| damaged("a block does not decompress"))?);
    Ok(())
}

fn damaged(what: &'static str) -> CompressionError {
    CompressionError::Damaged { codec: "snappy", what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn raw_snappy_is_read_as_well() {
        let bytes = b"hello hello hello hello hello".repeat(100);
        let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
        let mut output = Vec::new();
        decompress(&raw, &mut output, 1 << 20).unwrap();
        assert_eq!(output, bytes);
    }

    #[test]
    fn output_beyond_the_limit_is_refused() {
        let result = decompress(&compress(&[7; 100_000]), &mut Vec::new(), 99_999);
        assert_eq!(result, Err(CompressionError::TooLarge { limit: 99_999 }));
    }

    #[test]
    fn a_claimed_length_beyond_what_the_input_can_hold_is_refused_without_allocating_it() {
        let mut output = Vec::new();
        assert!(decompress(&[0xff, 0xff, 0xff, 0x7f, 0], &mut output, usize::MAX).is_err());
        assert_eq!(output.capacity(), 0);
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(bytes in proptest::collection::vec(0u8..4, 0..70_000)) {
            let mut output = Vec::new();
            decompress(&compress(&bytes), &mut output, 1 << 20).unwrap();
            prop_assert_eq!(output, bytes);
        }
    }
}
