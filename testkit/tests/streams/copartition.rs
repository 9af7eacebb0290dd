//! A task has its partition of every input, or does not run (I7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use goka_core::storage::Memory;
use goka_core::{GroupGraph, Int64, Running, Utf8};
use group_coordinator::{
    AssignError, Assignor, GroupAssignment, GroupConfig, GroupMember, MemberSubscription, MembershipEvent,
};

use crate::app::{App, PARTITIONS, clicks, ready, stop, truth};
use crate::cluster::{Cluster, eventually};

/// An instance, and the topics of which it saw records in one partition.
type Seen = (usize, BTreeSet<String>);

/// I7: whoever has a partition has it of every input, whoever comes and goes.
pub(crate) async fn inputs_of_one_number_are_always_worked_off_together(cluster: Cluster) {
    let app = App::new(cluster).await;
    let other = app.cluster.topic(PARTITIONS, &[]).await;
    // By partition: the last who saw records of it.
    let owners: Arc<Mutex<BTreeMap<i32, Seen>>> = Arc::default();
    let graph = |who: usize| {
        let owners = Arc::clone(&owners);
        let graph = GroupGraph::builder(app.group.as_str()).persist(Int64).inputs(
            [app.topic.as_str(), other.as_str()],
            Utf8,
            move |ctx, _| {
                let count = ctx.value()?.unwrap_or(0) + 1;
                let mut owners = owners.lock().unwrap();
                let owner = owners.entry(ctx.partition()).or_default();
                if owner.0 != who {
                    *owner = (who, BTreeSet::new());
                }
                owner.1.insert(ctx.topic().to_owned());
                ctx.set_value(&count)
            },
        );
        graph.build().unwrap()
    };
    let both_inputs = async |running: &Running<Int64>| {
        for (number, partition) in running.stats().await.unwrap().partitions {
            let topics: BTreeSet<_> = partition.inputs.into_iter().map(|input| input.topic).collect();
            assert_eq!(topics, [app.topic.clone(), other.clone()].into(), "partition {number}");
        }
    };
    let clicks = clicks(1200, 60);
    let emit = async |part: &[String]| {
        for topic in [&app.topic, &other] {
            app.click_into(topic, part).await;
        }
    };
    let first = app.start(graph(1), app.redb("first")).await;
    ready(&first).await;
    emit(&clicks[..400]).await;
    let second = app.start(graph(2), app.redb("second")).await;
    let half = async |running: &Running<Int64>| running.stats().await.unwrap().partitions.len() == 2;
    eventually("an even share", async || half(&first).await && half(&second).await).await;
    both_inputs(&first).await;
    both_inputs(&second).await;
    emit(&clicks[400..800]).await;
    app.until_all_committed(&[&app.topic, &other]).await;
    for (number, (who, topics)) in &*owners.lock().unwrap() {
        assert_eq!(
            topics.len(),
            2,
            "instance {who} saw of partition {number} only {topics:?}"
        );
    }
    stop(first).await;
    emit(&clicks[800..]).await;
    app.until_all_committed(&[&app.topic, &other]).await;
    both_inputs(&second).await;
    stop(second).await;
    let twice: BTreeMap<_, _> = truth(&clicks)
        .into_iter()
        .map(|(user, count)| (user, 2 * count))
        .collect();
    assert_eq!(app.counts().await, twice);
}

/// I7: a member that is given a partition of one input only leaves it alone, so that its row does not miss half of what happens.
pub(crate) async fn a_partition_whose_other_input_is_missing_is_not_worked_off(cluster: Cluster) {
    let app = App::new(cluster).await;
    let other = app.cluster.topic(PARTITIONS, &[]).await;
    let both = [app.topic.clone(), other.clone()];
    let mut config = GroupConfig::new(app.group.clone(), both.clone());
    config.session_timeout = std::time::Duration::from_secs(6);
    config.heartbeat_interval = std::time::Duration::from_millis(500);
    let lopsided = Lopsided {
        poor: other.clone(),
        rich: app.topic.clone(),
    };
    // Whoever is first leads the group and makes its plans.
    let mut leader = GroupMember::join(app.cluster.new_client(), config.with_assignor(Arc::new(lopsided))).unwrap();
    assert!(matches!(leader.next_event().await, MembershipEvent::Assigned { .. }));
    let leading = tokio::spawn(async move {
        loop {
            match leader.next_event().await {
                MembershipEvent::Revoke { .. } => leader.revocation_complete(),
                MembershipEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    });
    let clicks = clicks(800, 60);
    for topic in &both {
        app.click_into(topic, &clicks).await;
    }
    let graph = GroupGraph::builder(app.group.as_str()).persist(Int64).inputs(
        both.clone().map(Arc::<str>::from),
        Utf8,
        |ctx, _| {
            let count = ctx.value()?.unwrap_or(0) + 1;
            ctx.set_value(&count)
        },
    );
    let running = app.start(graph.build().unwrap(), Memory::new()).await;
    ready(&running).await;
    let stats = running.stats().await.unwrap();
    assert_eq!(stats.partitions.keys().copied().collect::<Vec<_>>(), [0, 1]);
    let done = async |topic: &str| app.committed_in(topic).await.keys().copied().collect::<Vec<_>>();
    eventually("the commits of 0 and 1", async || {
        done(&both[0]).await.starts_with(&[0, 1]) && done(&both[1]).await.starts_with(&[0, 1])
    })
    .await;
    stop(running).await;
    assert_eq!((done(&both[0]).await, done(&both[1]).await), (vec![0, 1], vec![0, 1]));
    for partition in [2, 3] {
        assert_eq!(
            app.cluster.bounds(&app.table, partition).await,
            (0, 0),
            "partition {partition}"
        );
    }
    leading.abort();
}

/// Gives everyone else all of one topic and half of the other, under the name that all members of a group share.
#[derive(Debug)]
struct Lopsided {
    rich: String,
    poor: String,
}

impl Assignor for Lopsided {
    fn name(&self) -> &str {
        "copartition"
    }

    fn assign(
        &self,
        members: &[MemberSubscription],
        _partitions: &BTreeMap<String, Vec<i32>>,
    ) -> Result<GroupAssignment, AssignError> {
        let share: BTreeMap<_, _> = [(self.rich.clone(), vec![0, 1, 2, 3]), (self.poor.clone(), vec![0, 1])].into();
        // Only this assignor adds something of its own.
        let leads = |member: &MemberSubscription| member.user_data.is_some();
        let plan = members.iter().filter(|member| !leads(member));
        Ok(plan.map(|member| (member.member_id.clone(), share.clone())).collect())
    }

    fn subscription_user_data(&self) -> Option<bytes::Bytes> {
        Some(bytes::Bytes::from_static(b"leader"))
    }
}
