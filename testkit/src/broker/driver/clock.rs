//! The one timer of a cluster.

use std::future::pending;
use std::sync::Arc;

use super::Hub;

/// Calls `handle_timeout` when it is due, for ever.
pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        let due = hub.lock().core.next_timeout();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = wait => hub.with(|core, now| core.handle_timeout(now)),
            () = hub.timer.notified() => {}
        }
    }
}
