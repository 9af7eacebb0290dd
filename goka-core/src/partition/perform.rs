//! From effects to writes: what a callback asked for is done here, in the order in which it asked, and nowhere else.
//!
//! A callback that fails leaves nothing behind because nothing was done while it ran. Per partition, the order of changelog
//! records, of effects and of rows is therefore the same (invariant I6).

use std::time::Instant;

use kafka_wire::ProduceError;

use super::writers::Writers;
use crate::context::{Effects, Target};
use crate::table::Table;

/// What one record's effects came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Performed {
    pub(crate) table_writes: u64,
    pub(crate) emitted: u64,
}

/// Performs `effects`. With `coalesce`, rows without headers or a timestamp of their own reach the changelog later; `timestamp`
/// (milliseconds) is given to records whose effect names none.
///
/// # Errors
/// A record is larger than the topic allows.
pub(crate) fn perform(
    effects: &Effects,
    table: &mut Option<Table>,
    writers: &mut Writers,
    coalesce: bool,
    now: Instant,
    timestamp: i64,
) -> Result<Performed, ProduceError> {
    let mut performed = Performed::default();
    for effect in effects.iter() {
        let at = effect.timestamp().unwrap_or(timestamp);
        let (key, value) = (effect.key(), effect.value());
        match effect.target() {
            Target::Table if coalesce && effect.is_plain() => {
                writers.announce_changelog(key, value)?;
                if let Some(table) = table {
                    table.stage_unlogged(now, key, value);
                }
                performed.table_writes += 1;
            }
            Target::Table => {
                effect.with_headers(|headers| writers.append_changelog(now, at, key, value, headers))?;
                if let Some(table) = table {
                    table.stage(now, key, value);
                }
                performed.table_writes += 1;
            }
            Target::Output(output) => {
                effect.with_headers(|headers| writers.append_output(output, now, at, key, value, headers))?;
                performed.emitted += 1;
            }
        }
    }
    Ok(performed)
}
