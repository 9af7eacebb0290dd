//! Where in one input the owners of its partition are, as their changelog records show it.
//!
//! ```text
//!   next ──in order──> next+1
//!    ├─ ahead ──> a hole is left: Lost or Skip, unless what is missing follows (Reorder)
//!    └─ back ───> a replay if it begins at the committed offset, else Doubled, Skip or WrongReset
//! ```

use std::collections::HashSet;

use super::Findings;
use super::finding::{Kind, Replay};
use super::history::{Commit, Expected, InputHistory, LogRecord};
use super::workload::{Input, Place, Workload};

/// The changelog offset of what was never applied.
const NEVER: i64 = i64::MAX;

/// One input of one partition.
pub(super) struct InputRun<'a> {
    topic: &'a str,
    topic_hash: u32,
    partition: i32,
    history: &'a InputHistory,
    expected: Expected,
    /// The inputs that write to the table.
    records: Vec<&'a LogRecord>,
    /// Changelog offset of each one's first application.
    first_at: Vec<i64>,
    /// The one that is due.
    next: usize,
    /// The one after all that were applied.
    furthest: usize,
    /// Producer ids of the owners so far, the present one last.
    owners: Vec<i64>,
    holes: Vec<Hole>,
    /// Inputs that were applied after their successors.
    late: HashSet<usize>,
    replays: u64,
}

/// Inputs that were passed over.
struct Hole {
    from: usize,
    to: usize,
    /// Where in the changelog.
    at: i64,
    by_new_owner: bool,
}

/// What to think of an owner that goes back.
enum Back {
    /// It begins at the committed offset.
    Replay,
    /// The committed offset is another.
    From(i64),
    /// No committed offset is there.
    Unexplained,
}

