//! The history checker: whether what a group did is what at-least-once promises.
//!
//! It is pure: a [`History`] goes in (logs, committed offsets, stores), a [`Report`] comes out, with a named [`Finding`] for
//! everything that must not be and a count of what may be. A [`Workload`] tells it what a row must be after an input.
//!
//! ```text
//!   input log  i0 i1 i2 i3 i4 i5 ..          committed offsets   stores, views
//!                \  \  \                            |                 |
//!   changelog     i0 i1 i2 i3 | i2 i3 i4 ..   CommitAhead, ..    StoreNotFold
//!                 owner A       owner B: begins at the committed offset, a replay
//! ```
//!
//! The changelog of a partition must be made of runs, one per ownership. Each is a contiguous piece of the input that begins at
//! the committed offset; together they cover everything that is committed; each row is made from the row before it in the log.
//!
//! Who fills the history: [`read`] from a cluster and from stores on disk; a simulation from its broker's logs.
//!
//! Not here: transactions (exactly-once), liveness, what a process may have said about itself.

mod callbacks;
mod commits;
mod counts;
mod finding;
mod history;
mod input_run;
mod outputs;
pub mod read;
mod runs;
mod sent;
mod sequences;
mod stores;
mod workload;

#[cfg(test)]
mod negative;

use bytes::Bytes;

pub use self::finding::{Finding, Kind, Replay, Report};
pub use self::history::{
    Callback, Commit, Expected, History, InputHistory, Log, LogRecord, Origin, Outcome, OutputLog, PartitionHistory,
    Sent, StoreImage, Writer,
};
pub use self::workload::{Chain, ChainRow, Chained, Count, Input, Place, Workload};

/// Checks a history against what `workload` should have made of it.
pub fn check(history: &History, workload: &impl Workload) -> Report {
    let mut report = Report::default();
    for (number, partition) in &history.partitions {
        let mut findings = Findings {
            report: &mut report,
            partition: *number,
        };
        sequences::check(partition, &mut findings);
        callbacks::check(partition, &mut findings);
        stores::check(partition, &mut findings);
        commits::check(partition, history.expected, &mut findings);
        if workload.tells_inputs() {
            runs::check(partition, workload, history.expected, &mut findings);
        } else {
            counts::check(partition, workload, history.expected, &mut findings);
        }
    }
    let mut findings = Findings {
        report: &mut report,
        partition: -1,
    };
    sent::check(history, &mut findings);
    outputs::check(history, workload, &mut findings);
    if let Some(allowed) = history.expected.surplus
        && findings.report.surplus > allowed
    {
        let sentence = format!(
            "{} inputs were applied again, {allowed} may have been",
            findings.report.surplus
        );
        findings.add(Kind::Doubled, None, -1, sentence);
    }
    report
}

/// Where findings of one partition go.
struct Findings<'a> {
    report: &'a mut Report,
    partition: i32,
}

impl Findings<'_> {
    fn add(&mut self, kind: Kind, key: Option<&Bytes>, offset: i64, sentence: String) {
        self.report.findings.push(Finding {
            kind,
            partition: self.partition,
            key: key.cloned(),
            offset,
            sentence,
        });
    }
}

/// Bytes for a sentence.
fn shown(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "nothing".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()))
}
