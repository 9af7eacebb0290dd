//! Who leads a partition according to metadata, and when to ask for metadata because that is not known.
//!
//! One refresh at a time; while partitions remain without a leader, the next one follows after a growing pause.

use std::sync::Arc;
use std::time::Instant;

use crate::cluster::ClusterImage;
use crate::connection::CallError;
use crate::producer::backoff::backoff;
use crate::protocol::{ErrorCode, TopicPartition};

/// What metadata says about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leadership {
    /// The topic was not asked for yet.
    NotAsked,
    /// The cluster has no such topic or partition.
    Unknown,
    /// The partition has no leader now, or metadata says why it cannot tell.
    None(ErrorCode),
    /// This broker leads, since this leader epoch (-1 if the broker is too old to say).
    Node { node: i32, epoch: i32 },
}

impl Leadership {
    /// Reads the picture of the cluster.
    pub(super) fn of(image: &ClusterImage, topic_partition: &TopicPartition) -> Leadership {
        let Some(topic) = image.topic(&topic_partition.topic) else {
            return Leadership::NotAsked;
        };
        match topic.error {
            ErrorCode::NONE => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => return Leadership::Unknown,
            code => return Leadership::None(code),
        }
        let index = usize::try_from(topic_partition.partition).ok();
        match index.and_then(|index| topic.partitions.get(index)) {
            None => Leadership::Unknown,
            Some(partition) if partition.leader < 0 => Leadership::None(ErrorCode::LEADER_NOT_AVAILABLE),
            Some(partition) => Leadership::Node {
                node: partition.leader,
                epoch: partition.leader_epoch,
            },
        }
    }
}

/// The search for leaders.
#[derive(Debug, Default)]
pub(super) struct LeaderSearch {
    wanted: bool,
    asked: bool,
    fruitless: u32,
    not_before: Option<Instant>,
    /// What the last refresh met, if it failed.
    trouble: Option<Arc<str>>,
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

    /// A refresh has ended, perhaps in trouble; `found` if every partition has a leader now.
    pub(super) fn handle_refreshed(&mut self, now: Instant, found: bool, trouble: Option<&CallError>) {
        self.trouble = trouble.map(|trouble| trouble.to_string().into());
        self.asked = false;
        self.fruitless = if found { 0 } else { self.fruitless.saturating_add(1) };
        self.wanted = !found;
        self.not_before = (!found).then(|| now + backoff(self.fruitless));
    }

    /// What the last refresh met, if it failed.
    pub(super) fn trouble(&self) -> Option<&Arc<str>> {
        self.trouble.as_ref()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.wanted && !self.asked {
            self.not_before
        } else {
            None
        }
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
        search.handle_refreshed(now, false, None);
        assert!(!search.poll_request(now));
        assert!(search.poll_request(search.next_timeout().unwrap()));
    }

    #[test]
    fn found_leaders_end_the_search() {
        let now = Instant::now();
        let mut search = LeaderSearch::default();
        search.want();
        search.poll_request(now);
        search.handle_refreshed(now, true, None);
        assert_eq!(search.next_timeout(), None);
        assert!(!search.poll_request(now));
    }
}
