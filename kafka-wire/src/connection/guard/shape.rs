//! What the body of a message looks like on the wire.
//!
//! A [`Shape`] is Kafka's message schema reduced to what finding the end of each field needs: fixed widths, strings, byte strings,
//! structures and arrays, with the versions that have them, and what an array's element takes once it is decoded.
//!
//! Message schemas: `clients/src/main/resources/common/message/*.json` in Apache Kafka; KIP-482 (tagged fields).

use kafka_protocol::protocol::StrBytes;

/// The layout of one message body over all its versions.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// First version with compact lengths and tagged fields (KIP-482); `i16::MAX` if there is none.
    pub flexible_since: i16,
    /// The fields in wire order; the place of tagged ones does not matter.
    pub fields: &'static [Field],
}

/// One field and the versions that have it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What it looks like.
    pub kind: Kind,
    /// Its tag, if it is a tagged field.
    pub tag: Option<u32>,
    since: i16,
    until: i16,
}

/// What a field looks like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// A byte string or records, nullable or not.
    Blob,
    /// A structure in place.
    Structure(&'static [Field]),
    /// An array, nullable or not.
    Array {
        /// What each element looks like.
        element: &'static Kind,
        /// Bytes of memory that a decoded element takes, without what it owns.
        size: usize,
    },
    /// An array of structures, nullable or not.
    Structures {
        /// The fields of each.
        fields: &'static [Field],
        /// Bytes of memory that a decoded element takes, without what it owns.
        size: usize,
    },
}

/// A field of `width` bytes.
pub const fn fixed(width: usize) -> Field {
    Field::new(Kind::Fixed(width))
}

/// A string, nullable or not.
pub const fn text() -> Field {
    Field::new(Kind::Text)
}

/// A byte string or records, nullable or not.
pub const fn blob() -> Field {
    Field::new(Kind::Blob)
}

/// A structure in place, not nullable.
pub const fn structure(fields: &'static [Field]) -> Field {
    Field::new(Kind::Structure(fields))
}

/// An array of structures that decode to `T`s.
pub const fn structs<T>(fields: &'static [Field]) -> Field {
    let size = size_of::<T>();
    Field::new(Kind::Structures { fields, size })
}

/// An array of int32.
pub const fn ints() -> Field {
    let size = size_of::<i32>();
    let element = &Kind::Fixed(4);
    Field::new(Kind::Array { element, size })
}

/// An array of strings.
pub const fn texts() -> Field {
    let size = size_of::<StrBytes>();
    let element = &Kind::Text;
    Field::new(Kind::Array { element, size })
}

impl Field {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            tag: None,
            since: 0,
            until: i16::MAX,
        }
    }

    /// Only from `version` on.
    pub const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// Only up to and including `version`.
    pub const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// A tagged field: it may be missing, and it stands behind the others.
    pub const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Whether `version` has it.
    pub const fn exists_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}
