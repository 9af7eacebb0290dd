//! The commit pipeline: which input offsets may be committed, given what has been acknowledged (invariant I2).
//!
//! Input is worked off in *chunks*, runs of records of one input. A chunk knows, for each writer it wrote to, the number of the
//! last batch that holds an effect of it. Batches of a writer are acknowledged in order, so a chunk is done when every such
//! batch is. Chunks leave in input order only: the committable offset of an input never passes a record whose effects are not
//! acknowledged, whatever was acknowledged after it.
//!
//! ```text
//!   callbacks ─> open chunk ─close─> [chunk][chunk][chunk] ─all its batches acknowledged─> committable offset of its input
//! ```
//!
//! What waits is bounded by what is unacknowledged: a chunk that wrote nothing, or nothing but into batches that the chunk before
//! it of the same input waits for as well, is made one with that.
//!
//! A pure value; it knows neither topics nor tasks.

use std::collections::VecDeque;

/// Mark lists kept for reuse.
const MOST_SPARE: usize = 64;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct CommitPipeline {
    /// Batches acknowledged, per writer.
    acknowledged: Vec<u64>,
    chunks: VecDeque<Chunk>,
    /// Chunks that have left.
    left: u64,
    /// The number of the latest chunk of each input, counted from the first ever.
    latest: Vec<u64>,
    /// Next offset that may be committed, per input; -1 while nothing of it is done.
    committable: Vec<i64>,
    /// Mark lists of finished chunks, for reuse.
    spare: Vec<Vec<Mark>>,
}

/// A writer and how many of its batches must be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) writer: u32,
    pub(crate) batches: u64,
}

/// Stands for the number of a batch that is not known yet; see [`CommitPipeline::resolve`].
pub(crate) const LATER: u64 = u64::MAX;

#[derive(Debug)]
struct Chunk {
    input: usize,
    next_offset: i64,
    marks: Vec<Mark>,
}

impl CommitPipeline {
    pub(crate) fn new(inputs: usize) -> CommitPipeline {
        CommitPipeline {
            acknowledged: Vec::new(),
            chunks: VecDeque::new(),
            left: 0,
            latest: vec![0; inputs],
            committable: vec![-1; inputs],
            spare: Vec::new(),
        }
    }

    /// An empty list to collect a chunk's marks in.
    pub(crate) fn marks(&mut self) -> Vec<Mark> {
        self.spare.pop().unwrap_or_default()
    }

    /// Feeds a finished chunk: every record of `input` below `next_offset` went through its callback, and the effects of those
    /// since the last chunk are in batches up to `marks`.
    pub(crate) fn handle_chunk(&mut self, input: usize, next_offset: i64, marks: Vec<Mark>) {
        match self.latest_of(input) {
            Some(latest) if marks.is_empty() || marks == latest.marks => {
                latest.next_offset = next_offset;
                self.keep(marks);
            }
            _ => {
                self.latest[input] = self.left + self.chunks.len() as u64;
                self.chunks.push_back(Chunk {
                    input,
                    next_offset,
                    marks,
                });
            }
        }
        self.advance();
    }

    /// Feeds an acknowledgement: batches of `writer` up to number `batch` (from 0) are in the log.
    pub(crate) fn handle_ack(&mut self, writer: u32, batch: u64) {
        let writer = writer as usize;
        if self.acknowledged.len() <= writer {
            self.acknowledged.resize(writer + 1, 0);
        }
        self.acknowledged[writer] = self.acknowledged[writer].max(batch + 1);
        self.advance();
    }

