//! The handle by which a test makes things go wrong.

use std::sync::Arc;

use super::Fault;
use crate::broker::driver::Hub;
use crate::broker::inspect::{LostTail, TopicError};

/// Makes things go wrong in a running cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FaultControl {
    hub: Arc<Hub>,
}

impl FaultControl {
    pub(in crate::broker) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Adds a rule behind those that its API already has.
    pub fn inject(&self, fault: Fault) {
        self.hub.with(|core, _| core.faults.push(fault));
    }

    /// Requests that rules still wait for. 0 after a test shows that every fault has happened.
    pub fn pending(&self) -> u64 {
        self.hub.with(|core, _| core.faults.pending())
    }

    /// Forgets all rules, refusals and stalls.
    pub fn clear(&self) {
        self.hub.with(|core, _| core.faults.clear());
        self.hub.doors_changed();
    }

    /// Closes every connection to a node; how many there were.
    pub fn cut_connections(&self, node: i32) -> usize {
        self.hub.with(|core, _| core.close_all(Some(node)))
    }

    /// Closes every connection; how many there were.
    pub fn cut_all_connections(&self) -> usize {
        self.hub.with(|core, _| core.close_all(None))
    }

    /// New connections to a node are refused, or taken again. Open ones stay.
    pub fn refuse_connections(&self, node: i32, refuse: bool) {
        self.hub.with(|core, _| core.faults.set_refusing(node, refuse));
        self.hub.doors_changed();
    }

    /// A node takes connections and requests and answers nothing, or works again. What it did not answer meanwhile it
    /// never answers.
    pub fn stall(&self, node: i32, stalled: bool) {
        self.hub.with(|core, _| core.faults.set_stalled(node, stalled));
    }

    /// Moves leadership of a partition to a node, in a new leader epoch.
    ///
    /// # Errors
    ///
    /// There is no such partition, or the node is down.
    pub fn move_leader(&self, topic: &str, partition: i32, node: i32) -> Result<(), TopicError> {
        self.hub.with(|core, now| core.move_leader(now, topic, partition, node))
    }

    /// Moves the coordinator of a group to a node: what the old one held is answered NOT_COORDINATOR.
    pub fn move_coordinator(&self, group: &str, node: i32) {
        self.hub.with(|core, now| core.move_coordinator(now, group, node));
    }

    /// Makes a partition forget its idempotent producers, as their expiry does; how many there were.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn expire_producers(&self, topic: &str, partition: i32) -> Result<usize, TopicError> {
        self.hub.with(|core, _| core.expire_producers(topic, partition))
    }

    /// A broker dies: its connections break, what it led elects another leader or none, groups it coordinated move.
    pub fn crash(&self, node: i32, lost: LostTail) {
        self.hub.with(|core, now| core.crash(now, node, lost));
        self.hub.doors_changed();
    }

    /// A dead broker comes back with its logs, at its old address.
    pub fn restart(&self, node: i32) {
        self.hub.with(|core, now| core.restart(now, node));
        self.hub.doors_changed();
    }

    /// A broker dies and is back at once.
    pub fn crash_and_restart(&self, node: i32, lost: LostTail) {
        self.crash(node, lost);
        self.restart(node);
    }
}
