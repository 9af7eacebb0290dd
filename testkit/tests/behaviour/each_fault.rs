//! Tests that are the same for many faults: each fault meets an embedded cluster of its own, all at the same time.

use std::future::Future;
use std::time::Duration;

use kafka_wire::{Client, ClientConfig};
use testkit::broker::{Fault, FaultControl};
use tokio::time::sleep;

use crate::cluster::{Cluster, within};

/// Patience with a request: longer than a healthy broker takes, shorter than the faults that are to run into it.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Longer than a healthy broker takes, and well in time.
pub(crate) const LATE: Duration = Duration::from_millis(400);

/// Longer than anybody waits for an answer.
pub(crate) const TOO_LATE: Duration = Duration::from_millis(1500);

/// A client that waits for [`REQUEST_TIMEOUT`] only.
pub(crate) fn impatient(cluster: &Cluster) -> Client {
    let config = ClientConfig::new(cluster.bootstrap().to_vec());
    Client::new(config.with_request_timeout(REQUEST_TIMEOUT)).unwrap()
}

/// Runs `test` once per fault.
pub(crate) async fn each_fault<F, T>(faults: impl IntoIterator<Item = Fault>, test: F)
where
    F: Fn(Cluster, Fault) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let mut tests = Vec::new();
    for fault in faults {
        let name = format!("{fault:?}");
        tests.push((name, tokio::spawn(test(Cluster::embedded().await, fault))));
    }
    for (name, test) in tests {
        test.await.unwrap_or_else(|failed| panic!("with {name}: {failed}"));
    }
}

/// Waits until every fault has met its requests.
pub(crate) async fn all_happened(control: &FaultControl) {
    let happened = async {
        while control.pending() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within("the last fault", happened).await;
}

/// Lets a fault happen after a short while.
pub(crate) fn happen(cluster: &Cluster, fault: Fault) -> impl Future<Output = ()> + Send + 'static {
    let control = cluster.broker().faults();
    async move {
        sleep(Duration::from_millis(20)).await;
        control.inject(fault);
        all_happened(&control).await;
    }
}
