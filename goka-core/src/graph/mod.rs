//! The group graph: which topics a group reads, which it writes, and what it does with each record.
//!
//! ```text
//!        input user-click --+                    +--> output received
//!        input user-view  --+--> callbacks ------+
//!   +--> loop  g-loop     --+       ^  |         +--> loop g-loop --+
//!   |                               |  v                            |
//!   |                        group table g-table                    |
//!   +---------------------------------------------------------------+
//! ```
//!
//! A graph is declared with [`Builder`], which refuses what cannot work, and is then fixed: [`GroupGraph`] keeps the type of the
//! table for the users of `get` and `view`, `GroupGraphCore` inside is the same without types, for the partition loop.
//!
//! Topic names are goka's, so that Go and Rust instances can share a group: `<group>-table` and `<group>-loop`.

mod builder;
mod edge;
mod handler;
mod topic_name;

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

pub use builder::{Builder, GraphError};
pub(crate) use edge::{InputEdge, OutputEdge};
pub use edge::{Loop, Output, Stateless};
pub(crate) use handler::Handled;
pub use topic_name::TopicNameError;

use crate::codec::Codec;
use crate::context::{CallbackError, CallbackErrorKind};

/// The name of a group's table, which is also the topic a view of it reads.
pub fn group_table(group: &str) -> String {
    format!("{group}-table")
}

fn group_loop(group: &str) -> String {
    format!("{group}-loop")
}

/// A valid group graph. Cheap to clone.
///
/// `T` is the codec of the group table, or [`Stateless`].
#[derive(Clone)]
pub struct GroupGraph<T = Stateless> {
    core: Arc<GroupGraphCore>,
    table: T,
}

/// A group graph without types.
pub(crate) struct GroupGraphCore {
    group: Arc<str>,
    table_topic: Option<Arc<str>>,
    coalesces: bool,
    // In the order of declaration, the loop last: also the order of goka's subscription.
    inputs: Vec<InputEdge>,
    input_topics: Vec<Arc<str>>,
    // In the order of declaration, the loop last.
    outputs: Vec<OutputEdge>,
}

impl GroupGraph {
    /// Starts the graph of `group`, which is also the name of its Kafka consumer group.
    pub fn builder(group: impl Into<Arc<str>>) -> Builder<Stateless> {
        Builder::new(group.into())
    }
}

impl<T> GroupGraph<T> {
    /// The group's name.
    pub fn group(&self) -> &str {
        &self.core.group
    }

    /// The input topics in the order of their declaration, without the loop.
    pub fn input_topics(&self) -> impl Iterator<Item = &str> {
        self.core
            .inputs
            .iter()
            .filter(|input| !input.is_loop)
            .map(|input| &*input.topic)
    }

    /// The output topics in the order of their declaration.
    pub fn output_topics(&self) -> impl Iterator<Item = &str> {
        self.core
            .outputs
            .iter()
            .filter(|output| !output.is_loop)
            .map(|output| &*output.topic)
    }

    /// The group table's changelog topic, if the group has a table.
    pub fn table_topic(&self) -> Option<&str> {
        self.core.table_topic().map(|topic| &**topic)
    }

    /// The loop topic, if the group has a loop.
    pub fn loop_topic(&self) -> Option<&str> {
        self.core.loop_topic().map(|topic| &**topic)
    }

    pub(crate) fn core(&self) -> &Arc<GroupGraphCore> {
        &self.core
    }

    /// The codec of the group table, or [`Stateless`].
    pub(crate) fn table_codec(&self) -> &T {
        &self.table
    }
}

impl GroupGraphCore {
    pub(crate) fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// The topics of [`inputs`](GroupGraphCore::inputs), which are the group's subscription.
    pub(crate) fn input_topics(&self) -> &[Arc<str>] {
        &self.input_topics
    }

    /// Every topic the group consumes, the loop last.
    pub(crate) fn inputs(&self) -> &[InputEdge] {
        &self.inputs
    }

    /// Every topic the group writes except its changelog, the loop last; an index into them is what an emit carries.
    pub(crate) fn outputs(&self) -> &[OutputEdge] {
        &self.outputs
    }

    pub(crate) fn table_topic(&self) -> Option<&Arc<str>> {
        self.table_topic.as_ref()
    }

    /// Whether the changelog gets only the last value per key of each commit interval.
    pub(crate) fn coalesces(&self) -> bool {
        self.coalesces
    }

    pub(crate) fn loop_topic(&self) -> Option<&Arc<str>> {
        self.loop_edge().map(|(_, edge)| &edge.topic)
    }

    /// Where in [`outputs`](GroupGraphCore::outputs) this output is.
    pub(crate) fn output_index<C: Codec>(&self, output: &Output<C>) -> Result<usize, CallbackError> {
        let declared = self
            .outputs
            .iter()
            .position(|edge| edge.is(output.shared_topic(), TypeId::of::<C>()));
        declared.ok_or_else(|| self.undeclared_output(output))
    }

    /// Where in [`outputs`](GroupGraphCore::outputs) the loop is, if `edge` is the one this graph declares.
    pub(crate) fn loop_index<C: Codec>(&self, edge: &Loop<C>) -> Result<usize, CallbackError> {
        match self.loop_edge() {
            Some((index, declared)) if declared.codec == TypeId::of::<C>() => Ok(index),
            Some((_, declared)) => Err(undeclared(format!(
                "the loop {} of group {} is declared with codec {}, this loopback uses {}",
                declared.topic,
                self.group,
                declared.codec_name,
                edge.codec_name(),
            ))),
            None => Err(undeclared(format!(
                "group {} declares no loop; add `.looped(&edge, callback)` to its group graph",
                self.group
            ))),
        }
    }

    fn loop_edge(&self) -> Option<(usize, &OutputEdge)> {
        self.outputs.iter().enumerate().find(|(_, edge)| edge.is_loop)
    }

    #[cold]
    fn undeclared_output<C: Codec>(&self, output: &Output<C>) -> CallbackError {
        let topic = output.topic();
        undeclared(
            match self.outputs.iter().find(|edge| !edge.is_loop && *edge.topic == *topic) {
                Some(declared) => format!(
                    "output {topic} of group {} is declared with codec {}, this emit uses {}",
                    self.group,
                    declared.codec_name,
                    output.codec_name(),
                ),
                None => format!(
                    "group {} declares no output {topic}; add `.output(&handle)` with the handle of {topic} to its group graph",
                    self.group
                ),
            },
        )
    }
}

fn undeclared(text: String) -> CallbackError {
    CallbackError::new(CallbackErrorKind::Undeclared, "", text)
}

impl<T> fmt::Debug for GroupGraph<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupGraph")
            .field("group", &self.group())
            .field("inputs", &self.input_topics().collect::<Vec<_>>())
            .field("loop", &self.loop_topic())
            .field("outputs", &self.output_topics().collect::<Vec<_>>())
            .field("table", &self.table_topic())
            .finish()
    }
}
