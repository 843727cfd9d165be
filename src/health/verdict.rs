//! From what was measured to what it means. Pure: every limit comes in as a value.

use std::path::Path;
use std::time::Duration;

use crate::model::health::{Check, HealthState};
use crate::model::schedule::format_duration;
use crate::model::time::millis;

/// Tasks that are named where runs have failed.
const TASKS_NAMED_MAX: usize = 3;

/// Of a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub used: u64,
    /// For those who are not root.
    pub available: u64,
}

/// Percentages free, below which a disk is no longer well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    pub degraded_pct: u8,
    pub critical_pct: u8,
}

impl Space {
    /// As `df` counts it: of what there is to be had, rounded down.
    #[must_use]
    pub fn free_pct(self) -> u8 {
        let whole = u128::from(self.used) + u128::from(self.available);
        let pct = (u128::from(self.available) * 100).checked_div(whole);
        // Nothing to be had at all is a file system without blocks of its own.
        pct.and_then(|pct| u8::try_from(pct).ok()).unwrap_or(100)
    }
}

/// A disk by the path that was looked at, or why it cannot be.
#[must_use]
pub fn disk(path: &Path, space: Result<Space, String>, limits: DiskLimits) -> Check {
    let (id, shown) = (format!("disk:{}", path.display()), path.display());
    let space = match space {
        Ok(space) => space,
        Err(why) => {
            let detail = format!("{shown} cannot be looked at: {why}");
            return Check::new(id, HealthState::Degraded, &detail).hint(df(path));
        }
    };
    let free = space.free_pct();
    let (state, limit) = if free < limits.critical_pct {
        (HealthState::Critical, format!(" (critical below {}%)", limits.critical_pct))
    } else if free < limits.degraded_pct {
        (HealthState::Degraded, format!(" (degraded below {}%)", limits.degraded_pct))
    } else {
        (HealthState::Healthy, String::new())
    };
    Check::new(id, state, &format!("{free}% free on {shown}{limit}"))
        .value(format!("{free}%"))
        .limits(Some(format!("{}%", limits.degraded_pct)), Some(format!("{}%", limits.critical_pct)))
        .hint(df(path))
}

/// As a shell takes the path for one word.
fn df(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@,:".contains(c));
    if is_plain { format!("df -h {text}") } else { format!("df -h '{}'", text.replace('\'', "'\\''")) }
}

/// An agent's program: what it said of its version and how long it took, or why it did not answer.
#[must_use]
pub fn agent(name: &str, answer: Result<(String, Duration), String>, limit: Duration) -> Check {
    let id = format!("agent:{name}");
    let limit_text = Some(format_duration(limit));
    match answer {
        Ok((version, took)) => {
            let detail = if version.is_empty() { "it answers" } else { version.as_str() };
            Check::new(id, HealthState::Healthy, detail)
                .value(format!("{} ms", took.as_millis()))
                .limits(limit_text, None)
        }
        Err(why) => {
            let detail = format!("{name} does not tell its version: {why}");
            Check::new(id, HealthState::Degraded, &detail).limits(limit_text, None).hint("lucid agents")
        }
    }
}

/// The daemon's answer: how long it took, or why there is none; `restart` is what starts it again.
#[must_use]
pub fn api(answer: Result<Duration, String>, restart: &str) -> Check {
    match answer {
        Ok(took) => Check::new("api", HealthState::Healthy, "the daemon answers")
            .value(format!("{} ms", took.as_millis())),
        Err(why) => {
            let detail = format!("the daemon does not answer: {why}");
            Check::new("api", HealthState::Critical, &detail).hint(restart)
        }
    }
}

/// The next start would be refused, for `why`.
#[must_use]
pub fn refused_settings(why: &str) -> Check {
    let detail = format!("lucid would not start with its settings as they are: {why}");
    Check::new("settings:refused", HealthState::Critical, &detail).hint("lucid check")
}

/// The daemon was stopped on purpose: `when_and_by_whom`; `start` starts it.
#[must_use]
pub fn stopped(when_and_by_whom: &str, start: &str) -> Check {
    let detail = format!("the daemon is stopped: {when_and_by_whom}");
    Check::new("api", HealthState::Degraded, &detail).hint(start)
}

