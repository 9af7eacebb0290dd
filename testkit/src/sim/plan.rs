//! What a seed draws before the run: sizes, settings, and which faults are on at which rates (swarm testing).
//!
//! Some seeds are calm, most have a few kinds of faults, some have all. A fault that is off in a run leaves room for what the
//! others lead to.

use std::collections::BTreeMap;
use std::time::Duration;

use goka_core::ProcessorConfig;
use kafka_wire::{Compression, FetcherConfig, ProducerConfig};

use super::chance::Chance;
use super::seed::Seed;
use crate::broker::{Api, BrokerConfig};

/// What the wall clock shows when a run begins: any moment will do, as long as it is the same one.
pub(super) const BEGIN_UNIX_MS: i64 = 1_700_000_000_000;

/// Streams of chance from here on belong to what joined after the first edition, one each.
const LATER_STREAMS: u64 = 10;
/// That of the view, and one more for what it does.
pub(super) const VIEW_STREAM: u64 = 40;

/// That of what happens in calm.
const ORDERLY_STREAM: u64 = 50;

/// How often those look who wait for something.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Everything that is fixed before a run begins.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) brokers: i32,
    pub(super) partitions: i32,
    pub(super) instances: u32,
    pub(super) producers: u32,
    pub(super) keys: u64,
    /// Records of each producer.
    pub(super) records: u64,
    /// The time over which they are sent, and during which there are faults.
    pub(super) trouble: Duration,
    pub(super) deletes: bool,
    pub(super) output: bool,
    pub(super) view: bool,
    /// Produce and Fetch in versions without leader hints (KIP-951).
    pub(super) without_hints: bool,
    pub(super) request_timeout: Duration,
    pub(super) processor: ProcessorConfig,
    pub(super) link: LinkRates,
    pub(super) nemesis: NemesisRates,
}

/// Per mille of frames, and delays in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LinkRates {
    /// Every frame is delayed up to so long.
    pub(super) delay_ms: u64,
    /// A frame is delayed for much longer, so that frames of other connections overtake it.
    pub(super) slow: u32,
    /// The connection breaks before the frame arrives, or after a part of it.
    pub(super) cut: u32,
    /// The request is carried out, and its answer is lost with the connection.
    pub(super) lose_answer: u32,
    /// The answer comes after the client has given up waiting.
    pub(super) late_answer: u32,
    /// From this frame on nothing arrives, and nobody is told.
    pub(super) half_open: u32,
    /// The frame arrives byte by byte.
    pub(super) dribble: u32,
}

/// How often, in per mille of the nemesis' turns, each trouble begins.
#[derive(Debug, Clone, Default)]
pub(super) struct NemesisRates {
    /// The pause between two turns.
    pub(super) every: Duration,
    pub(super) weights: BTreeMap<Trouble, u32>,
}

/// What the nemesis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    OneWayPartition,
    FullPartition,
    Clog,
    CutAll,
    BrokerCrash,
    BrokerStall,
    LeaderMove,
    CoordinatorMove,
    StaleMetadata,
    TopicMissing,
    ErrorAnswer,
    AppendedError,
    Kill,
    KillAtEvent,
    Stop,
    ScaleOut,
    Suspend,
    Pause,
    DiskError,
    Compaction,
    ProducersForgotten,
    OutOfRange,
}

impl Trouble {
    pub(super) const ALL: [Trouble; 22] = [
        Trouble::OneWayPartition,
        Trouble::FullPartition,
        Trouble::Clog,
        Trouble::CutAll,
        Trouble::BrokerCrash,
        Trouble::BrokerStall,
        Trouble::LeaderMove,
        Trouble::CoordinatorMove,
        Trouble::StaleMetadata,
        Trouble::TopicMissing,
        Trouble::ErrorAnswer,
        Trouble::AppendedError,
        Trouble::Kill,
        Trouble::KillAtEvent,
        Trouble::Stop,
        Trouble::ScaleOut,
        Trouble::Suspend,
        Trouble::Pause,
        Trouble::DiskError,
        Trouble::Compaction,
        Trouble::ProducersForgotten,
        Trouble::OutOfRange,
    ];

