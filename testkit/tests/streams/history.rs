//! Events that a checker can follow, and the history of what became of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_core::storage::StoreBuilder;
use goka_core::{Emitter, GroupGraph, Receipt, Utf8};
use testkit::checker::read::{GroupTopics, Reader, add_stores};
use testkit::checker::{Chain, Chained, Expected, Outcome, Report, Sent, check};

use crate::app::{App, PARTITIONS};
use crate::cluster::within;

/// Keys among the events.
const KEYS: usize = 50;

impl App {
    /// The workload of [`App::emit_events`], with an output if there is a topic for it.
    pub(crate) fn chain(&self, output: Option<&str>) -> Chain {
        Chain {
            output: output.map(str::to_owned),
        }
    }

    /// The graph that does it.
    pub(crate) fn chained(&self, chain: &Chain) -> GroupGraph<Chained> {
        chain.graph(&self.group, &self.topic).unwrap()
    }

    /// Emits a few events every few milliseconds until `done`, each with a value of its own; what became of them.
    pub(crate) async fn emit_events(&self, done: &AtomicBool) -> Vec<Sent> {
        /// Enough for half a minute; a test that needs more hangs on something else.
        const MOST: usize = 60_000;
        let emitter = Emitter::new(self.cluster.new_client(), self.topic.as_str(), Utf8);
        let emitter = within("an emitter", emitter).await.unwrap();
        let mut sent: Vec<(String, String, Receipt)> = Vec::new();
        while !done.load(Ordering::SeqCst) && sent.len() < MOST {
            for _ in 0..20 {
                let (number, key) = (sent.len(), format!("key-{}", (sent.len() * 7 + sent.len() / 11) % KEYS));
                // Now and then a row goes, so that some are missing where others are stale.
                let sign = if number % 43 == 5 { "-" } else { "" };
                let value = format!("{sign}event-{number}");
                emitter.ready().await;
                let receipt = emitter.emit(&key, &value).unwrap();
                sent.push((key, value, receipt));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        within("the last acknowledgement", emitter.finish()).await.unwrap();
        let sent = sent.into_iter().map(|(key, value, receipt)| {
            let position = receipt.try_result().unwrap().unwrap();
            Sent {
                topic: self.topic.clone(),
                key: key.into(),
                value: value.into(),
                outcome: Outcome::Acked {
                    partition: position.partition,
                    offset: (position.offset >= 0).then_some(position.offset),
                },
            }
        });
        sent.collect()
    }

    /// Everything there is to know of the group, checked.
    pub(crate) async fn check_history(
        &self,
        chain: &Chain,
        sent: Vec<Sent>,
        stores: &[&str],
        unclean_ends: Option<u64>,
    ) -> Report {
        let topics = GroupTopics {
            group: self.group.clone(),
            inputs: vec![self.topic.clone()],
            table: self.table.clone(),
            outputs: chain.output.iter().cloned().collect(),
            partitions: PARTITIONS,
            every_commit: self.cluster.keeps_commits(),
        };
        let reader = Reader::new(self.cluster.new_client());
        let mut history = within("the history", reader.history(&topics)).await.unwrap();
        for name in stores {
            let directory = self.redb(name);
            self.until_free(&directory).await;
            let rebuilt = add_stores(&mut history, name, &directory, &self.group, &self.table).unwrap();
            assert_eq!(rebuilt, [""; 0], "a crash must not damage a store");
        }
        history.sent = sent;
        history.expected = Expected {
            at_rest: true,
            unclean_ends,
            surplus: None,
        };
        let report = check(&history, chain);
        tracing::info!(%report, "history");
        report.assert_clean();
        assert_eq!(report.inputs, history.sent.len() as u64);
        report
    }

    /// Waits until whoever had a directory has let go, as a process that was killed has once the kernel is done with it.
    async fn until_free(&self, stores: &dyn StoreBuilder) {
        let name = goka_core::storage::StoreName {
            owner: &self.group,
            topic: &self.table,
            partition: 0,
        };
        crate::cluster::eventually("the stores' directory", async || {
            stores.open(name).is_ok_and(|opened| opened.store.close().is_ok())
        })
        .await;
    }
}
