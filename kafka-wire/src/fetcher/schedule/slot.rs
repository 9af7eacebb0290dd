//! What is known of one partition and of one broker between requests.

use std::time::{Duration, Instant};

use crate::connection::Backoff;
use crate::fetcher::config::PartitionRoom;
use crate::fetcher::position::Position;
use crate::fetcher::wire::{Kind, Lane};
use crate::protocol::{TopicId, TopicPartition};

/// How long a Short request may wait at the broker: the longest that a partition can be held up by others.
const SHORT_WAIT: Duration = Duration::from_millis(50);
/// Pauses after a request to a broker failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// One partition.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) topic_partition: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) position: Position,
    pub(super) paused: bool,
    /// Bytes delivered and not taken by the reader yet.
    pub(super) buffered: usize,
    /// Ticket of the request that is under way for it.
    pub(super) asked_in: Option<u64>,
    /// The last answer brought nothing: it has been read to the end.
    pub(super) caught_up: bool,
    /// When it was served last.
    pub(super) turn: u64,
    /// Bytes of its next batch, if a response did not hold them.
    pub(super) needs: Option<usize>,
    /// An answer with it was refused for its size: until another one comes it is asked for alone.
    pub(super) alone: bool,
    /// It was never answered where it stands now: its reader waits to hear at least that there is nothing.
    pub(super) is_new: bool,
    /// The reader was told that it has everything.
    pub(super) end_told: bool,
}

impl Slot {
    pub(super) fn has_room(&self, room: PartitionRoom) -> bool {
        self.buffered == 0 || self.excess(room) == 0
    }

    /// Bytes to be taken before the next response fits.
    pub(super) fn excess(&self, room: PartitionRoom) -> usize {
        (self.buffered + self.max_bytes(room))
            .saturating_sub(room.buffer_bytes)
            .min(self.buffered)
    }

    pub(super) fn max_bytes(&self, room: PartitionRoom) -> usize {
        self.needs.unwrap_or_default().max(room.max_bytes)
    }
}

/// One broker.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) long: Option<Instant>,
    pub(super) short: Option<Instant>,
    /// A ListOffsets or OffsetForLeaderEpoch request is under way.
    pub(super) asking: bool,
    pub(super) backoff: Backoff,
    /// A request failed; an answer ends this.
    pub(super) paused_until: Option<Instant>,
    /// The broker asked for it (KIP-219); only time ends this.
    pub(super) throttled_until: Option<Instant>,
}

impl Node {
    pub(super) fn new() -> Node {
        Node {
            long: None,
            short: None,
            asking: false,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            paused_until: None,
            throttled_until: None,
        }
    }

    /// The lane for partitions that are ready now. Those that expect records do not wait for others; those that do not can wait
    /// for the Long request to come back soon.
    pub(super) fn lane(&self, now: Instant, max_wait: Duration, backlog: bool) -> Option<(Lane, Duration)> {
        let short_wait = SHORT_WAIT.min(max_wait);
        match (self.long, self.short) {
            (None, None) => Some((Lane::Long, max_wait)),
            // Soon over, so that both sides can meet in one request again.
            (None, Some(_)) => Some((Lane::Long, short_wait)),
            (Some(due), None) if backlog || due > now + SHORT_WAIT => Some((Lane::Short, short_wait)),
            _ => None,
        }
    }

    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.quiet_until().is_some_and(|until| now < until)
    }

    /// When it may be asked again.
    pub(super) fn quiet_until(&self) -> Option<Instant> {
        self.paused_until.max(self.throttled_until)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for until in [&mut self.paused_until, &mut self.throttled_until] {
            *until = until.filter(|until| now < *until);
        }
    }

    pub(super) fn finished(&mut self, kind: Kind) {
        match kind {
            Kind::Fetch { lane: Lane::Long, .. } => self.long = None,
            Kind::Fetch { lane: Lane::Short, .. } => self.short = None,
            Kind::Offsets(_) | Kind::EpochEnds => self.asking = false,
        }
    }
}
