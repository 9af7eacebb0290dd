//! A processor keeps to its memory budget (I8), whatever is slow: measured by the operating system, in a process of its own.
//!
//! Run by hand on Apache Kafka as well: `KAFKA_BOOTSTRAP=.. cargo test -p testkit --features real-kafka --test memory`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
#![cfg(target_os = "linux")]

#[macro_use]
#[allow(unused_macros, reason = "shared with other suites")]
#[path = "behaviour/kinds.rs"]
mod kinds;

#[path = "memory/backlog.rs"]
mod backlog;
#[path = "memory/budget.rs"]
mod budget;
#[allow(dead_code, reason = "shared with other suites")]
#[path = "behaviour/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "shared with other suites")]
#[path = "behaviour/cuts.rs"]
mod cuts;
#[path = "memory/instance.rs"]
mod instance;

on_each_cluster! {
    budget: {
        a_large_backlog_is_worked_off_within_the_budget_although_everything_is_slow,
        a_view_of_a_table_much_larger_than_the_budget_keeps_to_it,
        many_partitions_share_the_budget_and_one_that_is_stuck_holds_nobody_up,
    }
}
