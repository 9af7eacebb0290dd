//! Events, emitted at an even pace while everything burns.

use std::time::{Duration, Instant};

use goka_core::{Emitter, Receipt, Utf8};
use kafka_wire::Persistence;
use testkit::checker::{Outcome, Sent};

use super::{Failure, Run};

/// How often a share of a second's events is emitted.
const STEP: Duration = Duration::from_millis(10);

/// Emits all events and gives what became of each.
pub(super) async fn emit(run: &Run) -> Result<Vec<Sent>, Failure> {
    let told = &run.told;
    let emitter = Emitter::new(run.client.clone(), run.input(), Utf8).await?;
    let steps = told.seconds.max(1) * 1000 / STEP.as_millis() as u64;
    let share = told.records.div_ceil(steps as usize);
    let mut receipts: Vec<Receipt> = Vec::with_capacity(told.records);
    let started = Instant::now();
    while receipts.len() < told.records {
        for _ in 0..share.min(told.records - receipts.len()) {
            emitter.ready().await;
            let (key, value) = event(receipts.len(), told.keys);
            receipts.push(emitter.emit(key, &value)?);
        }
        let due = STEP * (receipts.len() / share) as u32;
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
    }
    // Failures are told by the receipts.
    let _ = emitter.finish().await;
    Ok(receipts
        .iter()
        .enumerate()
        .map(|(number, receipt)| sent(run, number, receipt))
        .collect())
}

/// Key and value of an event. Now and then one deletes its row, so that some are missing where others are stale.
fn event(number: usize, keys: usize) -> (String, String) {
    let scattered = (number as u64).wrapping_mul(2_654_435_761) % keys as u64;
    let sign = if number % 101 == 7 { "-" } else { "" };
    (format!("key-{scattered:05}"), format!("{sign}event-{number}"))
}

fn sent(run: &Run, number: usize, receipt: &Receipt) -> Sent {
    let (key, value) = event(number, run.told.keys);
    let outcome = match receipt.try_result() {
        Some(Ok(position)) => Outcome::Acked {
            partition: position.partition,
            offset: (position.offset >= 0).then_some(position.offset),
        },
        Some(Err(error)) if error.persistence == Persistence::NotPersisted => Outcome::Failed,
        Some(Err(_)) | None => Outcome::Possible,
    };
    Sent {
        topic: run.input().to_owned(),
        key: key.into(),
        value: value.into(),
        outcome,
    }
}
