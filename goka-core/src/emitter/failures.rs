//! What became of the records whose receipts nobody keeps.
//!
//! Answers of a partition come in order, those of different partitions do not: each partition has its own line, so that one
//! without a leader does not make the others' answered receipts pile up. Keys lie one behind the other in one buffer per
//! line; remembering a record allocates nothing once the buffers have grown.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use kafka_wire::{ProduceError, Receipt};

/// Failures that are told in full; the others are counted.
const TOLD: usize = 10;

/// Bytes of a key that an error message shows.
const SHOWN_KEY: usize = 64;

/// A place where an answer will be.
pub(super) trait Answer {
    fn partition(&self) -> i32;

    /// The answer, if it is there.
    fn answer(&self) -> Option<Result<(), ProduceError>>;
}

impl Answer for Receipt {
    fn partition(&self) -> i32 {
        Receipt::partition(self)
    }

    fn answer(&self) -> Option<Result<(), ProduceError>> {
        self.try_result().map(|result| result.map(drop))
    }
}

/// Receipts without an answer, and the failures among those that had one.
#[derive(Debug)]
pub(super) struct Unanswered<R = Receipt> {
    lines: BTreeMap<i32, Line<R>>,
    failed: u64,
    first: Vec<EmitFailure>,
}

/// Receipts of one partition, oldest first, with the lengths of their keys.
#[derive(Debug)]
struct Line<R> {
    receipts: VecDeque<(R, usize)>,
    keys: VecDeque<u8>,
}

impl<R> Default for Unanswered<R> {
    fn default() -> Self {
        Unanswered {
            lines: BTreeMap::new(),
            failed: 0,
            first: Vec::new(),
        }
    }
}

impl<R: Answer> Unanswered<R> {
    /// Adds a receipt; takes in the answers that have come meanwhile, at most two per call, so that no call takes long.
    pub(super) fn push(&mut self, key: &[u8], receipt: R) {
        let line = self.lines.entry(receipt.partition()).or_insert_with(|| Line {
            receipts: VecDeque::new(),
            keys: VecDeque::new(),
        });
        line.receipts.push_back((receipt, key.len()));
        line.keys.extend(key);
        for _ in 0..2 {
            let Some(answer) = line.take_answer() else { return };
            note(answer, &mut self.failed, &mut self.first);
        }
    }

    /// The failures of all, after the producer answered everything.
    pub(super) fn finish(mut self, topic: &str) -> Result<(), EmitFailures> {
        for line in self.lines.values_mut() {
            while let Some(answer) = line.take_answer() {
                note(answer, &mut self.failed, &mut self.first);
            }
            // Nobody knows better than that they were not acknowledged.
            self.failed += line.receipts.len() as u64;
        }
        match self.failed {
            0 => Ok(()),
            failed => Err(EmitFailures {
                topic: topic.to_owned(),
                failed,
                first: self.first,
            }),
        }
    }
}

fn note(answer: Result<(), EmitFailure>, failed: &mut u64, first: &mut Vec<EmitFailure>) {
    if let Err(failure) = answer {
        *failed += 1;
        if first.len() < TOLD {
            first.push(failure);
        }
    }
}

impl<R: Answer> Line<R> {
    /// Takes the oldest receipt if it has its answer.
    fn take_answer(&mut self) -> Option<Result<(), EmitFailure>> {
        let (receipt, key_len) = self.receipts.front()?;
        let (answer, key_len) = (receipt.answer()?, *key_len);
        self.receipts.pop_front();
        let key = self.keys.drain(..key_len);
        Some(answer.map_err(|error| EmitFailure {
            key: key.collect(),
            error,
        }))
    }
}

/// One record that was not, or perhaps not, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitFailure {
    key: Vec<u8>,
    error: ProduceError,
}

impl EmitFailure {
    /// The record's key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Why, on which partition, and whether the record may be in the log all the same.
    pub fn error(&self) -> &ProduceError {
        &self.error
    }
}

impl fmt::Display for EmitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.key.get(..SHOWN_KEY).unwrap_or(&self.key);
        let cut = if shown.len() < self.key.len() { ".." } else { "" };
        write!(f, "key \"{}\"{cut}: {}", shown.escape_ascii(), self.error)
    }
}

/// Records that an [`Emitter`](super::Emitter) could not write.
#[derive(Debug, Clone)]
pub struct EmitFailures {
    topic: String,
    failed: u64,
    first: Vec<EmitFailure>,
}

