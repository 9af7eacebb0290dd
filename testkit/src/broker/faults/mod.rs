//! What is to go wrong, as a value: rules that requests meet, and nodes that misbehave.
//!
//! Rules of one API form a queue: a request takes the first rule that fits it, and a rule is gone when its number of
//! requests is used up. A rule for a topic partition waits until a request of its API touches that partition; it gives
//! this partition an error and leaves the rest of the request alone.

mod control;
mod rule;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafka_wire::ErrorCode;

pub use control::FaultControl;
pub(crate) use rule::Action;
pub use rule::Fault;

use super::api::Api;

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    queues: BTreeMap<Api, VecDeque<Fault>>,
    refusing: BTreeSet<i32>,
    stalled: BTreeSet<i32>,
}

impl Faults {
    /// Appends a rule to its API's queue.
    pub(crate) fn push(&mut self, fault: Fault) {
        self.queues.entry(fault.api).or_default().push_back(fault);
    }

    /// Forgets all rules and lets every node work again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Requests that rules still wait for.
    pub(crate) fn pending(&self) -> u64 {
        self.queues.values().flatten().map(|fault| u64::from(fault.times)).sum()
    }

    /// The rule for a whole request, if one fits; it is used up once.
    pub(crate) fn take(&mut self, node: i32, api: Api) -> Option<Action> {
        self.take_where(api, |fault| fault.partition.is_none() && fault.fits(node))
    }

    /// The error a rule wants for this partition, if one fits; it is used up once.
    pub(crate) fn take_error(&mut self, node: i32, api: Api, topic: &str, partition: i32) -> Option<ErrorCode> {
        let wanted = |fault: &Fault| {
            let bound = fault
                .partition
                .as_ref()
                .is_some_and(|(name, index)| name == topic && *index == partition);
            bound && fault.fits(node)
        };
        match self.take_where(api, wanted)? {
            Action::Error(code) => Some(code),
            _ => None,
        }
    }

    fn take_where(&mut self, api: Api, wanted: impl Fn(&Fault) -> bool) -> Option<Action> {
        let queue = self.queues.get_mut(&api)?;
        let at = queue.iter().position(wanted)?;
        let fault = queue.get_mut(at)?;
        let action = fault.action;
        fault.times -= 1;
        if fault.times == 0 {
            queue.remove(at);
        }
        Some(action)
    }

    pub(crate) fn refuses(&self, node: i32) -> bool {
        self.refusing.contains(&node)
    }

    pub(crate) fn set_refusing(&mut self, node: i32, refusing: bool) {
        set(&mut self.refusing, node, refusing);
    }

    pub(crate) fn stalls(&self, node: i32) -> bool {
        self.stalled.contains(&node)
    }

    pub(crate) fn set_stalled(&mut self, node: i32, stalled: bool) {
        set(&mut self.stalled, node, stalled);
    }
}

fn set(nodes: &mut BTreeSet<i32>, node: i32, member: bool) {
    if member {
        nodes.insert(node);
    } else {
        nodes.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rules_of_one_api_are_taken_in_the_order_they_were_given() {
        let mut faults = Faults::default();
        faults.push(
            Fault::new(Api::Produce)
                .error(ErrorCode::NOT_LEADER_OR_FOLLOWER)
                .times(2),
        );
        faults.push(Fault::new(Api::Produce).delay_answer(Duration::from_secs(1)));
        faults.push(Fault::new(Api::Fetch).cut());
        assert_eq!(
            faults.take(1, Api::Produce),
            Some(Action::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER))
        );
        assert_eq!(faults.take(1, Api::Fetch), Some(Action::Cut));
        assert_eq!(
            faults.take(2, Api::Produce),
            Some(Action::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER))
        );
        assert_eq!(
            faults.take(1, Api::Produce),
            Some(Action::DelayAnswer(Duration::from_secs(1)))
        );
        assert_eq!(faults.take(1, Api::Produce), None);
        assert_eq!(faults.pending(), 0);
    }

    #[test]
    fn a_rule_for_another_node_does_not_hold_up_the_rules_behind_it() {
        let mut faults = Faults::default();
        faults.push(Fault::new(Api::Fetch).node(2).cut());
        faults.push(Fault::new(Api::Fetch).stall());
        assert_eq!(faults.take(1, Api::Fetch), Some(Action::Stall));
        assert_eq!(faults.take(1, Api::Fetch), None);
        assert_eq!(faults.take(2, Api::Fetch), Some(Action::Cut));
    }

    #[test]
    fn a_rule_for_a_partition_is_spent_by_that_partition_only() {
        let mut faults = Faults::default();
        faults.push(
            Fault::new(Api::Produce)
                .partition("t", 1)
                .error(ErrorCode::NOT_ENOUGH_REPLICAS),
        );
        assert_eq!(faults.take(1, Api::Produce), None);
        assert_eq!(faults.take_error(1, Api::Produce, "t", 0), None);
        assert_eq!(
            faults.take_error(1, Api::Produce, "t", 1),
            Some(ErrorCode::NOT_ENOUGH_REPLICAS)
        );
        assert_eq!(faults.take_error(1, Api::Produce, "t", 1), None);
    }
}
