//! Runs seeds of the simulation; `testkit/sim` builds and starts it.
//!
//! `sim COUNT [--base HEX] [--seed SEED].. [--part I N] [--twice] [--first] [--tell]`: as many seeds as asked for, counted from the
//! base, and the seeds named; of all of them the I-th of N parts. With `--twice` each is run twice and must repeat; `--first` stops
//! at the first that fails; `--tell` prints everything that happens.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::sim::{self, Seed};

/// A seed takes a fraction of a second; one that takes this long goes round in circles.
const STUCK: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let orders = match Orders::read(std::env::args().skip(1)) {
        Ok(orders) => orders,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    let watchdog = Watchdog::start();
    let begun = Instant::now();
    let mut met: BTreeMap<&str, u64> = sim::situations().into_iter().map(|situation| (situation, 0)).collect();
    let (mut tried, mut failed, mut events, mut time) = (0, 0, 0, Duration::ZERO);
    for seed in &orders.seeds {
        watchdog.next(*seed);
        tried += 1;
        let outcome = run(*seed, &orders);
        for situation in outcome.situations.keys() {
            *met.entry(situation).or_default() += 1;
        }
        events += outcome.events;
        time += outcome.time;
        if !outcome.violations.is_empty() {
            failed += 1;
            println!("FAILED seed {seed} ({} violations)", outcome.violations.len());
            for violation in outcome.violations.iter().take(5) {
                println!("    {violation}");
            }
        }
        if failed > 0 && orders.first {
            break;
        }
        if orders.seeds.len() < 4 {
            println!(
                "seed {seed}: {} events in {:?} of virtual time, hash {:016x}",
                outcome.events, outcome.time, outcome.hash
            );
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{tried} seeds, {failed} failed, {:.1} s, {:.1} seeds/s, {events} events, {:.0} s of virtual time",
        seconds,
        f64::from(tried) / seconds,
        time.as_secs_f64()
    );
    for (situation, seeds) in &met {
        println!("met {seeds:>6} {situation}");
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(seed: Seed, orders: &Orders) -> sim::Outcome {
    let mut outcome = sim::run(seed, orders.tell);
    if orders.twice {
        let again = sim::run(seed, false);
        if again.hash != outcome.hash {
            let told = format!(
                "V27 the seed does not repeat: hash {:016x} after {} events, then {:016x} after {}",
                outcome.hash, outcome.events, again.hash, again.events
            );
            outcome.violations.push(told);
        }
    }
    outcome
}

struct Orders {
    seeds: Vec<Seed>,
    twice: bool,
    first: bool,
    tell: bool,
}

impl Orders {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Orders, String> {
        let hex = |text: Option<String>| {
            let text = text.ok_or("a number is missing")?;
            u64::from_str_radix(&text, 16).map_err(|error| format!("{text}: {error}"))
        };
        let seed = |text: Option<String>| -> Result<Seed, String> {
            let text = text.ok_or("a seed is missing")?;
            text.parse().map_err(|error| format!("{text}: {error}"))
        };
        let (mut count, mut base, mut part) = (0, Seed::new(0), (0, 1));
        let mut orders = Orders {
            seeds: Vec::new(),
            twice: false,
            first: false,
            tell: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--base" => base = seed(arguments.next())?,
                "--seed" => orders.seeds.push(seed(arguments.next())?),
                "--twice" => orders.twice = true,
                "--first" => orders.first = true,
                "--tell" => orders.tell = true,
                "--part" => part = (hex(arguments.next())?, hex(arguments.next())?.max(1)),
                number => count = number.parse().map_err(|error| format!("{number}: {error}"))?,
            }
        }
        if orders.twice && !sim::REPEATS {
            return Err("seeds repeat only in builds with --cfg tokio_unstable; use testkit/sim".to_owned());
        }
        // Steps that spread the seeds of neighbouring bases.
        let step = |number: u64| Seed {
            number: base.number.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            ..base
        };
        orders.seeds.extend((0..count).map(step));
        let mut number = 0;
        orders.seeds.retain(|_| {
            number += 1;
            number % part.1 == part.0
        });
        Ok(orders)
    }
}

/// Ends the process if a seed does not end.
struct Watchdog {
    seed: &'static Mutex<Option<Seed>>,
    count: &'static AtomicU64,
}

impl Watchdog {
    fn start() -> Watchdog {
        static SEED: Mutex<Option<Seed>> = Mutex::new(None);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        std::thread::spawn(|| {
            let mut last = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let count = COUNT.load(Ordering::Relaxed);
                if count != last.0 {
                    last = (count, Instant::now());
                } else if last.1.elapsed() > STUCK {
                    let seed = SEED.lock().ok().and_then(|seed| *seed);
                    let seed = seed.map_or_else(String::new, |seed| seed.to_string());
                    println!("FAILED seed {seed}: V25 it does not end");
                    std::process::exit(1);
                }
            }
        });
        Watchdog {
            seed: &SEED,
            count: &COUNT,
        }
    }

    fn next(&self, seed: Seed) {
        if let Ok(mut at) = self.seed.lock() {
            *at = Some(seed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}