/// Failed runs within the window, with the tasks that had them, the most failures first.
#[must_use]
pub fn failed_runs(by_task: &[(String, u32)], critical_at: u32, window: Duration) -> Check {
    let count: u32 = by_task.iter().map(|(_, count)| *count).fold(0, u32::saturating_add);
    let window = format_duration(window);
    let state = if count >= critical_at { HealthState::Critical } else { HealthState::Healthy };
    let mut detail = match count {
        0 => format!("no failed run in the last {window}"),
        1 => format!("1 failed run in the last {window}"),
        _ => format!("{count} failed runs in the last {window}"),
    };
    if state == HealthState::Critical {
        let named: Vec<&str> = by_task.iter().take(TASKS_NAMED_MAX).map(|(task, _)| task.as_str()).collect();
        let more = by_task.len().saturating_sub(TASKS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        detail.push_str(&format!(" (critical at {critical_at}): {}{more}", named.join(", ")));
    }
    Check::new("failed_runs", state, &detail)
        .value(count.to_string())
        .limits(None, Some(critical_at.to_string()))
        .hint("lucid runs --failed")
}

/// The newest backup of the database; `born_ms` is since when there is anything to back up, where known.
#[must_use]
pub fn backup(newest_ms: Option<i64>, born_ms: Option<i64>, now_ms: i64, max_age: Duration) -> Check {
    let max_ms = millis(max_age);
    let age = |since_ms: i64| Duration::from_millis(u64::try_from(now_ms - since_ms).unwrap_or(0));
    let is_late = |since_ms: i64| now_ms.saturating_sub(since_ms) > max_ms;
    let (state, detail) = match newest_ms {
        Some(at_ms) if is_late(at_ms) => {
            (HealthState::Degraded, format!("the newest backup is {} old", rough(age(at_ms))))
        }
        Some(at_ms) => (HealthState::Healthy, format!("the newest backup is {} old", rough(age(at_ms)))),
        None if born_ms.is_some_and(is_late) => (HealthState::Degraded, "there is no backup".to_owned()),
        None => (HealthState::Healthy, "no backup yet".to_owned()),
    };
    let check = Check::new("backup", state, &detail).limits(Some(format_duration(max_age)), None);
    let check = check.hint("lucid backup");
    match newest_ms {
        Some(at_ms) => check.value(rough(age(at_ms))),
        None => check,
    }
}

/// The folder of backups lies where nothing answers.
#[must_use]
pub fn backups_unseen(dir: &Path, limit: Duration) -> Check {
    let shown = dir.display();
    let detail = format!("{shown} could not be looked at within {}", format_duration(limit));
    Check::new("backup", HealthState::Degraded, &detail).hint(df(dir))
}

/// In one unit: nobody asks for the seconds of a day.
fn rough(age: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match age.as_secs() {
        secs if secs < 2 * MINUTE => format!("{secs}s"),
        secs if secs < 2 * HOUR => format!("{}m", secs / MINUTE),
        secs if secs < 2 * DAY => format!("{}h", secs / HOUR),
        secs => format!("{}d", secs / DAY),
    }
}

/// The heartbeat itself: one that stopped tells nothing, and that is told.
#[must_use]
pub fn heartbeat(last_ms: i64, now_ms: i64, max_age: Duration) -> Check {
    let age = Duration::from_millis(u64::try_from(now_ms - last_ms).unwrap_or(0));
    let state = if age > max_age { HealthState::Degraded } else { HealthState::Healthy };
    Check::new("heartbeat", state, &format!("the last heartbeat was {} ago", rough(age)))
        .value(rough(age))
        .limits(Some(format_duration(max_age)), None)
        .hint("lucid heartbeat")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    const DAY_MS: i64 = 86_400_000;

    fn told(check: &Check) -> String {
        let hint = check.hint.as_deref().unwrap_or("-");
        format!("{} {}: {} [{hint}]", check.state.name(), check.id, check.detail)
    }

    #[test]
    fn disks_by_what_is_free() {
        let limits = DiskLimits { degraded_pct: 20, critical_pct: 10 };
        let table: Vec<String> = [(80, 20), (81, 19), (90, 10), (91, 9), (100, 0), (0, 0), (0, 7)]
            .into_iter()
            .map(|(used, available)| told(&disk(Path::new("/"), Ok(Space { used, available }), limits)))
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        healthy disk:/: 20% free on / [-]
        degraded disk:/: 19% free on / (degraded below 20%) [df -h /]
        degraded disk:/: 10% free on / (degraded below 20%) [df -h /]
        critical disk:/: 9% free on / (critical below 10%) [df -h /]
        critical disk:/: 0% free on / (critical below 10%) [df -h /]
        healthy disk:/: 100% free on / [-]
        healthy disk:/: 100% free on / [-]
        ");
        let gone = disk(Path::new("/x"), Err("No such file".to_owned()), limits);
        assert_eq!(told(&gone), "degraded disk:/x: /x cannot be looked at: No such file [df -h /x]");
        assert_eq!(df(Path::new("/mnt/it's here")), r"df -h '/mnt/it'\''s here'");
        let all = DiskLimits { degraded_pct: 100, critical_pct: 100 };
        let full = disk(Path::new("/"), Ok(Space { used: 1, available: 99 }), all);
        assert_eq!((full.state, full.value.as_deref()), (HealthState::Critical, Some("99%")));
        assert_eq!((full.warn_at.as_deref(), full.critical_at.as_deref()), (Some("100%"), Some("100%")));
    }

    #[test]
    fn an_enormous_disk_does_not_overflow() {
        let space = Space { used: u64::MAX, available: u64::MAX };
        assert_eq!(space.free_pct(), 50);
    }

    #[test]
    fn agents_by_whether_they_answer() {
        let limit = Duration::from_secs(5);
        let good = agent("fake", Ok(("1.2\u{1b}[2J\nx".to_owned(), Duration::from_millis(7))), limit);
        assert_eq!(told(&good), "healthy agent:fake: 1.2\\x1b[2J x [-]");
        assert_eq!(good.value.as_deref(), Some("7 ms"));
        let bad = agent("fake", Err("was killed after 5000 ms".to_owned()), limit);
        let wanted =
            "degraded agent:fake: fake does not tell its version: was killed after 5000 ms [lucid agents]";
        assert_eq!(told(&bad), wanted);
        assert_eq!(told(&agent("a", Ok((String::new(), limit)), limit)), "healthy agent:a: it answers [-]");
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_critical() {
        assert_eq!(api(Ok(Duration::from_millis(3)), "").state, HealthState::Healthy);
        let wanted = "critical api: the daemon does not answer: nothing listens [systemctl restart lucid]";
        assert_eq!(told(&api(Err("nothing listens".to_owned()), "systemctl restart lucid")), wanted);
    }

    #[test]
    fn failed_runs_by_their_number() {
        let tasks = |counts: &[u32]| -> Vec<(String, u32)> {
            counts.iter().enumerate().map(|(n, count)| (format!("t{n}"), *count)).collect()
        };
        let table: Vec<String> = [&[][..], &[1], &[1, 1], &[3], &[2, 1, 1, 1, 1], &[u32::MAX, 9]]
            .into_iter()
            .map(|counts| told(&failed_runs(&tasks(counts), 3, HOUR)))
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        healthy failed_runs: no failed run in the last 1h [-]
        healthy failed_runs: 1 failed run in the last 1h [-]
        healthy failed_runs: 2 failed runs in the last 1h [-]
        critical failed_runs: 3 failed runs in the last 1h (critical at 3): t0 [lucid runs --failed]
        critical failed_runs: 6 failed runs in the last 1h (critical at 3): t0, t1, t2 and 2 more [lucid runs --failed]
        critical failed_runs: 4294967295 failed runs in the last 1h (critical at 3): t0, t1 [lucid runs --failed]
        ");
    }

    #[test]
    fn backups_by_age() {
        let now = 100 * DAY_MS;
        let table: Vec<String> = [
            (Some(now - DAY_MS / 2), None),
            (Some(now - 3 * DAY_MS), None),
            (None, None),
            (None, Some(now - DAY_MS)),
            (None, Some(now - 3 * DAY_MS)),
            (Some(now + DAY_MS), None),
        ]
        .into_iter()
        .map(|(newest, born)| told(&backup(newest, born, now, 2 * DAY)))
        .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        healthy backup: the newest backup is 12h old [-]
        degraded backup: the newest backup is 3d old [lucid backup]
        healthy backup: no backup yet [-]
        healthy backup: no backup yet [-]
        degraded backup: there is no backup [lucid backup]
        healthy backup: the newest backup is 0s old [-]
        ");
        assert_eq!(
            told(&backups_unseen(Path::new("/mnt/b"), HOUR)),
            "degraded backup: /mnt/b could not be looked at within 1h [df -h /mnt/b]"
        );
    }

    #[test]
    fn a_heartbeat_that_stopped_is_told() {
        let table = [60_000, 3_600_000, -5].map(|ago| told(&heartbeat(DAY_MS - ago, DAY_MS, HOUR / 4)));
        insta::assert_snapshot!(table.join("\n"), @r"
        healthy heartbeat: the last heartbeat was 60s ago [-]
        degraded heartbeat: the last heartbeat was 60m ago [lucid heartbeat]
        healthy heartbeat: the last heartbeat was 0s ago [-]
        ");
    }
}
