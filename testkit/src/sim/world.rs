//! One run: brokers, network, instances, producers, trouble, and then peace, in which everything must come to rest.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: starts tasks and waits"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_wire::rpc::Surroundings;
use kafka_wire::{Client, ClientConfig, ConfigError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::chance::Chance;
use super::disk::Disk;
use super::instance::{self, Order};
use super::life::Life;
use super::link::Link;
use super::network::Network;
use super::plan::{BEGIN_UNIX_MS, Plan};
use super::trace::Trace;
use super::watch::Watch;
use super::{history, nemesis, producer, view};
use crate::broker::{EmbeddedBroker, NewTopic};

pub(super) const GROUP: &str = "chain";
pub(super) const INPUT: &str = "events";
pub(super) const CHANGELOG: &str = "chain-table";
pub(super) const OUTPUT: &str = "rows";

/// Producers have numbers from here on.
const PRODUCERS: u32 = 100;
/// The view's number.
pub(super) const VIEW: u32 = 200;
/// How long the brokers may need for nothing but the end of all connections.
const SILENCE: Duration = Duration::from_secs(60);

/// Everything in a run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) network: Arc<Network>,
    pub(super) watch: Arc<Watch>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    processes: u64,
    /// The present process of each instance.
    lives: BTreeMap<u32, Arc<Life>>,
    instances: BTreeMap<u32, Kept>,
    next_instance: u32,
    /// The view's disk, if there is one.
    view: Option<Disk>,
    /// Tasks that end troubles.
    reliefs: JoinSet<()>,
}

/// An instance and who keeps it going.
struct Kept {
    orders: mpsc::UnboundedSender<Order>,
    keeper: JoinHandle<()>,
    disk: Disk,
    retires: bool,
}

/// Runs what a plan says, and checks it.
pub(super) async fn run(plan: Plan, trace: Trace) {
    let broker = match EmbeddedBroker::in_memory(plan.broker()) {
        Ok(broker) => Arc::new(broker),
        Err(error) => return trace.violation(error.to_string()),
    };
    for topic in [INPUT, OUTPUT] {
        if let Err(error) = broker.create_topic_with(&NewTopic::new(topic, plan.partitions)) {
            return trace.violation(error.to_string());
        }
    }
    let network = Network::new(&plan, trace.clone());
    let world = Arc::new(World {
        watch: Watch::new(broker, Arc::clone(&network)),
        network,
        plan,
        state: Mutex::default(),
    });
    trace.event(format_args!("{:?}", world.plan));
    for _ in 0..world.plan.instances {
        world.start_instance();
    }
    let mut producers = JoinSet::new();
    for number in 0..world.plan.producers {
        let life = world.process(format!("producer {number}"), PRODUCERS + number);
        producers.spawn(producer::produce(Arc::clone(&world), life));
    }
    let (last, mut view) = (watch::Sender::new(false), JoinSet::new());
    if world.plan.view {
        let disk = Disk::new();
        world.lock().view = Some(disk.clone());
        view.spawn(view::keep(Arc::clone(&world), last.subscribe(), disk));
    }
    nemesis::trouble(Arc::clone(&world)).await;
    let left = world.plan.trouble.saturating_sub(trace.elapsed());
    tokio::time::sleep(left).await;
    world.heal().await;
    let produced = async { while producers.join_next().await.is_some() {} };
    let patience = world.plan.patience();
    if tokio::time::timeout(2 * patience, produced).await.is_err() {
        trace.violation("V23 a producer does not come to its end".to_owned());
    }
    let rested = world.comes_to_rest(patience).await;
    let stopped = world.stop_all().await;
    last.send_replace(true);
    while view.join_next().await.is_some() {}
    history::check(&world, rested && stopped);
    drop(producers);
    world.check_silence().await;
}

impl World {
    /// Another process, not of an instance.
    fn process(&self, name: String, who: u32) -> Arc<Life> {
        let mut state = self.lock();
        state.processes += 1;
        Arc::new(Life::new(name, who, state.processes))
    }

    /// Another process of an instance.
    pub(super) fn born(&self, instance: u32) -> Arc<Life> {
        let count = self.lock().processes + 1;
        let life = self.process(format!("instance {instance}.{count}"), instance);
        self.lock().lives.insert(instance, Arc::clone(&life));
        life
    }

    /// Another process of the view.
    pub(super) fn born_view(&self) -> Arc<Life> {
        let count = self.lock().processes + 1;
        let life = self.process(format!("view.{count}"), VIEW);
        self.lock().lives.insert(VIEW, Arc::clone(&life));
        life
    }

    /// A client for a process.
    pub(super) fn client(&self, life: &Arc<Life>, seed: u64) -> Result<Client, ConfigError> {
        let mut config = ClientConfig::new(self.watch.broker.bootstrap())
            .with_client_id(life.name.as_str())
            .with_request_timeout(self.plan.request_timeout)
            .with_connect_timeout(self.plan.request_timeout);
        let now = BEGIN_UNIX_MS + self.watch.trace.elapsed().as_millis() as i64;
        config.surroundings = Surroundings::simulated(seed, now, life.pause.clone());
        let link = Link {
            life: Arc::clone(life),
            network: Arc::clone(&self.network),
            watch: Arc::clone(&self.watch),
            brokers: self.watch.broker.connector(),
        };
        Client::with_connector(config, Arc::new(link))
    }

