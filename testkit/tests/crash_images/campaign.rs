//! Many histories, cut everywhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::cut::{Replay, Subset};
use crate::disk::{Content, Disk, Event};
use crate::history::{Apply, Changelog, History, Step};
use crate::machine::Machine;
use crate::verdict::{self, Past};

/// A log is cut at about so many places at most, that of a recovery at fewer.
const CUTS: usize = 300;
const CUTS_IN_RECOVERY: usize = 6;

/// Images that were opened.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    /// After one power cut.
    pub(crate) single: u64,
    /// After another one while the first was recovered from.
    pub(crate) double: u64,
}

impl Tally {
    pub(crate) fn images(&self) -> u64 {
        self.single + self.double
    }

    fn add(&mut self, other: Tally) {
        self.histories += other.histories;
        self.single += other.single;
        self.double += other.double;
    }
}

/// Examines histories from `seed` on, with all processors, until there were `images`.
pub(crate) fn run(seed: u64, images: u64) -> Result<(Tally, Duration), String> {
    let (next, started) = (AtomicU64::new(seed), Instant::now());
    let outcome = Mutex::new(Ok(Tally::default()));
    let enough = || {
        let outcome = outcome.lock().unwrap();
        outcome.as_ref().map_or(true, |tally| tally.images() >= images)
    };
    let work = || {
        // What verifying might mend must be right without.
        let machines = [true, false].map(|verifies| Machine::that(verifies, 1 << 20));
        while !enough() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let machine = &machines[(seed % 2) as usize];
            let found = examine(seed, machine, crate::history::together);
            let mut outcome = outcome.lock().unwrap();
            match (&mut *outcome, found) {
                (Ok(tally), Ok(more)) => tally.add(more),
                (Ok(_), Err(wrong)) => *outcome = Err(format!("CRASH_IMAGES_SEED={seed} CRASH_IMAGES=1: {wrong}")),
                (Err(_), _) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap().map(|tally| (tally, started.elapsed()))
}

/// Cuts the history of `seed` everywhere; `Err` is the first image that was wrong.
pub(crate) fn examine(seed: u64, machine: &Machine, apply: Apply) -> Result<Tally, String> {
    let history = History::of(seed, apply);
    let past = Past {
        before: vec![None],
        steps: &history.steps,
    };
    let mut tally = Tally {
        histories: 1,
        ..Tally::default()
    };
    let mut chance = Chance::new(!seed);
    cut(
        Content::default(),
        &history.events,
        &mut chance,
        (CUTS, 3),
        |events, subset, image, chance| {
            let places = past.possible(events);
            let told = |wrong| format!("{subset:?} after event {events} of {}: {wrong}", history.events.len());
            tally.single += 1;
            match tally.single % 3 {
                0 => recover_and_cut_again(machine, image, &history.log, &places, chance, &mut tally).map_err(told),
                _ => recover(machine, &Disk::holding(image), &history.log, &places, chance).map_err(told),
            }
        },
    )?;
    Ok(tally)
}

/// Opens what is left if the last sync of a durable step never happened, although the disk said so. Tells how many images there
/// were and how many were found wrong.
pub(crate) fn distrust(seed: u64, machine: &Machine) -> (u64, u64) {
    let history = History::of(seed, crate::history::together);
    let past = Past {
        before: vec![None],
        steps: &history.steps,
    };
    let (mut images, mut wrong, mut chance) = (0, 0, Chance::new(!seed));
    for pair in history.steps.windows(2) {
        let step = &pair[1];
        let events = &history.events[..step.events.end];
        let sync = events.iter().rposition(|event| matches!(event, Event::Sync));
        let Some(sync) = sync.filter(|sync| step.durable && step.events.contains(sync)) else {
            continue;
        };
        if step.checkpoint == pair[0].checkpoint {
            // It changed nothing that could be lost.
            continue;
        }
        let mut replay = Replay::from(Content::default());
        events[..sync].iter().for_each(|event| replay.event(event));
        for subset in [Subset::Half, Subset::AllButHeader, Subset::Few, Subset::AllButLastWrite] {
            let image = Disk::holding(subset.image(&replay.durable, &replay.pending, &mut chance));
            images += 1;
            let places = past.possible(step.events.end);
            wrong += u64::from(verdict::open(machine, &image, &history.log, &places).is_err());
            machine.take_mark();
        }
    }
    (images, wrong)
}

/// Calls `image` with what a cut leaves, at so many places and each in so many manners.
fn cut(
    content: Content,
    events: &[Event],
    chance: &mut Chance,
    (places, manners): (usize, usize),
    mut image: impl FnMut(usize, Subset, Content, &mut Chance) -> Result<(), String>,
) -> Result<(), String> {
    let mut replay = Replay::from(content);
    let stride = (events.len() / places) as u64 + 1;
    for (at, event) in events.iter().enumerate() {
        replay.event(event);
        if !chance.odds(1, stride) {
            continue;
        }
        let first = chance.below(Subset::ALL.len() as u64) as usize;
        for manner in 0..manners {
            let subset = Subset::ALL[(first + manner) % Subset::ALL.len()];
            let content = subset.image(&replay.durable, &replay.pending, chance);
            image(at + 1, subset, content, chance)?;
            if replay.pending.is_empty() {
                // All manners leave the same.
                break;
            }
        }
    }
    Ok(())
}

fn recover(
    machine: &Machine,
    disk: &Disk,
    log: &Changelog,
    places: &[verdict::Place],
    chance: &mut Chance,
) -> Result<(), String> {
    let (store, place) = verdict::open(machine, disk, log, places)?;
    match chance.odds(1, 4) {
        true => verdict::catch_up(&*store, log, place, chance),
        false => Ok(()),
    }
}

/// Recovers, catches up and closes on a disk that loses power again anywhere in between.
fn recover_and_cut_again(
    machine: &Machine,
    image: Content,
    log: &Changelog,
    places: &[verdict::Place],
    chance: &mut Chance,
    tally: &mut Tally,
) -> Result<(), String> {
    let disk = Disk::holding(image.clone()).logged();
    let (store, place) = verdict::open(machine, &disk, log, places)?;
    let opened = disk.events();
    verdict::catch_up(&*store, log, place, chance)?;
    let caught_up = disk.events();
    store.close().map_err(|error| format!("does not close: {error}"))?;
    drop(store);
    let end = Some(log.end());
    let steps = [(opened..caught_up, false), (caught_up..disk.events(), true)];
    let steps = steps.map(|(events, durable)| Step {
        events,
        checkpoint: end,
        durable,
    });
    let past = Past {
        before: places.to_vec(),
        steps: &steps,
    };
    cut(
        image,
        &disk.take_log(),
        chance,
        (CUTS_IN_RECOVERY, 1),
        |events, subset, image, _| {
            tally.double += 1;
            let opened = verdict::open(machine, &Disk::holding(image), log, &past.possible(events));
            let told = |wrong| format!("recovered, then {subset:?} after its event {events}: {wrong}");
            opened.map(drop).map_err(told)
        },
    )
}
