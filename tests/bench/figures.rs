//! Numbers of a process and of a list, and how they are printed.

use std::fs;
use std::time::{Duration, Instant};

/// How long the stories that wait go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Whole,
    Quick,
}

impl Pace {
    pub fn of(self, whole: Duration, quick: Duration) -> Duration {
        match self {
            Self::Whole => whole,
            Self::Quick => quick,
        }
    }
}

/// What everything below depends on.
pub fn surroundings() {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    const FILES: u32 = 200;
    let begun = Instant::now();
    for n in 0..FILES {
        fs::write(folder.path().join(n.to_string()), "").expect("a file");
    }
    println!(
        "{cpus} processors, load {}, Linux {}; making an empty file in {} takes {:.0} µs",
        load.split(' ').next().unwrap_or("?"),
        kernel.trim(),
        std::env::temp_dir().display(),
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(FILES),
    );
}

/// The value below which `share` of the sorted `all` lie.
pub fn quantile(all: &mut [f64], share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = (all.len().saturating_sub(1)) as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = at.round() as usize;
    all.get(at).copied().unwrap_or(f64::NAN)
}

/// Median and 99th percentile, in the unit of the values.
pub fn spread(mut all: Vec<f64>) -> String {
    format!("p50 {:.2}, p99 {:.2}", quantile(&mut all, 0.5), quantile(&mut all, 0.99))
}

/// A figure of one process's memory from `smaps_rollup`, in kB.
pub fn rollup_kb(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

pub fn private_kb(pid: u32) -> u64 {
    rollup_kb(pid, "Private_Clean") + rollup_kb(pid, "Private_Dirty")
}

/// Processor time of a process, in seconds, to the tick; threads that have ended count too, as they do not
/// in the finer `schedstat`.
pub fn cpu_seconds(pid: u32) -> f64 {
    // utime, stime
    ticks(pid, 2)
}

/// Processor time of a process and of those below it that it has waited for, in seconds, to the tick.
pub fn cpu_with_children(pid: u32) -> f64 {
    // utime, stime, cutime, cstime
    ticks(pid, 4)
}

fn ticks(pid: u32, fields: usize) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name: state is the first, the times begin at the twelfth.
    let behind_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = behind_name.skip(11).take(fields).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Children of `pid`, whichever thread forked them.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
