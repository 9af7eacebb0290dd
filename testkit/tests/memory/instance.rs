//! The process whose memory is measured.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What it told last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) records: u64,
    /// The most memory that it ever had, in KiB.
    pub(crate) high_water_kib: u64,
    pub(crate) ended: bool,
}

/// A running instance; killed when dropped.
pub(crate) struct Instance {
    child: Child,
    input: Option<ChildStdin>,
    told: Arc<Mutex<Told>>,
}

impl Instance {
    /// With a budget in MiB, and the partition whose callback stands still.
    pub(crate) fn start(bootstrap: &str, topic: &str, directory: &Path, budget: u64, stuck: i32) -> Instance {
        let rest = [format!("{topic}-group"), stuck.to_string()];
        Instance::spawn((bootstrap, topic, directory, budget), &rest)
    }

    /// A view of a table, with a budget in MiB.
    pub(crate) fn view(bootstrap: &str, table: &str, directory: &Path, budget: u64) -> Instance {
        Instance::spawn((bootstrap, table, directory, budget), &[])
    }

    fn spawn((bootstrap, topic, directory, budget): (&str, &str, &Path, u64), rest: &[String]) -> Instance {
        let mut child = Command::new(env!("CARGO_BIN_EXE_memory-instance"))
            .args([bootstrap, topic])
            .arg(directory)
            .arg(budget.to_string())
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Arc::<Mutex<Told>>::default();
        let (lines, telling) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&told));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                hear(&mut telling.lock().unwrap(), &line);
            }
        });
        Instance {
            input: child.stdin.take(),
            child,
            told,
        }
    }

    pub(crate) fn told(&self) -> Told {
        *self.told.lock().unwrap()
    }

    /// Waits until so many records are worked off; fails if none are for half a minute.
    pub(crate) async fn works_off(&self, records: u64) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let told = self.told();
            if told.records >= records {
                return;
            }
            assert!(!told.ended, "it ended after {} of {records} records", told.records);
            if told.records > seen {
                (seen, since) = (told.records, Instant::now());
            }
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "it stands still after {seen} of {records} records"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets the stuck partition go on.
    pub(crate) fn release(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Told {
        drop(self.input.take());
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                break;
            }
            assert!(asked.elapsed() < Duration::from_secs(60), "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while !self.told().ended {
            assert!(asked.elapsed() < Duration::from_secs(60), "its last line is missing");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.told()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Dead already, or it dies now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hear(told: &mut Told, line: &str) {
    for word in line.split(' ') {
        match word.split_once('=') {
            Some(("records", number)) => told.records = number.parse().unwrap(),
            Some(("hwm", number)) => told.high_water_kib = number.parse().unwrap(),
            _ => told.ended |= word == "ended",
        }
    }
}
