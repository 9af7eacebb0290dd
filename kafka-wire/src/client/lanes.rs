//! Connection classes of somebody's own, for requests that wait at the broker.
//!
//! A broker reads the next request of a connection when it has answered the one before. Fetches wait for data, JoinGroup and
//! SyncGroup for the other members, so whoever sends them must not share the connection: two members of one group would wait
//! for each other for ever, and two groups would hold up each other's rebalance.

use std::sync::{Arc, Weak};

use super::driver::Core;
use super::{Client, ConnectionClass};

/// The connection classes of one fetcher; clones are the same. With the last one their connections are closed.
#[derive(Debug, Clone)]
pub(crate) struct FetchLanes {
    held: Arc<Held<2>>,
}

/// The connection class of one group member; clones are the same. With the last one its connections are closed.
#[derive(Debug, Clone)]
pub struct GroupLane {
    held: Arc<Held<1>>,
}

#[derive(Debug)]
struct Held<const N: usize> {
    classes: [ConnectionClass; N],
    core: Weak<Core>,
}

impl FetchLanes {
    pub(super) fn of(client: &Client) -> FetchLanes {
        let classes = [(); 2].map(|()| ConnectionClass::Fetch(client.core.next_lane()));
        FetchLanes {
            held: Held::of(client, classes),
        }
    }

    /// For fetches that wait for data.
    pub(crate) fn long(&self) -> ConnectionClass {
        self.held.classes[0]
    }

    /// For fetches that must not wait behind those.
    pub(crate) fn short(&self) -> ConnectionClass {
        self.held.classes[1]
    }
}

impl GroupLane {
    pub(super) fn of(client: &Client) -> GroupLane {
        GroupLane {
            held: Held::of(client, [ConnectionClass::GroupBlocking(client.core.next_lane())]),
        }
    }

    /// For JoinGroup and SyncGroup.
    pub fn class(&self) -> ConnectionClass {
        self.held.classes[0]
    }
}

impl<const N: usize> Held<N> {
    fn of(client: &Client, classes: [ConnectionClass; N]) -> Arc<Held<N>> {
        Arc::new(Held {
            classes,
            core: Arc::downgrade(&client.core),
        })
    }
}

impl<const N: usize> Drop for Held<N> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.give_up(&self.classes);
        }
    }
}
