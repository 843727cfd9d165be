//! What can be seen from outside the daemon: disks, agent programs, backups, what a check's command says.
//! Blocks; every program that is asked has a deadline.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Agent, Config};
use crate::model::health::Check;
use crate::model::schedule::format_duration;
use crate::platform::clock::Clock;
use crate::platform::glimpse::{self, LOOK_MAX, Look};
use crate::platform::process::bounded::{self, Errand, REAP_MAX};
use crate::store::{self, backup};

use super::token::{Said, TEXT_MAX_BYTES};
use super::verdict::{self, DiskLimits, Space};

/// This program, as a profile may name it.
const OURSELVES: &str = "lucid";
/// The most that a program says of its version, in bytes.
const VERSION_MAX_BYTES: u64 = 64 * 1024;
/// How much longer than its limit an agent's program is waited for, beside the time to end it: starting takes some.
const AGENT_SLACK: Duration = Duration::from_secs(1);
/// Ids of checks that are made here begin so; whoever reports them reports nothing else.
const OUTSIDE: [&str; 4] = ["disk:", "agent:", "backup", "api"];

/// Whether a check of this id is made here.
#[must_use]
pub fn is_outside(id: &str) -> bool {
    OUTSIDE.iter().any(|outside| match outside.ends_with(':') {
        true => id.starts_with(outside),
        false => id == *outside,
    })
}

/// Everything but the daemon's own answer; `exe` is this program.
#[must_use]
pub fn outside(config: &Config, exe: &Path, clock: Clock) -> Vec<Check> {
    let limits = DiskLimits {
        degraded_pct: config.health.disk_degraded_pct,
        critical_pct: config.health.disk_critical_pct,
    };
    let paths = disks(config);
    let looks = paths.iter().cloned().map(|path| Look::new(&path.clone(), move || space(&path))).collect();
    let late = || Err(format!("it did not answer within {}", format_duration(LOOK_MAX)));
    let spaces = glimpse::within(LOOK_MAX, looks).into_iter().map(|space| space.unwrap_or_else(late));
    let mut checks: Vec<Check> =
        paths.iter().zip(spaces).map(|(path, space)| verdict::disk(path, space, limits)).collect();
    checks.push(backups(config, clock));
    checks.extend(agents(config, exe, clock));
    checks
}

/// One that hangs holds up no other, and one whose program lies on a disk that hangs not even this.
fn agents(config: &Config, exe: &Path, clock: Clock) -> Vec<Check> {
    let limit = config.health.cli_timeout;
    let looks = config.agents.iter().map(|agent| {
        let (agent, root, exe) = (agent.clone(), config.root.clone(), exe.to_owned());
        let key = format!("agent {}", agent.name);
        Look::new(Path::new(&key), move || ask(&agent, &root, &exe, limit, clock))
    });
    let answers = glimpse::within(limit + REAP_MAX + AGENT_SLACK, looks.collect());
    let hangs = || Err("it can be neither started nor ended".to_owned());
    let told = config.agents.iter().zip(answers);
    told.map(|(agent, answer)| verdict::agent(&agent.name, answer.unwrap_or_else(hangs), limit)).collect()
}

/// Those that are named, else where the state and the root are: one path a file system.
fn disks(config: &Config) -> Vec<PathBuf> {
    if !config.health.disks.is_empty() {
        return config.health.disks.clone();
    }
    let paths = [&config.state_dir, &config.root];
    let looks = paths.map(|path| {
        let at = path.clone();
        Look::new(path, move || mount_point(&at))
    });
    let tops = glimpse::within(LOOK_MAX, looks.into());
    let mut paths: Vec<PathBuf> = paths
        .into_iter()
        .zip(tops)
        .map(|(path, top)| top.flatten().unwrap_or_else(|| path.clone()))
        .collect();
    paths.dedup();
    paths
}

/// The top of the file system that `path` is on, by which people know it.
fn mount_point(path: &Path) -> Option<PathBuf> {
    let mut top = path.canonicalize().ok()?;
    let device = fs::metadata(&top).ok()?.dev();
    while let Some(above) = top.parent()
        && fs::metadata(above).is_ok_and(|metadata| metadata.dev() == device)
    {
        top = above.to_owned();
    }
    Some(top)
}

fn space(path: &Path) -> Result<Space, String> {
    let stat = rustix::fs::statvfs(path).map_err(|e| e.to_string())?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)), available: bytes(stat.f_bavail) })
}

