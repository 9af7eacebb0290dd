//! Declaring a graph, and refusing one that cannot work.

use std::sync::Arc;

use super::edge::{InputEdge, Loop, Output, OutputEdge, Stateless};
use super::handler::{InputHandler, TypedInput};
use super::topic_name::{TopicNameError, check_topic_name};
use super::{GroupGraph, GroupGraphCore, group_loop, group_table};
use crate::codec::Codec;
use crate::context::{CallbackError, Context};

/// A group graph while it is declared. `T` is the codec of the group table, or [`Stateless`].
///
/// ```
/// use goka_core::{GroupGraph, Int64, Loop, Output, Utf8};
///
/// let welcomed = Output::new("user-welcomed", Utf8);
/// let again = Loop::new(Utf8);
/// let graph = GroupGraph::builder("greeter")
///     .persist(Int64)
///     .output(&welcomed)
///     .input("user-click", Utf8, {
///         let again = again.clone();
///         move |ctx, click: String| {
///             let clicks = ctx.value()?.unwrap_or(0) + 1;
///             if clicks == 1 {
///                 ctx.emit(&welcomed, ctx.key(), "hello")?;
///             }
///             ctx.loopback(&again, "everybody", &click)?;
///             ctx.set_value(&clicks)
///         }
///     })
///     .looped(&again, |ctx, _click| {
///         let total = ctx.value()?.unwrap_or(0) + 1;
///         ctx.set_value(&total)
///     })
///     .build()?;
/// assert_eq!(graph.table_topic(), Some("greeter-table"));
/// assert_eq!(graph.loop_topic(), Some("greeter-loop"));
/// # Ok::<(), goka_core::GraphError>(())
/// ```
#[must_use = "a graph exists once it is built"]
pub struct Builder<T> {
    group: Arc<str>,
    table: T,
    has_table: bool,
    coalesces: bool,
    inputs: Vec<InputEdge>,
    // More than one is an error of `build`.
    loops: Vec<(OutputEdge, InputEdge)>,
    outputs: Vec<OutputEdge>,
}

/// Why a group graph does not build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The group has no name.
    #[error("the group has no name; it becomes the consumer group and the prefix of the group's own topics")]
    EmptyGroup,
    /// The group has nothing to do.
    #[error("group {group} has no input; add `.input(topic, codec, callback)`")]
    NoInput {
        /// The group.
        group: String,
    },
    /// A topic has a name that Kafka refuses. For the table and the loop the group's name is at fault.
    #[error("{edge}: {source}")]
    TopicName {
        /// The edge, as in `input user-click`.
        edge: String,
        /// What is wrong with the name.
        source: TopicNameError,
    },
    /// An input or an output is declared twice.
    #[error("{edge} is declared twice; one topic is one edge of its kind")]
    Duplicate {
        /// The edge, as in `input user-click`.
        edge: String,
    },
    /// A group has at most one loop.
    #[error("group {group} has more than one loop; it has one loop topic, hence one codec and one callback")]
    SecondLoop {
        /// The group.
        group: String,
    },
    /// An edge uses the topic of the group's own table or loop.
    #[error("{edge} uses the group's own topic; {instead}")]
    OwnTopic {
        /// The edge, as in `output clicks-table`.
        edge: String,
        /// What to use instead.
        instead: &'static str,
    },
}

