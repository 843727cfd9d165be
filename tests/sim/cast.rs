//! The tasks that take part: one of each kind of promise.

/// A task, its file's lines, and how long its command takes.
pub struct Part {
    pub id: &'static str,
    pub front: &'static str,
    /// Another schedule that somebody may give it.
    pub other: &'static str,
    /// In minutes, at least and at most.
    pub takes: (i64, i64),
}

pub const CAST: &[Part] = &[
    Part { id: "quarter", front: "schedule: every 15m", other: "schedule: every 25m", takes: (1, 20) },
    Part {
        id: "hourly-queue",
        front: "schedule: '0 * * * *'\noverlap: queue",
        other: "schedule: '5 * * * *'\noverlap: queue",
        takes: (10, 90),
    },
    Part {
        id: "half-replace",
        front: "schedule: every 40m\noverlap: replace",
        other: "schedule: every 50m\noverlap: replace",
        takes: (5, 80),
    },
    Part {
        id: "nightly-all",
        front: "schedule: '30 2 * * *'\ntimezone: Europe/Berlin\ncatch_up: all\ncatch_up_window: 7d",
        other: "schedule: '15 3 * * *'\ntimezone: Europe/Berlin\ncatch_up: all\ncatch_up_window: 7d",
        takes: (5, 30),
    },
    Part {
        id: "hours-all",
        front: "schedule: '0 */2 * * *'\ncatch_up: all\ncatch_up_window: 2d",
        other: "schedule: '0 */3 * * *'\ncatch_up: all\ncatch_up_window: 2d",
        takes: (1, 50),
    },
    Part {
        id: "locked-a",
        front: "schedule: every 2h\nlock: [db]\nretries: {max: 2, delay: 5m}",
        other: "schedule: every 3h\nlock: [db]\nretries: {max: 1, delay: 1m}",
        takes: (10, 100),
    },
    Part {
        id: "locked-b",
        front: "schedule: '20 */3 * * *'\nlock: [db, net]\noverlap: queue",
        other: "schedule: '40 */3 * * *'\nlock: [net]\noverlap: queue",
        takes: (10, 100),
    },
    Part {
        id: "rerun",
        front: "schedule: every 6h\non_interrupt: rerun",
        other: "schedule: every 5h\non_interrupt: rerun",
        takes: (30, 200),
    },
    Part {
        id: "skip",
        front: "schedule: every 1h\njitter: 10m\ncatch_up: skip",
        other: "schedule: every 90m\njitter: 20m\ncatch_up: skip",
        takes: (1, 70),
    },
    Part {
        id: "retrying",
        front: "schedule: '45 */4 * * *'\nretries: {max: 3, delay: 10m, backoff: 2}",
        other: "schedule: '50 */4 * * *'\nretries: 1",
        takes: (5, 60),
    },
];
