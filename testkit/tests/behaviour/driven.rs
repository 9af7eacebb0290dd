//! Group members that tests watch: each runs in a task of its own and obeys every event at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use group_coordinator::{GroupConfig, GroupMember, Lease, MembershipError, MembershipEvent, Offsets};
use kafka_wire::{Client, TopicPartition};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, unique, within};

/// What a member owns, as its last event left it.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) owned: BTreeSet<(String, i32)>,
    /// When it was assigned something last.
    pub(crate) assigned: Option<Instant>,
    /// How many partitions it lost without being asked.
    pub(crate) lost: usize,
    pub(crate) failed: Option<MembershipError>,
}

impl State {
    fn obey(&mut self, member: &GroupMember, event: MembershipEvent) {
        let name = |at: TopicPartition| (at.topic.to_string(), at.partition);
        match event {
            MembershipEvent::Assigned { generation, partitions } => {
                self.member_id = member.member_id();
                self.generation = generation;
                self.assigned = Some(Instant::now());
                for at in partitions {
                    assert!(self.owned.insert(name(at)), "assigned twice: {self:?}");
                }
            }
            MembershipEvent::Revoke { partitions } => {
                for at in partitions {
                    assert!(self.owned.remove(&name(at)), "revoked but not owned: {self:?}");
                }
                member.revocation_complete();
            }
            MembershipEvent::Lost { partitions, .. } => {
                self.lost += partitions.len();
                for at in partitions {
                    assert!(self.owned.remove(&name(at)), "lost but not owned: {self:?}");
                }
            }
            MembershipEvent::Failed(error) => self.failed = Some(error),
        }
    }
}

/// A member in a task of its own, which obeys every event at once.
pub(crate) struct Driven {
    pub(crate) offsets: Offsets,
    pub(crate) lease: Lease,
    pub(crate) state: watch::Receiver<State>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MembershipError>>,
}

impl Driven {
    pub(crate) fn join(client: Client, config: GroupConfig) -> Driven {
        let mut member = GroupMember::join(client, config).unwrap();
        let (offsets, lease) = (member.offsets(), member.lease());
        let (publish, state) = watch::channel(State::default());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = member.next_event() => publish.send_modify(|state| state.obey(&member, event)),
                    _ = &mut stopped => return member.leave().await,
                }
                if publish.borrow().failed.is_some() {
                    return Ok(());
                }
            }
        });
        Driven {
            offsets,
            lease,
            state,
            stop,
            task,
        }
    }

    /// Waits until it owns so many partitions.
    pub(crate) async fn owns(&self, count: usize) -> State {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| state.assigned.is_some() && state.owned.len() == count);
        within(&format!("ownership of {count} partitions"), settled)
            .await
            .unwrap()
            .clone()
    }

    pub(crate) async fn leave(self) {
        self.stop.send(()).unwrap();
        within("the farewell", self.task).await.unwrap().unwrap();
    }
}

/// A group on two topics of four partitions.
pub(crate) async fn two_topics(cluster: &Cluster) -> GroupConfig {
    let topics = [cluster.topic(4, &[]).await, cluster.topic(4, &[]).await];
    GroupConfig::new(unique("group"), topics)
}

/// The quickest the broker allows.
pub(crate) fn quick(config: GroupConfig) -> GroupConfig {
    config
        .with_session_timeout(Duration::from_secs(6))
        .with_heartbeat_interval(Duration::from_millis(500))
}

pub(crate) fn numbers(state: &State, topic: &str) -> BTreeSet<i32> {
    let owned = state.owned.iter().filter(|(name, _)| name == topic);
    owned.map(|(_, number)| *number).collect()
}

/// Two members of `config`'s group have shared: equal numbers of both topics, everything once.
pub(crate) async fn shared(config: &GroupConfig, one: &Driven, two: &Driven) {
    // One of them may still own half of everything in an earlier generation.
    let settled = async {
        loop {
            let (one, two) = tokio::join!(one.owns(4), two.owns(4));
            if one.generation == two.generation {
                return (one, two);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (one, two) = within("a common generation", settled).await;
    for state in [&one, &two] {
        assert_eq!(numbers(state, &config.topics[0]), numbers(state, &config.topics[1]));
    }
    assert!(one.owned.is_disjoint(&two.owned), "{one:?} {two:?}");
    assert_ne!(one.member_id, two.member_id);
}
