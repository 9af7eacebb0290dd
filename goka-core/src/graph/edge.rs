//! The edges of a graph: the handles users hold, and what the graph keeps of each.

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use kafka_wire::Partitioner;

use super::handler::InputHandler;
use crate::codec::Codec;

/// The table type of a group without a table.
///
/// It is not a codec, so that `ctx.value()` in a group without `.persist(codec)` does not compile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stateless;

/// A topic the group writes, with its codec: declared once with [`Builder::output`](super::Builder::output), used by any callback
/// with [`Context::emit`](crate::Context::emit). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Output<C> {
    topic: Arc<str>,
    codec: C,
    partitioner: Partitioner,
}

impl<C: Codec> Output<C> {
    /// The output `topic`, whose values `codec` writes. Keys go to partitions as goka sends them.
    pub fn new(topic: impl Into<Arc<str>>, codec: C) -> Output<C> {
        Output {
            topic: topic.into(),
            codec,
            partitioner: Partitioner::Fnv1a,
        }
    }

    /// Sends keys to partitions by `partitioner`: Java's for a topic that is read together with topics that Java writes.
    pub fn with_partitioner(mut self, partitioner: Partitioner) -> Output<C> {
        self.partitioner = partitioner;
        self
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn shared_topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn codec(&self) -> &C {
        &self.codec
    }

    pub(crate) fn codec_name(&self) -> &'static str {
        short_name::<C>()
    }
}

/// The group's loop topic with its codec: declared once with [`Builder::looped`](super::Builder::looped), used by any callback
/// with [`Context::loopback`](crate::Context::loopback). The topic's name follows from the group's.
#[derive(Debug, Clone)]
pub struct Loop<C> {
    codec: C,
}

impl<C: Codec> Loop<C> {
    /// The loop, whose values `codec` writes and reads.
    pub fn new(codec: C) -> Loop<C> {
        Loop { codec }
    }

    pub(crate) fn codec(&self) -> &C {
        &self.codec
    }

    pub(crate) fn codec_name(&self) -> &'static str {
        short_name::<C>()
    }
}

/// A topic the group consumes.
#[derive(Clone)]
pub(crate) struct InputEdge {
    pub(crate) topic: Arc<str>,
    pub(crate) handler: Arc<dyn InputHandler>,
    pub(crate) is_loop: bool,
}

/// A topic the group writes.
#[derive(Debug, Clone)]
pub(crate) struct OutputEdge {
    pub(crate) topic: Arc<str>,
    pub(crate) codec: TypeId,
    pub(crate) codec_name: &'static str,
    pub(crate) partitioner: Partitioner,
    pub(crate) is_loop: bool,
}

impl OutputEdge {
    pub(super) fn of<C: Codec>(output: &Output<C>) -> OutputEdge {
        OutputEdge {
            topic: output.topic.clone(),
            codec: TypeId::of::<C>(),
            codec_name: output.codec_name(),
            partitioner: output.partitioner,
            is_loop: false,
        }
    }

    /// The loop as its writers see it; as an input it is an [`InputEdge`] too.
    pub(super) fn of_loop<C: Codec>(topic: Arc<str>, edge: &Loop<C>) -> OutputEdge {
        OutputEdge {
            topic,
            codec: TypeId::of::<C>(),
            codec_name: edge.codec_name(),
            // Rows and their readers are found by this one.
            partitioner: Partitioner::Fnv1a,
            is_loop: true,
        }
    }

    /// Whether a handle with this topic and codec is this edge. A handle usually shares the edge's own name.
    pub(super) fn is(&self, topic: &Arc<str>, codec: TypeId) -> bool {
        !self.is_loop && (Arc::ptr_eq(&self.topic, topic) || self.topic == *topic) && self.codec == codec
    }
}

impl fmt::Debug for InputEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputEdge")
            .field("topic", &self.topic)
            .field("is_loop", &self.is_loop)
            .finish_non_exhaustive()
    }
}

/// `Utf8` for `goka_core::codec::text::Utf8`: what the user wrote.
fn short_name<C>() -> &'static str {
    let name = type_name::<C>();
    let path = name.split('<').next().unwrap_or(name);
    path.rfind("::").map_or(name, |at| &name[at + 2..])
}
