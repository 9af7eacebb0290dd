//! One budget for what a processor or a view holds in memory, and how it is shared out.
//!
//! ```text
//!   max_memory ──┬── fetch      3   responses under way, and batches not read yet
//!                ├── producer   3   records not acknowledged yet
//!                ├── overlay    8   rows above the stores: cached, written, on their way into the store
//!                └── stores     2   page caches of the stores
//! ```
//!
//! A share that is set by hand is taken as it is, and the others divide what is left; one that has no use (a group without a table
//! has no rows) leaves its part to the others. Each stage that is full makes the one before it wait. Not covered: what callbacks
//! keep, the code, the runtime's threads, and what the allocator loses; 64 MiB are plenty for the last three.
//!
//! Pure; see [`Shares::of`].

use kafka_wire::ConfigError;

/// The default of `max_memory`: with code and allocator it fits into a container of 512 MiB. Tables that recover lend each other what
/// they do not need, so that more of it hardly shortens the workloads of docs/PERFORMANCE.md; tables larger than what can be lent
/// (about 35 MiB each, in a view) do gain from more.
pub(crate) const DEFAULT: usize = 256 << 20;

/// Kafka's default `max.message.bytes` is just above 1 MiB; each stage must hold such a batch and the next one.
const LEAST_SHARE: usize = 2 << 20;
const LEAST_PRODUCER_BATCHES: usize = 2;

/// What the memory is wanted for, and what is set by hand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// A table is kept.
    pub(crate) table: bool,
    /// The size of the producer's batches; `None` where nothing is produced.
    pub(crate) batch_bytes: Option<usize>,
    pub(crate) fetch: Option<usize>,
    pub(crate) producer: Option<usize>,
    pub(crate) cache: Option<usize>,
    pub(crate) flush: Option<usize>,
}

/// Bytes for each stage, over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) fetch: usize,
    pub(crate) producer: usize,
    /// What overlays hold before they evict.
    pub(crate) cache: usize,
    /// Written rows that start a flush.
    pub(crate) flush: usize,
    pub(crate) stores: usize,
}

/// A stage: its weight, what is set by hand, and the least that works.
struct Stage {
    what: &'static str,
    weight: usize,
    set: Option<usize>,
    least: usize,
}

impl Shares {
    /// Divides `max_memory`.
    ///
    /// # Errors
    /// It is too small for what is set by hand, or a share is too small to hold a batch.
    pub(crate) fn of(max_memory: usize, wanted: Wanted) -> Result<Shares, ConfigError> {
        let used = |weight, used| if used { weight } else { 0 };
        let table = |weight| used(weight, wanted.table);
        let least_producer = LEAST_SHARE.max(LEAST_PRODUCER_BATCHES * wanted.batch_bytes.unwrap_or_default());
        let stages = [
            stage("fetching", 3, wanted.fetch, LEAST_SHARE),
            stage(
                "producing",
                used(3, wanted.batch_bytes.is_some()),
                wanted.producer,
                least_producer,
            ),
            stage("rows above the stores", table(8), overlay_set(&wanted), LEAST_SHARE),
            stage("caches of the stores", table(2), None, 0),
        ];
        let [fetch, producer, overlay, stores] = divide(max_memory, &stages)?;
        Ok(Shares {
            fetch,
            producer,
            cache: wanted.cache.unwrap_or(cache_within(overlay, wanted.flush)),
            flush: wanted.flush.unwrap_or(flush_within(overlay, wanted.cache)),
            stores,
        })
    }

    /// What one of `partitions` tables may hold before it evicts, and what starts its flush.
    pub(crate) fn per_table(&self, partitions: usize) -> (usize, usize) {
        let partitions = partitions.max(1);
        (self.cache / partitions, (self.flush / partitions).max(1))
    }

    /// What tables may hold together beside that: most of it is free while they recover, and lent to those whose turn it is.
    pub(crate) fn room(&self) -> usize {
        overlay_bytes(self.cache, self.flush) - self.flush
    }

    /// The page cache of one of so many stores.
    pub(crate) fn per_store(&self, partitions: usize) -> usize {
        self.stores / partitions.max(1)
    }
}

fn stage(what: &'static str, weight: usize, set: Option<usize>, least: usize) -> Stage {
    Stage {
        what,
        weight,
        set: set.filter(|_| weight > 0),
        least,
    }
}

fn divide(max_memory: usize, stages: &[Stage; 4]) -> Result<[usize; 4], ConfigError> {
    let set: usize = stages.iter().filter_map(|stage| stage.set).sum();
    let open = || stages.iter().filter(|stage| stage.set.is_none());
    let weights: usize = open().map(|stage| stage.weight).sum();
    let part = |stage: &Stage, left: usize| (left as u128 * stage.weight as u128 / weights.max(1) as u128) as usize;
    // Rounded up, so that what the message names works.
    let needs = |stage: &Stage| (stage.least * weights).div_ceil(stage.weight);
    let scarcest = open().filter(|stage| stage.weight > 0).max_by_key(|stage| needs(stage));
    let (what, least) = scarcest.map_or(("what is set", 0), |stage| (stage.what, needs(stage)));
    let left = max_memory.checked_sub(set).filter(|left| *left >= least);
    let Some(left) = left else {
        let text = match set {
            0 => format!("is {max_memory}; with less than {least} the share for {what} holds no two batches"),
            set => format!(
                "is {max_memory}; {set} of it are set by hand, and the rest needs {least}: with less the share for {what} holds no \
                 two batches"
            ),
        };
        return Err(ConfigError::new("max_memory", text));
    };
    Ok([0, 1, 2, 3].map(|number| {
        let stage: &Stage = &stages[number];
        stage.set.unwrap_or_else(|| part(stage, left))
    }))
}

