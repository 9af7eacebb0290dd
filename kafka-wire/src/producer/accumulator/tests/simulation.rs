//! The machine against a model of brokers with Kafka's sequence check, under lost requests, lost answers, requests that
//! arrive long after they were given up, leader moves, forgotten producer state and vague errors. Whatever happens: nothing
//! is written twice, order holds, and what the producer says about a batch is true.

use proptest::prelude::*;

use super::*;
use crate::producer::partition_queue::Leader;
use crate::producer::sequence::following;

const NODES: [i32; 2] = [1, 2];
const PARTITIONS: i32 = 2;
/// What a model broker takes in one batch.
const MAX_MESSAGE_BYTES: usize = 150;

/// Record identities in log order, and what the leader remembers of each producer.
#[derive(Default)]
struct ModelLog {
    records: Vec<(u32, u32)>,
    producers: HashMap<i64, ProducerState>,
}

struct ProducerState {
    epoch: i16,
    last_sequence: i32,
    /// First and last sequence and base offset of the last five batches.
    recent: VecDeque<(i32, i32, i64)>,
}

impl ModelLog {
    /// As `ProducerStateManager` and `UnifiedLog` do.
    fn append(&mut self, batch: &[u8]) -> (ErrorCode, i64) {
        let header = header(batch);
        let (id, epoch, first) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let last = following(first, header.record_count as u32 - 1);
        if let Some(state) = self.producers.get(&id) {
            if epoch < state.epoch {
                return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
            }
            if epoch == state.epoch {
                if let Some((.., offset)) = state.recent.iter().find(|(a, b, _)| (*a, *b) == (first, last)) {
                    return (ErrorCode::NONE, *offset);
                }
                if first != following(state.last_sequence, 1) {
                    return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
                }
            } else if first != 0 {
                return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            }
        }
        let offset = self.records.len() as i64;
        self.records.extend(identities(batch));
        let fresh = || ProducerState {
            epoch,
            last_sequence: -1,
            recent: VecDeque::new(),
        };
        let state = self.producers.entry(id).or_insert_with(fresh);
        if state.epoch != epoch {
            *state = fresh();
        }
        state.last_sequence = last;
        state.recent.push_back((first, last, offset));
        if state.recent.len() > 5 {
            state.recent.pop_front();
        }
        (ErrorCode::NONE, offset)
    }
}

fn identities(batch: &[u8]) -> Vec<(u32, u32)> {
    let batch = Batches::new(batch).next().unwrap().unwrap();
    let mut scratch = Vec::new();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let records = batch.records(&mut scratch).unwrap();
    records
        .map(|record| {
            let key = record.unwrap().key.unwrap().to_vec();
            (number(&key[..4]), number(&key[4..]))
        })
        .collect()
}

/// A connection: requests on their way out, answers on their way back.
#[derive(Default)]
struct Link {
    outgoing: VecDeque<ProduceRequest>,
    incoming: VecDeque<(ProduceRequest, Vec<PartitionAnswer>)>,
}

struct Sent {
    partition: i32,
    records: u32,
    chain: Option<u64>,
    outcome: Option<Outcome>,
}

