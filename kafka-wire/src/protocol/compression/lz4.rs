//! LZ4 frames over `lz4_flex`'s block codec. <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>
//!
//! Our own parsing because the blocks then land in one reused buffer: a frame reader allocates what the frame's block size
//! allows (4 MiB in some clients' frames) for a few kilobytes of records.

use super::CompressionError;
use super::xxhash::xxhash32;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 01, blocks independent, no checksums of blocks or content, no sizes. What the Java client writes.
const FLAGS: u8 = 0b0110_0000;
/// Blocks of at most 64 KiB.
const BLOCK_SIZE_64K: u8 = 4 << 4;
const BLOCK_LEN: usize = 64 << 10;
const UNCOMPRESSED: u32 = 1 << 31;
/// How far back a block may refer if blocks depend on each other.
const WINDOW: usize = 64 << 10;
/// LZ4 cannot do better than 255 output bytes for one input byte.
const BEST_RATIO: usize = 255;

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len() / 2 + 32);
    frame.extend_from_slice(&MAGIC);
    let descriptor = [FLAGS, BLOCK_SIZE_64K];
    frame.extend_from_slice(&descriptor);
    frame.push((xxhash32(&descriptor) >> 8) as u8);
    let mut block = vec![0; lz4_flex::block::get_maximum_output_size(BLOCK_LEN)];
    for chunk in bytes.chunks(BLOCK_LEN) {
        // The buffer has the codec's own maximum, so that it cannot be too small; if it were, the block is stored as it is.
        match lz4_flex::block::compress_into(chunk, &mut block) {
            Ok(length) if length < chunk.len() => {
                frame.extend_from_slice(&(length as u32).to_le_bytes());
                frame.extend_from_slice(&block[..length]);
            }
            _ => {
                frame.extend_from_slice(&(chunk.len() as u32 | UNCOMPRESSED).to_le_bytes());
                frame.extend_from_slice(chunk);
            }
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame
}

pub(super) fn decompress(bytes: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
    let mut input = Input(bytes);
    let frame = Frame::read(&mut input)?;
    loop {
        let size = input.u32()?;
        if size == 0 {
            break;
        }
        let block = input.take((size & !UNCOMPRESSED) as usize)?;
        if frame.block_checksums && input.u32()? != xxhash32(block) {
            return damaged("a block's checksum does not fit it");
        }
        if size & UNCOMPRESSED != 0 {
            room(into, block.len(), limit)?;
            into.extend_from_slice(block);
        } else {
            decompress_block(block, into, limit, &frame)?;
        }
    }
    if frame.content_checksum && input.u32()? != xxhash32(into) {
        return damaged("the content's checksum does not fit it");
    }
    match frame.content_size {
        Some(size) if size != into.len() as u64 => damaged("the content is not as long as the frame says"),
        _ => Ok(()),
    }
}

fn decompress_block(block: &[u8], into: &mut Vec<u8>, limit: usize, frame: &Frame) -> Result<(), CompressionError> {
    let start = into.len();
    let most = frame
        .block_len
        .min(block.len().saturating_mul(BEST_RATIO))
        .min(limit.saturating_sub(start));
    // Most blocks grow a few times; the generous bound is tried only if that was not enough.
    let mut room = most.min(block.len().saturating_mul(4).max(4096));
    loop {
        into.resize(start + room, 0);
        let (before, output) = into.split_at_mut(start);
        let result = match frame.linked {
            true => {
                let window = &before[before.len().saturating_sub(WINDOW)..];
                lz4_flex::block::decompress_into_with_dict(block, output, window)
            }
            false => lz4_flex::block::decompress_into(block, output),
        };
        match result {
            Ok(length) => {
                into.truncate(start + length);
                return Ok(());
            }
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room < most => {
                room = most.min(room.saturating_mul(4));
            }
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if start + most >= limit => {
                return Err(CompressionError::TooLarge { limit });
            }
            Err(_) => return damaged("a block does not decompress"),
        }
    }
}

fn room(into: &[u8], more: usize, limit: usize) -> Result<(), CompressionError> {
    match into.len().checked_add(more) {
        Some(total) if total <= limit => Ok(()),
        _ => Err(CompressionError::TooLarge { limit }),
    }
}

/// What a frame's descriptor says.
struct Frame {
    block_len: usize,
    /// Blocks refer to what came before them.
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
}

impl Frame {
    fn read(input: &mut Input<'_>) -> Result<Frame, CompressionError> {
        if input.take(4)? != MAGIC {
            return damaged("it does not begin with the frame magic");
        }
        let descriptor = input.0;
        let [flags, block] = [input.u8()?, input.u8()?];
        if flags >> 6 != 1 || flags & 0b10 != 0 || block & 0b1000_1111 != 0 {
            return damaged("unknown frame version or flags");
        }
        let block_len = match block >> 4 {
            code @ 4..=7 => 1usize << (8 + 2 * code),
            _ => return damaged("unknown block size"),
        };
        let content_size = match flags & 0b1000 != 0 {
            true => Some(u64::from(input.u32()?) | u64::from(input.u32()?) << 32),
            false => None,
        };
        if flags & 0b1 != 0 {
            return damaged("it needs a dictionary");
        }
        let length = descriptor.len() - input.0.len();
        let checksum = (xxhash32(&descriptor[..length]) >> 8) as u8;
        // Kafka clients before 0.10 hashed the magic as well; message format v2 is younger than that.
        if input.u8()? != checksum {
            return damaged("the frame header's checksum does not fit it");
        }
        Ok(Frame {
            block_len,
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_size,
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], CompressionError> {
        match self.0.split_at_checked(length) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => damaged("it ends in the middle"),
        }
    }

    fn u8(&mut self) -> Result<u8, CompressionError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Result<u32, CompressionError> {
        self.take(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

fn damaged<T>(what: &'static str) -> Result<T, CompressionError> {
    Err(CompressionError::Damaged { codec: "lz4", what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        decompress(&compress(bytes), &mut output, 1 << 30).unwrap();
        output
    }

    #[test]
    fn long_and_repetitive_input_comes_back() {
        let bytes: Vec<u8> = (0..300_000u32).map(|number| (number / 1000) as u8).collect();
        assert!(compress(&bytes).len() < bytes.len() / 20);
        assert_eq!(round_trip(&bytes), bytes);
    }

    #[test]
    fn linked_blocks_checksums_and_a_content_size_are_understood() {
        // Two blocks; the second repeats the first by reference: token 0x0f, offset 16, length 4 + 15 + 5, then a literal.
        let first = b"abcdefghijklmnop";
        let mut second = vec![0x0f, 16, 0, 0x00];
        second.extend_from_slice(&[0x50, b'v', b'w', b'x', b'y', b'z']);
        let mut frame = MAGIC.to_vec();
        let content: Vec<u8> = [&first[..], &first[..], &first[..3], b"vwxyz"].concat();
        let mut descriptor = vec![0b0101_1100, BLOCK_SIZE_64K];
        descriptor.extend_from_slice(&(content.len() as u64).to_le_bytes());
        frame.extend_from_slice(&descriptor);
        frame.push((xxhash32(&descriptor) >> 8) as u8);
        frame.extend_from_slice(&(first.len() as u32 | UNCOMPRESSED).to_le_bytes());
        frame.extend_from_slice(first);
        frame.extend_from_slice(&xxhash32(first).to_le_bytes());
        frame.extend_from_slice(&(second.len() as u32).to_le_bytes());
        frame.extend_from_slice(&second);
        frame.extend_from_slice(&xxhash32(&second).to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&xxhash32(&content).to_le_bytes());
        let mut output = Vec::new();
        decompress(&frame, &mut output, 1 << 20).unwrap();
        assert_eq!(output, content);
        let last = frame.len() - 1;
        frame[last] ^= 1;
        assert!(decompress(&frame, &mut output, 1 << 20).is_err());
    }

    #[test]
    fn a_frame_without_its_end_mark_is_refused() {
        let mut frame = compress(b"hello hello hello hello");
        frame.truncate(frame.len() - 4);
        assert!(decompress(&frame, &mut Vec::new(), 1 << 20).is_err());
    }

    #[test]
    fn output_beyond_the_limit_is_refused() {
        let frame = compress(&[7; 100_000]);
        let result = decompress(&frame, &mut Vec::new(), 99_999);
        assert_eq!(result, Err(CompressionError::TooLarge { limit: 99_999 }));
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(bytes in proptest::collection::vec(0u8..4, 0..5000)) {
            prop_assert_eq!(round_trip(&bytes), bytes);
        }
    }
}
