//! The walk along a body that proves it holds what it claims, and that decoding it takes bounded memory.
//!
//! Decoded strings and byte strings are slices of the body. What decoding allocates are the arrays, each in one piece, and the
//! maps of tagged fields that are unknown to us; both are counted while walking. Known tagged fields are decoded without regard
//! to the size the peer gives them. The walk goes by the field too, so that it sees the bytes the decoder sees, and then refuses a
//! size that is not the field's.

use bytes::Bytes;

use super::shape::{Field, Kind, Shape};

/// Memory that decoding may take however short the body is. Together with [`SPARE`] these are 64 KiB.
const BASE: usize = 60 << 10;
/// Left for what is not counted: the words of an error, the reference count of the body.
const SPARE: usize = 4 << 10;
/// Memory that decoding may take for every byte of the body.
const PER_BYTE: usize = 8;
/// Memory of a map's first leaf or root: room for eleven entries and twelve children.
const FIRST_TAG: usize = 11 * size_of::<(i32, Bytes)>() + 12 * size_of::<usize>() + 16;
/// Memory of every further entry: nodes but the root are at least five elevenths full.
const FURTHER_TAG: usize = FIRST_TAG / 5 + FIRST_TAG / 25;

/// Bytes of memory that decoding a body of `length` bytes may take.
pub const fn allowed_memory(length: usize) -> usize {
    BASE + SPARE + PER_BYTE.saturating_mul(length)
}

/// A body is not what its message looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field ends behind the end.
    #[error("a field ends behind the end")]
    Truncated,
    /// There is more than the message has.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
    /// Lengths are not negative, but for -1, which is null.
    #[error("the length {0} is negative")]
    NegativeLength(i64),
    /// A number goes on for more bytes than it may have.
    #[error("a number of more than five bytes")]
    LongNumber,
    /// A tagged field is not as long as it claims.
    #[error("tagged field {tag} claims {claimed} bytes, but has {found}")]
    TagSize {
        /// The tag.
        tag: u32,
        /// The size the peer gives it.
        claimed: u32,
        /// The size it has.
        found: usize,
    },
    /// Decoding would take more memory than an honest message of this length needs.
    #[error("{length} bytes would take more than {} bytes of memory", allowed_memory(*length))]
    TooMuchMemory {
        /// Length of the body.
        length: usize,
    },
}

impl Shape {
    /// Checks that `body` holds everything it claims, to the last byte, and decodes in [`allowed_memory`].
    ///
    /// # Errors
    /// What is wrong with it first.
    pub fn check(&self, body: &[u8], version: i16) -> Result<(), Malformed> {
        let mut walk = Walk {
            rest: body,
            version,
            flexible: version >= self.flexible_since,
            room: allowed_memory(body.len()) - SPARE,
            length: body.len(),
        };
        walk.structure(self.fields)?;
        match walk.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::LeftOver(left)),
        }
    }
}

