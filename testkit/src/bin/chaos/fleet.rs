//! The processes of the group, each with a directory and logs of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::checker::read::GroupTopics;

use super::{Failure, Run};

/// Processes of the group.
const SIZE: usize = 3;
/// What only a store that could not be trusted makes a process log.
const WIPES: [&str; 2] = ["store cannot be trusted", "damaged store set aside"];

pub(super) struct Fleet {
    arguments: Vec<String>,
    pub(super) topics: GroupTopics,
    state: PathBuf,
    processes: Vec<Child>,
    /// How many processes were started, which numbers their logs.
    started: usize,
}

impl Fleet {
    pub(super) fn start(run: &Run) -> Result<Fleet, Failure> {
        let mut arguments = vec![run.bootstrap.clone(), run.input().to_owned(), run.topics.group.clone()];
        let output = run.chain.output.clone().unwrap_or_default();
        let session = run.told.session.to_string();
        let options = ["--chain", "--stop", "--output", &output, "--session", &session];
        arguments.extend(options.map(str::to_owned));
        let mut fleet = Fleet {
            arguments,
            topics: run.topics.clone(),
            state: run.told.state.clone(),
            processes: Vec::new(),
            started: 0,
        };
        for number in 0..SIZE {
            let process = fleet.spawn(number)?;
            fleet.processes.push(process);
        }
        Ok(fleet)
    }

    fn spawn(&mut self, number: usize) -> Result<Child, Failure> {
        self.started += 1;
        let log = File::create(self.state.join(format!("log-{:03}-process-{number}", self.started)))?;
        // It lies beside this program.
        let program = std::env::current_exe()?.with_file_name("counting-instance");
        let mut command = Command::new(program);
        command
            .args(&self.arguments[..3])
            .arg(self.directory(number))
            .args(&self.arguments[3..]);
        command
            .env("RUST_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(command.spawn()?)
    }

    fn directory(&self, number: usize) -> PathBuf {
        self.state.join(format!("process-{number}"))
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = (String, PathBuf)> {
        (0..SIZE).map(|number| (format!("process-{number}"), self.directory(number)))
    }

    /// Kills a process and starts it again.
    pub(super) fn kill(&mut self, number: usize) -> Result<(), Failure> {
        let number = number % SIZE;
        self.processes[number].kill()?;
        self.processes[number].wait()?;
        self.processes[number] = self.spawn(number)?;
        Ok(())
    }

    /// Fails if a process ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<(), Failure> {
        for (number, process) in self.processes.iter_mut().enumerate() {
            if let Some(status) = process.try_wait()? {
                return Err(format!("process {number} ended by itself: {status}; see its log").into());
            }
        }
        Ok(())
    }

    /// Stops all in order, as the end of their standard input tells them.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        self.check_alive()?;
        for process in &mut self.processes {
            drop(process.stdin.take());
        }
        let until = Instant::now() + Duration::from_secs(60);
        for (number, process) in self.processes.iter_mut().enumerate() {
            let status = loop {
                match process.try_wait()? {
                    Some(status) => break status,
                    None if Instant::now() > until => return Err(format!("process {number} does not stop").into()),
                    None => std::thread::sleep(Duration::from_millis(50)),
                }
            };
            if !status.success() {
                return Err(format!("process {number} failed when it was stopped: {status}; see its log").into());
            }
        }
        Ok(())
    }

    /// What the processes logged, in figures.
    pub(super) fn logged(&self) -> Result<String, Failure> {
        let (mut wipes, mut troubles) = (0, BTreeMap::<String, u64>::new());
        let (mut recovered, mut tables) = (0, 0);
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("log-") {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
            for line in text.lines() {
                wipes += u64::from(WIPES.iter().any(|wipe| line.contains(wipe)));
                if line.contains("table recovered") {
                    tables += 1;
                    recovered += field(line, "records=");
                }
                if let Some(trouble) = trouble(line) {
                    *troubles.entry(trouble).or_default() += 1;
                }
            }
        }
        Ok(format!(
            "{wipes} stores wiped, {tables} tables recovered by {recovered} records, troubles {troubles:?}"
        ))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Ended already, or it does now.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The number behind `name` in a line of log.
fn field(line: &str, name: &str) -> u64 {
    let number = line.split(name).nth(1).unwrap_or_default();
    let digits = number.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The module and the first words of a warning or an error.
fn trouble(line: &str) -> Option<String> {
    let rest = [" WARN ", "ERROR "].iter().find_map(|level| line.split_once(level))?.1;
    let (module, message) = rest.split_once(": ")?;
    let words = message.split(['=', ';']).next()?;
    // The last word of what precedes `=` is a field's name.
    let words = match message.contains('=') {
        true => words.rsplit_once(' ').map_or(words, |(words, _)| words),
        false => words,
    };
    Some(format!("{}: {words}", module.rsplit("::").next()?))
}
