//! Leaders that move, brokers that crash, a cluster that is away: records are written and read once and in order all the same.

use std::future::Future;
use std::time::{Duration, Instant};

use kafka_wire::rpc::ConnectionClass;
use kafka_wire::{Client, ClientConfig, Producer, ProducerConfig};
use testkit::broker::LostTail;
use tokio::time::sleep;

use crate::cluster::{Cluster, keyed, sender, within};
use crate::fetch_faults::read_during;
use crate::produce_faults::{PARTITIONS, assert_written_once, send_during};

/// The leaders of a topic's partitions move from node to node, sometimes to where they are.
fn moving_leaders(cluster: &Cluster, topic: &str) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    let (topic, nodes) = (topic.to_owned(), cluster.broker().nodes().to_vec());
    async move {
        for step in 0..60 {
            let (partition, node) = (step % PARTITIONS, nodes[(step as usize * 4 / 3) % nodes.len()]);
            control.move_leader(&topic, partition, node).unwrap();
            sleep(Duration::from_millis(5 + 13 * step as u64 % 40)).await;
        }
    }
}

/// Each broker crashes three times and comes back; two of three are always there.
fn crashing_brokers(cluster: &Cluster) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    let nodes = cluster.broker().nodes().to_vec();
    async move {
        for node in nodes.iter().cycle().take(nodes.len() * 3) {
            control.crash(*node, LostTail::Nothing);
            sleep(Duration::from_millis(150)).await;
            control.restart(*node);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Nobody listens for two seconds.
fn outage(cluster: &Cluster) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    let nodes = cluster.broker().nodes().to_vec();
    async move {
        sleep(Duration::from_millis(20)).await;
        for node in &nodes {
            control.refuse_connections(*node, true);
        }
        assert!(control.cut_all_connections() > 0);
        sleep(Duration::from_secs(2)).await;
        control.clear();
    }
}

/// Every broker dies at once, and all come back.
fn blackout(cluster: &Cluster) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    let nodes = cluster.broker().nodes().to_vec();
    async move {
        sleep(Duration::from_millis(20)).await;
        for node in &nodes {
            control.crash(*node, LostTail::Nothing);
        }
        sleep(Duration::from_secs(1)).await;
        for node in &nodes {
            control.restart(*node);
        }
    }
}

/// A broker takes requests and answers nothing any more; others lead in its place. It stays so.
fn silent_broker(cluster: &Cluster, topic: &str) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    let nodes = cluster.broker().nodes().to_vec();
    let led = (0..PARTITIONS).filter(|partition| cluster.broker().leader(topic, *partition).unwrap().node == nodes[0]);
    let (led, topic) = (led.collect::<Vec<_>>(), topic.to_owned());
    async move {
        sleep(Duration::from_millis(50)).await;
        control.stall(nodes[0], true);
        for partition in led {
            control.move_leader(&topic, partition, nodes[1]).unwrap();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn leaders_may_move_while_records_are_sent(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let receipts = send_during(&cluster, &topic, moving_leaders(&cluster, &topic)).await;
    assert!(cluster.broker().leader(&topic, 0).unwrap().epoch > 5);
    assert_written_once(&cluster, &topic, &receipts, "moving leaders");
}

pub(crate) async fn leaders_may_move_while_records_are_read(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    read_during(&cluster, &topic, "moving leaders", moving_leaders(&cluster, &topic)).await;
    assert!(cluster.broker().leader(&topic, 0).unwrap().epoch > 5);
}

pub(crate) async fn brokers_may_crash_one_after_the_other_while_records_are_sent(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let receipts = send_during(&cluster, &topic, crashing_brokers(&cluster)).await;
    assert_written_once(&cluster, &topic, &receipts, "crashes");
}

pub(crate) async fn brokers_may_crash_one_after_the_other_while_records_are_read(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    read_during(&cluster, &topic, "crashes", crashing_brokers(&cluster)).await;
}

pub(crate) async fn a_whole_cluster_may_be_away_while_records_are_sent(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let receipts = send_during(&cluster, &topic, outage(&cluster)).await;
    assert_written_once(&cluster, &topic, &receipts, "an outage");
}

pub(crate) async fn a_whole_cluster_may_be_away_while_records_are_read(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    read_during(&cluster, &topic, "an outage", outage(&cluster)).await;
}

pub(crate) async fn every_broker_may_crash_at_once_while_records_are_sent(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let receipts = send_during(&cluster, &topic, blackout(&cluster)).await;
    assert_written_once(&cluster, &topic, &receipts, "a blackout");
}

pub(crate) async fn a_leader_that_falls_silent_is_left_for_its_successor_while_records_are_sent(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let receipts = send_during(&cluster, &topic, silent_broker(&cluster, &topic)).await;
    assert_written_once(&cluster, &topic, &receipts, "silence");
}

/// The leader never was connected to: what waits for that does not wait for its end.
pub(crate) async fn a_leader_that_was_always_silent_is_left_for_its_successor_at_once(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    let control = cluster.broker().faults();
    let silent = cluster.broker().leader(&topic, 0).unwrap().node;
    let other = cluster.broker().nodes().iter().copied().find(|node| *node != silent);
    let config = ClientConfig::new(cluster.bootstrap().to_vec()).with_connect_timeout(Duration::from_secs(30));
    let client = Client::new(config).unwrap();
    within("a picture of the cluster", client.refresh(&[topic.as_str().into()]))
        .await
        .unwrap();
    // Requests for metadata must find an answer: those connections are there before.
    for broker in client.cluster().brokers() {
        within("a connection", client.connection(broker.id, ConnectionClass::General))
            .await
            .unwrap();
    }
    control.stall(silent, true);
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    let receipt = sender(&producer, &topic).await.send(keyed("record")).unwrap();
    sleep(Duration::from_millis(300)).await;
    control.move_leader(&topic, 0, other.unwrap()).unwrap();
    let begun = Instant::now();
    within("a picture of the cluster", client.refresh(&[topic.as_str().into()]))
        .await
        .unwrap();
    within("the record", receipt).await.unwrap();
    let waited = begun.elapsed();
    assert!(
        waited < Duration::from_secs(12),
        "it took {waited:?}, and a connection may take 30 s"
    );
    control.stall(silent, false);
}

pub(crate) async fn a_leader_that_falls_silent_is_left_for_its_successor_while_records_are_read(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    read_during(&cluster, &topic, "silence", silent_broker(&cluster, &topic)).await;
}

pub(crate) async fn a_broker_that_falls_silent_keeps_no_question_from_being_answered(cluster: Cluster) {
    let topic = cluster.topic(PARTITIONS, &[]).await;
    let config = ClientConfig::new(cluster.bootstrap().to_vec()).with_request_timeout(Duration::from_secs(6));
    let control = cluster.broker().faults();
    let client = Client::new(config).unwrap();
    let image = within("a picture of the cluster", client.refresh(&[])).await.unwrap();
    for broker in image.brokers() {
        // Whichever broker is asked first, one of the three it is.
        within("a connection", client.connection(broker.id, ConnectionClass::General))
            .await
            .unwrap();
        control.stall(broker.id, true);
        let described = within("an answer", client.admin().describe_topics(&[&topic])).await;
        assert_eq!(described.unwrap()[0].partitions.len(), PARTITIONS as usize);
        control.stall(broker.id, false);
    }
}