/// What follows the tagged fields that `bytes` begin with.
///
/// # Errors
/// The fields end behind the end.
pub fn skip_tagged_fields(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut walk = Walk {
        rest: bytes,
        version: 0,
        flexible: true,
        // They are stepped over, not decoded.
        room: usize::MAX,
        length: bytes.len(),
    };
    walk.tagged_fields(&[])?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    /// Memory that decoding the rest may take.
    room: usize,
    /// Of the whole body.
    length: usize,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        for field in fields {
            if field.tag.is_none() && field.exists_in(self.version) {
                self.field(&field.kind)?;
            }
        }
        if self.flexible {
            self.tagged_fields(fields)
        } else {
            Ok(())
        }
    }

    fn field(&mut self, kind: &Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(width) => self.skip(*width),
            Kind::Text => {
                let length = self.text_length()?;
                self.skip(length)
            }
            Kind::Blob => {
                let length = self.length()?;
                self.skip(length)
            }
            Kind::Structure(fields) => self.structure(fields),
            Kind::Structures { fields, size } => self.array(*size, |walk| walk.structure(fields)),
            Kind::Array { element, size } => self.array(*size, |walk| walk.field(element)),
        }
    }

    fn array(&mut self, size: usize, element: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let count = self.length()?;
        // Every element takes a byte at least, so what follows is bounded by the body.
        if count > self.rest.len() {
            return Err(Malformed::Truncated);
        }
        self.spend(count.saturating_mul(size))?;
        (0..count).try_for_each(|_| element(self))
    }

    fn tagged_fields(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        let mut memory = FIRST_TAG;
        for _ in 0..self.varint()? {
            let (tag, claimed) = (self.varint()?, self.varint()?);
            let size = usize::try_from(claimed).unwrap_or(usize::MAX);
            let known = |field: &&Field| field.tag == Some(tag) && field.exists_in(self.version);
            if let Some(field) = fields.iter().find(known) {
                let before = self.rest.len();
                self.field(&field.kind)?;
                let found = before - self.rest.len();
                if found != size {
                    return Err(Malformed::TagSize { tag, claimed, found });
                }
            } else {
                self.spend(memory)?;
                self.skip(size)?;
                memory = FURTHER_TAG;
            }
        }
        Ok(())
    }

    fn spend(&mut self, memory: usize) -> Result<(), Malformed> {
        let length = self.length;
        self.room = self
            .room
            .checked_sub(memory)
            .ok_or(Malformed::TooMuchMemory { length })?;
        Ok(())
    }

    /// Length of an array or a byte string, 0 if it is null.
    fn length(&mut self) -> Result<usize, Malformed> {
        if self.flexible {
            self.compact_length()
        } else {
            length(i32::from_be_bytes(self.take()?).into())
        }
    }

    /// Length of a string, 0 if it is null.
    fn text_length(&mut self) -> Result<usize, Malformed> {
        if self.flexible {
            self.compact_length()
        } else {
            length(i16::from_be_bytes(self.take()?).into())
        }
    }

    fn compact_length(&mut self) -> Result<usize, Malformed> {
        Ok(usize::try_from(self.varint()?.saturating_sub(1)).unwrap_or(usize::MAX))
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::LongNumber)
    }

    fn skip(&mut self, width: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(width..).ok_or(Malformed::Truncated)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

/// -1 is null; anything below is nonsense.
fn length(value: i64) -> Result<usize, Malformed> {
    match value {
        -1 => Ok(0),
        value => usize::try_from(value).map_err(|_| Malformed::NegativeLength(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::{blob, fixed, ints, structs, text, texts};
    use super::*;

    const SHAPE: Shape = Shape {
        flexible_since: 2,
        fields: &[
            fixed(2),
            text().since(1),
            structs::<[u64; 12]>(&[fixed(4), blob(), ints().until(2)]),
            texts().since(3),
            texts().tagged(1).since(4),
        ],
    };

    #[test]
    fn a_body_that_holds_what_it_claims_passes() {
        let mut body = vec![0, 7, 0xff, 0xff, 0, 0, 0, 1];
        body.extend([0, 0, 0, 9, 0, 0, 0, 2, b'x', b'y', 0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(SHAPE.check(&body, 1), Ok(()));
        assert_eq!(SHAPE.check(&body[..body.len() - 1], 1), Err(Malformed::Truncated));
        body.push(0);
        assert_eq!(SHAPE.check(&body, 1), Err(Malformed::LeftOver(1)));
    }

    #[test]
    fn a_flexible_body_has_compact_lengths_and_tags_in_every_structure() {
        let body = [0, 7, 2, b'a', 2, 0, 0, 0, 9, 1, 0, 1, 1, 3, 5, 5, 5];
        assert_eq!(SHAPE.check(&body[..11], 2), Err(Malformed::Truncated));
        let version_3 = [0, 7, 2, b'a', 2, 0, 0, 0, 9, 1, 0, 2, 2, b'b', 1, 0, 2, 5, 5];
        assert_eq!(SHAPE.check(&version_3, 3), Ok(()));
    }

    #[test]
    fn a_claim_of_two_billion_elements_is_refused_without_looking_for_them() {
        let body = [0, 7, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(SHAPE.check(&body, 0), Err(Malformed::Truncated));
        let mut flexible = vec![0, 7, 0];
        flexible.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(SHAPE.check(&flexible, 2), Err(Malformed::Truncated));
        let negative = [0, 7, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(SHAPE.check(&negative, 0), Err(Malformed::NegativeLength(-2)));
        let long = [0, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(SHAPE.check(&long, 2), Err(Malformed::LongNumber));
    }

    #[test]
    fn a_known_tagged_field_has_the_size_it_claims() {
        let mut body = vec![0, 7, 0, 1, 1, 1, 1, 4, 3, 2, b'a', 1];
        assert_eq!(SHAPE.check(&body, 4), Ok(()));
        assert_eq!(SHAPE.check(&body, 3), Ok(()), "unknown there, so any bytes");
        body[7] = 3;
        let refused = Malformed::TagSize {
            tag: 1,
            claimed: 3,
            found: 4,
        };
        assert_eq!(SHAPE.check(&body, 4), Err(refused));
    }

    #[test]
    fn elements_that_are_there_but_grow_too_much_are_refused() {
        const EMPTY: Shape = Shape {
            flexible_since: 0,
            fields: &[texts()],
        };
        let body = |count: u16| {
            let length = count + 1;
            let mut body = vec![0x80 | (length & 0x7f) as u8, (length >> 7) as u8];
            body.resize(body.len() + usize::from(count), 1);
            body.push(0);
            body
        };
        let most = (1..5_000).rfind(|&count| EMPTY.check(&body(count), 0).is_ok()).unwrap();
        assert!(usize::from(most) * size_of::<Bytes>() <= allowed_memory(body(most).len()));
        assert!(most > 2_000, "{most} empty strings fit");
        let length = body(most + 1).len();
        assert_eq!(
            EMPTY.check(&body(most + 1), 0),
            Err(Malformed::TooMuchMemory { length })
        );
    }

    #[test]
    fn unknown_tagged_fields_are_counted_and_stepped_over() {
        let tags = |count: u8| {
            let mut body = vec![0, 7, 0, 1, 1, count];
            body.extend((0..count).flat_map(|tag| [tag + 2, 0]));
            body
        };
        assert_eq!(SHAPE.check(&tags(120), 3), Ok(()));
        assert_eq!(skip_tagged_fields(&[2, 9, 1, 7, 8, 0, 5]), Ok(&[5][..]));
        assert_eq!(skip_tagged_fields(&[2, 9, 1, 7]), Err(Malformed::Truncated));
    }
}
