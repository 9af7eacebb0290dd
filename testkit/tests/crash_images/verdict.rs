//! Whether what a store shows after a power cut is what it may show.

use std::sync::Arc;

use goka_core::storage::{Durability, KeyRange, PartitionStore};
use testkit::store_contract::checkpoint;

use crate::chance::Chance;
use crate::disk::Disk;
use crate::history::{Changelog, Step, rows};
use crate::machine::Machine;

/// The checkpoint of a store; `None` for an empty one.
pub(crate) type Place = Option<usize>;

/// What had been done to a store, and may be found of it.
pub(crate) struct Past<'a> {
    /// Where it may have been before the first step.
    pub(crate) before: Vec<Place>,
    pub(crate) steps: &'a [Step],
}

impl Past<'_> {
    /// Where it may be if its disk saw only the first `events`: at the last durable step that had returned, or at any later one
    /// that had been called.
    pub(crate) fn possible(&self, events: usize) -> Vec<Place> {
        let called = self.steps.iter().take_while(|step| step.events.start <= events).count();
        let durable = |step: &Step| step.durable && step.events.end <= events;
        let floor = self.steps[..called].iter().rposition(durable);
        let mut places = match floor {
            Some(_) => Vec::new(),
            None => self.before.clone(),
        };
        places.extend(
            self.steps[floor.unwrap_or(0)..called]
                .iter()
                .map(|step| step.checkpoint),
        );
        places
    }
}

/// Opens the store on `disk`, which must be at one of `places` and hold exactly what the changelog says of it.
pub(crate) fn open(
    machine: &Machine,
    disk: &Disk,
    log: &Changelog,
    places: &[Place],
) -> Result<(Arc<dyn PartitionStore>, Place), String> {
    let opened = machine.open(disk).map_err(|error| format!("does not open: {error}"))?;
    if let Some(reason) = opened.rebuilt {
        return Err(format!("was set aside: {reason}"));
    }
    let found = opened.store.checkpoint().map_err(|error| error.to_string())?;
    let place = found.map(|found| found.offset as usize);
    if found != place.map(|offset| checkpoint(offset as i64)) {
        return Err(format!("has a checkpoint that nobody wrote: {found:?}"));
    }
    if !places.contains(&place) {
        return Err(format!("is at {place:?}, which is none of {places:?}"));
    }
    holds(&*opened.store, log, place)?;
    Ok((opened.store, place))
}

/// Gives the store at `place` what it lacks of the changelog.
pub(crate) fn catch_up(
    store: &dyn PartitionStore,
    log: &Changelog,
    place: Place,
    chance: &mut Chance,
) -> Result<(), String> {
    let end = checkpoint(log.end() as i64);
    let done = match place {
        None if chance.odds(1, 2) => {
            let table = log.fold(log.end());
            store.load_sorted(&mut table.iter().map(|(key, value)| (&**key, &**value)), end)
        }
        _ => store.apply(&rows(&log.since(place.unwrap_or(0))), end, Durability::Immediate),
    };
    done.map_err(|error| format!("cannot catch up: {error}"))?;
    holds(store, log, Some(log.end())).map_err(|wrong| format!("having caught up, {wrong}"))
}

/// Whether the rows are the fold of the changelog up to `place`.
fn holds(store: &dyn PartitionStore, log: &Changelog, place: Place) -> Result<(), String> {
    let expected = log.fold(place.unwrap_or(0));
    let mut found = store.scan(KeyRange::all()).map_err(|error| error.to_string())?;
    for (key, value) in expected {
        match found.next() {
            Some(Ok(row)) if row.0[..] == **key && row.1[..] == **value => {}
            Some(Ok(row)) => return Err(format!("at {place:?} it has {:?} where {key:?} should be", row.0)),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("at {place:?} it lacks {key:?}")),
        }
    }
    match found.next() {
        None => Ok(()),
        Some(row) => Err(format!("at {place:?} it also has {:?}", row.map(|row| row.0))),
    }
}
