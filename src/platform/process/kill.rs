//! The daemon's last resorts: ending what a keeper can no longer end.
//!
//! A living keeper ends its own tree; ask it by `stop`. These functions block for their budget: call them off
//! the async threads.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cgroup::Cgroup;
use super::spec::{Spec, Started, name};
use super::tree::{self, Process};
use super::watch::{has_let_go, holder_of};

/// Pause between two looks over /proc.
const SWEEP_PAUSE: Duration = Duration::from_millis(5);
/// Looks in a row that must find nothing: a process that forks just then is missed by one.
const EMPTY_LOOKS: u32 = 2;

/// Ends this process as kill -9 would, for tests of what that leaves behind.
#[cfg(debug_assertions)]
pub fn die() -> ! {
    loop {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        thread::sleep(SWEEP_PAUSE);
    }
}

/// Kills every process whose environment holds `name=value`, again and again until two looks find none or
/// `budget` is spent. Never signals this process, those in `except`, or anything with another value. Returns
/// how many processes it killed.
#[must_use]
pub fn sweep_cookie(name: &str, value: &str, except: &[i32], budget: Duration) -> u32 {
    let entry = format!("{name}={value}").into_bytes();
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = Instant::now() + budget;
    let mut killed: Vec<Process> = Vec::new();
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS {
        let marked: Vec<Process> = tree::all()
            .into_iter()
            .filter(|p| p.pid != me && !p.is_zombie && !except.contains(&p.pid))
            .filter(|p| tree::has_in_environment(p.pid, &entry))
            .collect();
        empty_looks = if marked.is_empty() { empty_looks + 1 } else { 0 };
        for process in marked {
            if tree::signal(&process, Signal::KILL) && !killed.contains(&process) {
                killed.push(process);
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        thread::sleep(SWEEP_PAUSE);
    }
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Ends what a vanished keeper left of the run in `dir`: its cgroup, then whatever carries its cookie. Returns
/// how many processes the cookie found.
#[must_use]
pub fn clear(dir: &Path, budget: Duration) -> u32 {
    let deadline = Instant::now() + budget;
    let cgroup = Started::read(dir).ok().flatten().and_then(|started| started.cgroup).map(Cgroup::at);
    if let Some(cgroup) = &cgroup {
        cgroup.kill();
    }
    let killed = Spec::read(dir).map_or(0, |spec| sweep_cookie(&spec.cookie.0, &spec.cookie.1, &[], budget));
    if let Some(cgroup) = &cgroup {
        // It can go when the last of its processes is gone.
        while !cgroup.remove() && Instant::now() < deadline {
            thread::sleep(SWEEP_PAUSE);
        }
    }
    killed
}

/// Kills a keeper that no longer answers, with everything below it: where `pid` still is the one that started at
/// `start_ticks`, and has not let go of the run in `dir`, after which it may keep another. No `exit.json` comes of
/// it. Returns how many processes that, or the cookie, found.
#[must_use]
pub fn kill_tree(dir: &Path, pid: i32, start_ticks: u64, budget: Duration) -> u32 {
    let mut killed = 0;
    if let Some(keeper) = tree::living(pid, start_ticks).filter(|_| !has_let_go(dir)) {
        // It stands still while it is looked at, and cannot let go and take another meanwhile.
        tree::signal(&keeper, Signal::STOP);
        if has_let_go(dir) {
            tree::signal(&keeper, Signal::CONT);
            return clear(dir, budget);
        }
        let mut tree = tree::below(pid, &[]);
        // The keeper first: its command dies with it, and it cannot be surprised by what follows.
        tree.insert(0, keeper);
        for process in &tree {
            tree::signal(process, Signal::KILL);
        }
        killed = u32::try_from(tree.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + budget;
        let lives = |p: &Process| tree::living(p.pid, p.start_ticks).is_some();
        while tree.iter().any(lives) && Instant::now() < deadline {
            thread::sleep(SWEEP_PAUSE);
        }
    }
    killed.saturating_add(clear(dir, budget))
}

/// Ends what the keeper `pid` left of the run in `dir`, if it ever let its command go: else there is nothing, and
/// another keeper may be about to start the run.
pub(super) fn clear_after(dir: &Path, pid: i32, budget: Duration) {
    if holder_of(&dir.join(name::STARTED)).is_some_and(|(holder, _)| holder == pid) {
        let _ = clear(dir, budget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_sweep_takes_its_own_cookie_only() {
        let name = "LUCID_SWEEP_TEST";
        let mine = format!("{}-1", std::process::id());
        let spawn = |value: &str| Command::new("/bin/sleep").arg("60").env(name, value).spawn().unwrap();
        let (mut a, mut b, mut other) = (spawn(&mine), spawn(&mine), spawn(&format!("{mine}0")));
        let excepted = i32::try_from(b.id()).unwrap();
        // The first look may fall between fork and exec; the sweep looks on until it is through.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(sweep_cookie(name, &mine, &[excepted], Duration::from_millis(300)), 1);
        assert!(!a.wait().unwrap().success());
        assert!(b.try_wait().unwrap().is_none());
        assert!(other.try_wait().unwrap().is_none());
        for child in [&mut b, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
