//! Networks and processes that fail again and again, and what the history says afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::{Client, ClientConfig, Running};
use testkit::broker::LostTail;
use testkit::checker::{Chain, Chained};
use testkit::proxy::{Faults, Proxies, Way};

use crate::app::{App, PARTITIONS, ready, stop};
use crate::cluster::{Cluster, eventually};
use crate::crash::Instance;

/// Members of the group whose connections go through proxies.
struct Members {
    app: App,
    chain: Chain,
    proxies: Proxies,
    running: Vec<Running<Chained>>,
}

impl Members {
    async fn start(cluster: Cluster, request_timeout: Duration) -> Members {
        let app = App::new(cluster).await;
        let output = app.cluster.topic(PARTITIONS, &[]).await;
        let chain = app.chain(Some(&output));
        let proxies = Proxies::start(app.cluster.bootstrap(), 11).await.unwrap();
        let mut running = Vec::new();
        for name in ["one", "two"] {
            let config = ClientConfig::new(app.cluster.bootstrap().to_vec())
                .with_request_timeout(request_timeout)
                .with_connect_timeout(request_timeout);
            let client = Client::with_connector(config, proxies.connector()).unwrap();
            running.push(
                app.start_with(client, app.chained(&chain), app.redb(name))
                    .await
                    .unwrap(),
            );
        }
        for running in &running {
            ready(running).await;
        }
        let members = Members {
            app,
            chain,
            proxies,
            running,
        };
        eventually("an even share", async || members.share_evenly().await).await;
        members
    }

    async fn share_evenly(&self) -> bool {
        for running in &self.running {
            let stats = running.stats().await.unwrap();
            if !stats.is_running() || stats.partitions.len() != PARTITIONS as usize / self.running.len() {
                return false;
            }
        }
        true
    }

    /// Emits events while `fire` burns, then lets everything be worked off and checks what became of it.
    async fn burn(mut self, unclean_ends: Option<u64>, fire: impl AsyncFnOnce(&Proxies)) {
        let done = AtomicBool::new(false);
        let burning = async {
            fire(&self.proxies).await;
            self.proxies.set(&Faults::default());
            done.store(true, Ordering::SeqCst);
        };
        let (sent, ()) = tokio::join!(self.app.emit_events(&done), burning);
        self.app.until_committed().await;
        // None of them was ended by it.
        for running in self.running.drain(..) {
            stop(running).await;
        }
        let report = self
            .app
            .check_history(&self.chain, sent, &["one", "two"], unclean_ends)
            .await;
        assert!(report.inputs > 1000, "{report}");
    }
}

pub(crate) async fn connections_that_live_for_a_second_lose_and_double_nothing(cluster: Cluster) {
    let members = Members::start(cluster, Duration::from_secs(30)).await;
    members
        .burn(Some(0), async |proxies| {
            proxies.set(&Faults::short_lives());
            // Those that are open already would live on.
            proxies.cut();
            tokio::time::sleep(Duration::from_secs(6)).await;
            let stats = proxies.stats();
            assert!(stats.cut > 20, "{stats:?}");
        })
        .await;
}

/// Delays, slowness, drops, stalls, lost answers, half-open connections and cuts, each for a short while.
pub(crate) async fn everything_a_network_does_at_once_loses_nothing(cluster: Cluster) {
    let members = Members::start(cluster, Duration::from_secs(2)).await;
    let way = |change: fn(&mut Way)| {
        let mut way = Way::default();
        change(&mut way);
        Faults::both(way)
    };
    let mut one_way = way(|way| way.stalled = true);
    one_way.to_client.stalled = false;
    let fires = [
        way(|way| way.delay = Duration::from_millis(80)),
        way(|way| way.rate = 60_000),
        way(|way| way.drip = Some(Duration::from_micros(10))),
        way(|way| way.cut_after = Some(3000)),
        Faults::lost_answers(),
        one_way,
        way(|way| way.stalled = true),
        Faults {
            half_open: true,
            ..Faults::short_lives()
        },
    ];
    members
        .burn(None, async |proxies| {
            for (number, fire) in fires.iter().enumerate() {
                proxies.set(fire);
                tokio::time::sleep(Duration::from_millis(600)).await;
                if number % 2 == 1 {
                    proxies.cut();
                }
                proxies.set(&Faults::default());
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        })
        .await;
}

/// Brokers die and come back, leaders and coordinators move with them; nobody's session is over by that.
pub(crate) async fn brokers_that_die_and_come_back_lose_and_double_nothing(cluster: Cluster) {
    let members = Members::start(cluster, Duration::from_secs(5)).await;
    let (faults, nodes) = {
        let broker = members.app.cluster.broker();
        (broker.faults(), broker.nodes().to_vec())
    };
    members
        .burn(Some(0), async |_| {
            for round in 0..9 {
                let node = nodes[round * 2 % nodes.len()];
                faults.crash(node, LostTail::Nothing);
                tokio::time::sleep(Duration::from_millis(400)).await;
                faults.restart(node);
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        })
        .await;
}

pub(crate) async fn two_processes_killed_at_random_repeat_only_what_was_not_committed(cluster: Cluster) {
    const NAMES: [&str; 2] = ["one", "two"];
    const KILLS: u64 = 6;
    let app = App::new(cluster).await;
    let chain = app.chain(None);
    let start = |name: &str| {
        let mut command = Instance::command(&app, &app.state.join(name));
        command.args(["--chain", "--session", "2000"]);
        Instance(command.spawn().unwrap())
    };
    let done = AtomicBool::new(false);
    let killing = async {
        let mut processes = NAMES.map(start);
        for round in 0..KILLS {
            let before = app.committed().await;
            eventually("progress of the processes", async || app.committed().await != before).await;
            // A sequence that looks random, so that deaths fall everywhere in what is under way.
            let pause = 200 + round * 7919 % 900;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let victim = (round * 5 / 3 % 2) as usize;
            processes[victim].kill();
            processes[victim] = start(NAMES[victim]);
        }
        let before = app.committed().await;
        eventually("progress after the last death", async || {
            app.committed().await != before
        })
        .await;
        done.store(true, Ordering::SeqCst);
        processes
    };
    let (sent, mut processes) = tokio::join!(app.emit_events(&done), killing);
    app.until_committed().await;
    // Two more die, with nothing under way.
    processes.iter_mut().for_each(Instance::kill);
    app.check_history(&chain, sent, &NAMES, Some(KILLS)).await;
}
