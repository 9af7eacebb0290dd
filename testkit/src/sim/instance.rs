//! An instance of the processor: a sequence of processes on one disk, started, stopped and killed.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: starts and ends tasks"
)]

use std::sync::Arc;
use std::time::Duration;

use goka_core::{Client, ConfigError, GroupGraph, Output, Processor, Utf8};
use tokio::sync::mpsc;

use super::chance::Chance;
use super::disk::Disk;
use super::life::Life;
use super::world::{GROUP, INPUT, OUTPUT, World};
use crate::checker::{ChainRow, Chained};

/// What an instance is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Stop in order, and start again after a pause.
    Restart(Duration),
    /// Stop in order, for good.
    Retire,
}

/// How a process ended.
enum End {
    Killed,
    Restarts(Duration),
    Retired,
    /// Told to retire, and did not do so in order.
    RetiredBadly,
    Failed(String),
}

/// Keeps an instance going until it is told to retire.
pub(super) async fn keep(world: Arc<World>, number: u32, mut orders: mpsc::UnboundedReceiver<Order>, disk: Disk) {
    let mut chance = Chance::new(world.plan.seed, 1000 + u64::from(number));
    loop {
        let life = world.born(number);
        let seed = chance.bits();
        let end = live(&world, &life, &disk, &mut orders, seed).await;
        let trace = &world.watch.trace;
        let pause = match end {
            End::Killed => {
                trace.event(format_args!("{} is dead", life.name));
                disk.crash(&mut chance, trace);
                world.watch.ended_uncleanly();
                chance.millis(0, 4000)
            }
            End::Failed(error) => {
                trace.event(format_args!("{} failed: {error}", life.name));
                trace.met("processor ended by an error");
                // Whatever it left open was not its to keep.
                disk.crash(&mut chance, trace);
                world.watch.ended_uncleanly();
                chance.millis(200, 2000)
            }
            End::Restarts(pause) => {
                trace.event(format_args!("{} stopped", life.name));
                pause
            }
            End::RetiredBadly => {
                disk.crash(&mut chance, trace);
                return world.watch.ended_uncleanly();
            }
            End::Retired => {
                trace.event(format_args!("{} retired", life.name));
                return;
            }
        };
        let paused = tokio::time::timeout(pause, retired(&mut orders)).await;
        if paused.is_ok() {
            return;
        }
    }
}

/// Waits until the instance is told to retire; it is not running, so it need not be told to restart.
async fn retired(orders: &mut mpsc::UnboundedReceiver<Order>) {
    while let Some(Order::Restart(_)) = orders.recv().await {}
}

async fn live(
    world: &Arc<World>,
    life: &Arc<Life>,
    disk: &Disk,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    seed: u64,
) -> End {
    let made = world.client(life, seed).and_then(|client| {
        let processor = Processor::new(client.clone(), graph(world, life), disk.mounted(life, &world.watch))?;
        Ok((client, processor.with_config(world.plan.processor.clone())))
    });
    let (client, processor): (Client, _) = match made {
        Ok(made) => made,
        Err(error) => return End::Failed(ConfigError::to_string(&error)),
    };
    let end = tokio::select! {
        biased;
        () = life.died() => End::Killed,
        end = life.pause.clone().obeyed_by(run(world, processor, orders)) => end,
    };
    if matches!(end, End::Restarts(_) | End::Retired) && !life.is_dead() && disk.is_open() {
        world
            .watch
            .trace
            .violation(format!("V22 {} stopped and left a store open", life.name));
    }
    // Whatever it still says, nobody hears it.
    life.kill(false);
    client.close().await;
    world.network.cut(|connection| connection.process == life.number);
    end
}

async fn run(world: &Arc<World>, processor: Processor<Chained>, orders: &mut mpsc::UnboundedReceiver<Order>) -> End {
    let started = tokio::select! {
        biased;
        started = processor.start() => started,
        () = retired(orders) => return End::Retired,
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => return End::Failed(format!("at the start: {error}")),
    };
    let order = tokio::select! {
        biased;
        order = orders.recv() => order,
        result = running.wait() => {
            let error = result.err().map_or_else(|| "it ended unasked".to_owned(), |error| error.to_string());
            return End::Failed(error);
        }
    };
    match (running.stop().await, order) {
        (Err(error), order) => {
            world.watch.trace.met("stopping failed");
            world.watch.trace.event(format_args!("stopping failed: {error}"));
            match order {
                Some(Order::Restart(_)) => End::Failed(format!("while stopping: {error}")),
                _ => End::RetiredBadly,
            }
        }
        (Ok(()), Some(Order::Restart(pause))) => End::Restarts(pause),
        (Ok(()), Some(Order::Retire) | None) => End::Retired,
    }
}

/// The chained workload, told to the watch.
fn graph(world: &World, life: &Arc<Life>) -> GroupGraph<Chained> {
    let (watch, life) = (Arc::clone(&world.watch), Arc::clone(life));
    let output = world.plan.output.then(|| Output::new(OUTPUT, Chained));
    let mut builder = GroupGraph::builder(GROUP).persist(Chained);
    if let Some(output) = &output {
        builder = builder.output(output);
    }
    let builder = builder.input(INPUT, Utf8, move |ctx, event| {
        watch.called(&life, ctx.topic(), ctx.partition(), ctx.offset());
        let row = ChainRow::step(ctx, &event)?;
        match (&output, row) {
            (Some(output), Some(row)) => ctx.emit(output, ctx.key(), &row),
            _ => Ok(()),
        }
    });
    builder.build().expect("the names are legal")
}
