//! When to ask the cluster how it looks, and about which topics.
//!
//! ```text
//!            ask(topics)                poll_request                handle_outcome
//!  fresh ------------------> wanted --(back-off over)--> asking ----------------------> fresh
//!    \__ max age _______________^          ^                \__ failed: wanted, longer back-off
//!                                          \__ asked again meanwhile
//! ```
//!
//! A picture that lacks a topic that was asked for is not the last word: it is asked for again after a growing pause, as Java does,
//! for nobody else would notice when the topic comes (back).
//!
//! Rounds keep a distance, the full one only in a row: whoever creates a topic, or begins to use one, looks a few times shortly one
//! after the other and then hardly ever.
//!
//! Everybody who asks while a request is on its way shares the next one: an answer counts only for those who asked before it was
//! requested. Rounds are numbered; [`Refresh::handle_ask`] returns the round that will serve the caller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::MetadataConfig;
use crate::connection::{Backoff, Jitter};

/// The distance after the first round of a row is the full one divided by this.
const FIRST_STEP: u32 = 16;
/// A row is over after a quiet time of so many full distances.
const QUIET: u32 = 10;

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Everything that was asked for is in the answer.
    Complete,
    /// There is an answer, but it says of some topic that it is not known now.
    Incomplete,
    /// There is no answer.
    Failed,
}

/// Decides about Metadata requests.
#[derive(Debug)]
pub(crate) struct Refresh {
    max_age: Duration,
    /// The full distance of two rounds.
    pause: Duration,
    /// The distance after the next round.
    step: Duration,
    backoff: Backoff,
    /// Between two looks for topics that are not there.
    gaps: Backoff,
    jitter: Jitter,
    topics: BTreeSet<Arc<str>>,
    /// Number of the last round that was requested.
    round: u64,
    asking: bool,
    /// Asked again while a round was on its way.
    asked_again: bool,
    /// When the next round is due.
    due: Option<Instant>,
    /// No round starts before.
    not_before: Option<Instant>,
}

impl Refresh {
    /// Knows no topic and wants nothing yet.
    pub(crate) fn new(config: &MetadataConfig, jitter: Jitter) -> Self {
        Self {
            max_age: config.max_age,
            pause: config.refresh_backoff,
            step: config.refresh_backoff / FIRST_STEP,
            backoff: Backoff::new(config.refresh_backoff, config.refresh_backoff_max),
            gaps: Backoff::new(config.refresh_backoff, config.refresh_backoff_max),
            jitter,
            topics: BTreeSet::new(),
            round: 0,
            asking: false,
            asked_again: false,
            due: None,
            not_before: None,
        }
    }

    /// Somebody wants a fresh picture, and these topics in it from now on. Returns the round that will have it.
    pub(crate) fn handle_ask(&mut self, now: Instant, topics: &[Arc<str>]) -> u64 {
        self.topics.extend(topics.iter().cloned());
        if self.asking {
            self.asked_again = true;
        } else {
            let soonest = self.not_before.map_or(now, |at| at.max(now));
            self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
        }
        self.round + 1
    }

    /// The number of the round and the topics to ask for, when it is time.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<(u64, Vec<Arc<str>>)> {
        if self.asking || self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.asking = true;
        self.round += 1;
        if self.not_before.is_some_and(|at| now > at + self.pause * QUIET) {
            self.step = self.pause / FIRST_STEP;
        }
        self.not_before = Some(now + self.step);
        self.step = (self.step * 2).min(self.pause);
        Some((self.round, self.topics.iter().cloned().collect()))
    }

    /// The round ended, with an answer or without. A failed one is repeated after a growing pause.
    pub(crate) fn handle_outcome(&mut self, now: Instant, looked: Looked) {
        self.asking = false;
        match looked {
            Looked::Complete => {
                self.backoff.handle_success();
                self.gaps.handle_success();
            }
            Looked::Incomplete => {
                self.backoff.handle_success();
                self.gaps.handle_failure(now, &mut self.jitter);
            }
            Looked::Failed => {
                self.backoff.handle_failure(now, &mut self.jitter);
                self.not_before = self.not_before.max(Some(now + self.backoff.pause(now)));
            }
        }
        let soonest = self.not_before.map_or(now, |at| at.max(now));
        let again = std::mem::take(&mut self.asked_again);
        self.due = Some(match looked {
            Looked::Complete if !again => now + self.max_age,
            Looked::Incomplete if !again => soonest + self.gaps.pause(now),
            _ => soonest,
        });
    }

    /// When `poll_request` will have something to say; `None` while a round runs or before the first ask.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.asking { None } else { self.due }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests need some instant")]
