//! Opening a partition's table: the store, its checkpoint, and whether the changelog lets it go on from there.

#![allow(
    clippy::disallowed_methods,
    reason = "driver: asks brokers, opens files, reads the clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_wire::admin::OffsetSpec;
use kafka_wire::{Client, IsolationLevel, TopicId, TopicPartition};

use super::TableError;
use super::trust::{Changelog, Verdict, judge};
use super::{Room, Table, TableLimits};
use crate::storage::{Opened, PartitionStore, StoreBuilder, StoreName};

/// How long a flush waits to learn its leader epoch: neither flushes nor a stop may hang on a broker that is away.
const EPOCH_PATIENCE: Duration = Duration::from_secs(5);

/// What it takes to open a table.
#[derive(Clone)]
pub(crate) struct OpenTable {
    pub(crate) client: Client,
    pub(crate) stores: Arc<dyn StoreBuilder>,
    /// Group or view the store belongs to.
    pub(crate) owner: Arc<str>,
    pub(crate) limits: TableLimits,
    /// What all tables of the instance hold together.
    pub(crate) room: Arc<Room>,
    /// `delete.retention.ms` of the changelog.
    pub(crate) delete_retention_ms: i64,
}

/// A table and the part of the changelog that it has not seen.
pub(crate) struct OpenedTable {
    pub(crate) table: Table,
    /// The table is complete once it has been followed to here.
    pub(crate) target: i64,
}

/// Opens the table of `topic_partition`; a store that cannot be trusted is wiped, with the reason in the log.
///
/// # Errors
/// The store cannot be opened or wiped, or the broker does not tell the changelog's offsets.
pub(crate) async fn open_table(how: &OpenTable, topic_partition: TopicPartition) -> Result<OpenedTable, TableError> {
    let opened = open_store(how, &topic_partition).await?;
    if let Some(reason) = opened.rebuilt {
        tracing::warn!(%topic_partition, %reason, "damaged store set aside; its table is rebuilt from the changelog");
    }
    attach(how, topic_partition, opened.store).await
}

/// Judges an open store against the changelog as it is now; also used when a follower fell off the log.
pub(crate) async fn attach(
    how: &OpenTable,
    topic_partition: TopicPartition,
    store: Arc<dyn PartitionStore>,
) -> Result<OpenedTable, TableError> {
    let checkpoint = store
        .checkpoint()
        .map_err(|error| TableError::store(&topic_partition, error))?;
    let epoch = checkpoint.map_or(-1, |checkpoint| checkpoint.leader_epoch);
    let changelog = changelog(how, &topic_partition, epoch).await?;
    let start = match judge(checkpoint, changelog, how.client.wall_ms()) {
        Verdict::Resume(offset) | Verdict::Fresh(offset) => offset,
        Verdict::Wipe(reason) => {
            tracing::warn!(%topic_partition, %reason, "store cannot be trusted; wiping it and reading the whole changelog");
            let store = store.clone();
            blocking(store.may_block(), move || store.wipe())
                .await
                .map_err(|error| TableError::store(&topic_partition, error))?;
            changelog.log_start
        }
    };
    let table = Table::new(
        topic_partition,
        store,
        (how.limits, how.room.clone()),
        changelog.topic_id,
        start,
    );
    Ok(OpenedTable {
        table,
        target: changelog.log_end,
    })
}

async fn open_store(how: &OpenTable, topic_partition: &TopicPartition) -> Result<Opened, TableError> {
    let (stores, owner, tp) = (how.stores.clone(), how.owner.clone(), topic_partition.clone());
    let open = move || {
        stores.open(StoreName {
            owner: &owner,
            topic: &tp.topic,
            partition: tp.partition,
        })
    };
    blocking(how.stores.may_block(), open)
        .await
        .map_err(|error| TableError::store(topic_partition, error))
}

async fn changelog(how: &OpenTable, tp: &TopicPartition, epoch: i32) -> Result<Changelog, TableError> {
    let failed = |error| TableError::broker(tp, error);
    let admin = how.client.admin();
    let isolation = IsolationLevel::ReadUncommitted;
    let earliest = admin
        .list_offsets(&[(tp.clone(), OffsetSpec::Earliest)], isolation)
        .await
        .map_err(failed)?;
    let latest = admin
        .list_offsets(&[(tp.clone(), OffsetSpec::Latest)], isolation)
        .await
        .map_err(failed)?;
    let (Some(earliest), Some(latest)) = (earliest.get(tp), latest.get(tp)) else {
        return Err(TableError::no_offsets(tp));
    };
    let epoch_end = match epoch {
        0.. => admin.epoch_end_offset(tp, epoch).await.map_err(failed)?,
        _ => None,
    };
    let topic_id = how
        .client
        .cluster()
        .topic(&tp.topic)
        .map_or(TopicId::ZERO, |topic| topic.id);
    Ok(Changelog {
        topic_id,
        log_start: earliest.offset,
        log_end: latest.offset,
        epoch_end,
        delete_retention_ms: how.delete_retention_ms,
    })
}

/// The leader epoch that the log of `topic_partition` is in now; -1 if it cannot be learnt soon, which only means that the next
/// opening cannot check it.
pub(crate) async fn leader_epoch(client: &Client, topic_partition: &TopicPartition) -> i32 {
    let question = [(topic_partition.clone(), OffsetSpec::Latest)];
    let admin = client.admin();
    let listed = admin.list_offsets(&question, IsolationLevel::ReadUncommitted);
    match tokio::time::timeout(EPOCH_PATIENCE, listed).await {
        Ok(Ok(listed)) => listed.get(topic_partition).map_or(-1, |listed| listed.leader_epoch),
        Ok(Err(error)) => {
            tracing::debug!(%topic_partition, %error, "leader epoch not learnt");
            -1
        }
        Err(_) => {
            tracing::debug!(%topic_partition, waited = ?EPOCH_PATIENCE, "leader epoch not learnt");
            -1
        }
    }
}

/// Runs `f`, on a thread of its own if it `may_block`; a panic in it comes back as its own.
pub(crate) async fn blocking<R: Send + 'static>(may_block: bool, f: impl FnOnce() -> R + Send + 'static) -> R {
    if !may_block {
        return f();
    }
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down: nobody waits for an answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The clock of all drivers: tokio's, so that a simulation may pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
