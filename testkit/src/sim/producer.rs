//! Those who write the input: records with unique values, and what they were told about each.

#![allow(clippy::disallowed_methods, reason = "driver: waits between records")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use goka_core::{Emitter, EmitterConfig, Partitioner, Receipt, Utf8};
use kafka_wire::producer::Persistence;

use super::chance::Chance;
use super::life::Life;
use super::plan;
use super::world::{INPUT, World};
use crate::checker::{Outcome, Sent};

/// Sends everything a producer has to send, and waits for all answers.
pub(super) async fn produce(world: Arc<World>, life: Arc<Life>) {
    let mut chance = Chance::new(world.plan.seed, 2000 + u64::from(life.who));
    let Some(emitter) = emitter(&world, &life, &mut chance).await else {
        return;
    };
    let pause = world.plan.trouble.as_micros() as u64 / world.plan.records;
    let mut receipts = Vec::new();
    for number in 0..world.plan.records {
        let key = format!("key-{}", chance.between(0, world.plan.keys - 1));
        let deletes = world.plan.deletes && chance.below(8) == 0;
        let value = format!("{}{}-{number}", if deletes { "-" } else { "" }, life.name);
        let receipt = loop {
            match emitter.emit(&key, &value) {
                Err(error) if error.is_full() => emitter.ready().await,
                answer => break answer,
            }
        };
        receipts.push((key, value, receipt.ok()));
        // Some together, then a pause.
        if chance.below(4) == 0 {
            tokio::time::sleep(Duration::from_micros(chance.between(0, 8 * pause))).await;
        }
    }
    // What failed is told by the receipts, too.
    if let Err(failures) = emitter.finish().await {
        world.watch.trace.event(format_args!("{}: {failures}", life.name));
        world.watch.trace.met("records not written");
    }
    for (key, value, receipt) in receipts {
        let settled = tokio::time::timeout(Duration::ZERO, outcome(&world, receipt)).await;
        let outcome = settled.unwrap_or_else(|_| {
            let name = &life.name;
            world.watch.trace.violation(format!(
                "P16 {name} has finished, and what became of {value} is not known yet"
            ));
            Outcome::Possible
        });
        world.watch.sent(Sent {
            topic: INPUT.to_owned(),
            key: Bytes::from(key),
            value: Bytes::from(value),
            outcome,
        });
    }
}

async fn emitter(world: &Arc<World>, life: &Arc<Life>, chance: &mut Chance) -> Option<Emitter<Utf8>> {
    let client = match world.client(life, chance.bits()) {
        Ok(client) => client,
        Err(error) => {
            world.watch.trace.violation(format!("no client: {error}"));
            return None;
        }
    };
    let config = EmitterConfig {
        partitioner: Partitioner::Fnv1a,
        producer: plan::producer(chance, world.plan.request_timeout),
    };
    loop {
        match Emitter::with_config(client.clone(), INPUT, Utf8, config.clone()).await {
            Ok(emitter) => return Some(emitter),
            Err(error) => {
                world.watch.trace.event(format_args!("{}: {error}", life.name));
                tokio::time::sleep(chance.millis(100, 1000)).await;
            }
        }
    }
}

async fn outcome(world: &World, receipt: Option<Receipt>) -> Outcome {
    let Some(receipt) = receipt else { return Outcome::Failed };
    match receipt.await {
        Ok(position) => Outcome::Acked {
            partition: position.partition,
            offset: (position.offset >= 0).then_some(position.offset),
        },
        Err(error) if error.persistence == Persistence::NotPersisted => Outcome::Failed,
        Err(_) => {
            world.watch.trace.met("record possibly written");
            Outcome::Possible
        }
    }
}
