//! How a checkpoint is written down.
//!
//! ```text
//!   byte 0      format, 1
//!   1..9        offset, big-endian i64
//!   9..13       leader epoch, big-endian i32
//!   13..29      topic id
//!   29..37      written at, milliseconds since 1970, big-endian i64
//! ```

use goka_core::storage::{Checkpoint, TopicId};

/// The format written; one that is not known here makes a store unreadable, and it is rebuilt.
const FORMAT: u8 = 1;
const LEN: usize = 37;

pub(crate) fn encode(checkpoint: &Checkpoint) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[0] = FORMAT;
    bytes[1..9].copy_from_slice(&checkpoint.offset.to_be_bytes());
    bytes[9..13].copy_from_slice(&checkpoint.leader_epoch.to_be_bytes());
    bytes[13..29].copy_from_slice(&checkpoint.topic_id.0);
    bytes[29..37].copy_from_slice(&checkpoint.written_at.to_be_bytes());
    bytes
}

/// `None` if it is of another format.
pub(crate) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let bytes: &[u8; LEN] = bytes.try_into().ok().filter(|bytes: &&[u8; LEN]| bytes[0] == FORMAT)?;
    Some(Checkpoint {
        offset: i64::from_be_bytes(*bytes[1..].first_chunk()?),
        leader_epoch: i32::from_be_bytes(*bytes[9..].first_chunk()?),
        topic_id: TopicId(*bytes[13..].first_chunk()?),
        written_at: i64::from_be_bytes(*bytes[29..].first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_as_it_was_written() {
        let checkpoint = Checkpoint {
            offset: 7,
            leader_epoch: -1,
            topic_id: TopicId([9; 16]),
            written_at: i64::MAX,
        };
        assert_eq!(decode(&encode(&checkpoint)), Some(checkpoint));
    }

    #[test]
    fn another_format_is_not_guessed_at() {
        let mut bytes = encode(&Checkpoint {
            offset: 7,
            leader_epoch: 1,
            topic_id: TopicId::ZERO,
            written_at: 0,
        })
        .to_vec();
        bytes[0] = 2;
        assert_eq!(decode(&bytes), None);
        assert_eq!(decode(&bytes[..20]), None);
    }
}
