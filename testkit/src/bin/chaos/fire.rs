//! What goes wrong during a campaign.

use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use testkit::proxy::{FaultProxy, Faults};

use super::fleet::Fleet;
use super::{Failure, Told};

/// Time between two deaths of processes.
const KILL_EVERY: Duration = Duration::from_secs(5);
/// How often the broker dies.
const BROKER_DEATHS: u32 = 5;
/// How long it stays away beside what its start takes.
const BROKER_AWAY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fire {
    Processes,
    Brokers,
    Connections,
}

impl FromStr for Fire {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Fire, Failure> {
        Ok(match name {
            "processes" => Fire::Processes,
            "brokers" => Fire::Brokers,
            "connections" => Fire::Connections,
            _ => return Err(format!("{name} is no scenario; those are processes, brokers, connections").into()),
        })
    }
}

/// What was done.
pub(super) struct Burnt {
    pub(super) what: String,
    /// Owners that ended without warning; `None` where none should, but sessions may run out.
    pub(super) unclean_ends: Option<u64>,
}

/// The proxy in front of the broker, if the broker says so to its clients.
pub(super) async fn proxy(told: &Told) -> Result<Option<FaultProxy>, Failure> {
    Ok(match told.proxy {
        0 => None,
        port => Some(FaultProxy::listen(port, &told.broker, 1).await?),
    })
}

pub(super) async fn burn(told: &Told, fleet: &mut Fleet, proxy: Option<&FaultProxy>) -> Result<Burnt, Failure> {
    let until = Instant::now() + Duration::from_secs(told.seconds);
    let mut burnt = Burnt {
        what: "nothing was killed".to_owned(),
        unclean_ends: Some(0),
    };
    match told.fire {
        Fire::Processes => {
            let mut kills = 0;
            while Instant::now() + KILL_EVERY < until {
                tokio::time::sleep(KILL_EVERY).await;
                fleet.check_alive()?;
                // Not in turn, or each would have had as long as the others.
                fleet.kill(kills * 5 / 3)?;
                kills += 1;
            }
            burnt.what = format!("{kills} processes were killed");
            burnt.unclean_ends = Some(kills as u64);
        }
        Fire::Brokers => {
            let pause = Duration::from_secs(told.seconds) / (BROKER_DEATHS + 1);
            let (session, mut away, mut sessions_over) = (Duration::from_millis(told.session), Vec::new(), 0);
            for _ in 0..BROKER_DEATHS {
                tokio::time::sleep(pause).await;
                let dead = Instant::now();
                kafka(told, "kill").await?;
                tokio::time::sleep(BROKER_AWAY).await;
                kafka(told, "start").await?;
                // Whoever is out of touch for longer lets go of its partitions, with what was not committed.
                sessions_over += u64::from(dead.elapsed() >= session);
                away.push(format!("{:.1} s", dead.elapsed().as_secs_f64()));
                fleet.check_alive()?;
            }
            burnt.what = format!(
                "the broker was killed {BROKER_DEATHS} times and away for {}",
                away.join(", ")
            );
            burnt.unclean_ends = Some(sessions_over);
        }
        Fire::Connections => {
            let proxy = proxy.ok_or("--proxy is missing")?;
            proxy.set(Faults::short_lives());
            // Those that are open already would live on.
            proxy.cut();
            tokio::time::sleep(until.saturating_duration_since(Instant::now())).await;
            proxy.set(Faults::default());
        }
    }
    fleet.check_alive()?;
    Ok(burnt)
}

/// Has the script do something to the broker.
async fn kafka(told: &Told, what: &str) -> Result<(), Failure> {
    let arguments = [what.to_owned(), "--name".to_owned(), told.kafka.clone()];
    let run = move || Command::new("testkit/kafka/kafka").args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await??;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}