mod tests {
    use super::*;

    fn machine() -> (Refresh, Instant) {
        (
            Refresh::new(&MetadataConfig::default(), Jitter::seeded(1)),
            Instant::now(),
        )
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn nothing_happens_before_the_first_ask() {
        let (mut refresh, now) = machine();
        assert_eq!(refresh.next_timeout(), None);
        assert!(refresh.poll_request(now).is_none());
    }

    #[test]
    fn asks_during_a_round_share_the_next_one() {
        let (mut refresh, now) = machine();
        assert_eq!(refresh.handle_ask(now, &names(&["b"])), 1);
        assert_eq!(refresh.handle_ask(now, &names(&["a", "b"])), 1);
        assert_eq!(refresh.poll_request(now), Some((1, names(&["a", "b"]))));
        assert_eq!(refresh.handle_ask(now, &names(&["c"])), 2);
        assert_eq!(refresh.handle_ask(now, &[]), 2);
        assert!(refresh.poll_request(now).is_none());
        refresh.handle_outcome(now, Looked::Complete);
        let due = refresh.next_timeout().unwrap();
        assert!(due > now, "two rounds keep a distance");
        assert_eq!(refresh.poll_request(due), Some((2, names(&["a", "b", "c"]))));
    }

    #[test]
    fn rounds_in_a_row_grow_apart_until_it_has_been_quiet() {
        let (mut refresh, mut now) = machine();
        let distances = |refresh: &mut Refresh, now: &mut Instant, rounds: usize| {
            let mut apart = Vec::new();
            for _ in 0..rounds {
                refresh.handle_ask(*now, &[]);
                let due = refresh.next_timeout().unwrap();
                apart.push((due - *now).as_micros() as f64 / 1000.0);
                *now = due;
                refresh.poll_request(*now).unwrap();
                refresh.handle_outcome(*now, Looked::Complete);
            }
            apart
        };
        let row = [0.0, 6.25, 12.5, 25.0, 50.0, 100.0, 100.0, 100.0];
        assert_eq!(distances(&mut refresh, &mut now, 8), row);
        now += Duration::from_millis(900);
        assert_eq!(distances(&mut refresh, &mut now, 2), [0.0, 100.0]);
        now += Duration::from_millis(1200);
        assert_eq!(distances(&mut refresh, &mut now, 8), row);
    }

    #[test]
    fn an_old_picture_is_renewed_unasked() {
        let (mut refresh, now) = machine();
        refresh.handle_ask(now, &[]);
        refresh.poll_request(now).unwrap();
        refresh.handle_outcome(now, Looked::Complete);
        let aged = now + Duration::from_secs(300);
        assert_eq!(refresh.next_timeout(), Some(aged));
        assert!(refresh.poll_request(aged - Duration::from_millis(1)).is_none());
        assert_eq!(refresh.poll_request(aged).unwrap().0, 2);
    }

    #[test]
    fn a_failed_round_is_repeated_with_growing_pauses() {
        let (mut refresh, mut now) = machine();
        refresh.handle_ask(now, &[]);
        let mut pauses = Vec::new();
        for round in 1..30 {
            assert_eq!(refresh.poll_request(now).unwrap().0, round);
            refresh.handle_outcome(now, Looked::Failed);
            assert_eq!(
                refresh.handle_ask(now, &[]),
                round + 1,
                "asking again does not shorten the pause"
            );
            let due = refresh.next_timeout().unwrap();
            pauses.push(due - now);
            now = due;
        }
        assert!(pauses[0] >= Duration::from_millis(50) && pauses.iter().all(|&pause| pause <= Duration::from_secs(5)));
        assert!(pauses.iter().max().unwrap() > &Duration::from_secs(2));
    }

    #[test]
    fn a_picture_that_lacks_a_topic_is_renewed_soon_and_holds_up_nobody() {
        let (mut refresh, mut now) = machine();
        refresh.handle_ask(now, &names(&["missing"]));
        for round in 1..10 {
            assert_eq!(refresh.poll_request(now).unwrap().0, round);
            refresh.handle_outcome(now, Looked::Incomplete);
            let due = refresh.next_timeout().unwrap();
            assert!(due > now && due <= now + Duration::from_millis(5100), "{:?}", due - now);
            now = due;
        }
        refresh.poll_request(now).unwrap();
        refresh.handle_outcome(now, Looked::Incomplete);
        refresh.handle_ask(now, &[]);
        let answered = refresh.next_timeout().unwrap();
        assert!(answered <= now + Duration::from_millis(100), "whoever asks is answered");
    }
}
