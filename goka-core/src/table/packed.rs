//! Bytes of a row, kept in place if they are few: a lookup then touches one cache line, and a row costs no allocation.

use kafka_wire::rpc::short;

/// Bytes kept in place at most.
const IN_PLACE: usize = 22;

/// A key or a value of the overlay; 24 bytes.
#[derive(Debug)]
pub(super) enum Packed {
    InPlace {
        length: u8,
        bytes: [u8; IN_PLACE],
    },
    /// Beyond `length` there may be room from a longer value.
    Boxed {
        length: u32,
        bytes: Box<[u8]>,
    },
}

impl Packed {
    #[inline]
    pub(super) fn new(from: &[u8]) -> Packed {
        if from.len() > IN_PLACE {
            return Packed::Boxed {
                // Records are shorter than 2 GiB, and so are their parts.
                length: from.len() as u32,
                bytes: from.into(),
            };
        }
        let mut bytes = [0; IN_PLACE];
        short::copy(&mut bytes, from);
        Packed::InPlace {
            length: from.len() as u8,
            bytes,
        }
    }

    /// Replaces the bytes, in the memory there is if they fit into it and do not waste most of it.
    #[inline]
    pub(super) fn set(&mut self, from: &[u8]) {
        match self {
            Packed::Boxed { length, bytes } if (bytes.len() / 4..=bytes.len()).contains(&from.len()) => {
                bytes[..from.len()].copy_from_slice(from);
                *length = from.len() as u32;
            }
            _ => *self = Packed::new(from),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> &[u8] {
        match self {
            Packed::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Packed::Boxed { length, bytes } => &bytes[..*length as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back_whatever_was_there_before() {
        assert_eq!(size_of::<Option<Packed>>(), 24);
        let bytes: Vec<u8> = (0..200).collect();
        for before in 0..100 {
            for after in 0..200 {
                let mut packed = Packed::new(&bytes[..before]);
                assert_eq!(packed.get(), &bytes[..before]);
                packed.set(&bytes[..after]);
                assert_eq!(packed.get(), &bytes[..after]);
            }
        }
    }

    #[test]
    fn a_small_value_does_not_keep_a_large_ones_memory() {
        let mut packed = Packed::new(&[1; 1000]);
        packed.set(&[2; 900]);
        assert!(matches!(&packed, Packed::Boxed { bytes, .. } if bytes.len() == 1000));
        packed.set(&[3; 100]);
        assert!(matches!(&packed, Packed::Boxed { bytes, .. } if bytes.len() == 100));
        packed.set(&[4; 3]);
        assert!(matches!(packed, Packed::InPlace { length: 3, .. }));
    }
}
