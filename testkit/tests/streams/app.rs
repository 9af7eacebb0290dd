//! The application under test: clicks are counted per user.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::storage::{Memory, StoreBuilder};
use goka_core::{
    Client, Emitter, GroupGraph, Int64, Processor, ProcessorConfig, RunError, Running, RunningView, Utf8, View,
    ViewConfig,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::rpc::ConnectionClass;
use storage_redb::Redb;

use crate::cluster::{Cluster, eventually, unique, within};

/// Partitions of the input.
pub(crate) const PARTITIONS: i32 = 4;

/// One group with its input topic and a directory for its stores.
pub(crate) struct App {
    pub(crate) cluster: Cluster,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) table: String,
    pub(crate) state: PathBuf,
    pub(crate) coalesced: bool,
}

impl App {
    /// With an empty input topic.
    pub(crate) async fn new(cluster: Cluster) -> App {
        // What RUST_LOG asks for is shown of tests that fail; the first test of a process sets it up for all.
        let logs = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
        let _ = logs.with_ansi(false).with_test_writer().try_init();
        let topic = cluster.topic(PARTITIONS, &[]).await;
        let group = unique("group");
        let table = format!("{group}-table");
        let state = std::env::temp_dir().join(&group);
        App {
            cluster,
            topic,
            group,
            table,
            state,
            coalesced: false,
        }
    }

    /// One whose changelog gets only the last value per key of each commit interval.
    pub(crate) async fn coalesced(cluster: Cluster) -> App {
        let mut app = App::new(cluster).await;
        app.coalesced = true;
        app
    }