struct World {
    feed: Feed,
    random: u64,
    calm: bool,
    /// Whether writers give up their partition now and then.
    writers_leave: bool,
    logs: Vec<ModelLog>,
    leaders: Vec<Leader>,
    links: HashMap<i32, Link>,
    /// Requests the client gave up that still lie somewhere on the way.
    adrift: Vec<(i32, ProduceRequest)>,
    sent: Vec<Sent>,
    told: Vec<u32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            feed: Feed::with(Limits {
                max_in_flight: 5,
                max_request_bytes: 1_000,
                delivery_timeout: Duration::from_secs(3),
            }),
            random: seed | 1,
            calm: false,
            writers_leave: false,
            logs: (0..PARTITIONS).map(|_| ModelLog::default()).collect(),
            leaders: vec![Leader { node: 1, epoch: 0 }; PARTITIONS as usize],
            links: NODES.map(|node| (node, Link::default())).into_iter().collect(),
            adrift: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
        };
        world.show_leaders();
        world
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.calm_down();
        self.check();
    }

    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*: the quality is enough to choose among faults.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn show_leaders(&mut self) {
        for (partition, leader) in self.leaders.iter().enumerate() {
            let Leader { node, epoch } = *leader;
            self.feed
                .leaders
                .insert(at(partition as i32), Leadership::Node { node, epoch });
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0..=4 => self.submit(),
            5..=9 => self.deliver_request(),
            10..=13 => self.deliver_answer(),
            14 => self.cut(),
            15 => self.move_leader(),
            16 => self.deliver_adrift(),
            17 => self.forget(),
            18 if self.writers_leave => self.abandon(),
            _ => {
                let pause = self.below(400);
                self.feed.wait(Duration::from_millis(pause));
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        for request in self.feed.requests() {
            self.links.get_mut(&request.node).unwrap().outgoing.push_back(request);
        }
        for (tag, outcome) in self.feed.outcomes() {
            assert!(
                self.sent[tag as usize].outcome.is_none(),
                "batch {tag} has two outcomes"
            );
            self.sent[tag as usize].outcome = Some(outcome);
            self.told.push(tag);
        }
    }

    fn submit(&mut self) {
        let tag = self.sent.len() as u32;
        let partition = self.below(PARTITIONS as u64) as i32;
        let records = 1 + self.below(5) as u32;
        // A writer belongs to one partition; some batches belong to none.
        // A writer that failed is replaced by a new one, sooner or later.
        let chain = match self.below(4) {
            0 => None,
            writer => {
                let failed = |sent: &Sent| sent.outcome.as_ref().is_some_and(|outcome| outcome.error().is_some());
                let family = |chain: u64| chain % 10 == writer && chain / 10 % 10 == partition as u64;
                let of_family = |sent: &&Sent| sent.chain.is_some_and(family);
                let replaced = self.sent.iter().filter(of_family).filter(|sent| failed(sent)).count() as u64 / 2;
                Some(100 * replaced + 10 * partition as u64 + writer)
            }
        };
        self.feed.submit_chained(partition, tag, records, chain);
        self.sent.push(Sent {
            partition,
            records,
            chain,
            outcome: None,
        });
    }

    fn link(&mut self) -> i32 {
        NODES[self.below(2) as usize]
    }

    fn deliver_request(&mut self) {
        let node = self.link();
        let Some(request) = self.links.get_mut(&node).unwrap().outgoing.pop_front() else {
            return;
        };
        let answers = request
            .batches
            .iter()
            .map(|(of, batch)| self.handle(node, of.partition, batch))
            .collect();
        self.links
            .get_mut(&node)
            .unwrap()
            .incoming
            .push_back((request, answers));
    }

    fn handle(&mut self, node: i32, partition: i32, batch: &[u8]) -> PartitionAnswer {
        let leader = self.leaders[partition as usize];
        if leader.node != node {
            let hint = (self.below(2) == 0).then_some((leader.node, leader.epoch));
            let refused = said_about(partition, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
            return PartitionAnswer {
                current_leader: hint,
                ..refused
            };
        }
        let fault = if self.calm { 99 } else { self.below(24) };
        match fault {
            0 => return said_about(partition, ErrorCode::NOT_ENOUGH_REPLICAS, -1),
            1 => return said_about(partition, ErrorCode::INVALID_RECORD, -1),
            _ if batch.len() > MAX_MESSAGE_BYTES => return said_about(partition, ErrorCode::MESSAGE_TOO_LARGE, -1),
            _ => {}
        }
        let (code, offset) = self.logs[partition as usize].append(batch);
        match (fault, code) {
            (2, ErrorCode::NONE) => said_about(partition, ErrorCode::REQUEST_TIMED_OUT, -1),
            (3, ErrorCode::NONE) => said_about(partition, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1),
            (4, ErrorCode::NONE) => said_about(partition, ErrorCode::UNKNOWN_SERVER_ERROR, -1),
            _ => said_about(partition, code, offset),
        }
    }

    fn deliver_answer(&mut self) {
        let node = self.link();
        if let Some((request, answers)) = self.links.get_mut(&node).unwrap().incoming.pop_front() {
            self.feed.answer_topics(&request, vec![orders(answers)]);
        }
    }

    /// The connection breaks. What was written may still reach the broker, later.
    fn cut(&mut self) {
        let node = self.link();
        let link = std::mem::take(self.links.get_mut(&node).unwrap());
        for (request, _) in link.incoming {
            self.feed.lose(&request, true);
        }
        let mut written = true;
        for request in link.outgoing {
            written = written && self.below(3) > 0;
            self.feed.lose(&request, written);
            if written && self.below(2) == 0 {
                self.adrift.push((node, request));
            }
        }
    }

    fn deliver_adrift(&mut self) {
        if !self.adrift.is_empty() {
            let (node, request) = self.adrift.remove(0);
            for (of, batch) in &request.batches {
                if self.leaders[of.partition as usize].node == node {
                    self.logs[of.partition as usize].append(batch);
                }
            }
        }
    }

    fn move_leader(&mut self) {
        let partition = self.below(PARTITIONS as u64) as usize;
        let leader = &mut self.leaders[partition];
        *leader = Leader {
            node: 3 - leader.node,
            epoch: leader.epoch + 1,
        };
        self.show_leaders();
    }

    /// Retention removes the last of our records while we are idle: the broker forgets the producer.
    fn forget(&mut self) {
        let idle = self.sent.iter().all(|sent| sent.outcome.is_some()) && self.adrift.is_empty();
        if idle {
            let partition = self.below(PARTITIONS as u64) as usize;
            self.logs[partition].producers.clear();
        }
    }

    /// A writer gives up its partition.
    fn abandon(&mut self) {
        let chains: Vec<_> = self
            .sent
            .iter()
            .filter_map(|sent| Some((sent.chain?, sent.partition)))
            .collect();
        if let Some(last) = chains.len().checked_sub(1) {
            let back = self.below(6) as usize;
            let (chain, partition) = chains[last.saturating_sub(back)];
            self.feed.machine.handle_abandoned(self.feed.now, &at(partition), chain);
        }
    }

    /// No more faults, until everything has an outcome.
    fn calm_down(&mut self) {
        self.calm = true;
        for _ in 0..10_000 {
            self.drain();
            if self.feed.machine.is_idle() {
                while !self.adrift.is_empty() {
                    self.deliver_adrift();
                }
                return;
            }
            for _ in 0..4 {
                self.deliver_request();
                self.deliver_answer();
            }
            self.feed.wait(Duration::from_millis(20));
        }
        panic!("not everything has an outcome");
    }

    fn check(&self) {
        for partition in 0..PARTITIONS {
            let of_partition = |tag: &u32| self.sent[*tag as usize].partition == partition;
            let told: Vec<u32> = self.told.iter().copied().filter(of_partition).collect();
            assert!(
                told.is_sorted(),
                "outcomes of partition {partition} are told in order: {told:?}"
            );
            let log = &self.logs[partition as usize].records;
            assert!(
                log.windows(2).all(|pair| pair[0] < pair[1]),
                "partition {partition} in order, without doubles: {log:?}"
            );
        }
        for (tag, sent) in self.sent.iter().enumerate() {
            for index in 0..sent.records {
                self.check_record(tag as u32, index, sent);
            }
        }
        self.check_chains();
    }

    fn check_record(&self, tag: u32, index: u32, sent: &Sent) {
        let log = &self.logs[sent.partition as usize].records;
        let found = log.iter().position(|record| *record == (tag, index));
        match sent.outcome.as_ref().expect("an outcome").of_record(index) {
            Ok((-1, _)) => assert!(found.is_some(), "({tag}, {index}) was acknowledged"),
            Ok((offset, _)) => assert_eq!(found, Some(offset as usize), "({tag}, {index})"),
            Err(error) if error.persistence == Persistence::NotPersisted => {
                assert_eq!(found, None, "({tag}, {index}) is said not to be written: {error}");
            }
            Err(_) => {}
        }
    }

    /// What a writer has in the log is a prefix of what it submitted.
    fn check_chains(&self) {
        let mut gaps: HashMap<u64, u32> = HashMap::new();
        for (tag, sent) in self.sent.iter().enumerate() {
            let Some(chain) = sent.chain else { continue };
            for index in 0..sent.records {
                let written = self.logs[sent.partition as usize]
                    .records
                    .contains(&(tag as u32, index));
                match gaps.get(&chain) {
                    Some(gap) => assert!(!written, "writer {chain}: {tag} is written behind the gap at {gap}"),
                    None if !written => drop(gaps.insert(chain, tag as u32)),
                    None => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_the_producer_says_is_true_whatever_the_network_does(seed: u64, steps in 20usize..400) {
        World::new(seed).run(steps);
    }

    #[test]
    fn it_stays_true_when_writers_give_up_their_partitions(seed: u64, steps in 20usize..400) {
        let mut world = World::new(seed);
        world.writers_leave = true;
        world.run(steps);
    }
}

#[test]
fn the_model_is_rough_enough_to_reach_every_kind_of_outcome() {
    let (mut persisted, mut refuted, mut possibly, mut split, mut bumped) = (0, 0, 0, 0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed * 7_919 + 1);
        world.run(300);
        for sent in &world.sent {
            match sent.outcome.as_ref().unwrap() {
                Outcome::Parts(_) => split += 1,
                Outcome::Whole(Ok(_)) => persisted += 1,
                Outcome::Whole(Err(error)) if error.persistence == Persistence::NotPersisted => refuted += 1,
                Outcome::Whole(Err(_)) => possibly += 1,
            }
        }
        let epochs = world
            .logs
            .iter()
            .flat_map(|log| log.producers.values())
            .map(|state| state.epoch);
        bumped += u32::from(epochs.max().unwrap_or(0) > 0);
    }
    for (what, count) in [
        ("persisted", persisted),
        ("not persisted", refuted),
        ("possibly", possibly),
        ("split", split),
    ] {
        assert!(count >= 50, "{what}: {count}");
    }
    assert!(bumped >= 20, "epoch bumps in {bumped} runs");
}
