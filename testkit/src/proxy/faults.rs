//! What can be wrong with a connection.

use std::ops::Range;
use std::time::Duration;

/// What goes wrong with the connections of a proxy; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// What happens to bytes on their way to the broker.
    pub to_broker: Way,
    /// What happens to bytes on their way to the client.
    pub to_client: Way,
    /// How long a connection lives, drawn anew for each one when it is opened.
    pub lifetime: Option<Range<Duration>>,
    /// New connections are accepted and read from, and no broker hears of them.
    pub half_open: bool,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// How long each byte is under way.
    pub delay: Duration,
    /// Bytes per second; 0 for as many as there are.
    pub rate: u64,
    /// The connection is cut, in both directions, after this many bytes.
    pub cut_after: Option<u64>,
    /// Bytes stay under way for as long as this is set; nothing is lost and little is read.
    pub stalled: bool,
    /// Bytes are read and get lost; the connection stays open.
    pub lost: bool,
    /// Every byte is sent by itself, with this pause before it.
    pub drip: Option<Duration>,
}

impl Faults {
    /// Every connection dies after half a second to one and a half.
    pub fn short_lives() -> Faults {
        Faults {
            lifetime: Some(Duration::from_millis(500)..Duration::from_millis(1500)),
            ..Faults::default()
        }
    }

    /// Requests arrive, their answers do not.
    pub fn lost_answers() -> Faults {
        Faults {
            to_client: Way {
                lost: true,
                ..Way::default()
            },
            ..Faults::default()
        }
    }

    /// The same in both directions.
    pub fn both(way: Way) -> Faults {
        Faults {
            to_broker: way.clone(),
            to_client: way,
            ..Faults::default()
        }
    }
}
