//! The storage contract: what a partition's table needs from the thing that keeps its rows.
//!
//! A store holds the rows of one partition and one [`Checkpoint`]: how far into the changelog those rows go. The two change
//! together, in one transaction, so that at any instant, also after a crash, the rows are exactly the fold of the changelog up to
//! the checkpoint. The changelog is the write-ahead log: losing the latest transactions costs reading a part of it again, while a
//! torn transaction would be a lie.
//!
//! Stores are local and synchronous; calls may block, and those that write are made on threads that may. One caller writes, many
//! read. [`Memory`] is here, `storage-redb` has the persistent one, and `testkit::store_contract` checks any of them.

mod memory;
mod range;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
pub use kafka_wire::protocol::TopicId;

pub use self::memory::Memory;
pub use self::range::KeyRange;

/// How far into its changelog a store goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next changelog offset to read: every record below it is in the rows.
    pub offset: i64,
    /// The leader epoch of the last of those records; -1 if unknown.
    pub leader_epoch: i32,
    /// The changelog topic's id; [`TopicId::ZERO`] if unknown.
    pub topic_id: TopicId,
    /// When this was written; milliseconds since 1970.
    pub written_at: i64,
}

/// A row to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its key; any bytes, also none.
    pub key: &'a [u8],
    /// Its value; `None` deletes the row, empty is a value.
    pub value: Option<&'a [u8]>,
}

/// How sure a write must be of surviving a power cut. Either way it is atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It may be lost, together with everything after it, until the next immediate write.
    Deferred,
    /// It is on the disk, with everything before it, when the call returns.
    Immediate,
}

/// Rows in ascending order of their keys' bytes.
pub type RowIter = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + Send>;

/// The rows of one partition and their checkpoint.
#[async_trait]
pub trait PartitionStore: Send + Sync + 'static {
    /// Whether calls may take long, as those on a disk do. The calls of a store that never does are made where they come up,
    /// without another thread. Default true.
    fn may_block(&self) -> bool {
        true
    }

    /// Reads the value of `key` into `into`, which is cleared first; tells whether there is one.
    ///
    /// # Errors
    /// The store fails.
    fn get(&self, key: &[u8], into: &mut Vec<u8>) -> Result<bool, StoreError>;

    /// Makes the rows of `keys` cheap to [`get`](PartitionStore::get). Stores that are local need nothing.
    ///
    /// # Errors
    /// The store fails.
    async fn prefetch(&self, _keys: &[&[u8]]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes `rows`, ascending and unique by key, and `checkpoint`, in one transaction. Writing the same again changes nothing.
    ///
    /// # Errors
    /// The store fails; then nothing of it was written.
    fn apply(&self, rows: &[Row<'_>], checkpoint: Checkpoint, durability: Durability) -> Result<(), StoreError>;

    /// Fills an empty store with `rows`, ascending and unique by key, and `checkpoint`, in one transaction, durability deferred.
    /// Stores that have a faster way than [`apply`](PartitionStore::apply) take it.
    ///
    /// # Errors
    /// The store fails; then nothing of it was written.
    fn load_sorted(
        &self,
        rows: &mut dyn Iterator<Item = (&[u8], &[u8])>,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError>;

    /// The rows of `range` as of now; later writes do not show.
    ///
    /// # Errors
    /// The store fails.
    fn scan(&self, range: KeyRange) -> Result<RowIter, StoreError>;

    /// The checkpoint last written; `None` for a store that was never written, or was wiped.
    ///
    /// # Errors
    /// The store fails.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;

    /// Whether there is no row.
    ///
    /// # Errors
    /// The store fails.
    fn is_empty(&self) -> Result<bool, StoreError>;

    /// Deletes every row and the checkpoint, durably.
    ///
    /// # Errors
    /// The store fails.
    fn wipe(&self) -> Result<(), StoreError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The store fails.
    fn sync(&self) -> Result<(), StoreError>;

    /// Makes everything durable and gives files and locks back; afterwards the same partition may be opened again, and every
    /// other call on this store fails.
    ///
    /// # Errors
    /// The store fails.
    fn close(&self) -> Result<(), StoreError>;
}

/// Whose table, and which partition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreName<'a> {
    /// The group, or the name that a view was given.
    pub owner: &'a str,
    /// The changelog topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for StoreName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}", self.owner, self.topic, self.partition)
    }
}

/// An open store.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn PartitionStore>,
    /// If what was found was damaged and has been set aside: what was wrong and where it is now. The store is then empty.
    pub rebuilt: Option<String>,
}

/// Opens stores.
pub trait StoreBuilder: Send + Sync + fmt::Debug + 'static {
    /// Whether opening may take long; see [`PartitionStore::may_block`]. Default true.
    fn may_block(&self) -> bool {
        true
    }

    /// Opens the store called `name`, making it if it does not exist.
    ///
    /// # Errors
    /// It is in use, or cannot be made.
    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError>;

    /// From now on each store that is opened may hold so many bytes in caches of its own. Builders whose stores have none, or
    /// that were told otherwise, need nothing.
    fn set_cache_bytes(&self, _bytes: usize) {}
}

impl StoreBuilder for Arc<dyn StoreBuilder> {
    fn may_block(&self) -> bool {
        self.as_ref().may_block()
    }

    fn open(&self, name: StoreName<'_>) -> Result<Opened, StoreError> {
        self.as_ref().open(name)
    }

    fn set_cache_bytes(&self, bytes: usize) {
        self.as_ref().set_cache_bytes(bytes);
    }
}

/// A store failed.
#[derive(Debug, Clone)]
pub struct StoreError {
    what: Arc<str>,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// An error while doing `what` (which names the store), because of `source`.
    pub fn new(what: impl Into<Arc<str>>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError {
            what: what.into(),
            source: Arc::from(source.into()),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store: {}: {}", self.what, self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
