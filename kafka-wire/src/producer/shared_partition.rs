//! The batch that all senders of a partition share, behind a short lock.
//!
//! ```text
//!   send --> open --full, or nothing unanswered--> closed batches --sealed outside the lock--> driver
//!              \--linger over, or the answer came--^
//! ```
//!
//! With nothing unanswered a record leaves at once and waits for no timer. While a batch is unanswered, records collect in
//! the next one until it is full, the answer comes, or `linger` is over. Sealing (which may compress) happens outside the lock
//! and one batch at a time, so that batches reach the driver in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::producer::buffers::Charge;
use crate::producer::delivery::{Delivery, Recipient};
use crate::producer::door::{Command, Door};
use crate::producer::error::ProduceError;
use crate::producer::receipt::{Completion, Receipt};
use crate::producer::topic_producer::ProducerRecord;
use crate::protocol::batch::BatchBuilder;
use crate::protocol::{Compression, TopicPartition};

/// The shared batches of one partition.
#[derive(Debug)]
pub(super) struct SharedPartition {
    door: Arc<Door>,
    topic_partition: TopicPartition,
    compression: Compression,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<OpenBatch>,
    closed: VecDeque<OpenBatch>,
    /// The batch that someone is sealing right now.
    sealing: Option<Arc<Completion>>,
    /// Batches closed and without outcome.
    unsettled: usize,
    next_serial: u64,
}

/// A batch that is not sealed yet.
#[derive(Debug)]
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    completion: Arc<Completion>,
    delivery: Delivery,
    serial: u64,
}

impl OpenBatch {
    /// Whether sealing it takes long enough to be kept off the driver's task.
    pub(super) fn is_costly(&self, compression: Compression) -> bool {
        compression != Compression::None && self.builder.len() > 16 << 10
    }
}

/// A promise to look at an open batch again after `linger`. Dropped unkept, it fails the batch: the driver is gone.
#[derive(Debug)]
pub(super) struct Lingering {
    partition: Arc<SharedPartition>,
    serial: u64,
    pub(super) since: Option<Instant>,
}

impl Lingering {
    /// The linger time is over: what is to be sealed now, unless it already was.
    pub(super) fn end(self) -> Option<(Arc<SharedPartition>, OpenBatch)> {
        let partition = Arc::clone(&self.partition);
        let batch = {
            let mut state = partition.lock();
            if state.open.as_ref().is_some_and(|open| open.serial == self.serial) {
                state.close_open();
            }
            state.next_to_seal()
        };
        batch.map(|batch| (partition, batch))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let abandoned = {
            let mut state = self.partition.lock();
            state.open.take_if(|open| open.serial == self.serial)
        };
        drop(abandoned);
    }
}

impl SharedPartition {
    pub(super) fn new(door: Arc<Door>, topic_partition: TopicPartition) -> SharedPartition {
        let compression = door.commons.config.compression_of(&topic_partition.topic);
        SharedPartition {
            door,
            topic_partition,
            compression,
            state: Mutex::default(),
        }
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Appends a record of at most `bound` bytes.
    pub(super) fn append(
        self: &Arc<Self>,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        bound: usize,
    ) -> Result<Receipt, ProduceError> {
        let config = &self.door.commons.config;
        let mut state = self.lock();
        // Under the lock: whoever closes the producer then finds every batch that was begun before.
        if self.door.commons.is_closed() {
            return Err(ProduceError::closed().at(&self.topic_partition));
        }
        if state
            .open
            .as_ref()
            .is_some_and(|open| open.builder.len() + bound > config.batch_bytes)
        {
            state.close_open();
        }
        let begun = state.open.is_none();
        let serial = state.next_serial;
        let open = state.open.get_or_insert_with(|| self.begin(serial));
        let index = open.builder.append(timestamp, record.key, record.value, record.headers);
        open.delivery.cover(open.builder.len());
        let receipt = Receipt::new(
            Arc::clone(&open.completion),
            self.topic_partition.partition,
            index,
            timestamp,
        );
        let full = open.builder.len() >= config.batch_bytes;
        if full || state.unsettled == 0 || config.linger.is_zero() {
            state.close_open();
        } else if begun {
            state.next_serial += 1;
            self.door.tell(Command::Linger(Lingering {
                partition: Arc::clone(self),
                serial,
                since: None,
            }));
        }
        let seal = state.next_to_seal();
        drop(state);
        if let Some(batch) = seal {
            self.seal(batch);
        }
        Ok(receipt)
    }

    /// Seals and submits `batch` and whatever is closed meanwhile.
    pub(super) fn seal(&self, batch: OpenBatch) {
        let mut next = Some(batch);
        while let Some(OpenBatch { builder, delivery, .. }) = next {
            let sealed = builder.seal(self.compression);
            self.door.submit(&self.topic_partition, sealed, None, None, delivery);
            let mut state = self.lock();
            state.sealing = None;
            next = state.next_to_seal();
        }
    }

    /// A batch has its outcome; what waited for it is to be sealed now.
    pub(super) fn handle_settled(&self) -> Option<OpenBatch> {
        let mut state = self.lock();
        state.unsettled = state.unsettled.saturating_sub(1);
        if state.unsettled == 0 {
            state.close_open();
        }
        state.next_to_seal()
    }

    /// Sends what is open. Adds the batches that others are about to submit to `unsubmitted`.
    pub(super) fn flush(&self, unsubmitted: &mut Vec<Arc<Completion>>) {
        let mut state = self.lock();
        state.close_open();
        match state.next_to_seal() {
            Some(batch) => {
                drop(state);
                self.seal(batch);
            }
            None => {
                unsubmitted.extend(state.sealing.clone());
                unsubmitted.extend(state.closed.iter().map(|batch| Arc::clone(&batch.completion)));
            }
        }
    }

    fn begin(self: &Arc<Self>, serial: u64) -> OpenBatch {
        let commons = &self.door.commons;
        let completion = Arc::new(Completion::default());
        let recipient = Recipient::Receipts {
            completion: Arc::clone(&completion),
            partition: Arc::downgrade(self),
        };
        let delivery = Delivery::new(recipient, Charge::new(&commons.budget), self.topic_partition.clone());
        OpenBatch {
            builder: BatchBuilder::new(commons.buffers.take()),
            completion,
            delivery,
            serial,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes of one update.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.unsettled += 1;
            self.closed.push_back(open);
        }
    }

    /// The oldest closed batch, unless someone is sealing one before it (and will come back for this one).
    fn next_to_seal(&mut self) -> Option<OpenBatch> {
        if self.sealing.is_some() {
            return None;
        }
        let batch = self.closed.pop_front()?;
        self.sealing = Some(Arc::clone(&batch.completion));
        Some(batch)
    }
}