impl<'a> InputRun<'a> {
    pub(super) fn new(
        topic: &'a str,
        partition: i32,
        history: &'a InputHistory,
        expected: Expected,
        workload: &impl Workload,
    ) -> InputRun<'a> {
        let writes = |record: &&LogRecord| {
            workload.writes(Input {
                topic,
                partition,
                record,
            })
        };
        let records: Vec<_> = history.log.records.iter().filter(writes).collect();
        InputRun {
            topic,
            topic_hash: Place::new(topic, partition, 0).topic,
            partition,
            history,
            expected,
            first_at: vec![NEVER; records.len()],
            records,
            next: 0,
            furthest: 0,
            owners: Vec::new(),
            holes: Vec::new(),
            late: HashSet::new(),
            replays: 0,
        }
    }

    /// The input at an index.
    pub(super) fn input(&self, index: usize) -> Input<'a> {
        Input {
            topic: self.topic,
            partition: self.partition,
            record: self.records[index],
        }
    }

    /// The index of the input at a place.
    pub(super) fn index_of(&self, place: Place) -> Option<usize> {
        let index = self.index(place.offset);
        let found = self.records.get(index)?;
        let is_here = place.topic == self.topic_hash && place.partition == self.partition;
        (is_here && found.offset == place.offset).then_some(index)
    }

    /// The index of the first input at or after an offset.
    fn index(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }

    /// The input that a record which does not tell is most likely to belong to, among those that fit.
    pub(super) fn guess(&self, record: &LogRecord, fits: impl Fn(Input<'a>) -> bool) -> Option<usize> {
        /// Looking further ahead would find what has nothing to do with it.
        const AHEAD: usize = 64;
        let holes = self.holes.iter().flat_map(|hole| hole.from..hole.to);
        let holes = holes.filter(|index| self.first_at[*index] == NEVER);
        let commits = self.history.commits.iter().flatten().rev();
        let starts = commits
            .filter(|commit| commit.changelog_end.is_none_or(|end| end <= record.offset))
            .map(|commit| self.index(commit.offset))
            .filter(|index| *index <= self.next);
        // A new owner begins where it must rather than where the one before it was.
        let owner = record.writer.map(|writer| writer.producer_id);
        let begins = owner.is_some() && self.owners.last() != owner.as_ref();
        let (due, first) = ((!begins).then_some(self.next), begins.then_some(0));
        let ahead = self.next..self.records.len().min(self.next + AHEAD);
        let candidates = due.into_iter().chain(starts).chain(first).chain(holes).chain(ahead);
        let mut candidates = candidates.chain((0..self.next).rev());
        candidates.find(|index| *index < self.records.len() && fits(self.input(*index)))
    }

    /// A changelog record shows that the input at `index` was applied.
    pub(super) fn handle(&mut self, index: usize, record: &LogRecord, findings: &mut Findings<'_>) {
        let owner = record.writer.map(|writer| writer.producer_id);
        let is_new = owner.is_some() && self.owners.last() != owner.as_ref();
        let was_owner = is_new && owner.is_some_and(|owner| self.owners.contains(&owner));
        let back = (index < self.next).then(|| self.back_to(index, record.offset));
        let is_due = index == self.next || matches!(back, Some(Back::Replay));
        if was_owner && !is_due {
            let sentence = format!(
                "changelog offset {} applies input offset {} by producer {}, whose successor had begun",
                record.offset,
                self.records[index].offset,
                owner.unwrap_or(-1)
            );
            findings.add(Kind::LateWriter, record.key.as_ref(), record.offset, sentence);
            self.note(index, record, findings);
            return;
        }
        if is_new {
            self.owners.extend(owner);
        }
        match back {
            None if index > self.next => self.holes.push(Hole {
                from: self.next,
                to: index,
                at: record.offset,
                by_new_owner: is_new,
            }),
            None => {}
            Some(_) if !is_new && self.is_in_hole(index) => {
                let sentence = format!(
                    "changelog offset {} applies input offset {} after later ones",
                    record.offset, self.records[index].offset
                );
                findings.add(Kind::Reorder, record.key.as_ref(), record.offset, sentence);
                self.late.insert(index);
                self.note(index, record, findings);
                return;
            }
            Some(Back::Replay) => self.replay(index, record, findings),
            Some(back) => self.tell_back(index, record, is_new, &back, findings),
        }
        self.note(index, record, findings);
        self.next = index + 1;
        self.furthest = self.furthest.max(self.next);
    }

    fn note(&mut self, index: usize, record: &LogRecord, findings: &mut Findings<'_>) {
        match self.first_at[index] {
            NEVER => self.first_at[index] = record.offset,
            _ => findings.report.surplus += 1,
        }
    }

    fn is_in_hole(&self, index: usize) -> bool {
        let mut holes = self.holes.iter().rev();
        holes.any(|hole| (hole.from..hole.to).contains(&index)) && self.first_at[index] == NEVER
    }

    /// Whether an owner may begin at `index` when the changelog ends at `changelog_offset`.
    fn back_to(&self, index: usize, changelog_offset: i64) -> Back {
        let Some(commits) = &self.history.commits else {
            // Whatever was committed then, it was not more than in the end.
            return match self.history.committed {
                Some(committed) if self.index(committed) < index => Back::From(committed),
                _ => Back::Replay,
            };
        };
        let is_ordered = commits.iter().all(|commit| commit.changelog_end.is_some());
        if !is_ordered {
            let found = index == 0 || commits.iter().any(|commit| self.index(commit.offset) == index);
            return if found { Back::Replay } else { Back::Unexplained };
        }
        let before = |commit: &&Commit| commit.changelog_end.is_some_and(|end| end <= changelog_offset);
        match commits.iter().rev().find(before) {
            Some(commit) if self.index(commit.offset) == index => Back::Replay,
            Some(commit) => Back::From(commit.offset),
            None if index == 0 => Back::Replay,
            // Before the first commit, owners begin at the log's start.
            None => Back::From(self.history.log.start),
        }
    }

    fn replay(&mut self, index: usize, record: &LogRecord, findings: &mut Findings<'_>) {
        self.replays += 1;
        findings.report.replays.push(Replay {
            partition: self.partition,
            topic: self.topic.to_owned(),
            from: self.records[index].offset,
            through: self.records[self.next - 1].offset,
            changelog_offset: record.offset,
        });
        if let Some(ends) = self.expected.unclean_ends
            && self.replays > ends
        {
            let sentence = format!(
                "changelog offset {} begins replay {} at input offset {}, {ends} owners ended without warning",
                record.offset, self.replays, self.records[index].offset
            );
            findings.add(Kind::Doubled, record.key.as_ref(), record.offset, sentence);
        }
    }

    fn tell_back(&self, index: usize, record: &LogRecord, is_new: bool, back: &Back, findings: &mut Findings<'_>) {
        let (offset, at) = (self.records[index].offset, record.offset);
        let (kind, why) = match back {
            Back::From(committed) if index == 0 && *committed > offset => (
                Kind::WrongReset,
                format!("the log's start, and {committed} is committed"),
            ),
            Back::From(committed) if is_new && *committed < offset => {
                (Kind::Skip, format!("past the committed offset {committed}"))
            }
            Back::From(committed) => (Kind::Doubled, format!("and {committed} is committed")),
            Back::Replay | Back::Unexplained => (Kind::Doubled, "which was never committed".to_owned()),
        };
        let sentence = format!("changelog offset {at} applies again from input offset {offset} on, {why}");
        findings.add(kind, record.key.as_ref(), at, sentence);
    }

    /// What only the whole history shows.
    pub(super) fn finish(mut self, findings: &mut Findings<'_>) {
        findings.report.inputs += self.records.len() as u64;
        for hole in std::mem::take(&mut self.holes) {
            self.tell_hole(&hole, findings);
        }
        self.check_commits(findings);
        self.check_covered(findings);
    }

    fn tell_hole(&self, hole: &Hole, findings: &mut Findings<'_>) {
        let missing: Vec<_> = (hole.from..hole.to)
            .filter(|index| !self.late.contains(index))
            .collect();
        let never = missing.iter().copied().find(|index| self.first_at[*index] == NEVER);
        let Some(index) = never.or(missing.first().copied()) else {
            return;
        };
        let (kind, fate) = match never {
            Some(_) if hole.by_new_owner => (Kind::Skip, "passes over this input offset as a new owner"),
            Some(_) => (Kind::Lost, "passes over this input offset, which was never applied"),
            None => (
                Kind::Skip,
                "passes over this input offset, which was applied at another time",
            ),
        };
        let (record, count) = (self.records[index], missing.len());
        let sentence = format!("changelog offset {} {fate}; {count} inputs are missing there", hole.at);
        findings.add(kind, record.key.as_ref(), record.offset, sentence);
    }

    /// V05 at each commit, as far as its place among the changelog's records is known.
    fn check_commits(&self, findings: &mut Findings<'_>) {
        // By when everything before an input had been applied; what was never applied is told elsewhere.
        let mut all_at = vec![-1];
        for first in &self.first_at[..self.furthest] {
            let before = *all_at.last().expect("it begins with one");
            all_at.push(if *first == NEVER { before } else { before.max(*first) });
        }
        let commits = self.history.commits.iter().flatten();
        let ahead = commits.filter_map(|commit| {
            let (index, end) = (self.index(commit.offset).min(self.furthest), commit.changelog_end?);
            (all_at[index] >= end).then_some((commit.offset, all_at[index], end))
        });
        if let Some((offset, applied, end)) = ahead.into_iter().next() {
            let sentence = format!(
                "of {} was committed when the changelog ended at {end}; what it covers reaches to {applied}",
                self.topic
            );
            findings.add(Kind::CommitAhead, None, offset, sentence);
        }
    }

    /// V05 over the whole run.
    fn check_covered(&self, findings: &mut Findings<'_>) {
        let commits = self.history.commits.iter().flatten().map(|commit| commit.offset);
        let Some(committed) = commits.chain(self.history.committed).max() else {
            return;
        };
        let covered = self.index(committed);
        if covered > self.furthest {
            let first = self.records[self.furthest];
            let more = covered - self.furthest - 1;
            let sentence = format!(
                "{committed} of {} is committed, this input and {more} more were not applied",
                self.topic
            );
            findings.add(Kind::CommitAhead, first.key.as_ref(), first.offset, sentence);
        }
    }
}
