//! Which leader epoch wrote which offsets (`LeaderEpochFileCache`, KIP-101, KIP-279, KIP-320).

use std::collections::BTreeMap;

/// Leader epochs by number, with the first offset each of them wrote or would have written.
#[derive(Debug, Default)]
pub(crate) struct LeaderEpochs {
    starts: BTreeMap<i32, i64>,
}

impl LeaderEpochs {
    /// An epoch begins at an offset. Epochs that wrote nothing are forgotten.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        self.starts.retain(|_, known| *known < start);
        self.starts.insert(epoch, start);
    }

    pub(crate) fn latest(&self) -> Option<i32> {
        self.starts.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// The epoch that wrote the offset.
    pub(crate) fn epoch_of(&self, offset: i64) -> Option<i32> {
        self.starts
            .iter()
            .rev()
            .find(|(_, start)| **start <= offset)
            .map(|(epoch, _)| *epoch)
    }

    /// The largest epoch not above the requested one, and where it ended; `None` if the request is from the future or
    /// names no epoch.
    pub(crate) fn end_of(&self, requested: i32, log_end: i64) -> Option<(i32, i64)> {
        if requested < 0 {
            return None;
        }
        if self.latest() == Some(requested) {
            return Some((requested, log_end));
        }
        let (_, next_start) = self.starts.range(requested.checked_add(1)?..).next()?;
        let floor = self
            .starts
            .range(..=requested)
            .next_back()
            .map_or(requested, |(epoch, _)| *epoch);
        Some((floor, *next_start))
    }

    /// Records before the offset are gone.
    pub(crate) fn truncate_from_start(&mut self, offset: i64) {
        let Some(epoch) = self.epoch_of(offset) else { return };
        self.starts.retain(|known, _| *known >= epoch);
        if let Some(start) = self.starts.get_mut(&epoch) {
            *start = offset.max(*start);
        }
    }

    /// Records from the offset on are gone.
    pub(crate) fn truncate_from_end(&mut self, offset: i64) {
        self.starts.retain(|_, start| *start < offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in [(0, 0), (2, 10), (3, 10), (7, 25)] {
            epochs.assign(epoch, start);
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_that_wrote_something_begins() {
        let epochs = epochs();
        assert_eq!(epochs.end_of(0, 40), Some((0, 10)));
        assert_eq!(epochs.end_of(3, 40), Some((3, 25)));
        assert_eq!(epochs.end_of(7, 40), Some((7, 40)));
    }

    #[test]
    fn an_epoch_that_never_was_is_answered_with_the_one_before_it() {
        let epochs = epochs();
        assert_eq!(epochs.end_of(2, 40), Some((0, 10)), "epoch 2 wrote nothing");
        assert_eq!(epochs.end_of(5, 40), Some((3, 25)));
        assert_eq!(epochs.end_of(8, 40), None);
        assert_eq!(epochs.end_of(-1, 40), None);
    }

    #[test]
    fn truncation_moves_the_first_epoch_and_drops_the_last() {
        let mut epochs = epochs();
        epochs.truncate_from_start(12);
        assert_eq!(
            epochs.end_of(0, 40),
            Some((0, 12)),
            "gone: the first known offset is the best answer"
        );
        assert_eq!(epochs.epoch_of(12), Some(3));
        epochs.truncate_from_end(20);
        assert_eq!(epochs.latest(), Some(3));
    }
}
