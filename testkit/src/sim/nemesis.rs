//! Makes trouble that lasts: partitions, broker crashes, moves, kills, stops.

#![allow(clippy::disallowed_methods, reason = "driver: waits between troubles")]

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::ErrorCode;

use super::chance::Chance;
use super::instance::Order;
use super::network::Way;
use super::plan::Trouble;
use super::world::{CHANGELOG, GROUP, INPUT, OUTPUT, World};
use crate::broker::{Api, Fault, LostTail};

/// Errors that brokers give now and then and that mean: ask again.
const RETRIABLE: [(Api, ErrorCode); 14] = [
    (Api::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    (Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS),
    (Api::Produce, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    (Api::Fetch, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    (Api::Fetch, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    (Api::Fetch, ErrorCode::FENCED_LEADER_EPOCH),
    (Api::ListOffsets, ErrorCode::LEADER_NOT_AVAILABLE),
    (Api::Heartbeat, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    (Api::JoinGroup, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
    (Api::SyncGroup, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    (Api::OffsetCommit, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
    (Api::OffsetFetch, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
    (Api::FindCoordinator, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    (Api::InitProducerId, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
];

/// Makes trouble until its time is over.
pub(super) async fn trouble(world: Arc<World>) {
    let mut nemesis = Nemesis {
        chance: Chance::new(world.plan.seed, 3),
        world,
    };
    let end = nemesis.world.plan.trouble;
    while !nemesis.world.plan.nemesis.weights.is_empty() {
        let every = nemesis.world.plan.nemesis.every.as_micros() as u64;
        let pause = Duration::from_micros(nemesis.chance.between(every / 4, every * 2));
        if nemesis.world.watch.trace.elapsed() + pause >= end {
            return;
        }
        tokio::time::sleep(pause).await;
        if let Some(trouble) = nemesis.draw() {
            nemesis.make(trouble).await;
        }
    }
}

struct Nemesis {
    world: Arc<World>,
    chance: Chance,
}

impl Nemesis {
    fn draw(&mut self) -> Option<Trouble> {
        let weights = &self.world.plan.nemesis.weights;
        let mut left = self.chance.below(weights.values().sum::<u32>() as usize) as u32;
        for (trouble, weight) in weights {
            match left.checked_sub(*weight) {
                None => return Some(*trouble),
                Some(rest) => left = rest,
            }
        }
        None
    }

    async fn make(&mut self, trouble: Trouble) {
        self.world.watch.trace.event(format_args!("trouble: {trouble:?}"));
        self.world.watch.trace.met(trouble.name());
        match trouble {
            Trouble::OneWayPartition => {
                let way = if self.chance.below(2) == 0 { Way::Up } else { Way::Down };
                let nodes = self.some_nodes();
                self.partition(nodes, &[way], 500, 9000);
            }
            Trouble::FullPartition => {
                let nodes = self.world.nodes();
                self.partition(nodes, &[Way::Up, Way::Down], 1000, 14_000);
            }
            Trouble::Clog => {
                let nodes = self.some_nodes();
                self.partition(nodes, &[Way::Up, Way::Down], 20, 600);
            }
            Trouble::CutAll => {
                let node = self.node();
                self.world.network.cut(|connection| connection.node == node);
            }
            Trouble::BrokerCrash => self.crash_broker(),
            Trouble::BrokerStall => self.stall_broker(),
            Trouble::LeaderMove => self.move_leader(),
            Trouble::CoordinatorMove => {
                let node = self.node();
                self.world.watch.broker.faults().move_coordinator(GROUP, node);
            }
            Trouble::StaleMetadata => self.inject(Api::Metadata, ErrorCode::LEADER_NOT_AVAILABLE, 3),
            Trouble::TopicMissing => self.inject(Api::Metadata, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 2),
            Trouble::ErrorAnswer => {
                if let Some((api, code)) = self.chance.pick(&RETRIABLE) {
                    self.inject(api, code, 3);
                }
            }
            Trouble::AppendedError => {
                let codes = [
                    ErrorCode::REQUEST_TIMED_OUT,
                    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                ];
                let code = self.chance.pick(&codes).unwrap_or(codes[0]);
                let times = self.chance.between(1, 3) as u32;
                let fault = Fault::new(Api::Produce).times(times).error_after(code);
                self.world.watch.broker.faults().inject(fault);
            }
            Trouble::Kill => {
                let last_words_arrive = self.chance.below(2) == 0;
                if let Some(life) = self.world.some_life(&mut self.chance) {
                    life.kill(last_words_arrive);
                }
            }
            Trouble::KillAtEvent => {
                let steps = self.chance.between(0, 60) as i64;
                if let Some(life) = self.world.some_life(&mut self.chance) {
                    life.kill_after(steps);
                }
            }
            Trouble::Stop => {
                let pause = self.chance.millis(0, 4000);
                self.world.order(&mut self.chance, Order::Restart(pause));
            }
            Trouble::ScaleOut => self.scale(),
            Trouble::Pause => self.pause(),
            Trouble::DiskError => {
                let steps = self.chance.between(0, 40) as i64;
                if let Some((_, disk)) = self.chance.pick(&self.world.disks()) {
                    disk.fail_after(steps);
                }
            }
            Trouble::ProducersForgotten => {
                // As after a log's tail was lost: whether it knows an earlier attempt does not count any more.
                let codes = [ErrorCode::UNKNOWN_PRODUCER_ID, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER];
                let code = self.chance.pick(&codes).unwrap_or(codes[0]);
                self.inject(Api::Produce, code, 2);
            }
            // A leader that has not caught up yet.
            Trouble::OutOfRange => self.inject(Api::Fetch, ErrorCode::OFFSET_OUT_OF_RANGE, 2),
            Trouble::Compaction => {
                let partition = self.chance.below(self.world.plan.partitions as usize) as i32;
                self.world.watch.compact(partition);
            }
            Trouble::Suspend => {
                let time = self.chance.millis(100, 12_000);
                tokio::time::advance(time).await;
            }
        }
    }

    fn node(&mut self) -> i32 {
        let nodes = self.world.nodes();
        self.chance.pick(&nodes).unwrap_or(1)
    }

    fn some_nodes(&mut self) -> Vec<i32> {
        let nodes = self.world.nodes().into_iter();
        nodes.filter(|_| self.chance.below(2) == 0).collect()
    }

    /// Blocks one process, or all of them, from some nodes for a while.
    fn partition(&mut self, nodes: Vec<i32>, ways: &[Way], least_ms: u64, most_ms: u64) {
        let everybody = self.world.everybody();
        let who = match self.chance.below(6) {
            0 => everybody,
            _ => self.chance.pick(&everybody).into_iter().collect(),
        };
        for node in nodes {
            for who in &who {
                for way in ways {
                    let (world, who, way) = (Arc::clone(&self.world), *who, *way);
                    let time = self.chance.millis(least_ms, most_ms);
                    world.network.block(who, node, way, true);
                    self.world.spawn(async move {
                        tokio::time::sleep(time).await;
                        world.network.block(who, node, way, false);
                    });
                }
            }
        }
    }

    /// A process is stopped, for longer than its session or not, and goes on.
    fn pause(&mut self) {
        let session = self.world.plan.processor.session_timeout.as_millis() as u64;
        let time = match self.chance.below(3) {
            0 => self.chance.millis(100, session),
            _ => self.chance.millis(session, 2 * session),
        };
        let Some(life) = self.world.some_life(&mut self.chance) else {
            return;
        };
        life.pause.begin();
        let trace = self.world.watch.trace.clone();
        self.world.spawn(async move {
            tokio::time::sleep(time).await;
            trace.event(format_args!("{} goes on after {time:?}", life.name));
            life.pause.end();
        });
    }

    fn crash_broker(&mut self) {
        let (node, time) = (self.node(), self.chance.millis(100, 6000));
        let world = Arc::clone(&self.world);
        world.watch.broker.faults().crash(node, LostTail::Nothing);
        self.world.spawn(async move {
            tokio::time::sleep(time).await;
            world.watch.broker.faults().restart(node);
        });
    }

    fn stall_broker(&mut self) {
        let (node, time) = (self.node(), self.chance.millis(100, 6000));
        let world = Arc::clone(&self.world);
        world.watch.broker.faults().stall(node, true);
        self.world.spawn(async move {
            tokio::time::sleep(time).await;
            world.watch.broker.faults().stall(node, false);
        });
    }

    fn move_leader(&mut self) {
        let topic = self.chance.pick(&[INPUT, CHANGELOG, OUTPUT]).unwrap_or(INPUT);
        let partition = self.chance.below(self.world.plan.partitions as usize) as i32;
        let node = self.node();
        // The topic may not be there yet, or the node may be down: no trouble then.
        let _ = self.world.watch.broker.faults().move_leader(topic, partition, node);
    }

    fn inject(&mut self, api: Api, code: ErrorCode, most: u64) {
        let times = self.chance.between(1, most) as u32;
        let fault = Fault::new(api).times(times).error(code);
        self.world.watch.broker.faults().inject(fault);
    }

    fn scale(&mut self) {
        if self.world.instances() < 4 && self.chance.below(2) == 0 {
            self.world.start_instance();
        } else if self.world.instances() > 1 {
            self.world.order(&mut self.chance, Order::Retire);
        }
    }
}
