//! How a task comes to rest: settled, recovered once more, drained or abandoned.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use super::error::RunError;
use super::opening::{Recovering, close_store};
use super::run::{LOOK_AT_LEASE, Task};
use super::state::{Close, Control};
use crate::storage::Durability;
use crate::table::{TableError, attach, blocking, flush_done, leader_epoch, now};

impl Task {
    /// Waits until everything appended is acknowledged. No input is taken meanwhile.
    pub(super) async fn settle(&mut self) -> Result<(), RunError> {
        if self.holds_lease() {
            self.close_window(now())?;
            self.writers.flush();
        }
        while !self.is_settled() && self.holds_lease() {
            tokio::select! {
                biased;
                Some(ack) = self.acks.recv() => self.handle_ack(ack)?,
                () = tokio::time::sleep(LOOK_AT_LEASE) => {}
            }
        }
        Ok(())
    }

    /// Settles what is outstanding, then reads what the changelog has beyond the store's checkpoint, foreign records included.
    /// Gives how to end if it was asked to meanwhile; the table is gone then, and its store closed.
    pub(super) async fn recover_again(&mut self) -> Result<Option<Close>, RunError> {
        self.settle().await?;
        if !self.is_settled() {
            // The lease ran out meanwhile; the group's word comes next.
            return Ok(None);
        }
        if self.flush.is_some() {
            let done = flush_done(&mut self.flush).await;
            self.finish_flush(done)?;
        }
        self.foreign_write = false;
        let (Some(table), Some(how)) = (self.table.take(), self.how.clone()) else {
            return Ok(None);
        };
        let batches = self.writers.cut_changelog();
        let opened = attach(&how, table.topic_partition().clone(), table.store().clone()).await?;
        let mut recovering = Recovering::new(&how, &self.table_fetcher, opened);
        while !recovering.follower.is_recovered() {
            tokio::select! {
                biased;
                command = self.control.recv() => {
                    let close = match command {
                        Some(Control::Get { reply, .. }) => {
                            drop(reply);
                            continue;
                        }
                        Some(Control::Close(close)) => close,
                        None => Close::Abandon,
                    };
                    recovering.end(close).await?;
                    return Ok(Some(close));
                }
                result = recovering.step(&self.table_fetcher, &how) => result?,
            }
        }
        let mut table = recovering.finish().await?;
        table.set_acknowledged_batches(batches);
        self.table = Some(table);
        Ok(None)
    }

    /// Ends in order: everything acknowledged, the store flushed and closed.
    pub(super) async fn drain(&mut self) -> Result<(), RunError> {
        self.settle().await?;
        self.publish();
        if !self.is_settled() || self.foreign_write {
            // Not ours any more, or not a prefix of the changelog: the store keeps its last checkpoint, which is true.
            return self.abandon().await;
        }
        while self.table.as_ref().is_some_and(|table| !table.is_flushed()) {
            self.drive_flush(now(), true)?;
            let done = flush_done(&mut self.flush).await;
            self.finish_flush(done)?;
        }
        if let (Some(table), Some(how)) = (self.table.take(), &self.how) {
            let (store, mut checkpoint) = (table.store().clone(), table.checkpoint(how.client.wall_ms()));
            checkpoint.leader_epoch = leader_epoch(&how.client, table.topic_partition()).await;
            let touched = blocking(store.may_block(), move || {
                store.apply(&[], checkpoint, Durability::Deferred)
            })
            .await;
            touched.map_err(|error| TableError::store(table.topic_partition(), error))?;
            close_store(&table).await?;
        }
        self.publish();
        Ok(())
    }

    /// Ends at once: what was not sent is dropped, what was not acknowledged is not applied.
    pub(super) async fn abandon(&mut self) -> Result<(), RunError> {
        self.writers.abandon();
        if self.flush.is_some() {
            let done = flush_done(&mut self.flush).await;
            self.finish_flush(done)?;
        }
        match self.table.take() {
            Some(table) => Ok(close_store(&table).await?),
            None => Ok(()),
        }
    }
}
