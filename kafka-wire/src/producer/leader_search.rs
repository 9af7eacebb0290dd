//! When to ask for metadata because partitions have no leader, or a doubtful one.
//!
//! One refresh at a time; while partitions remain without a leader, the next one follows after a growing pause.

use std::time::Instant;

use crate::producer::backoff::backoff;

/// The search for leaders.
#[derive(Debug, Default)]
pub(super) struct LeaderSearch {
    wanted: bool,
    asked: bool,
    fruitless: u32,
    not_before: Option<Instant>,
}

impl LeaderSearch {
    /// A partition has something to send and nobody to send it to.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether metadata is to be refreshed now.
    pub(super) fn poll_request(&mut self, now: Instant) -> bool {
        let due = self.wanted && !self.asked && self.not_before.is_none_or(|at| at <= now);
        if due {
            self.wanted = false;
            self.asked = true;
            self.not_before = None;
        }
        due
    }

    /// A refresh has ended; `found` if every partition has a leader now.
    pub(super) fn handle_refreshed(&mut self, now: Instant, found: bool) {
        self.asked = false;
        self.fruitless = if found { 0 } else { self.fruitless.saturating_add(1) };
        self.wanted = !found;
        self.not_before = (!found).then(|| now + backoff(self.fruitless));
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.wanted && !self.asked { self.not_before } else { None }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's clock starts somewhere")]
mod tests {
    use super::*;

    #[test]
    fn one_refresh_at_a_time_and_a_pause_before_the_next() {
        let now = Instant::now();
        let mut search = LeaderSearch::default();
        assert!(!search.poll_request(now));
        search.want();
        assert!(search.poll_request(now));
        search.want();
        assert!(!search.poll_request(now), "the first one is under way");
        search.handle_refreshed(now, false);
        assert!(!search.poll_request(now));
        assert!(search.poll_request(search.next_timeout().unwrap()));
    }

    #[test]
    fn found_leaders_end_the_search() {
        let now = Instant::now();
        let mut search = LeaderSearch::default();
        search.want();
        search.poll_request(now);
        search.handle_refreshed(now, true);
        assert_eq!(search.next_timeout(), None);
        assert!(!search.poll_request(now));
    }
}