    /// The graph that counts: one row per key.
    pub(crate) fn graph(&self) -> GroupGraph<Int64> {
        let graph = GroupGraph::builder(self.group.as_str()).persist(Int64);
        let graph = if self.coalesced { graph.coalesced() } else { graph };
        let graph = graph.input(self.topic.as_str(), Utf8, |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        });
        graph.build().unwrap()
    }

    /// A store builder below the application's directory.
    pub(crate) fn redb(&self, who: &str) -> Redb {
        Redb::at(self.state.join(who))
    }

    /// Starts an instance on a client of its own.
    pub(crate) async fn start<T: Clone>(&self, graph: GroupGraph<T>, stores: impl StoreBuilder) -> Running<T> {
        self.try_start(graph, stores).await.unwrap()
    }

    /// Starts an instance that counts, and waits until all its partitions run.
    pub(crate) async fn running(&self, stores: impl StoreBuilder) -> Running<Int64> {
        let running = self.start(self.graph(), stores).await;
        ready(&running).await;
        running
    }

    pub(crate) async fn try_start<T: Clone>(
        &self,
        graph: GroupGraph<T>,
        stores: impl StoreBuilder,
    ) -> Result<Running<T>, RunError> {
        self.start_with(self.cluster.new_client(), graph, stores).await
    }

    pub(crate) async fn start_with<T: Clone>(
        &self,
        client: Client,
        graph: GroupGraph<T>,
        stores: impl StoreBuilder,
    ) -> Result<Running<T>, RunError> {
        let processor = Processor::new(client, graph, stores).unwrap().with_config(quick());
        within("a processor's start", processor.start()).await
    }

    /// Starts a view of the table, kept in memory.
    pub(crate) async fn view(&self) -> RunningView<Int64> {
        let view = View::new(self.cluster.new_client(), self.table.as_str(), Int64, Memory::new()).unwrap();
        let config = ViewConfig {
            flush_interval: Duration::from_millis(200),
            ..ViewConfig::default()
        };
        within("a view's start", view.with_config(config).start())
            .await
            .unwrap()
    }

    /// Emits one click per key and waits until they are written.
    pub(crate) async fn click<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) {
        self.click_into(&self.topic, keys).await;
    }

    /// The same for any topic.
    pub(crate) async fn click_into<K: AsRef<[u8]>>(&self, topic: &str, keys: impl IntoIterator<Item = K>) {
        let emitter = within("an emitter", Emitter::new(self.cluster.new_client(), topic, Utf8))
            .await
            .unwrap();
        for key in keys {
            emitter.ready().await;
            drop(emitter.emit(key, "click").unwrap());
        }
        within("the last acknowledgement", emitter.finish()).await.unwrap();
    }

    /// Emits `keys` little by little until `done`, and gives how many were written.
    pub(crate) async fn click_until(&self, keys: &[String], done: &AtomicBool) -> usize {
        let mut written = 0;
        for some in keys.chunks(50) {
            if done.load(Ordering::SeqCst) {
                break;
            }
            self.click(some).await;
            written += some.len();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        written
    }

    /// Waits until the group has committed everything that the input holds.
    pub(crate) async fn until_committed(&self) {
        self.until_all_committed(&[&self.topic]).await;
    }

    /// Waits until the group has committed everything that `topics` hold.
    pub(crate) async fn until_all_committed(&self, topics: &[&str]) {
        for topic in topics {
            let mut ends = BTreeMap::new();
            for partition in 0..PARTITIONS {
                ends.insert(partition, self.cluster.bounds(topic, partition).await.1);
            }
            eventually("the last commit", || async {
                let committed = self.committed_in(topic).await;
                ends.iter()
                    .all(|(number, end)| *end == 0 || committed.get(number) == Some(end))
            })
            .await;
        }
    }

    /// Waits until all is committed, when changelog and table must have counted exactly `clicks`.
    pub(crate) async fn until_counted(&self, running: &Running<Int64>, clicks: &[String]) {
        self.until_committed().await;
        let truth = truth(clicks);
        assert_eq!(self.fold().await, truth);
        for (user, count) in &truth {
            assert_eq!(running.get(user).await.unwrap(), Some(*count), "{user}");
        }
    }

    /// The group's committed offsets in its input, asked for without being a member.
    pub(crate) async fn committed(&self) -> BTreeMap<i32, i64> {
        self.committed_in(&self.topic).await
    }

    /// The group's committed offsets in `topic`.
    pub(crate) async fn committed_in(&self, topic: &str) -> BTreeMap<i32, i64> {
        let client = self.cluster.client();
        let name = |text: &str| StrBytes::from_string(text.to_owned());
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(name(topic)))
            .with_partition_indexes((0..PARTITIONS).collect());
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(name(&self.group)))
            .with_topics(Some(vec![topic]));
        let node = within("the coordinator", client.coordinator(&self.group))
            .await
            .unwrap();
        let answer = client.call(node, ConnectionClass::General, request, Some(7), Duration::ZERO);
        let answer = within("committed offsets", answer).await.unwrap();
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .filter(|partition| partition.committed_offset >= 0)
            .map(|partition| (partition.partition_index, partition.committed_offset))
            .collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // Left behind, it is only disk space.
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Waits until all of an instance's partitions run.
pub(crate) async fn ready<T>(running: &Running<T>) {
    within("readiness", running.ready()).await.unwrap();
}

pub(crate) async fn stop<T>(running: Running<T>) {
    within("a processor's end", running.stop()).await.unwrap();
}

/// Changelog records that an instance read to recover its table.
pub(crate) async fn recovered<T>(running: &Running<T>) -> u64 {
    let stats = running.stats().await.unwrap();
    stats
        .partitions
        .values()
        .map(|partition| partition.table.unwrap().recovery.unwrap().records)
        .sum()
}

/// Commits and notices the end of members soon, as a test has no time to wait.
pub(crate) fn quick() -> ProcessorConfig {
    ProcessorConfig {
        commit_interval: Duration::from_millis(100),
        flush_interval: Duration::from_millis(300),
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        ..ProcessorConfig::default()
    }
}

/// Everything a view shows.
pub(crate) fn rows(view: &RunningView<Int64>) -> BTreeMap<String, i64> {
    let rows = view.iterate().unwrap().map(|row| row.unwrap());
    rows.map(|(key, count)| (String::from_utf8(key).unwrap(), count))
        .collect()
}

/// Clicks of `users` users, some more active than others, in an order that mixes them.
pub(crate) fn clicks(count: usize, users: usize) -> Vec<String> {
    let user = |number: usize| (number * number + number / 3) % users;
    (0..count)
        .map(|number| format!("user-{:03}", if number < users { number } else { user(number) }))
        .collect()
}

/// How often each key is in `clicks`.
pub(crate) fn truth<'a>(clicks: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for key in clicks {
        *counts.entry(key.clone()).or_default() += 1;
    }
    counts
}
