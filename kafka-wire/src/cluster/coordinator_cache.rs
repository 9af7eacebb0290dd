//! Who coordinates which group, as far as FindCoordinator told us.
//!
//! Entries have no age: a coordinator that is no longer responsible answers NOT_COORDINATOR, and then the caller forgets it here.

use std::collections::HashMap;

/// What a coordinator is responsible for; the number is the key type of FindCoordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CoordinatorKind {
    /// A consumer group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// Known coordinators.
#[derive(Debug, Default)]
pub(crate) struct CoordinatorCache {
    known: HashMap<(CoordinatorKind, String), i32>,
}

impl CoordinatorCache {
    /// The node last told for `key`.
    pub(crate) fn node(&self, kind: CoordinatorKind, key: &str) -> Option<i32> {
        self.known.get(&(kind, key.to_owned())).copied()
    }

    /// FindCoordinator told `node`.
    pub(crate) fn handle_found(&mut self, kind: CoordinatorKind, key: &str, node: i32) {
        self.known.insert((kind, key.to_owned()), node);
    }

    /// `node` turned out not to be the coordinator. A newer finding stays: late news about an older one must not undo it.
    pub(crate) fn handle_wrong(&mut self, kind: CoordinatorKind, key: &str, node: i32) {
        let key = (kind, key.to_owned());
        if self.known.get(&key) == Some(&node) {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CoordinatorKind::{Group, Transaction};

    #[test]
    fn kinds_do_not_mix() {
        let mut cache = CoordinatorCache::default();
        cache.handle_found(Group, "billing", 1);
        assert_eq!(cache.node(Group, "billing"), Some(1));
        assert_eq!(cache.node(Transaction, "billing"), None);
    }

    #[test]
    fn late_news_about_an_old_coordinator_does_not_undo_a_newer_finding() {
        let mut cache = CoordinatorCache::default();
        cache.handle_found(Group, "billing", 1);
        cache.handle_found(Group, "billing", 2);
        cache.handle_wrong(Group, "billing", 1);
        assert_eq!(cache.node(Group, "billing"), Some(2));
        cache.handle_wrong(Group, "billing", 2);
        assert_eq!(cache.node(Group, "billing"), None);
    }
}
