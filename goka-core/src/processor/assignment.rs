//! Which tasks an assignment means (invariant I7: a task runs only if every copartition of its number is ours).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::TopicPartition;

/// The partition numbers to run, and those that lack an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tasks {
    pub(crate) complete: Vec<i32>,
    /// Partition number and the topics that were not assigned with it.
    pub(crate) incomplete: Vec<(i32, Vec<Arc<str>>)>,
}

/// Groups `assigned` by partition number and looks for each of `inputs` in it.
pub(crate) fn tasks(inputs: &[Arc<str>], assigned: &[TopicPartition]) -> Tasks {
    let mut by_number: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for topic_partition in assigned {
        by_number
            .entry(topic_partition.partition)
            .or_default()
            .insert(&topic_partition.topic);
    }
    let mut tasks = Tasks::default();
    for (number, topics) in by_number {
        let missing: Vec<_> = inputs
            .iter()
            .filter(|topic| !topics.contains(&***topic))
            .cloned()
            .collect();
        match missing.is_empty() {
            true => tasks.complete.push(number),
            false => tasks.incomplete.push((number, missing)),
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_number_runs_only_with_all_its_inputs() {
        let inputs: Vec<Arc<str>> = vec!["a".into(), "b".into()];
        let assigned = [("a", 0), ("b", 0), ("a", 1)].map(|(topic, number)| TopicPartition::new(topic, number));
        let expected = Tasks {
            complete: vec![0],
            incomplete: vec![(1, vec!["b".into()])],
        };
        assert_eq!(tasks(&inputs, &assigned), expected);
    }

    #[test]
    fn an_empty_assignment_means_no_task() {
        assert_eq!(tasks(&["a".into()], &[]), Tasks::default());
    }
}
