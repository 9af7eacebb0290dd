//! Files that were damaged while nobody looked: they open with what they held, or are set aside and made anew.

use goka_core::storage::{Durability, KeyRange, PartitionStore};
use testkit::store_contract::checkpoint;

use crate::chance::Chance;
use crate::disk::{Content, Disk};
use crate::history::{Changelog, History, rows, together};
use crate::machine::Machine;

const PAGE: usize = 4096;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    FlippedBit,
    FlippedBitInHeader,
    ZeroedPages,
    SwappedPages,
    Truncated,
    GarbagePage,
}

impl Damage {
    pub(crate) const ALL: [Damage; 6] = [
        Damage::FlippedBit,
        Damage::FlippedBitInHeader,
        Damage::ZeroedPages,
        Damage::SwappedPages,
        Damage::Truncated,
        Damage::GarbagePage,
    ];

    fn to(self, content: &mut Content, chance: &mut Chance) {
        let len = content.len();
        let page = |chance: &mut Chance| chance.below((len / PAGE) as u64) as usize * PAGE;
        let read = |at: usize, len: usize| {
            let mut bytes = vec![0; len];
            assert!(content.read(at, &mut bytes));
            bytes
        };
        match self {
            Damage::FlippedBit | Damage::FlippedBitInHeader => {
                let end = if matches!(self, Damage::FlippedBit) { len } else { 320 };
                let at = chance.below(end as u64) as usize;
                let flipped = read(at, 1)[0] ^ (1 << chance.below(8));
                content.write(at, &[flipped]);
            }
            Damage::ZeroedPages => {
                let at = page(chance);
                content.write(at, &vec![0; PAGE * (1 + chance.below(4) as usize)]);
            }
            Damage::SwappedPages => {
                let (a, b) = (page(chance), page(chance));
                let (at_a, at_b) = (read(a, PAGE), read(b, PAGE));
                content.write(a, &at_b);
                content.write(b, &at_a);
            }
            Damage::Truncated => content.set_len(chance.below(len as u64) as usize),
            Damage::GarbagePage => {
                let garbage: Vec<u8> = (0..PAGE).map(|_| chance.next() as u8).collect();
                content.write(page(chance), &garbage);
            }
        }
    }
}

/// What came of a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Nothing that is in use was hit, or it was repaired.
    Right,
    /// It was set aside when it was opened.
    SetAside,
    /// A read told, and the next opening set it aside.
    Told,
    /// Something else was read than was written, and nobody noticed.
    Silent,
}

/// Damages what the history of `seed` left, so many times.
pub(crate) fn damage(seed: u64, machine: &Machine, times: u64, mut found: impl FnMut(Damage, Outcome)) {
    let history = History::of(seed, together);
    let mut chance = Chance::new(!seed);
    for _ in 0..times {
        let damage = *chance.one_of(&Damage::ALL);
        let mut content = history.content.clone();
        damage.to(&mut content, &mut chance);
        found(damage, open(machine, content, &history.log));
    }
}

fn open(machine: &Machine, content: Content, log: &Changelog) -> Outcome {
    let disk = Disk::holding(content);
    let opened = machine.open_file(&disk).unwrap();
    if opened.rebuilt.is_some() {
        assert!(opened.store.is_empty().unwrap());
        return Outcome::SetAside;
    }
    let outcome = read(&*opened.store, log);
    // A store that is damaged inside may refuse to be written to, but the process lives on.
    let table = log.since(0);
    let _ = opened
        .store
        .apply(&rows(&table), checkpoint(log.end() as i64), Durability::Immediate);
    let _ = opened.store.close();
    drop(opened);
    if outcome == Outcome::Told {
        let opened = machine.open_file(&disk).unwrap();
        assert!(opened.rebuilt.is_some(), "damage was told but the file is used again");
    }
    outcome
}

/// Reads everything, in both ways.
fn read(store: &dyn PartitionStore, log: &Changelog) -> Outcome {
    let Ok(checkpoint) = store.checkpoint() else {
        return Outcome::Told;
    };
    let Some(expected) = log.get(checkpoint.map_or(0, |found| found.offset)) else {
        return Outcome::Silent;
    };
    let mut outcome = Outcome::Right;
    for (key, value) in expected {
        let mut read = Vec::new();
        match store.get(key, &mut read) {
            Ok(true) if read == **value => {}
            Ok(_) => outcome = Outcome::Silent,
            Err(_) => return Outcome::Told,
        }
    }
    let Ok(rows) = store
        .scan(KeyRange::all())
        .and_then(|rows| rows.collect::<Result<Vec<_>, _>>())
    else {
        return Outcome::Told;
    };
    let same = rows
        .iter()
        .map(|(k, v)| (&**k, &**v))
        .eq(expected.iter().map(|(k, v)| (&**k, &**v)));
    if same { outcome } else { Outcome::Silent }
}