impl EmitFailures {
    /// How many.
    pub fn count(&self) -> u64 {
        self.failed
    }

    /// The first ten that became known, with key, partition and reason.
    pub fn first(&self) -> &[EmitFailure] {
        &self.first
    }
}

impl fmt::Display for EmitFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = if self.failed == 1 { "record was" } else { "records were" };
        write!(
            f,
            "topic {}: {} {records} not, or perhaps not, written",
            self.topic, self.failed
        )?;
        for failure in &self.first {
            write!(f, "; {failure}")?;
        }
        let untold = self.failed - self.first.len() as u64;
        if untold > 0 {
            write!(f, "; and {untold} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for EmitFailures {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use kafka_wire::{Client, ClientConfig, Producer, ProducerConfig, TopicPartition};

    use super::*;

    /// A receipt whose answer comes when the test says so; told errors are those of a closed producer.
    struct Promise {
        partition: i32,
        answered: Rc<Cell<bool>>,
        error: Option<ProduceError>,
    }

    impl Answer for Promise {
        fn partition(&self) -> i32 {
            self.partition
        }

        fn answer(&self) -> Option<Result<(), ProduceError>> {
            self.answered
                .get()
                .then(|| self.error.as_ref().map_or(Ok(()), |error| Err(error.clone())))
        }
    }

    async fn error() -> ProduceError {
        let client = Client::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let producer = Producer::new(client, ProducerConfig::default()).unwrap();
        producer.close().await.unwrap();
        let (acks, _) = tokio::sync::mpsc::unbounded_channel();
        let mut writer = producer.partition_writer(TopicPartition::new("clicks", 3), acks, 0);
        writer.append(0, Some(b"key"), None, &[]).unwrap_err()
    }

    fn promise(partition: i32, error: Option<ProduceError>) -> (Promise, Rc<Cell<bool>>) {
        let answered = Rc::new(Cell::new(false));
        let promise = Promise {
            partition,
            answered: Rc::clone(&answered),
            error,
        };
        (promise, answered)
    }

    #[tokio::test]
    async fn every_failure_counts_and_the_first_ten_are_told_with_their_keys() {
        let error = error().await;
        let mut unanswered = Unanswered::default();
        for number in 0..25 {
            let (promise, answered) = promise(number % 2, (number % 2 == 1).then(|| error.clone()));
            unanswered.push(format!("key-{number}").as_bytes(), promise);
            answered.set(true);
        }
        let failures = unanswered.finish("clicks").unwrap_err();
        assert_eq!(failures.count(), 12);
        let keys: Vec<_> = failures.first().iter().map(EmitFailure::key).collect();
        let expected: Vec<_> = (0..10).map(|number| format!("key-{}", 2 * number + 1)).collect();
        assert_eq!(keys, expected.iter().map(String::as_bytes).collect::<Vec<_>>());
        let text = failures.to_string();
        for part in [
            "clicks",
            "12 records",
            "key \"key-1\"",
            "clicks-3",
            "not persisted",
            "and 2 more",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn a_partition_without_answers_does_not_hold_up_those_of_others() {
        let mut unanswered = Unanswered::default();
        let (silent, silent_answered) = promise(0, None);
        unanswered.push(b"silent", silent);
        for _ in 0..1000 {
            let (promise, answered) = promise(1, None);
            answered.set(true);
            unanswered.push(b"key", promise);
        }
        let kept: usize = unanswered.lines.values().map(|line| line.receipts.len()).sum();
        assert_eq!(kept, 1);
        assert_eq!(unanswered.lines[&1].keys.len(), 0);
        silent_answered.set(true);
        assert!(unanswered.finish("clicks").is_ok());
    }

    #[test]
    fn a_record_that_was_never_answered_counts_as_failed() {
        let mut unanswered = Unanswered::default();
        unanswered.push(b"key", promise(0, None).0);
        let failures = unanswered.finish("clicks").unwrap_err();
        assert_eq!((failures.count(), failures.first().len()), (1, 0));
        assert!(failures.to_string().contains("1 record was"), "{failures}");
    }

    #[tokio::test]
    async fn a_long_binary_key_is_shown_escaped_and_cut() {
        let failure = EmitFailure {
            key: vec![0xff; 100],
            error: error().await,
        };
        let text = failure.to_string();
        assert!(text.contains(&"\\xff".repeat(64)) && text.contains("\"..:"), "{text}");
        assert!(!text.contains(&"\\xff".repeat(65)), "{text}");
    }
}
