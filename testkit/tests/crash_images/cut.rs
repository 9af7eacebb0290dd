//! What a power cut leaves: all that was synced, and of the rest a part.

use crate::chance::Chance;
use crate::disk::{Content, Event};

/// The unit in which a disk writes.
const SECTOR: usize = 512;
/// The database's header lies before this.
const HEADER: usize = 4096;

/// Which of the unsynced sectors and changes of length arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subset {
    /// All: the process was killed, the machine goes on.
    Everything,
    Half,
    HeaderOnly,
    AllButHeader,
    Most,
    Few,
    AllButLastWrite,
    OnlyLastWrite,
    /// All sectors, but the file did not get longer.
    ExtensionLost,
}

impl Subset {
    pub(crate) const ALL: [Subset; 9] = [
        Subset::Everything,
        Subset::Half,
        Subset::HeaderOnly,
        Subset::AllButHeader,
        Subset::Most,
        Subset::Few,
        Subset::AllButLastWrite,
        Subset::OnlyLastWrite,
        Subset::ExtensionLost,
    ];

    /// The image: `durable` with a part of `pending`.
    pub(crate) fn image(self, durable: &Content, pending: &[Event], chance: &mut Chance) -> Content {
        let mut image = durable.clone();
        for (at, event) in pending.iter().enumerate() {
            let is_last = at + 1 == pending.len();
            match event {
                Event::Sync => {}
                Event::SetLen(len) => {
                    let grows = *len > image.len();
                    if self.takes(false, is_last, chance) && !(grows && self == Subset::ExtensionLost) {
                        image.set_len(*len);
                    }
                }
                Event::Write(offset, bytes) => self.write(&mut image, *offset, bytes, is_last, chance),
            }
        }
        image
    }

    fn write(self, image: &mut Content, offset: usize, bytes: &[u8], is_last: bool, chance: &mut Chance) {
        let mut done = 0;
        while done < bytes.len() {
            let start = offset + done;
            let len = (SECTOR - start % SECTOR).min(bytes.len() - done);
            if self.takes(start < HEADER, is_last, chance) {
                image.write(start, &bytes[done..][..len]);
            }
            done += len;
        }
    }

    fn takes(self, header: bool, is_last: bool, chance: &mut Chance) -> bool {
        match self {
            Subset::Everything | Subset::ExtensionLost => true,
            Subset::Half => chance.odds(1, 2),
            Subset::HeaderOnly => header,
            Subset::AllButHeader => !header,
            Subset::Most => chance.odds(15, 16),
            Subset::Few => chance.odds(1, 16),
            Subset::AllButLastWrite => !is_last,
            Subset::OnlyLastWrite => is_last,
        }
    }
}

/// A disk's way through its log, event by event.
pub(crate) struct Replay {
    /// What is on the disk for certain.
    pub(crate) durable: Content,
    /// What may be.
    pub(crate) pending: Vec<Event>,
}

impl Replay {
    pub(crate) fn from(content: Content) -> Replay {
        Replay {
            durable: content,
            pending: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.pending.push(event.clone());
        if matches!(event, Event::Sync) {
            let nothing_by_chance = &mut Chance::new(0);
            self.durable = Subset::Everything.image(&self.durable, &self.pending, nothing_by_chance);
            self.pending.clear();
        }
    }
}
