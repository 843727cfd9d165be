//! `lucid stop`: ends all runs, then the daemon, and waits until it has gone.
//!
//! As the unit's `ExecStop=` (`--from-systemd`) it tells a stop from a restart by systemd's list of jobs: a
//! restart leaves the runs to the next daemon, so then this does nothing.

use std::process::Command;
use std::time::Duration;

use super::context::{Context, Document, api, run_reference};
use super::failure::{Exit, Failure};
use crate::api::wire;
use crate::platform::client::{ClientError, Request};

/// How long the daemon may take to end its runs and itself, in seconds: the longest grace is 90.
const GONE_SECS: u64 = 110;
/// Time between two looks whether it has gone, in milliseconds.
const LOOK_MS: u64 = 50;
/// The unit whose jobs are looked at.
const UNIT: &str = "lucid.service";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Called by the unit: do nothing on a restart
    #[arg(long)]
    from_systemd: bool,
}

/// # Errors
/// As [`Context::fetch`]; [`Failure::WaitTimedOut`] when the daemon does not end.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.from_systemd && restarts(&systemd_jobs()) {
        context.note("lucid: a restart, so runs go on");
        return Ok(Exit::Done);
    }
    let stopping = match context.fetch::<wire::Stopping>(&Request::post(api().segment("stop"))) {
        // The unit's main process may have ended before its ExecStop.
        Err(Failure::Client(ClientError::NoListener { .. })) if args.from_systemd => return Ok(Exit::Done),
        answered => answered?,
    };
    tell(context, &stopping);
    wait_until_gone(context, stopping.value.pid)?;
    context.confirm(&stopping, |_, _| "stopped\n".to_owned())
}

fn tell(context: &Context, stopping: &Document<wire::Stopping>) {
    let runs: Vec<String> = stopping.value.running.iter().map(|id| run_reference(*id)).collect();
    if !runs.is_empty() {
        context.note(&format!("lucid: ending {}", runs.join(" ")));
    }
}

/// The socket may be held by systemd and outlive the daemon, so the process is what is watched.
fn wait_until_gone(context: &Context, pid: u32) -> Result<(), Failure> {
    let process = format!("/proc/{pid}");
    let started = context.clock.boot();
    let born = birth(&process);
    while born.is_some() && birth(&process) == born {
        if context.clock.boot().saturating_sub(started) >= Duration::from_secs(GONE_SECS) {
            return Err(Failure::WaitTimedOut {
                message: format!("the daemon (pid {pid}) has not ended within {GONE_SECS}s"),
                help: "look at its log; `lucid status` tells what still runs".to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    Ok(())
}

/// When the process started, in the kernel's ticks: with the pid its identity. None once it is gone or a zombie.
fn birth(process: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("{process}/stat")).ok()?;
    // The name in brackets may hold anything; what follows the last bracket does not.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let born = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(born)
}

fn systemd_jobs() -> String {
    let listed =
        Command::new("systemctl").args(["list-jobs", "--no-legend", "--no-pager", "--full"]).output();
    listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Whether the jobs hold a restart of our unit. Lines read `JOB UNIT TYPE STATE`; without any it is a stop.
fn restarts(jobs: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != UNIT);
        words.next().is_some() && words.next() == Some("restart")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_told_from_a_stop() {
        assert!(restarts("  123 lucid.service restart running\n"));
        assert!(restarts("1 other.service stop waiting\n2 lucid.service restart waiting\n"));
        for jobs in [
            "",
            "12 lucid.service stop running\n",
            "9 xlucid.service restart running\n",
            "No jobs running.\n",
        ] {
            assert!(!restarts(jobs), "{jobs}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_birth() {
        let own = birth("/proc/self");
        assert!(own.is_some());
        assert_eq!(own, birth(&format!("/proc/{}", std::process::id())));
        assert_eq!(birth("/proc/0"), None);
    }
}
