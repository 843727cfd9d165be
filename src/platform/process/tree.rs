//! Who is below whom: processes as /proc shows them, and signals that cannot reach a stranger.
//!
//! A process is named by pid *and* start time. Nothing here decides whom to signal, or waits.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Largest environment that is searched, in bytes; the kernel allows a quarter of the stack limit.
const ENVIRON_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A process at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// In clock ticks since boot; with the pid it is the process's identity.
    pub start_ticks: u64,
    pub is_zombie: bool,
}

/// The process with number `pid`, if there is one.
pub fn look(pid: i32) -> Option<Process> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that /proc shows.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(look)
        .collect()
}

/// Everything below `root`, nearest first, without what is at or below one of `except`.
pub fn below(root: i32, except: &[i32]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found: Vec<Process> = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        // `remove` also ends the walk should pids have been reused into a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            if !except.contains(&child.pid) {
                next.insert(0, child.pid);
                found.push(child);
            }
        }
    }
    found
}

/// The direct children of this (single-threaded) process, by the kernel's own list where it has one: some
/// microseconds, against a walk over all of /proc.
pub fn children() -> Vec<i32> {
    let me = std::process::id();
    match fs::read_to_string(format!("/proc/{me}/task/{me}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => {
            let me = i32::try_from(me).unwrap_or(0);
            all().into_iter().filter(|p| p.parent == me).map(|p| p.pid).collect()
        }
    }
}

/// Sends `signal` to exactly this process: its pidfd is opened first and its start time compared after, so a
/// stranger that was given the number since is never reached. Says whether it was sent.
pub fn signal(process: &Process, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(process.pid) else { return false };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => is_same(process.pid, process.start_ticks) && pidfd_send_signal(pidfd, signal).is_ok(),
        // No pidfds here (a sandbox): the window between look and signal stays open for some microseconds.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {
            is_same(process.pid, process.start_ticks) && rustix::process::kill_process(pid, signal).is_ok()
        }
        Err(_) => false,
    }
}

/// Whether `pid` is still the process that started at `start_ticks`. A zombie is.
pub fn is_same(pid: i32, start_ticks: u64) -> bool {
    look(pid).is_some_and(|p| p.start_ticks == start_ticks)
}

/// The process that started as `pid` at `start_ticks`, if it still runs: a zombie does not.
pub fn living(pid: i32, start_ticks: u64) -> Option<Process> {
    look(pid).filter(|p| p.start_ticks == start_ticks && !p.is_zombie)
}

/// Whether the environment that `pid` was started with holds exactly `entry` (`NAME=value`).
pub fn has_in_environment(pid: i32, entry: &[u8]) -> bool {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut environment = Vec::new();
    let read = file.take(ENVIRON_MAX_BYTES).read_to_end(&mut environment);
    read.is_ok() && environment.split(|&b| b == 0).any(|e| e == entry)
}

/// `pid (name) state ppid … starttime …`; the name may hold anything, a `)` included.
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    const PARENT: usize = 1;
    const START: usize = 19;
    let name_end = stat.iter().rposition(|&b| b == b')')?;
    let text = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(START - PARENT - 1)?.parse().ok()?;
    Some(Process { pid, parent, start_ticks, is_zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse() {
        let stat = b"42 (a) Z 1 (b)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3";
        let process = parse_stat(42, stat).unwrap();
        assert_eq!((process.parent, process.start_ticks, process.is_zombie), (7, 9876, false));
        assert!(parse_stat(1, b"").is_none());
        assert!(parse_stat(1, b"1 (x) S 0").is_none());
    }

    #[test]
    fn we_are_below_our_parent_and_our_environment_is_ours() {
        let me = i32::try_from(std::process::id()).unwrap();
        let us = look(me).unwrap();
        assert!(below(us.parent, &[]).iter().any(|p| p.pid == me));
        assert!(below(us.parent, &[me]).iter().all(|p| p.pid != me));
        let path = std::env::var("PATH").unwrap();
        assert!(has_in_environment(me, format!("PATH={path}").as_bytes()));
        assert!(!has_in_environment(me, b"PATH="));
    }

    #[test]
    fn a_reused_number_is_not_signalled() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let real = look(i32::try_from(child.id()).unwrap()).unwrap();
        let stranger = Process { start_ticks: real.start_ticks + 1, ..real };
        assert!(!signal(&stranger, Signal::KILL));
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal(&real, Signal::KILL));
        assert!(!child.wait().unwrap().success());
    }
}