    /// The edition of seeds with which it came.
    fn since(self) -> u8 {
        match self {
            Trouble::Pause | Trouble::DiskError | Trouble::Compaction => 2,
            Trouble::ProducersForgotten | Trouble::OutOfRange => 3,
            _ => 1,
        }
    }

    /// As a situation.
    pub(super) fn name(self) -> &'static str {
        match self {
            Trouble::OneWayPartition => "one-way partition",
            Trouble::FullPartition => "full partition",
            Trouble::Clog => "clog",
            Trouble::CutAll => "all connections of a broker cut",
            Trouble::BrokerCrash => "broker crash",
            Trouble::BrokerStall => "broker stall",
            Trouble::LeaderMove => "leader moved",
            Trouble::CoordinatorMove => "coordinator moved",
            Trouble::StaleMetadata => "stale metadata",
            Trouble::TopicMissing => "topic missing for a moment",
            Trouble::ErrorAnswer => "retriable errors",
            Trouble::AppendedError => "error after the append",
            Trouble::Kill => "instance killed",
            Trouble::KillAtEvent => "instance killed at one of its steps",
            Trouble::Stop => "instance restarted in order",
            Trouble::ScaleOut => "scaled out or in",
            Trouble::Suspend => "everything suspended",
            Trouble::Pause => "process stopped and continued",
            Trouble::DiskError => "a disk is about to fail",
            Trouble::Compaction => "changelog compacted",
            Trouble::ProducersForgotten => "broker forgets a producer's numbers",
            Trouble::OutOfRange => "fetch out of range",
        }
    }
}

/// What is no trouble for those who follow the rules.
const ORDERLY: [Trouble; 3] = [Trouble::Stop, Trouble::ScaleOut, Trouble::Compaction];

impl Plan {
    /// What `seed` stands for.
    pub(super) fn draw(Seed { edition, number: seed }: Seed) -> Plan {
        let mut chance = Chance::new(seed, 1);
        // One in sixteen is calm: what happens without any fault must be right as well.
        let calm = chance.below(16) == 0;
        let brokers = chance.pick(&[1, 3, 3, 3]).unwrap_or(3);
        let instances = chance.between(1, 3) as u32;
        let trouble = Duration::from_secs(chance.between(6, 20));
        let request_timeout = chance.millis(800, 4000);
        let mut plan = Plan {
            seed,
            brokers,
            partitions: chance.between(2, 5) as i32,
            instances,
            producers: chance.between(1, 2) as u32,
            keys: chance.between(3, 30),
            records: chance.between(60, 240),
            trouble,
            deletes: chance.below(5) == 0,
            output: chance.below(2) == 0,
            view: edition > 1 && Chance::new(seed, VIEW_STREAM).below(2) == 0,
            without_hints: chance.below(3) == 0,
            request_timeout,
            processor: processor(&mut chance, request_timeout),
            link: if calm {
                calm_link(&mut chance)
            } else {
                link(&mut chance)
            },
            nemesis: if calm {
                NemesisRates::default()
            } else {
                nemesis(&mut chance, brokers)
            },
        };
        if edition > 1 && !calm {
            // Streams of their own, so that what there was before is drawn as before.
            for (stream, trouble) in
                (LATER_STREAMS..).zip(Trouble::ALL.into_iter().filter(|trouble| trouble.since() > 1))
            {
                let mut chance = Chance::new(seed, stream);
                if trouble.since() <= edition && chance.below(3) == 0 {
                    plan.nemesis.weights.insert(trouble, chance.between(1, 10) as u32);
                }
            }
        }
        if edition > 2 && calm {
            plan.nemesis = orderly(&mut Chance::new(seed, ORDERLY_STREAM));
        }
        plan
    }