fn backups(config: &Config, clock: Clock) -> Check {
    let dir = config.backup.dir.clone();
    let now_ms = clock.wall_ms();
    let list = Look::new(&dir.clone(), move || backup::newest(&dir, now_ms));
    let Some(found) = glimpse::within(LOOK_MAX, vec![list]).pop().flatten() else {
        return verdict::backups_unseen(&config.backup.dir, LOOK_MAX);
    };
    let newest = found.ok().flatten().map(|newest| newest.at_ms);
    let database = config.state_dir.join(store::DATABASE_FILE);
    let look = Look::new(&config.state_dir, move || fs::metadata(database)?.created());
    let born = glimpse::within(LOOK_MAX, vec![look]).pop().flatten().and_then(Result::ok);
    let born_ms = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
    let born_ms = born_ms.and_then(|born| i64::try_from(born.as_millis()).ok());
    verdict::backup(newest, born_ms, now_ms, config.health.backup_max_age)
}

/// What an agent's program says of its version and how long that took, or why it does not.
fn ask(
    agent: &Agent,
    root: &Path,
    exe: &Path,
    limit: Duration,
    clock: Clock,
) -> Result<(String, Duration), String> {
    let mut argv = agent.command.clone();
    if let Some(first) = argv.first_mut().filter(|first| *first == OURSELVES) {
        *first = exe.to_string_lossy().into_owned();
    }
    argv.push("--version".to_owned());
    let env = agent.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let begun = clock.boot();
    let said = run(&argv, env, root, limit, VERSION_MAX_BYTES)?;
    let text = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().trim().to_owned();
    Ok((text, clock.boot().saturating_sub(begun)))
}

/// What `argv` says and how it ends, within `limit`.
///
/// # Errors
/// Says why that is not known; never what it said.
pub fn command(argv: &[String], dir: &Path, limit: Duration) -> Result<Said, String> {
    run(argv, Vec::new(), dir, limit, TEXT_MAX_BYTES)
}

fn run(
    argv: &[String],
    env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    dir: &Path,
    limit: Duration,
    max_bytes: u64,
) -> Result<Said, String> {
    let (program, args) = argv.split_first().ok_or("it has no command")?;
    let errand = Errand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env,
        dir: dir.to_owned(),
        stdin: Vec::new(),
    };
    let done = bounded::run_capped(&errand, limit, max_bytes).map_err(|e| format!("{program} {e}"))?;
    Ok(Said { code: done.code, stdout: done.stdout, stderr: done.stderr })
}

/// The whole of a regular file that is not larger than `max_bytes`.
///
/// # Errors
/// Says why it cannot be had.
pub fn bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A pipe without a writer must not hold anybody up.
    let mut options = fs::OpenOptions::new();
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = options.read(true).custom_flags(flags).open(path).map_err(|e| e.to_string())?;
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("it is larger than {max_bytes} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_from_outside_is_told_from_the_rest() {
        for id in ["disk:/", "disk:/var/lib", "agent:claude", "backup", "api"] {
            assert!(is_outside(id), "{id}");
        }
        for id in ["failed_runs", "token:mail", "daemon", "backups", "apis", "", "task:x"] {
            assert!(!is_outside(id), "{id}");
        }
    }

    #[test]
    fn a_disk_has_space_and_a_path_that_is_gone_has_none() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.used > 0 && space.free_pct() <= 100);
        assert!(super::space(Path::new("/nowhere/at/all")).is_err());
        let dir = tempfile::tempdir().unwrap();
        let top = mount_point(dir.path()).unwrap();
        assert!(dir.path().canonicalize().unwrap().starts_with(&top) && top.is_absolute());
        assert_eq!(mount_point(Path::new("/proc/self")).unwrap(), Path::new("/proc"));
        assert_eq!(mount_point(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn a_command_that_hangs_or_floods_is_ended_and_not_quoted() {
        let sh = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned);
        let here = Path::new("/");
        let said = command(&sh("echo out; echo err >&2; exit 3"), here, Duration::from_secs(20)).unwrap();
        assert_eq!((said.code, said.stdout, said.stderr), (Some(3), b"out\n".to_vec(), b"err\n".to_vec()));
        let slow = command(&sh("sleep 60"), here, Duration::from_millis(100)).unwrap_err();
        assert_eq!(slow, "/bin/sh was killed after 100 ms");
        let flood = command(&sh("yes secret"), here, Duration::from_secs(20)).unwrap_err();
        assert!(flood.contains("more than") && !flood.contains("secret"), "{flood}");
        assert!(command(&["/nowhere".to_owned()], here, Duration::from_secs(1)).is_err());
        assert!(command(&[], here, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn only_a_regular_file_of_some_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(bytes(&path, 5).unwrap(), b"12345");
        assert!(bytes(&path, 4).unwrap_err().contains("larger"));
        assert!(bytes(dir.path(), 5).is_err());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        assert_eq!(bytes(&fifo, 5).unwrap_err(), "it is no regular file");
    }
}
