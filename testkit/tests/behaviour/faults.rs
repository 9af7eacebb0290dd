//! Troubles in quick succession, while records are sent and read by the same client; each by itself is a matter of
//! `produce_faults`, `fetch_faults` and `outages`.

use std::time::Duration;

use kafka_wire::ErrorCode;
use testkit::broker::{Api, Fault, FaultControl, LostTail};
use tokio::time::sleep;

use crate::cluster::{Cluster, eventually, unix_ms};
use crate::streaming::{PARTITIONS, nothing_is_lost_or_doubled};

/// A linear congruential generator (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Injects one after the other, each once the one before has met a request.
async fn one_by_one(faults: &FaultControl, rules: impl IntoIterator<Item = Fault>) {
    for rule in rules {
        let text = format!("{rule:?}");
        faults.inject(rule);
        eventually(&text, || std::future::ready(faults.pending() == 0)).await;
    }
}

pub(crate) async fn one_error_after_the_other_from_the_same_partition(cluster: Cluster) {
    let faults = cluster.broker().faults();
    // The first thing a producer asks for.
    let init = || Fault::new(Api::InitProducerId);
    faults.inject(init().times(3).error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    faults.inject(init().cut_before_answer());
    let before_append = [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::CORRUPT_MESSAGE,
    ];
    let after_append = [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ];
    nothing_is_lost_or_doubled(&cluster, async |topic: &str| {
        let node = cluster.broker().leader(topic, 1).unwrap().node;
        let refused = before_append.map(|code| Fault::new(Api::Produce).partition(topic, 1).error(code));
        one_by_one(&faults, refused).await;
        // Three in flight at a time, and again when they are repeated.
        let doubtful = after_append.map(|code| Fault::new(Api::Produce).node(node).times(3).error_after(code));
        one_by_one(&faults, doubtful.clone().into_iter().chain(doubtful)).await;
    })
    .await;
}

pub(crate) async fn brokers_that_refuse_connections_and_cut_the_ones_they_have(cluster: Cluster) {
    let faults = cluster.broker().faults();
    nothing_is_lost_or_doubled(&cluster, async |_: &str| {
        for node in cluster.broker().nodes() {
            faults.refuse_connections(*node, true);
            assert!(faults.cut_connections(*node) > 0);
            sleep(Duration::from_millis(500)).await;
            faults.refuse_connections(*node, false);
        }
        for _ in 0..20 {
            faults.cut_all_connections();
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

pub(crate) async fn a_broker_that_takes_requests_and_answers_nothing(cluster: Cluster) {
    let faults = cluster.broker().faults();
    nothing_is_lost_or_doubled(&cluster, async |_: &str| {
        faults.stall(2, true);
        sleep(Duration::from_secs(3)).await;
        faults.stall(2, false);
    })
    .await;
}

/// Something else every few milliseconds, chosen by chance: errors, delays, cuts, moving leaders, crashing brokers.
pub(crate) async fn every_trouble_there_is_in_any_order(cluster: Cluster) {
    let faults = cluster.broker().faults();
    let mut chance = Chance(u64::try_from(unix_ms()).unwrap());
    nothing_is_lost_or_doubled(&cluster, async |topic: &str| {
        let mut down = None;
        for _ in 0..200 {
            match chance.below(10) {
                0..5 => faults.inject(any_fault(&mut chance)),
                5..7 => {
                    let node = chance.below(3) as i32 + 1;
                    // Refused if that node is down.
                    drop(faults.move_leader(topic, chance.below(PARTITIONS as usize) as i32, node));
                }
                7 => drop(faults.cut_connections(chance.below(3) as i32 + 1)),
                8 if down.is_none() => {
                    let node = chance.below(3) as i32 + 1;
                    faults.crash(node, LostTail::Nothing);
                    down = Some(node);
                }
                _ => {
                    if let Some(node) = down.take() {
                        faults.restart(node);
                    }
                }
            }
            sleep(Duration::from_millis(chance.below(60) as u64)).await;
        }
        if let Some(node) = down {
            faults.restart(node);
        }
        faults.clear();
    })
    .await;
}

fn any_fault(chance: &mut Chance) -> Fault {
    let fault = Fault::new(chance.one_of(&[Api::Produce, Api::Fetch, Api::Metadata])).times(chance.below(3) as u32);
    let delay = Duration::from_millis(chance.below(200) as u64);
    match chance.below(7) {
        // Metadata has no error that a whole request could be answered with.
        5 => Fault::new(chance.one_of(&[Api::Produce, Api::Fetch])).error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        6 => Fault::new(Api::Produce)
            .times(3)
            .error_after(ErrorCode::REQUEST_TIMED_OUT),
        0 => fault.cut(),
        1 => fault.cut_before_answer(),
        2 => fault.cut_answer_after(chance.below(100)),
        3 => fault.delay_answer(delay),
        _ => fault.delay_request(delay),
    }
}
