//! What is known about the cluster: brokers, topics, leaders, coordinators, and when to ask again.
//!
//! Three machines without IO. [`ClusterImage`] is an immutable snapshot that responses and hints turn into the next one;
//! `Refresh` decides when Metadata is asked and for which topics; `CoordinatorCache` remembers who coordinates which group.
//! The client's driver feeds them.

mod coordinator_cache;
mod image;
mod refresh;

pub(crate) use coordinator_cache::{CoordinatorCache, CoordinatorKind};
pub(crate) use image::LeaderHint;
pub use image::{ClusterImage, PartitionImage, TopicImage};
pub(crate) use refresh::{Looked, Refresh};
