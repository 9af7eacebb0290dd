//! A broker, whichever answers: known brokers first, then the bootstrap addresses, round and round until the deadline.
//!
//! Candidates start one after the other with a short head start each, so that a broker that swallows packets delays us by half a
//! second and not by its connect timeout. When every known broker is gone the bootstrap addresses are what is left, and the
//! Metadata they answer replaces the known brokers (KIP-899).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Request;
use tokio::task::JoinSet;

use super::ConnectionClass;
use super::driver::{Core, may_repeat, now, only_reads};
use super::links::Destination;
use crate::connection::{BrokerAddress, CallError, CallErrorKind, Connection};

/// Head start of one candidate over the next.
const HEAD_START: Duration = Duration::from_millis(500);

/// How long the first broker has to answer a question that another could answer as well; the next has twice as long, because all
/// of them may be slow.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// How long a broker has at least, if there is as much left.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

impl Core {
    /// A connection to any broker before `deadline`.
    ///
    /// # Errors
    /// `Unreachable` with what each address said last, or `Closed`.
    pub(super) async fn any_broker(core: &Arc<Self>, deadline: Instant) -> Result<Connection, CallError> {
        Self::any_broker_but(core, deadline, &[]).await
    }

    /// The same; one of the `silent` only if nobody else can be reached.
    async fn any_broker_but(
        core: &Arc<Self>,
        deadline: Instant,
        silent: &[BrokerAddress],
    ) -> Result<Connection, CallError> {
        let mut refusals = Refusals::new();
        loop {
            if let Some(connection) = core.any_open(silent) {
                return Ok(connection);
            }
            let race = core.unless_closed(race(core, silent, &mut refusals));
            match tokio::time::timeout_at(deadline.into(), race).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if error.kind == CallErrorKind::Unreachable && now() < deadline => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(core.nobody(&refusals)),
            }
        }
    }

    /// One request to any broker; see [`Client::call_any`](super::Client::call_any).
    pub(super) async fn call_any<R: Request>(
        core: &Arc<Self>,
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
    ) -> Result<R::Response, CallError> {
        let answered = Self::call_any_named(core, build, max_version).await;
        answered.map(|(_, response)| response)
    }

    /// The same, and who answered.
    pub(super) async fn call_any_named<R: Request>(
        core: &Arc<Self>,
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
    ) -> Result<(BrokerAddress, R::Response), CallError> {
        let deadline = core.deadline();
        let reads = ApiKey::try_from(R::KEY).is_ok_and(only_reads);
        let mut silent = Vec::new();
        loop {
            let connection = Self::any_broker_but(core, deadline, &silent)
                .await
                .map_err(|error| error.with_api(R::KEY))?;
            let version = connection.version_for::<R>(max_version)?;
            let left = deadline.saturating_duration_since(now());
            let patience = if reads { patience(left, silent.len()) } else { left };
            let go_on = || now() < deadline && !core.is_closed();
            match connection.call(&build(version), version, patience).await {
                Err(error) if may_repeat(&error) && go_on() => {}
                Err(error) if reads && error.kind == CallErrorKind::Timeout && go_on() => {
                    silent.push(connection.broker().clone());
                }
                outcome => return outcome.map(|response| (connection.broker().clone(), response)),
            }
        }
    }

    /// Every address a connection could go to, the known brokers before the bootstrap addresses, each group in random order; the
    /// `silent` come last.
    fn candidates(&self, silent: &[BrokerAddress]) -> Vec<Destination> {
        let mut known: Vec<_> = self
            .image
            .borrow()
            .brokers()
            .map(|broker| Destination::Node(broker.id))
            .collect();
        let mut bootstrap: Vec<_> = (0..self.bootstrap.len()).map(Destination::Bootstrap).collect();
        for group in [&mut known, &mut bootstrap] {
            for index in (1..group.len()).rev() {
                group.swap(index, self.draw(index + 1));
            }
        }
        known.append(&mut bootstrap);
        known.sort_by_key(|to| self.address(*to).is_some_and(|address| address.is_among(silent)));
        known
    }

    /// The error when time is up although attempts are still under way.
    fn nobody(&self, refusals: &Refusals) -> CallError {
        let known: Vec<String> = self.image.borrow().brokers().map(ToString::to_string).collect();
        let tried = self
            .bootstrap
            .iter()
            .map(ToString::to_string)
            .chain(known)
            .collect::<Vec<_>>()
            .join(", ");
        let mut text = format!(
            "none of {tried} answered within {:?}",
            self.config.connection.request_timeout
        );
        for refusal in refusals.values() {
            text.push_str("; ");
            text.push_str(refusal);
        }
        CallError::new(CallErrorKind::Unreachable, text)
    }
}

/// How long a broker may take, so that one that fell silent leaves time for another.
fn patience(left: Duration, silent: usize) -> Duration {
    let growing = FIRST_PATIENCE.saturating_mul(1 << silent.min(8));
    growing.min(left / 2).max(LEAST_PATIENCE).min(left)
}

/// What each address said last. Time is often up in the pause before the next attempt, which has said nothing yet.
type Refusals = BTreeMap<String, String>;

/// The first candidate to connect; an error once each was tried in vain.
async fn race(core: &Arc<Core>, silent: &[BrokerAddress], refusals: &mut Refusals) -> Result<Connection, CallError> {
    let mut waiting = core.candidates(silent).into_iter();
    let mut attempts = JoinSet::new();
    let mut foreign = None;
    loop {
        if let Some(to) = waiting.next() {
            let core = Arc::clone(core);
            attempts.spawn(async move { Core::connection(&core, to, ConnectionClass::General).await });
        } else if attempts.is_empty() {
            return Err(foreign.unwrap_or_else(|| core.nobody(refusals)));
        }
        let head_start = if waiting.len() == 0 { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(head_start, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connection)))) => return Ok(connection),
            Ok(Some(Ok(Err(error)))) => {
                refusals.insert(error.broker().unwrap_or_default().to_owned(), error.to_string());
                // Nothing heals a wrong port: say it at once instead of trying until the deadline.
                if !matches!(error.kind, CallErrorKind::Unreachable) {
                    foreign = Some(error);
                }
            }
            Ok(Some(Err(_))) | Ok(None) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_broker_never_takes_all_the_time_unless_little_is_left() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(30), 0), seconds(5));
        assert_eq!(patience(seconds(25), 1), seconds(10));
        assert_eq!(patience(seconds(15), 2), Duration::from_millis(7500));
        assert_eq!(patience(seconds(2), 0), seconds(1));
        assert_eq!(patience(Duration::from_millis(300), 0), Duration::from_millis(300));
        assert_eq!(patience(Duration::MAX, usize::MAX), seconds(5 << 8));
    }
}
