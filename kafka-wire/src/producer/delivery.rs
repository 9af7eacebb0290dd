//! Who gets to hear what became of a batch, and what is freed then.

use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use crate::producer::buffers::Charge;
use crate::producer::error::ProduceError;
use crate::producer::outcome::{Ack, Outcome};
use crate::producer::receipt::Completion;
use crate::producer::shared_partition::{OpenBatch, SharedPartition};
use crate::protocol::TopicPartition;

/// Travels with a batch and ends with its outcome. Dropped without one (the driver ended with the runtime), it says so
/// itself: nobody waits for ever.
#[derive(Debug)]
pub(super) struct Delivery {
    recipient: Option<Recipient>,
    charge: Charge,
    topic_partition: TopicPartition,
    /// The driver has it, so it may have been sent.
    accepted: bool,
}

#[derive(Debug)]
pub(super) enum Recipient {
    /// The receipts of a shared batch. The partition may be gone with its last sender.
    Receipts {
        completion: Arc<Completion>,
        partition: Weak<SharedPartition>,
    },
    /// A partition writer.
    Writer {
        acks: mpsc::UnboundedSender<Ack>,
        writer: u32,
        batch: u64,
    },
}

/// A shared batch that was waiting for the one just settled, and is to be sent now.
pub(super) type Next = Option<(Arc<SharedPartition>, OpenBatch)>;

impl Delivery {
    pub(super) fn new(recipient: Recipient, charge: Charge, topic_partition: TopicPartition) -> Delivery {
        Delivery {
            recipient: Some(recipient),
            charge,
            topic_partition,
            accepted: false,
        }
    }

    /// The open batch has grown to `len` bytes.
    #[inline]
    pub(super) fn cover(&mut self, len: usize) {
        self.charge.cover(len);
    }

    /// The batch is sealed and takes `len` bytes.
    pub(super) fn sealed(&mut self, len: usize) {
        self.charge.set(len);
    }

    /// The driver has the batch.
    pub(super) fn accept(&mut self) {
        self.accepted = true;
    }

    /// Tells the outcome and gives the bytes back.
    pub(super) fn settle(mut self, outcome: Outcome) -> Next {
        self.charge.set(0);
        self.tell(outcome)
    }

    fn tell(&mut self, outcome: Outcome) -> Next {
        match self.recipient.take()? {
            Recipient::Receipts { completion, partition } => {
                completion.complete(outcome);
                let partition = partition.upgrade()?;
                partition.handle_settled().map(|next| (partition, next))
            }
            Recipient::Writer { acks, writer, batch } => {
                // Nobody listens any more: the writer's task has ended, and knows what it did not wait for.
                drop(acks.send(Ack {
                    writer,
                    batch,
                    result: outcome.into_whole(),
                }));
                None
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.recipient.is_some() {
            let error = ProduceError::closed()
                .at(&self.topic_partition)
                .with_persistence(self.accepted);
            drop(self.tell(Outcome::Whole(Err(error))));
        }
    }
}