/// What overlays hold at most: cached rows; or, if that is more, two generations of written ones, of which the one on its way into
/// the store leaves an eighth of the cache unevicted. Beside them, a copy of that generation.
fn overlay_bytes(cache: usize, flush: usize) -> usize {
    let written = flush.saturating_mul(2).saturating_add(cache / 8);
    cache.max(written).saturating_add(flush)
}

fn overlay_set(wanted: &Wanted) -> Option<usize> {
    match (wanted.cache, wanted.flush) {
        (None, None) => None,
        (Some(cache), Some(flush)) => Some(overlay_bytes(cache, flush)),
        (Some(cache), None) => Some(overlay_bytes(cache, flush_within(0, Some(cache)))),
        (None, Some(flush)) => Some(overlay_bytes(cache_within(0, Some(flush)), flush)),
    }
}

/// Five eighths of the rows' share are cache and a quarter starts a flush; the last eighth is for the tables' own growth.
fn cache_within(overlay: usize, flush: Option<usize>) -> usize {
    flush.map_or(overlay / 8 * 5, |flush| flush.saturating_mul(5) / 2)
}

fn flush_within(overlay: usize, cache: Option<usize>) -> usize {
    cache.map_or(overlay / 4, |cache| cache / 5 * 2).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUP: Wanted = Wanted {
        table: true,
        batch_bytes: Some(256 << 10),
        fetch: None,
        producer: None,
        cache: None,
        flush: None,
    };

    fn total(shares: &Shares, wanted: Wanted) -> usize {
        let overlay = if wanted.table {
            overlay_bytes(shares.cache, shares.flush)
        } else {
            0
        };
        shares.fetch + shares.producer + overlay + shares.stores
    }

    #[test]
    fn the_default_is_shared_out_as_documented() {
        let shares = Shares::of(DEFAULT, GROUP).unwrap();
        let mib = [shares.fetch, shares.producer, shares.cache, shares.flush, shares.stores].map(|bytes| bytes >> 20);
        assert_eq!(mib, [48, 48, 80, 32, 32]);
        assert_eq!(shares.per_table(64), (80 << 14, 32 << 14));
        assert_eq!(shares.per_store(64), 512 << 10);
        assert_eq!(
            shares.per_table(usize::MAX),
            (0, 1),
            "a flush is due as soon as there is a row"
        );
    }

    #[test]
    fn a_group_without_a_table_and_a_view_leave_nothing_unused() {
        let stateless = Shares::of(DEFAULT, Wanted { table: false, ..GROUP }).unwrap();
        assert_eq!(
            (stateless.fetch, stateless.producer, stateless.stores),
            (128 << 20, 128 << 20, 0)
        );
        let view = Shares::of(
            DEFAULT,
            Wanted {
                batch_bytes: None,
                ..GROUP
            },
        )
        .unwrap();
        assert_eq!(view.producer, 0);
        assert!(view.cache > 90 << 20, "{view:?}");
    }

    #[test]
    fn what_is_set_by_hand_is_kept_and_the_others_share_the_rest() {
        let wanted = Wanted {
            fetch: Some(100 << 20),
            flush: Some(8 << 20),
            ..GROUP
        };
        let shares = Shares::of(DEFAULT, wanted).unwrap();
        assert_eq!(
            (shares.fetch, shares.flush, shares.cache),
            (100 << 20, 8 << 20, 20 << 20)
        );
        assert_eq!((shares.producer / 3) >> 20, (shares.stores / 2) >> 20);
        assert!(shares.producer > 70 << 20, "{shares:?}");
    }

    #[test]
    fn a_budget_that_cannot_hold_two_batches_per_stage_is_refused_and_the_message_names_one_that_can() {
        let refused = Shares::of(10 << 20, GROUP).unwrap_err();
        assert_eq!(refused.setting, "max_memory");
        let named = |text: &str| -> usize {
            text.split("less than ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let least = named(&refused.reason);
        assert!(Shares::of(least, GROUP).is_ok());
        assert!(Shares::of(least - 1, GROUP).is_err());
        let large_batches = Wanted {
            batch_bytes: Some(8 << 20),
            ..GROUP
        };
        assert!(
            Shares::of(least, large_batches)
                .unwrap_err()
                .reason
                .contains("producing")
        );
    }

    #[test]
    fn what_is_set_by_hand_must_fit() {
        let wanted = Wanted {
            cache: Some(256 << 20),
            ..GROUP
        };
        let refused = Shares::of(DEFAULT, wanted).unwrap_err();
        assert_eq!(refused.setting, "max_memory");
        assert!(refused.reason.contains("set by hand"), "{refused}");
    }

    proptest! {
        #[test]
        fn the_shares_never_exceed_the_budget(
            max_memory in (16usize << 20)..(64 << 30),
            table: bool,
            produces: bool,
            set in proptest::collection::vec(proptest::option::of(1usize..(64 << 20)), 4),
        ) {
            let wanted = Wanted {
                table,
                batch_bytes: produces.then_some(256 << 10),
                fetch: set[0],
                producer: set[1],
                cache: set[2],
                flush: set[3],
            };
            if let Ok(shares) = Shares::of(max_memory, wanted) {
                prop_assert!(total(&shares, wanted) <= max_memory, "{:?}", shares);
                let partitions = 1 + max_memory % 1000;
                let (cache, flush) = shares.per_table(partitions);
                prop_assert!(cache * partitions <= shares.cache);
                prop_assert!(flush * partitions <= shares.flush.max(partitions));
            }
        }
    }
}
