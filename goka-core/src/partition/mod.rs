//! One partition of a processor: the task that owns it and everything in it.
//!
//! `opening` brings the table up to date; `run` is the loop from then on and the place to start reading, with `slice` its hot
//! path and `ending` its ways to rest; `lane` is one input; `perform` turns a callback's effects into table rows and changelog
//! records; `pipeline` decides what may be committed; `writers` are the task's doors into the producer; `state` is what others
//! may see and ask of it.

mod ending;
mod error;
mod lane;
mod opening;
mod perform;
mod pipeline;
mod run;
mod slice;
mod state;
mod writers;

pub use self::error::{RecordPlace, RunError};
pub(crate) use self::opening::{Start, start_task};
pub(crate) use self::state::{Close, Control, TaskHandle};
pub use self::state::{InputStats, PartitionState, PartitionStats, TableStats};
pub(crate) use self::writers::OutputTopic;
