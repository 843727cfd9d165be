//! Rights that the token of a run can have beyond reading, by the names that stand under `grants:` in a task's file.

pub const TICKETS_WRITE: &str = "tickets:write";
pub const TASKS_RUN: &str = "tasks:run";
pub const RUNS_STOP: &str = "runs:stop";
pub const TASKS_PAUSE: &str = "tasks:pause";
pub const POOLS_HEAL: &str = "pools:heal";
pub const HEALTH_REPORT: &str = "health:report";
pub const DISPATCH_PASS: &str = "dispatch:pass";
pub const ALERTS_WRITE: &str = "alerts:write";
pub const UPKEEP_RUN: &str = "upkeep:run";
pub const TASKS_EDIT: &str = "tasks:edit";
pub const DAEMON_RELOAD: &str = "daemon:reload";
pub const DAEMON_BACKUP: &str = "daemon:backup";

/// All there are.
pub const ALL: &[&str] = &[
    TICKETS_WRITE,
    TASKS_RUN,
    RUNS_STOP,
    TASKS_PAUSE,
    POOLS_HEAL,
    HEALTH_REPORT,
    DISPATCH_PASS,
    ALERTS_WRITE,
    UPKEEP_RUN,
    TASKS_EDIT,
    DAEMON_RELOAD,
    DAEMON_BACKUP,
];