impl Builder<Stateless> {
    pub(super) fn new(group: Arc<str>) -> Builder<Stateless> {
        Builder {
            group,
            table: Stateless,
            has_table: false,
            coalesces: false,
            inputs: Vec::new(),
            loops: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Gives the group a table, whose values `codec` writes. Comes before the edges whose callbacks use it.
    pub fn persist<T: Codec>(self, codec: T) -> Builder<T> {
        Builder {
            group: self.group,
            table: codec,
            has_table: true,
            coalesces: false,
            inputs: self.inputs,
            loops: self.loops,
            outputs: self.outputs,
        }
    }
}

impl<T: Codec> Builder<T> {
    /// Writes rows of the group table to its changelog once per commit interval, each with its last value, instead of every
    /// update: far fewer records where keys are updated often. Off by default.
    ///
    /// Nothing else changes for the group itself: its callbacks see every update at once, and an offset is committed only when the
    /// changelog has acknowledged the rows that its record wrote. Views and other readers of the table skip the values in between,
    /// and see an update up to a commit interval later. A row that is set with headers or a timestamp is written at once.
    pub fn coalesced(mut self) -> Builder<T> {
        self.coalesces = true;
        self
    }
}

impl<T: Clone + Send + Sync + 'static> Builder<T> {
    /// Reads `topic`: each record's value is decoded with `codec` and handed to `callback`.
    ///
    /// Records of one key arrive in order and one at a time. Records without a value are skipped, unless the codec says otherwise
    /// ([`Nullable`](crate::Nullable)). All inputs need the same number of partitions.
    pub fn input<C, F>(self, topic: impl Into<Arc<str>>, codec: C, callback: F) -> Builder<T>
    where
        C: Codec,
        F: Fn(&mut Context<'_, T>, C::Value) -> Result<(), CallbackError> + Send + Sync + 'static,
    {
        self.inputs([topic], codec, callback)
    }

    /// Reads several topics with one codec and one callback; [`Context::topic`] tells them apart. None at all is fine, as in goka.
    pub fn inputs<C, F>(
        mut self,
        topics: impl IntoIterator<Item = impl Into<Arc<str>>>,
        codec: C,
        callback: F,
    ) -> Builder<T>
    where
        C: Codec,
        F: Fn(&mut Context<'_, T>, C::Value) -> Result<(), CallbackError> + Send + Sync + 'static,
    {
        let handler = self.handler(codec, callback);
        self.inputs.extend(topics.into_iter().map(|topic| InputEdge {
            topic: topic.into(),
            handler: handler.clone(),
            is_loop: false,
        }));
        self
    }

    /// Reads the group's own loop topic, to which [`Context::loopback`] writes: the way to a row of another key.
    pub fn looped<C, F>(mut self, edge: &Loop<C>, callback: F) -> Builder<T>
    where
        C: Codec,
        F: Fn(&mut Context<'_, T>, C::Value) -> Result<(), CallbackError> + Send + Sync + 'static,
    {
        let topic: Arc<str> = group_loop(&self.group).into();
        let handler = self.handler(edge.codec().clone(), callback);
        let input = InputEdge {
            topic: topic.clone(),
            handler,
            is_loop: true,
        };
        self.loops.push((OutputEdge::of_loop(topic, edge), input));
        self
    }

    /// Allows callbacks to emit to this output.
    pub fn output<C: Codec>(mut self, output: &Output<C>) -> Builder<T> {
        self.outputs.push(OutputEdge::of(output));
        self
    }

    /// Checks the graph.
    ///
    /// # Errors
    /// [`GraphError`] names the first edge that cannot work and what to do about it.
    pub fn build(mut self) -> Result<GroupGraph<T>, GraphError> {
        self.validate()?;
        let table_topic = self.has_table.then(|| Arc::from(group_table(&self.group)));
        if let Some((output, input)) = self.loops.pop() {
            self.outputs.push(output);
            self.inputs.push(input);
        }
        let input_topics = self.inputs.iter().map(|edge| edge.topic.clone()).collect();
        let core = GroupGraphCore {
            group: self.group,
            table_topic,
            coalesces: self.coalesces,
            inputs: self.inputs,
            input_topics,
            outputs: self.outputs,
        };
        Ok(GroupGraph {
            core: Arc::new(core),
            table: self.table,
        })
    }

    fn handler<C, F>(&self, codec: C, callback: F) -> Arc<dyn InputHandler>
    where
        C: Codec,
        F: Fn(&mut Context<'_, T>, C::Value) -> Result<(), CallbackError> + Send + Sync + 'static,
    {
        Arc::new(TypedInput {
            table: self.table.clone(),
            codec,
            callback,
        })
    }

    /// goka's `GroupGraph.Validate`, and what goka finds out at run time.
    fn validate(&self) -> Result<(), GraphError> {
        if self.group.is_empty() {
            return Err(GraphError::EmptyGroup);
        }
        if self.inputs.is_empty() {
            return Err(GraphError::NoInput {
                group: self.group.to_string(),
            });
        }
        if self.loops.len() > 1 {
            return Err(GraphError::SecondLoop {
                group: self.group.to_string(),
            });
        }
        let (table, looped) = (group_table(&self.group), group_loop(&self.group));
        if self.has_table {
            named("group table", &table)?;
        }
        if !self.loops.is_empty() {
            named("loop", &looped)?;
        }
        let inputs: Vec<&str> = self.inputs.iter().map(|edge| &*edge.topic).collect();
        let outputs: Vec<&str> = self.outputs.iter().map(|edge| &*edge.topic).collect();
        for (kind, topics) in [("input", &inputs), ("output", &outputs)] {
            for (index, topic) in topics.iter().enumerate() {
                named(kind, topic)?;
                let edge = || format!("{kind} {topic}");
                if topics[..index].contains(topic) {
                    return Err(GraphError::Duplicate { edge: edge() });
                }
                if **topic == table {
                    return Err(GraphError::OwnTopic {
                        edge: edge(),
                        instead: "the group table is read and written with `ctx.value`, `ctx.set_value` and `ctx.delete`",
                    });
                }
                if **topic == looped {
                    return Err(GraphError::OwnTopic {
                        edge: edge(),
                        instead: "the loop is declared with `.looped(&edge, callback)` and written with `ctx.loopback`",
                    });
                }
            }
        }
        Ok(())
    }
}

fn named(kind: &str, topic: &str) -> Result<(), GraphError> {
    check_topic_name(topic).map_err(|source| GraphError::TopicName {
        edge: format!("{kind} {topic}"),
        source,
    })
}

#[cfg(test)]
mod tests;
