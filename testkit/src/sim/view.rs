//! A view beside the processors: a sequence of processes on one disk that follow the changelog, and somebody who reads.
//!
//! What it shows must have been in the changelog, and must never go back, not even when its process dies: a view that starts
//! answers only once it has seen what was there (V07). In the end it must show what the changelog makes.

#![allow(clippy::disallowed_methods, reason = "driver: waits between readings")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use goka_core::{RunError, RunningView, View, ViewConfig, ViewError};
use tokio::sync::watch;

use super::chance::Chance;
use super::disk::Disk;
use super::life::Life;
use super::plan;
use super::world::{CHANGELOG, World};
use crate::checker::Chained;

/// How a process ended.
enum End {
    Killed,
    Failed(String),
    /// It showed everything, or nobody can wait any longer.
    Done,
}

/// Keeps the view going. Once `last` says that nothing is written any more, it must come to show that.
pub(super) async fn keep(world: Arc<World>, mut last: watch::Receiver<bool>, disk: Disk) {
    let mut chance = Chance::new(world.plan.seed, plan::VIEW_STREAM + 1);
    let trace = &world.watch.trace;
    let mut until = None;
    loop {
        if *last.borrow() {
            let until = *until.get_or_insert_with(|| trace.elapsed() + 2 * world.plan.patience());
            if trace.elapsed() >= until {
                return trace.violation("V23 the view fails again and again".to_owned());
            }
        }
        let life = world.born_view();
        let pause = match live(&world, &life, &disk, &mut last, &mut chance).await {
            End::Done => return,
            End::Killed => {
                trace.event(format_args!("{} is dead", life.name));
                chance.millis(0, 4000)
            }
            End::Failed(error) => {
                trace.event(format_args!("{} failed: {error}", life.name));
                chance.millis(200, 2000)
            }
        };
        disk.crash(&mut chance, trace);
        tokio::time::sleep(pause).await;
    }
}

async fn live(
    world: &Arc<World>,
    life: &Arc<Life>,
    disk: &Disk,
    last: &mut watch::Receiver<bool>,
    chance: &mut Chance,
) -> End {
    let client = match world.client(life, chance.bits()) {
        Ok(client) => client,
        Err(error) => return End::Failed(error.to_string()),
    };
    let view = match View::new(client.clone(), CHANGELOG, Chained, disk.mounted(life, &world.watch)) {
        Ok(view) => view.with_config(config(world, chance)),
        Err(error) => return End::Failed(error.to_string()),
    };
    let follow = life.pause.clone().obeyed_by(follow(world, life, view, last, chance));
    let end = tokio::select! {
        biased;
        () = life.died() => End::Killed,
        end = follow => match end {
            Ok(()) => End::Done,
            Err(error) => End::Failed(error),
        },
    };
    // Whatever it still says, nobody hears it.
    life.kill(false);
    client.close().await;
    world.network.cut(|connection| connection.process == life.number);
    end
}

fn config(world: &World, chance: &mut Chance) -> ViewConfig {
    ViewConfig {
        flush_interval: chance.millis(50, 3000),
        flush_bytes: chance.pick(&[200, 2000, 1 << 20]),
        cache_bytes: chance.pick(&[0, 1000, 1 << 20]),
        fetcher: world.plan.processor.fetcher.clone(),
        ..ViewConfig::default()
    }
}

async fn follow(
    world: &Arc<World>,
    life: &Arc<Life>,
    view: View<Chained>,
    last: &mut watch::Receiver<bool>,
    chance: &mut Chance,
) -> Result<(), String> {
    let patience = world.plan.patience();
    let starting = async {
        let running = view.start().await?;
        running.ready().await?;
        Ok(running)
    };
    let started: Result<RunningView<_>, RunError> = tokio::select! {
        biased;
        started = starting => started,
        () = passed(last, patience) => {
            world.watch.trace.violation(format!("V23 {} does not become ready", life.name));
            return Ok(());
        }
    };
    let running = started.map_err(|error| error.to_string())?;
    world.watch.trace.met("view ready");
    while !*last.borrow() {
        let key = format!("key-{}", chance.between(0, world.plan.keys - 1));
        match running.get(&key) {
            Ok(Some(row)) => world.watch.viewed(life, &key, &row.to_string()),
            Ok(None) | Err(ViewError::Recovering { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        // Or at once, if there is nothing to wait for any more.
        let _ = tokio::time::timeout(chance.millis(20, 300), last.changed()).await;
    }
    let until = world.watch.trace.elapsed() + patience;
    loop {
        let (shown, made) = (shown(&running)?, world.watch.table(world.plan.partitions));
        if shown == made {
            break;
        }
        if world.watch.trace.elapsed() >= until {
            let (shown, made) = (shown.len(), made.len());
            world.watch.trace.violation(format!(
                "V07 {} shows {shown} rows {patience:?} after the last change, and not the {made} of the changelog",
                life.name
            ));
            break;
        }
        tokio::time::sleep(plan::LOOK_AGAIN).await;
    }
    running.stop().await.map_err(|error| error.to_string())
}

/// Waits until nothing is written any more, and then as long as one may wait.
async fn passed(last: &mut watch::Receiver<bool>, patience: std::time::Duration) {
    // Who is dropped has said all.
    let _ = last.wait_for(|last| *last).await;
    tokio::time::sleep(patience).await;
}

fn shown(view: &RunningView<Chained>) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let rows = view.iterate().map_err(|error| error.to_string())?;
    rows.map(|row| {
        let (key, value) = row.map_err(|error| error.to_string())?;
        Ok((Bytes::from(key), Bytes::from(value.to_string())))
    })
    .collect()
}
