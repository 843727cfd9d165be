//! Processes as /proc shows them: who carries a world's mark, who is below whom, and signals to them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub state: char,
    pub command: String,
}

impl Process {
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

pub fn look(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process { pid, parent, state, command })
}

pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(look).collect()
}

/// Alive: there and no zombie.
pub fn lives(pid: i32) -> bool {
    look(pid).is_some_and(|process| !process.is_dead())
}

/// Living processes whose environment holds exactly `entry`.
pub fn with_environment(entry: &str) -> Vec<Process> {
    let holds = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|text| text == entry.as_bytes())
    };
    all().into_iter().filter(|process| !process.is_dead() && holds(process)).collect()
}

/// Everything below `root`.
pub fn below(root: i32) -> Vec<Process> {
    let everyone = all();
    let (mut found, mut next): (Vec<Process>, Vec<i32>) = (Vec::new(), vec![root]);
    while let Some(parent) = next.pop() {
        for process in everyone.iter().filter(|process| process.parent == parent) {
            if !found.contains(process) {
                next.push(process.pid);
                found.push(process.clone());
            }
        }
    }
    found
}

/// Whether it was there to be signalled.
pub fn signal(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// A pid that a task wrote into a file.
pub fn pid_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
