//! The JSON line, and what the operating system says of this process.

use std::time::Duration;

/// How a workload ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) records: u64,
    /// Time from the start of the process to the first record.
    pub(crate) first: Option<Duration>,
    /// What the clock shows, if not the time since the start of the process.
    pub(crate) wall: Option<Duration>,
    pub(crate) note: String,
}

/// Prints the line.
#[expect(clippy::print_stdout, reason = "the line is the program's output")]
pub(crate) fn print(work: &str, outcome: &Outcome, wall: Duration) {
    let line = serde_json::json!({
        "peer": "ours",
        "work": work,
        "records": outcome.records,
        "wall_s": round(wall.as_secs_f64()),
        "wall_first_s": outcome.first.map(|first| round(first.as_secs_f64())),
        "cpu_s": round(cpu_seconds()),
        "max_rss_mb": round(peak_megabytes()),
        "note": outcome.note,
    });
    println!("{line}");
}

/// The usual two.
pub(crate) fn percentiles(mut micros: Vec<u128>) -> String {
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or(0);
    format!("p50 {} us, p99 {} us", at(0.5), at(0.99))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// User and system seconds of this process, from `/proc/self/stat`, whose ticks are hundredths of a second on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the program's name, may hold blanks; fields are counted from after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

/// Peak resident memory in MiB, from `/proc/self/status`.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