    pub(super) fn broker(&self) -> BrokerConfig {
        let mut config = BrokerConfig::with_brokers(self.brokers);
        config.seed = self.seed;
        config.start_unix_ms = Some(BEGIN_UNIX_MS);
        config.keep_commits = true;
        if self.without_hints {
            config.api_versions.insert(Api::Produce, 3..=9);
            config.api_versions.insert(Api::Fetch, 4..=15);
        }
        config
    }

    /// Whether the network works and instances start and stop in order: every owner can hand over what it has done.
    pub(super) fn is_orderly(&self) -> bool {
        let rates = &self.link;
        let faults = [
            rates.slow,
            rates.cut,
            rates.lose_answer,
            rates.late_answer,
            rates.half_open,
            rates.dribble,
        ];
        faults.iter().all(|rate| *rate == 0) && self.nemesis.weights.keys().all(|trouble| ORDERLY.contains(trouble))
    }

    /// After the last fault: sessions of the dead run out, members join, tables are recovered, lost answers are given up.
    pub(super) fn patience(&self) -> Duration {
        let config = &self.processor;
        2 * (config.session_timeout + config.rebalance_timeout) + 8 * self.request_timeout + Duration::from_secs(30)
    }
}

fn processor(chance: &mut Chance, request_timeout: Duration) -> ProcessorConfig {
    ProcessorConfig {
        commit_interval: chance.millis(50, 1000),
        flush_interval: chance.millis(50, 3000),
        flush_bytes: chance.pick(&[200, 2000, 1 << 20]),
        cache_bytes: chance.pick(&[0, 1000, 1 << 20]),
        session_timeout: chance.millis(6000, 9000),
        heartbeat_interval: chance.millis(300, 2000),
        rebalance_timeout: chance.millis(2000, 8000),
        producer: producer(chance, request_timeout),
        fetcher: FetcherConfig {
            max_wait: chance.millis(50, 800),
            partition_max_bytes: chance.pick(&[300, 4000]).unwrap_or(4000),
            partition_buffer_bytes: chance.pick(&[4000, 2 << 20]).unwrap_or(4000),
            ..FetcherConfig::default()
        },
        ..ProcessorConfig::default()
    }
}

pub(super) fn producer(chance: &mut Chance, request_timeout: Duration) -> ProducerConfig {
    ProducerConfig {
        linger: chance.millis(0, 50),
        batch_bytes: chance.pick(&[200, 1000, 64 << 10]).unwrap_or(1000),
        request_timeout,
        delivery_timeout: request_timeout * 3 + chance.millis(0, 30_000),
        compression: chance.pick(&[Compression::None, Compression::Lz4]).unwrap_or_default(),
        ..ProducerConfig::default()
    }
}

fn calm_link(chance: &mut Chance) -> LinkRates {
    LinkRates {
        delay_ms: chance.between(0, 5),
        ..LinkRates::default()
    }
}

fn link(chance: &mut Chance) -> LinkRates {
    let mut rate = |most: u64| match chance.below(2) {
        0 => 0,
        _ => chance.between(1, most) as u32,
    };
    LinkRates {
        slow: rate(60),
        cut: rate(15),
        lose_answer: rate(20),
        late_answer: rate(6),
        half_open: rate(4),
        dribble: rate(20),
        delay_ms: chance.between(0, 8),
    }
}

/// Instances come and go in calm, or not even that.
fn orderly(chance: &mut Chance) -> NemesisRates {
    let chosen = ORDERLY.into_iter().filter(|_| chance.below(2) == 0);
    NemesisRates {
        weights: chosen.map(|trouble| (trouble, 1)).collect(),
        every: chance.millis(300, 3000),
    }
}

fn nemesis(chance: &mut Chance, brokers: i32) -> NemesisRates {
    let mut weights = BTreeMap::new();
    for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.since() == 1) {
        let alone = brokers == 1 && matches!(trouble, Trouble::LeaderMove | Trouble::CoordinatorMove);
        if chance.below(3) == 0 && !alone {
            weights.insert(trouble, chance.between(1, 10) as u32);
        }
    }
    NemesisRates {
        every: chance.millis(300, 3000),
        weights,
    }
}
