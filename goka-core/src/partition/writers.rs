//! A task's doors into the producer: its changelog, its loop topic and the topics it emits to.
//!
//! Each destination partition has a writer of its own, made when first needed, with batches that only this task fills. The
//! marks say which batches hold effects of the chunk being worked on (see `pipeline`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_wire::protocol::batch::Header;
use kafka_wire::{Ack, PartitionWriter, Partitioner, Permit, ProduceError, Producer, TopicPartition};
use tokio::sync::mpsc;

use super::pipeline::{LATER, Mark};

/// The number of the changelog's writer.
pub(crate) const CHANGELOG: u32 = 0;

/// A topic that may be emitted to.
#[derive(Debug, Clone)]
pub(crate) struct OutputTopic {
    pub(crate) topic: Arc<str>,
    pub(crate) partitions: i32,
    pub(crate) partitioner: Partitioner,
}

/// See the module's text.
pub(crate) struct Writers {
    producer: Producer,
    /// Had at the moment of sending only while the partition is surely ours (I3).
    permit: Permit,
    acks: mpsc::UnboundedSender<Ack>,
    /// Outputs in the order of the graph, each with the number of its writer per partition.
    outputs: Vec<(OutputTopic, Vec<Option<u32>>)>,
    writers: Vec<Writer>,
    /// Writers with effects of the present chunk.
    touched: Vec<u32>,
    /// Rows of the present chunk that the changelog gets later.
    later: bool,
    /// A batch was handed to the producer.
    submitted: bool,
}

struct Writer {
    inner: PartitionWriter,
    /// Batches begun so far, the open one among them.
    batches: u64,
    acknowledged: u64,
    touched: bool,
    /// When the open batch got its first record, as far as this task flushes by age.
    open_since: Option<Instant>,
}

impl Writers {
    /// Writer [`CHANGELOG`] is made at once if there is a `changelog`.
    pub(crate) fn new(
        producer: Producer,
        permit: Permit,
        acks: mpsc::UnboundedSender<Ack>,
        changelog: Option<TopicPartition>,
        outputs: &[OutputTopic],
    ) -> Writers {
        let outputs = outputs
            .iter()
            .map(|output| (output.clone(), vec![None; output.partitions.max(0) as usize]));
        let mut writers = Writers {
            producer,
            permit,
            acks,
            outputs: outputs.collect(),
            writers: Vec::new(),
            touched: Vec::new(),
            later: false,
            submitted: false,
        };
        // Number 0 stays the changelog's even where nothing is persisted; its batches are then never waited for.
        if let Some(changelog) = changelog {
            writers.open(changelog);
        }
        writers
    }

    /// Appends a changelog record.
    pub(crate) fn append_changelog(
        &mut self,
        now: Instant,
        timestamp: i64,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), ProduceError> {
        self.append(CHANGELOG, now, timestamp, key, value, headers)
    }

    /// Notes that the chunk has a changelog record that is appended only later, once its window ends.
    ///
    /// # Errors
    /// The record is larger than a batch may be.
    pub(crate) fn announce_changelog(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ProduceError> {
        if let Some(changelog) = self.writers.get(CHANGELOG as usize) {
            changelog.inner.check(Some(key), value, &[])?;
        }
        self.later = true;
        Ok(())
    }

    /// Changelog batches begun so far.
    pub(crate) fn changelog_batches(&self) -> u64 {
        self.writers
            .get(CHANGELOG as usize)
            .map_or(0, |changelog| changelog.batches)
    }

    /// Appends a record for output number `output`, into the partition that its key belongs to.
    pub(crate) fn append_output(
        &mut self,
        output: usize,
        now: Instant,
        timestamp: i64,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), ProduceError> {
        let (topic, numbers) = &self.outputs[output];
        let partition = topic.partitioner.partition(key, topic.partitions);
        let number = match numbers[partition as usize] {
            Some(number) => number,
            None => {
                let number = self.open(TopicPartition::new(topic.topic.clone(), partition));
                self.outputs[output].1[partition as usize] = Some(number);
                number
            }
        };
        self.append(number, now, timestamp, key, value, headers)
    }

    fn append(
        &mut self,
        number: u32,
        now: Instant,
        timestamp: i64,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), ProduceError> {
        let writer = &mut self.writers[number as usize];
        let batch = writer.inner.append(timestamp, Some(key), value, headers)?;
        if writer.batches != batch + 1 {
            writer.batches = batch + 1;
            writer.open_since = Some(now);
            // Perhaps the one before had to go.
            self.submitted = true;
        }
        self.submitted |= !writer.inner.has_open();
        if !writer.touched {
            writer.touched = true;
            self.touched.push(number);
        }
        Ok(())
    }

    fn open(&mut self, topic_partition: TopicPartition) -> u32 {
        let number = self.writers.len() as u32;
        let inner = self
            .producer
            .partition_writer(topic_partition, self.acks.clone(), number)
            .with_permit(self.permit.clone());
        self.writers.push(Writer {
            inner,
            batches: 0,
            acknowledged: 0,
            touched: false,
            open_since: None,
        });
        number
    }

    /// Moves the marks of the chunk just finished into `marks`.
    pub(crate) fn take_marks(&mut self, marks: &mut Vec<Mark>) {
        for number in self.touched.drain(..) {
            let writer = &mut self.writers[number as usize];
            writer.touched = false;
            if number != CHANGELOG || !self.later {
                marks.push(Mark {
                    writer: number,
                    batches: writer.batches,
                });
            }
        }
        if std::mem::take(&mut self.later) {
            marks.push(Mark {
                writer: CHANGELOG,
                batches: LATER,
            });
        }
    }

    /// Whether a batch was handed to the producer by an append since this was asked last.
    pub(crate) fn take_submitted(&mut self) -> bool {
        std::mem::take(&mut self.submitted)
    }

    /// Sends every batch that is open.
    pub(crate) fn flush(&mut self) {
        for writer in &mut self.writers {
            if writer.open_since.take().is_some() {
                writer.inner.flush();
            }
        }
    }

    /// Sends the batches that have been open for `linger`.
    pub(crate) fn flush_older_than(&mut self, now: Instant, linger: Duration) {
        for writer in &mut self.writers {
            if writer
                .open_since
                .is_some_and(|since| now.duration_since(since) >= linger)
            {
                writer.open_since = None;
                writer.inner.flush();
            }
        }
    }

    /// Sends the changelog's open batch, so that the next record begins another; tells how many there are by then.
    pub(crate) fn cut_changelog(&mut self) -> u64 {
        let Some(changelog) = self.writers.get_mut(CHANGELOG as usize) else {
            return 0;
        };
        if changelog.open_since.take().is_some() {
            changelog.inner.flush();
        }
        changelog.batches
    }

    /// Counts an acknowledgement.
    pub(crate) fn handle_ack(&mut self, ack: &Ack) {
        if let Some(writer) = self.writers.get_mut(ack.writer as usize) {
            writer.acknowledged = writer.acknowledged.max(ack.batch + 1);
        }
    }

    /// Drops what was not handed to the producer, and takes back what it has not sent: the partition may be another member's.
    pub(crate) fn abandon(&mut self) {
        for mut writer in self.writers.drain(..) {
            writer.inner.abandon();
        }
        self.outputs.iter_mut().for_each(|(_, numbers)| numbers.fill(None));
    }

    /// Whether every record appended so far is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.writers.iter().all(|writer| writer.acknowledged == writer.batches)
    }
}