    /// Marks of `writer` that said [`LATER`] wait for its first `batches` batches.
    pub(crate) fn resolve(&mut self, writer: u32, batches: u64) {
        let marks = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.marks);
        for mark in marks.filter(|mark| mark.writer == writer && mark.batches == LATER) {
            mark.batches = batches;
        }
        self.advance();
    }

    /// The offset that may be committed for each input; -1 where nothing is done yet.
    pub(crate) fn committable(&self) -> &[i64] {
        &self.committable
    }

    /// The latest chunk of `input`, if it has not left.
    fn latest_of(&mut self, input: usize) -> Option<&mut Chunk> {
        let place = self.latest[input].checked_sub(self.left)?;
        let chunk = self.chunks.get_mut(place as usize)?;
        (chunk.input == input).then_some(chunk)
    }

    fn keep(&mut self, mut marks: Vec<Mark>) {
        if self.spare.len() < MOST_SPARE {
            marks.clear();
            self.spare.push(marks);
        }
    }

    fn advance(&mut self) {
        while let Some(chunk) = self.chunks.front() {
            if !chunk.marks.iter().all(|mark| self.is_acknowledged(*mark)) {
                return;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                self.left += 1;
                let committable = &mut self.committable[chunk.input];
                *committable = (*committable).max(chunk.next_offset);
                self.keep(chunk.marks);
            }
        }
    }

    fn is_acknowledged(&self, mark: Mark) -> bool {
        self.acknowledged.get(mark.writer as usize).copied().unwrap_or(0) >= mark.batches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(writer: u32, batches: u64) -> Mark {
        Mark { writer, batches }
    }

    #[test]
    fn a_chunk_without_effects_is_committable_at_once() {
        let mut pipeline = CommitPipeline::new(1);
        pipeline.handle_chunk(0, 10, Vec::new());
        assert_eq!(pipeline.committable(), [10]);
    }

    #[test]
    fn a_later_record_without_effects_does_not_overtake_an_unacknowledged_one() {
        let mut pipeline = CommitPipeline::new(1);
        pipeline.handle_chunk(0, 43, vec![mark(0, 1)]);
        pipeline.handle_chunk(0, 44, Vec::new());
        assert_eq!(pipeline.committable(), [-1]);
        pipeline.handle_ack(0, 0);
        assert_eq!(pipeline.committable(), [44]);
    }

    #[test]
    fn every_writer_of_a_chunk_must_have_acknowledged_its_part() {
        let mut pipeline = CommitPipeline::new(2);
        pipeline.handle_chunk(1, 5, vec![mark(0, 1), mark(1, 2)]);
        pipeline.handle_ack(0, 0);
        pipeline.handle_ack(1, 0);
        assert_eq!(pipeline.committable(), [-1, -1]);
        pipeline.handle_ack(1, 1);
        assert_eq!(pipeline.committable(), [-1, 5]);
    }

    #[test]
    fn a_batch_that_is_not_known_yet_is_waited_for() {
        let mut pipeline = CommitPipeline::new(1);
        pipeline.handle_chunk(0, 10, vec![mark(1, 1), mark(0, LATER)]);
        pipeline.handle_chunk(0, 20, vec![mark(0, LATER)]);
        pipeline.handle_chunk(0, 30, Vec::new());
        pipeline.handle_ack(0, 0);
        pipeline.handle_ack(1, 0);
        assert_eq!(pipeline.committable(), [-1]);
        pipeline.resolve(0, 2);
        pipeline.handle_chunk(0, 40, vec![mark(0, LATER)]);
        assert_eq!(pipeline.committable(), [-1]);
        pipeline.handle_ack(0, 1);
        assert_eq!(pipeline.committable(), [30]);
        pipeline.resolve(0, 2);
        assert_eq!(pipeline.committable(), [40], "nothing more was written");
    }

    #[test]
    fn chunks_that_wait_for_nothing_more_do_not_pile_up() {
        let mut pipeline = CommitPipeline::new(2);
        pipeline.handle_chunk(0, 1, vec![mark(0, 1)]);
        for offset in 2..1000 {
            pipeline.handle_chunk(0, offset, Vec::new());
            pipeline.handle_chunk(1, offset, Vec::new());
        }
        assert_eq!(pipeline.chunks.len(), 2);
        pipeline.handle_chunk(1, 1000, vec![mark(0, 1)]);
        pipeline.handle_chunk(1, 1001, vec![mark(0, 1)]);
        assert_eq!(pipeline.chunks.len(), 3, "one for the batch that both wrote to");
        assert_eq!(pipeline.committable(), [-1, -1]);
        pipeline.handle_ack(0, 0);
        assert_eq!(pipeline.committable(), [999, 1001]);
        pipeline.handle_chunk(0, 1500, vec![mark(0, 2)]);
        pipeline.handle_chunk(1, 1600, Vec::new());
        assert_eq!(pipeline.committable(), [999, 1001], "behind the other input's");
        pipeline.handle_ack(0, 1);
        assert_eq!(pipeline.committable(), [1500, 1600]);
    }

    proptest! {
        /// Against a naive model: a record's effects are (writer, batch) pairs; the committable offset never passes the first
        /// record with an effect that is not acknowledged, and reaches the end once everything is.
        #[test]
        fn nothing_unacknowledged_is_ever_passed(
            chunks in proptest::collection::vec(proptest::collection::vec((0u32..3, 1u64..6), 0..3), 1..30),
            acks in proptest::collection::vec(0u32..3, 0..40),
        ) {
            let mut pipeline = CommitPipeline::new(1);
            let mut needed: Vec<Vec<Mark>> = Vec::new();
            let mut acknowledged = [0u64; 3];
            let mut acks = acks.into_iter();
            for (offset, chunk) in chunks.iter().enumerate() {
                let marks: Vec<_> = chunk.iter().map(|&(writer, batches)| mark(writer, batches)).collect();
                needed.push(marks.clone());
                pipeline.handle_chunk(0, offset as i64 + 1, marks);
                if let Some(writer) = acks.next() {
                    pipeline.handle_ack(writer, acknowledged[writer as usize]);
                    acknowledged[writer as usize] += 1;
                }
                let first_open = needed
                    .iter()
                    .position(|marks| marks.iter().any(|mark| acknowledged[mark.writer as usize] < mark.batches))
                    .unwrap_or(needed.len());
                prop_assert_eq!(pipeline.committable()[0].max(0), first_open as i64);
            }
            for writer in 0..3 {
                pipeline.handle_ack(writer, 9);
            }
            prop_assert_eq!(pipeline.committable()[0], chunks.len() as i64);
        }
    }
}
