//! What a request body looks like on the wire, and the walk that proves it holds what it claims.
//!
//! A [`Shape`] is Kafka's message schema reduced to what finding the end of each field needs: fixed widths, strings, byte
//! strings and arrays, with the versions that have them. Walking allocates nothing. A body that passes has all its array
//! elements in the frame, at most [`MAX_ELEMENTS`] of them, so decoding it costs memory in proportion to its size.
//!
//! Message schemas: `clients/src/main/resources/common/message/*Request.json` in Apache Kafka; KIP-482 (tagged fields).

use super::Malformed;

/// More array elements and tagged fields than any honest request has.
const MAX_ELEMENTS: u32 = 200_000;

/// The layout of one request body over all its versions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// First version with compact lengths and tagged fields (KIP-482); `i16::MAX` if there is none.
    pub(crate) flexible_since: i16,
    /// The fields in wire order.
    pub(crate) fields: &'static [Field],
}

/// One field and the versions that have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    kind: Kind,
    since: i16,
    until: i16,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Fixed(usize),
    Text,
    Blob,
    Structs(&'static [Field]),
    Ints,
    Texts,
}

/// A field of `width` bytes.
pub(crate) const fn fixed(width: usize) -> Field {
    Field::new(Kind::Fixed(width))
}

/// A string, nullable or not.
pub(crate) const fn text() -> Field {
    Field::new(Kind::Text)
}

/// A byte string or records, nullable or not.
pub(crate) const fn blob() -> Field {
    Field::new(Kind::Blob)
}

/// An array of structures.
pub(crate) const fn structs(fields: &'static [Field]) -> Field {
    Field::new(Kind::Structs(fields))
}

/// An array of int32.
pub(crate) const fn ints() -> Field {
    Field::new(Kind::Ints)
}

/// An array of strings.
pub(crate) const fn texts() -> Field {
    Field::new(Kind::Texts)
}

impl Field {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            since: 0,
            until: i16::MAX,
        }
    }

    /// Only from `version` on.
    pub(crate) const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// Only up to and including `version`.
    pub(crate) const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }
}

impl Shape {
    /// Checks that `body` holds everything it claims, to the last byte.
    ///
    /// # Errors
    ///
    /// A field, string or array that ends behind the body, bytes left over, or more than [`MAX_ELEMENTS`] elements.
    pub(crate) fn check(&self, body: &[u8], version: i16) -> Result<(), Malformed> {
        let mut walk = Walk {
            rest: body,
            version,
            flexible: version >= self.flexible_since,
            budget: MAX_ELEMENTS,
        };
        walk.structure(self.fields)?;
        if walk.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::LeftOver(walk.rest.len()))
        }
    }
}

/// What follows the tagged fields that `bytes` begin with.
pub(crate) fn skip_tags(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut walk = Walk {
        rest: bytes,
        version: 0,
        flexible: true,
        budget: MAX_ELEMENTS,
    };
    walk.tagged_fields()?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    budget: u32,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(field.kind)?;
            }
        }
        if self.flexible { self.tagged_fields() } else { Ok(()) }
    }

    fn field(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(width) => self.skip(width),
            Kind::Text => self.text(),
            Kind::Blob => {
                let length = if self.flexible {
                    self.compact_length()?
                } else {
                    self.int32_length()?
                };
                self.skip(length.unwrap_or(0))
            }
            Kind::Structs(fields) => self.array(|walk| walk.structure(fields)),
            Kind::Ints => self.array(|walk| walk.skip(4)),
            Kind::Texts => self.array(Self::text),
        }
    }

    fn text(&mut self) -> Result<(), Malformed> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            self.int16_length()?
        };
        self.skip(length.unwrap_or(0))
    }

    fn array(&mut self, element: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let count = if self.flexible {
            self.compact_length()?
        } else {
            self.int32_length()?
        }
        .unwrap_or(0);
        for _ in 0..count {
            self.spend()?;
            element(self)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            self.spend()?;
            self.varint()?;
            let size = self.varint()?;
            self.skip(usize::try_from(size).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    fn spend(&mut self) -> Result<(), Malformed> {
        self.budget = self.budget.checked_sub(1).ok_or(Malformed::TooManyElements)?;
        Ok(())
    }

    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        let encoded = self.varint()?;
        Ok(encoded
            .checked_sub(1)
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn int32_length(&mut self) -> Result<Option<usize>, Malformed> {
        length(i64::from(i32::from_be_bytes(self.take()?)))
    }

    fn int16_length(&mut self) -> Result<Option<usize>, Malformed> {
        length(i64::from(i16::from_be_bytes(self.take()?)))
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
        Err(Malformed::Truncated)
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
fn length(value: i64) -> Result<Option<usize>, Malformed> {
    match value {
        -1 => Ok(None),
        value => usize::try_from(value)
            .map(Some)
            .map_err(|_| Malformed::NegativeLength(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        flexible_since: 2,
        fields: &[
            fixed(2),
            text().since(1),
            structs(&[fixed(4), blob(), ints().until(2)]),
            texts().since(3),
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
    }

    #[test]
    fn more_elements_than_any_honest_request_has_are_refused_even_if_they_are_there() {
        const EMPTY: Shape = Shape {
            flexible_since: 0,
            fields: &[texts()],
        };
        let mut body = vec![0xc1, 0x9a, 0x0c];
        body.resize(body.len() + 200_000, 1);
        body.push(0);
        assert_eq!(EMPTY.check(&body, 0), Ok(()));
        let mut body = vec![0xc2, 0x9a, 0x0c];
        body.resize(body.len() + 200_001, 1);
        body.push(0);
        assert_eq!(EMPTY.check(&body, 0), Err(Malformed::TooManyElements));
    }
}
