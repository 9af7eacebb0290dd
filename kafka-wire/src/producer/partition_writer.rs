//! The front door for partition tasks: one owner, its own batches, no lock and no allocation per record.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::connection::Permit;
use crate::producer::buffers::Charge;
use crate::producer::delivery::{Delivery, Recipient};
use crate::producer::door::{Command, Door};
use crate::producer::driver;
use crate::producer::error::ProduceError;
use crate::producer::outcome::Ack;
use crate::producer::topic_producer::too_large;
use crate::protocol::batch::{BatchBuilder, HEADER_LEN, Header};
use crate::protocol::{Compression, TopicPartition};

/// Writes one partition in order.
///
/// Records are encoded into the writer's own batch as they are appended. A batch is compressed and submitted when it has
/// reached `batch_bytes`, or by [`PartitionWriter::flush`]; there is no timer here. Each submitted batch is answered by one
/// [`Ack`], in batch order. After the first failed one all later ones fail: the writer is to be dropped and made anew.
///
/// Dropping the writer discards what is open and leaves what is submitted to its fate; acks still come.
#[derive(Debug)]
pub struct PartitionWriter {
    door: Arc<Door>,
    topic_partition: TopicPartition,
    acks: mpsc::UnboundedSender<Ack>,
    id: u32,
    chain: u64,
    compression: Compression,
    open: Option<Open>,
    next_batch: u64,
    abandoned: bool,
    permit: Option<Permit>,
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    charge: Charge,
    since: Instant,
}

impl PartitionWriter {
    pub(super) fn new(
        door: Arc<Door>,
        topic_partition: TopicPartition,
        acks: mpsc::UnboundedSender<Ack>,
        id: u32,
    ) -> PartitionWriter {
        let chain = door.commons.next_chain();
        let compression = door.commons.config.compression_of(&topic_partition.topic);
        PartitionWriter {
            door,
            topic_partition,
            acks,
            id,
            chain,
            compression,
            open: None,
            next_batch: 0,
            abandoned: false,
            permit: None,
        }
    }

    /// Sends batches only while `permit` is given.
    pub fn with_permit(mut self, permit: Permit) -> PartitionWriter {
        self.permit = Some(permit);
        self
    }

    /// Appends a record and returns the number of the batch it is in, from 0. `timestamp` is milliseconds since the epoch.
    ///
    /// Never waits and never refuses for lack of room: ask [`Producer::has_room`](crate::producer::Producer::has_room) before
    /// taking on more work.
    ///
    /// # Errors
    /// `RecordTooLarge`; `Abandoned`, or `Closed` when a new batch would have to be begun. The record was not appended.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<u64, ProduceError> {
        let bound = BatchBuilder::size_upper_bound(key, value, headers);
        let batch_bytes = self.door.commons.config.batch_bytes;
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.builder.len() + bound > batch_bytes)
        {
            self.begin(bound)?;
        }
        let Some(open) = &mut self.open else {
            return Err(ProduceError::closed().at(&self.topic_partition));
        };
        open.builder.append(timestamp, key, value, headers);
        open.charge.cover(open.builder.len());
        let full = open.builder.len() >= batch_bytes;
        let batch = self.next_batch;
        if full {
            self.flush();
        }
        Ok(batch)
    }

    /// Whether a record could be appended, which a caller that appends it only later wants to know at once.
    ///
    /// # Errors
    /// `RecordTooLarge`.
    pub fn check(&self, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> Result<(), ProduceError> {
        self.check_bound(BatchBuilder::size_upper_bound(key, value, headers))
    }

    fn check_bound(&self, bound: usize) -> Result<(), ProduceError> {
        let most = self.door.commons.config.max_request_bytes;
        match HEADER_LEN + bound > most {
            true => Err(too_large(bound, most).at(&self.topic_partition)),
            false => Ok(()),
        }
    }

    /// Submits the open batch, if there is one. It is answered by an [`Ack`] with its number.
    pub fn flush(&mut self) {
        let Some(Open { builder, charge, .. }) = self.open.take() else {
            return;
        };
        let recipient = Recipient::Writer {
            acks: self.acks.clone(),
            writer: self.id,
            batch: self.next_batch,
        };
        let delivery = Delivery::new(recipient, charge, self.topic_partition.clone());
        self.next_batch += 1;
        let sealed = builder.seal(self.compression);
        self.door.submit(
            &self.topic_partition,
            sealed,
            Some(self.chain),
            self.permit.clone(),
            delivery,
        );
    }

    /// Gives up the partition: discards the open batch, and takes back submitted batches that are not in flight. Each of
    /// those is answered by an [`Ack`] of kind `Abandoned`, not persisted unless an earlier attempt went unanswered. What is
    /// in flight is answered as the broker decides, and not sent again. Nothing can be appended afterwards.
    pub fn abandon(&mut self) {
        self.open = None;
        if !std::mem::replace(&mut self.abandoned, true) {
            self.door
                .tell(Command::Abandon(self.topic_partition.clone(), self.chain));
        }
    }

    /// Whether records are appended that were not submitted.
    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the first record of the open batch was appended.
    pub fn open_since(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since)
    }

    /// The number of the open batch, or of the next one if none is open.
    pub fn open_batch(&self) -> u64 {
        self.next_batch
    }

    /// Where the writer writes.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Begins a batch that a record of `bound` bytes fits into.
    #[cold]
    fn begin(&mut self, bound: usize) -> Result<(), ProduceError> {
        self.check_bound(bound)?;
        if self.abandoned {
            return Err(ProduceError::abandoned().at(&self.topic_partition));
        }
        if self.door.commons.is_closed() {
            return Err(ProduceError::closed().at(&self.topic_partition));
        }
        self.flush();
        let commons = &self.door.commons;
        self.open = Some(Open {
            builder: BatchBuilder::new(commons.buffers.take()),
            charge: Charge::new(&commons.budget),
            since: driver::now(),
        });
        Ok(())
    }
}

impl Drop for PartitionWriter {
    fn drop(&mut self) {
        self.door.tell(Command::ChainClosed(self.chain));
    }
}
