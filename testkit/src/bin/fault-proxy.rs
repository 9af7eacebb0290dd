//! The fault proxy as a process, told on its standard input what is to go wrong.
//!
//! ```text
//! fault-proxy PORT HOST:PORT [SEED]     listens on 127.0.0.1:PORT in front of HOST:PORT until its standard input ends
//!
//!   calm           nothing goes wrong                 half-open     new connections reach no broker
//!   short-lives    connections die after 0.5 to 1.5 s lost-answers  requests arrive, their answers do not
//!   delay MS       bytes are late, each way           stall         bytes stay under way
//!   rate BYTES     bytes per second, each way         drip MS       every byte by itself, after a pause
//!   cut            open connections end now           stats         prints figures, as the end does
//! ```

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use testkit::proxy::{FaultProxy, Faults, Way};
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, upstream, seed) = match arguments.as_slice() {
        [port, upstream] => (port, upstream, 1),
        [port, upstream, seed] => (port, upstream, seed.parse()?),
        _ => return Err("usage: fault-proxy PORT HOST:PORT [SEED]".into()),
    };
    let proxy = FaultProxy::listen(port.parse()?, upstream, seed).await?;
    let (heard, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lock().lines();
        while let Some(Ok(line)) = lines.next()
            && heard.send(line).is_ok()
        {}
    });
    while let Some(line) = lines.recv().await {
        match told(&line)? {
            Told::Faults(faults) => proxy.set(faults),
            Told::Cut => proxy.cut(),
            Told::Stats => print(&proxy)?,
        }
    }
    print(&proxy)
}

enum Told {
    Faults(Faults),
    Cut,
    Stats,
}

fn told(line: &str) -> Result<Told, Failure> {
    let (word, number) = line.split_once(' ').unwrap_or((line, "0"));
    let number: u64 = number.parse()?;
    let both = |change: fn(&mut Way, u64)| {
        let mut way = Way::default();
        change(&mut way, number);
        Told::Faults(Faults::both(way))
    };
    Ok(match word {
        "calm" => Told::Faults(Faults::default()),
        "short-lives" => Told::Faults(Faults::short_lives()),
        "lost-answers" => Told::Faults(Faults::lost_answers()),
        "half-open" => Told::Faults(Faults {
            half_open: true,
            ..Faults::default()
        }),
        "delay" => both(|way, number| way.delay = Duration::from_millis(number)),
        "rate" => both(|way, number| way.rate = number),
        "drip" => both(|way, number| way.drip = Some(Duration::from_millis(number))),
        "stall" => both(|way, _| way.stalled = true),
        "cut" => Told::Cut,
        "stats" => Told::Stats,
        _ => return Err(format!("what is \"{line}\"?").into()),
    })
}

fn print(proxy: &FaultProxy) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{:?}", proxy.stats())?)
}
