//! Hostile bytes and their measure, for all suites that feed a decoder with them.

#![allow(dead_code, reason = "each suite uses its part")]

use kafka_wire::rpc::guard::{Field, Kind, Shape};
use proptest::prelude::*;

/// The most memory that reading `length` bytes may hold at once.
pub(crate) fn bound(length: usize) -> u64 {
    (64 << 10) + 8 * length as u64
}

/// The most bytes that `read` held at once.
pub(crate) fn peak(read: impl FnOnce()) -> u64 {
    allocation_counter::measure(read).bytes_max
}

/// What a written message is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Where chance starts.
    pub(crate) seed: u64,
    /// At most so many elements in an array.
    pub(crate) elements: u64,
    /// At most so many letters in a string and bytes in a byte string.
    pub(crate) letters: u64,
    /// Tagged fields that no version knows, in each structure at most.
    pub(crate) unknown_tags: u64,
}

/// Small messages with everything in them.
pub(crate) fn small() -> impl Strategy<Value = Style> {
    any::<u64>().prop_map(|seed| Style {
        seed,
        elements: 3,
        letters: 12,
        unknown_tags: 2,
    })
}

/// Messages of many elements of almost nothing.
pub(crate) fn teeming() -> impl Strategy<Value = Style> {
    (any::<u64>(), 0..3_u64, prop_oneof![0..2_u64, Just(500)]).prop_map(|(seed, letters, unknown_tags)| Style {
        seed,
        elements: 200,
        letters,
        unknown_tags,
    })
}

/// A message of `shape` that its decoder must understand.
pub(crate) fn written(shape: &Shape, version: i16, style: Style) -> Vec<u8> {
    let mut writer = Writer {
        out: Vec::new(),
        version,
        flexible: version >= shape.flexible_since,
        style,
        chance: style.seed,
        left: 3_000,
    };
    writer.structure(shape.fields);
    writer.out
}

/// Something done to good bytes.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    /// One byte replaced.
    Byte(prop::sample::Index, u8),
    /// Four bytes replaced by a number peers like to lie with.
    Number(prop::sample::Index, i32),
    /// A compact length of four billion put in.
    Compact(prop::sample::Index),
    /// The end cut off.
    Cut(prop::sample::Index),
    /// A piece said twice.
    Again(prop::sample::Index, prop::sample::Index),
}

/// One to five harms.
pub(crate) fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let at = any::<prop::sample::Index>;
    let number = prop_oneof![Just(i32::MAX), Just(-1), Just(-2), Just(i32::MIN), 0..100_000];
    let harm = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Harm::Byte(at, byte)),
        (at(), number).prop_map(|(at, number)| Harm::Number(at, number)),
        at().prop_map(Harm::Compact),
        at().prop_map(Harm::Cut),
        (at(), at()).prop_map(|(from, to)| Harm::Again(from, to)),
    ];
    proptest::collection::vec(harm, 1..6)
}

/// Does the harms one after the other.
pub(crate) fn harmed(mut bytes: Vec<u8>, harms: &[Harm]) -> Vec<u8> {
    for harm in harms {
        if bytes.is_empty() {
            break;
        }
        let place = |index: &prop::sample::Index| index.index(bytes.len());
        match harm {
            Harm::Byte(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Harm::Number(at, number) => {
                let at = place(at);
                let fits = 4.min(bytes.len() - at);
                bytes[at..at + fits].copy_from_slice(&number.to_be_bytes()[..fits]);
            }
            Harm::Compact(at) => {
                let at = place(at);
                bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
            }
            Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Harm::Again(from, to) => {
                let (from, to) = (place(from), place(to));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

struct Writer {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    style: Style,
    chance: u64,
    /// Elements and unknown tagged fields that may still be written, however deep.
    left: u64,
}

impl Writer {
    /// A number below `end`, or 0 (splitmix64).
    fn draw(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    fn structure(&mut self, fields: &[Field]) {
        let (tagged, plain): (Vec<&Field>, Vec<&Field>) = fields
            .iter()
            .filter(|field| field.exists_in(self.version))
            .partition(|field| field.tag.is_some());
        for field in plain {
            self.field(&field.kind);
        }
        if self.flexible {
            let free = (0..).filter(|tag| fields.iter().all(|field| field.tag != Some(*tag)));
            self.tagged_fields(tagged, free);
        }
    }

    fn tagged_fields(&mut self, mut known: Vec<&Field>, free: impl Iterator<Item = u32>) {
        known.retain(|_| self.draw(2) == 0);
        let unknown = self.draw(self.style.unknown_tags + 1).min(self.left);
        self.left -= unknown;
        self.varint(known.len() as u64 + unknown);
        for field in known {
            self.varint(field.tag.unwrap_or_default().into());
            let before = std::mem::take(&mut self.out);
            self.field(&field.kind);
            let value = std::mem::replace(&mut self.out, before);
            self.varint(value.len() as u64);
            self.out.extend(value);
        }
        for (tag, _) in free.zip(0..unknown) {
            self.varint(tag.into());
            let length = self.draw(self.style.letters + 1);
            self.varint(length);
            self.random(length);
        }
    }

    fn field(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(width) => self.random(*width as u64),
            Kind::Text => {
                let length = self.draw(self.style.letters + 1);
                if self.flexible {
                    self.varint(length + 1);
                } else {
                    self.out.extend((length as i16).to_be_bytes());
                }
                self.out.extend((0..length).map(|at| b'a' + (at % 26) as u8));
            }
            Kind::Blob => {
                let length = self.draw(self.style.letters + 1);
                self.length(length);
                self.random(length);
            }
            Kind::Structure(fields) => self.structure(fields),
            Kind::Structures { fields, .. } => self.array(|writer| writer.structure(fields)),
            Kind::Array { element, .. } => self.array(|writer| writer.field(element)),
        }
    }

    fn array(&mut self, element: impl Fn(&mut Self)) {
        let count = self.draw(self.style.elements + 1).min(self.left);
        self.left -= count;
        self.length(count);
        (0..count).for_each(|_| element(self));
    }

    fn length(&mut self, length: u64) {
        if self.flexible {
            self.varint(length + 1);
        } else {
            self.out.extend((length as i32).to_be_bytes());
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn random(&mut self, count: u64) {
        for _ in 0..count {
            let byte = self.draw(256) as u8;
            self.out.push(byte);
        }
    }
}