    pub(super) fn nodes(&self) -> Vec<i32> {
        (1..=self.plan.brokers).collect()
    }

    /// Whoever has connections.
    pub(super) fn everybody(&self) -> Vec<u32> {
        let instances: Vec<u32> = self.lock().instances.keys().copied().collect();
        let producers = (0..self.plan.producers).map(|number| PRODUCERS + number);
        let view = self.plan.view.then_some(VIEW);
        instances.into_iter().chain(producers).chain(view).collect()
    }

    /// Instances that were not told to retire.
    pub(super) fn instances(&self) -> usize {
        let state = self.lock();
        state.instances.values().filter(|kept| !kept.retires).count()
    }

    pub(super) fn start_instance(self: &Arc<Self>) {
        let mut state = self.lock();
        let number = state.next_instance;
        state.next_instance += 1;
        let (orders, received) = mpsc::unbounded_channel();
        let disk = Disk::new();
        let keeper = tokio::spawn(instance::keep(Arc::clone(self), number, received, disk.clone()));
        let kept = Kept {
            orders,
            keeper,
            disk,
            retires: false,
        };
        state.instances.insert(number, kept);
    }

    /// Gives an order to one of the instances.
    pub(super) fn order(&self, chance: &mut Chance, order: Order) {
        let mut state = self.lock();
        let there: Vec<u32> = (state.instances.iter())
            .filter(|(_, kept)| !kept.retires)
            .map(|(number, _)| *number)
            .collect();
        let chosen = chance.pick(&there);
        if let Some(kept) = chosen.and_then(|number| state.instances.get_mut(&number)) {
            kept.retires = matches!(order, Order::Retire);
            // One that has retired already does not mind.
            let _ = kept.orders.send(order);
        }
    }

    /// The process of one of the instances.
    pub(super) fn some_life(&self, chance: &mut Chance) -> Option<Arc<Life>> {
        let state = self.lock();
        let living: Vec<_> = state.lives.values().filter(|life| !life.is_dead()).cloned().collect();
        chance.pick(&living)
    }

    /// Disks by the instance's number.
    pub(super) fn disks(&self) -> Vec<(u32, Disk)> {
        let state = self.lock();
        let kept = state.instances.iter();
        let disks = kept.map(|(number, kept)| (*number, kept.disk.clone()));
        let view = state.view.iter().map(|disk| (VIEW, disk.clone()));
        disks.chain(view).collect()
    }

    /// Runs a task that ends a trouble.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().reliefs.spawn(task);
    }

    /// Ends all trouble.
    async fn heal(self: &Arc<Self>) {
        let mut reliefs = std::mem::take(&mut self.lock().reliefs);
        reliefs.shutdown().await;
        let faults = self.watch.broker.faults();
        faults.clear();
        for node in self.nodes() {
            faults.restart(node);
        }
        self.network.heal();
        for life in self.lock().lives.values() {
            life.kill_after(-1);
            life.pause.end();
        }
        for (_, disk) in self.disks() {
            disk.fail_after(-1);
        }
        if self.instances() == 0 {
            self.start_instance();
        }
        self.watch.trace.event(format_args!("healed"));
    }

    /// Waits until everything is worked off and committed (V23).
    async fn comes_to_rest(&self, patience: Duration) -> bool {
        let until = self.watch.trace.elapsed() + patience;
        loop {
            let behind: Vec<_> = (0..self.plan.partitions)
                .filter_map(|number| self.behind(number))
                .collect();
            if behind.is_empty() {
                self.watch.trace.event(format_args!("at rest"));
                return true;
            }
            if self.watch.trace.elapsed() >= until {
                let told = behind.join(", ");
                self.watch
                    .trace
                    .violation(format!("V23 not at rest {patience:?} after the last trouble: {told}"));
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn behind(&self, partition: i32) -> Option<String> {
        let end = self
            .watch
            .broker
            .offsets(INPUT, partition)
            .map_or(0, |offsets| offsets.log_end);
        let committed = self.watch.broker.committed(GROUP, INPUT, partition).unwrap_or(0);
        (committed < end).then(|| format!("{INPUT}-{partition} ends at {end}, committed is {committed}"))
    }

    /// Lets every instance stop in order.
    async fn stop_all(&self) -> bool {
        let kept: Vec<_> = self
            .lock()
            .instances
            .values_mut()
            .map(|kept| {
                // One that has retired already does not mind.
                let _ = kept.orders.send(Order::Retire);
                std::mem::replace(&mut kept.keeper, tokio::spawn(async {}))
            })
            .collect();
        for keeper in kept {
            if tokio::time::timeout(self.plan.patience(), keeper).await.is_err() {
                self.watch.trace.violation("V22 an instance does not stop".to_owned());
                return false;
            }
        }
        true
    }

    /// Nothing is left of anybody (V22).
    async fn check_silence(&self) {
        let until = self.watch.trace.elapsed() + SILENCE;
        let metrics = tokio::runtime::Handle::current().metrics();
        // The cluster's own timer, and nobody else.
        while self.network.open_connections() > 0 || metrics.num_alive_tasks() > 1 {
            if self.watch.trace.elapsed() >= until {
                let (connections, tasks) = (self.network.open_connections(), metrics.num_alive_tasks());
                self.watch.trace.violation(format!(
                    "V22 {SILENCE:?} after everybody ended, {connections} connections and {tasks} tasks are left"
                ));
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
