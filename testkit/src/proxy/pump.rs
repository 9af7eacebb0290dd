//! One direction of a connection.
//!
//! Reading and writing run side by side with a queue between them, so that a delay makes bytes late without making them few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::faults::{Faults, Way};

/// Bytes moved at once.
const CHUNK: usize = 16 << 10;
/// Chunks under way before reading pauses; with a delay of 100 ms that is 80 MB/s.
const UNDER_WAY: usize = 512;
/// How often a limited rate is paid for.
const RATE_STEP: usize = 1 << 10;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// One side closed it.
    Closed,
    /// The proxy did.
    Cut,
}

/// Moves bytes one way until there are no more, or something ends the connection.
pub(super) async fn pump(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    faults: watch::Receiver<Faults>,
    way: fn(&Faults) -> &Way,
    passed: &AtomicU64,
) -> End {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            match from.read_buf(&mut chunk).await {
                Ok(1..) if queue.send((Instant::now(), chunk)).await.is_ok() => {}
                // What is under way still arrives.
                _ => break,
            }
        }
        drop(queue);
        std::future::pending::<()>().await;
    };
    let mut outlet = Outlet {
        to,
        faults,
        way,
        passed,
        taken: 0,
    };
    let writing = async move {
        while let Some((came, chunk)) = due.recv().await {
            if let Err(end) = outlet.pass(came, &chunk).await {
                return end;
            }
        }
        End::Closed
    };
    tokio::select! {
        () = reading => End::Closed,
        end = writing => end,
    }
}

/// Where bytes leave the proxy.
struct Outlet<'a> {
    to: OwnedWriteHalf,
    faults: watch::Receiver<Faults>,
    way: fn(&Faults) -> &Way,
    passed: &'a AtomicU64,
    /// Bytes of this direction so far, lost ones included.
    taken: u64,
}

impl Outlet<'_> {
    async fn pass(&mut self, came: Instant, mut chunk: &[u8]) -> Result<(), End> {
        let way = self.wait_for(came).await?;
        let left = way.cut_after.map(|limit| limit.saturating_sub(self.taken));
        let is_last = left.is_some_and(|left| left <= chunk.len() as u64);
        if let Some(left) = left.filter(|_| is_last) {
            chunk = &chunk[..left as usize];
        }
        self.taken += chunk.len() as u64;
        if !way.lost {
            self.write(chunk, &way).await?;
        }
        match is_last {
            true => Err(End::Cut),
            false => Ok(()),
        }
    }

    /// Waits until what came then is due, and gives what is to happen to it.
    async fn wait_for(&mut self, came: Instant) -> Result<Way, End> {
        loop {
            let way = (self.way)(&self.faults.borrow_and_update()).clone();
            if way.stalled {
                self.faults.changed().await.map_err(|_| End::Closed)?;
                continue;
            }
            let due = came + way.delay;
            if due <= Instant::now() {
                return Ok(way);
            }
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                // Another delay may hold by now.
                changed = self.faults.changed() => changed.map_err(|_| End::Closed)?,
            }
        }
    }

    async fn write(&mut self, chunk: &[u8], way: &Way) -> Result<(), End> {
        let step = match (way.drip, way.rate) {
            (Some(_), _) => 1,
            (None, 1..) => RATE_STEP,
            (None, 0) => CHUNK,
        };
        for piece in chunk.chunks(step) {
            if let Some(pause) = way.drip {
                tokio::time::sleep(pause).await;
            }
            self.to.write_all(piece).await.map_err(|_| End::Closed)?;
            self.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if way.rate > 0 {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / way.rate as f64)).await;
            }
        }
        Ok(())
    }
}
