//! A notice: what there is to say about something that happened, in parts that know how they are to look. It
//! does not know where it will be read; turning it into text is `alert::render`.

use serde::{Deserialize, Serialize};

use super::task::Severity;

/// What a notice is about. With the subject it tells which notices are about the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    TaskFailed,
    TaskTimedOut,
    TaskMissed,
    /// Something of a run outlives SIGKILL.
    KillFailed,
    FileBroken,
    DatabaseRestored,
    DiskFull,
    SlotQuarantined,
    TicketAsks,
    /// A ticket waits for a person although no worker asked.
    TicketStuck,
    WorkerKilled,
    MessageExpired,
    MessageDead,
    AgentCooled,
    AgentDisabled,
    DaemonCrashed,
    /// See [`Condition`](super::condition::Condition).
    Condition,
    /// Many at once, told as one.
    Storm,
}

impl NoticeKind {
    pub const ALL: [Self; 18] = [
        Self::TaskFailed,
        Self::TaskTimedOut,
        Self::TaskMissed,
        Self::KillFailed,
        Self::FileBroken,
        Self::DatabaseRestored,
        Self::DiskFull,
        Self::SlotQuarantined,
        Self::TicketAsks,
        Self::TicketStuck,
        Self::WorkerKilled,
        Self::MessageExpired,
        Self::MessageDead,
        Self::AgentCooled,
        Self::AgentDisabled,
        Self::DaemonCrashed,
        Self::Condition,
        Self::Storm,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TaskFailed => "task_failed",
            Self::TaskTimedOut => "task_timed_out",
            Self::TaskMissed => "task_missed",
            Self::KillFailed => "kill_failed",
            Self::FileBroken => "file_broken",
            Self::DatabaseRestored => "database_restored",
            Self::DiskFull => "disk_full",
            Self::SlotQuarantined => "slot_quarantined",
            Self::TicketAsks => "ticket_asks",
            Self::TicketStuck => "ticket_stuck",
            Self::WorkerKilled => "worker_killed",
            Self::MessageExpired => "message_expired",
            Self::MessageDead => "message_dead",
            Self::AgentCooled => "agent_cooled",
            Self::AgentDisabled => "agent_disabled",
            Self::DaemonCrashed => "daemon_crashed",
            Self::Condition => "condition",
            Self::Storm => "storm",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether many of them that come at once may be told in one message. A question needs an answer of its
    /// own, and what is wrong with the box itself is never one of many.
    #[must_use]
    pub fn folds(self) -> bool {
        match self {
            Self::TaskFailed
            | Self::TaskTimedOut
            | Self::TaskMissed
            | Self::KillFailed
            | Self::FileBroken
            | Self::SlotQuarantined
            | Self::WorkerKilled
            | Self::MessageExpired
            | Self::MessageDead
            | Self::AgentCooled
            | Self::AgentDisabled => true,
            Self::DatabaseRestored
            | Self::DiskFull
            | Self::TicketAsks
            | Self::TicketStuck
            | Self::DaemonCrashed
            | Self::Condition
            | Self::Storm => false,
        }
    }

    /// Whether it can come and go by itself so often that each time is no news. A question never does.
    #[must_use]
    pub fn flaps(self) -> bool {
        match self {
            Self::TicketAsks | Self::TicketStuck => false,
            Self::TaskFailed
            | Self::TaskTimedOut
            | Self::TaskMissed
            | Self::KillFailed
            | Self::FileBroken
            | Self::DatabaseRestored
            | Self::DiskFull
            | Self::SlotQuarantined
            | Self::WorkerKilled
            | Self::MessageExpired
            | Self::MessageDead
            | Self::AgentCooled
            | Self::AgentDisabled
            | Self::DaemonCrashed
            | Self::Condition
            | Self::Storm => true,
        }
    }

    /// Of a task's runs: what a sick box explains.
    #[must_use]
    pub fn is_of_task(self) -> bool {
        match self {
            Self::TaskFailed | Self::TaskTimedOut | Self::TaskMissed => true,
            Self::KillFailed
            | Self::FileBroken
            | Self::DatabaseRestored
            | Self::DiskFull
            | Self::SlotQuarantined
            | Self::TicketAsks
            | Self::TicketStuck
            | Self::WorkerKilled
            | Self::MessageExpired
            | Self::MessageDead
            | Self::AgentCooled
            | Self::AgentDisabled
            | Self::DaemonCrashed
            | Self::Condition
            | Self::Storm => false,
        }
    }
}

/// A piece of text that knows how it is to look. What stands in it is text, never markup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Text(String),
    Bold(String),
    Italic(String),
    Code(String),
    Break,
    /// An instant, milliseconds since the epoch, shown in the reader's own zone where that can be.
    Time {
        ms: i64,
        shown: Shown,
    },
    /// Lines of output, folded where they are many.
    Quote(Vec<String>),
}

/// How much of an instant is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// `02:00`
    Clock,
    /// `Sat 02:00`
    Day,
    /// `Sat 31 Jan 2026 02:00`: what is days away.
    Date,
}

/// Something that can be pressed below a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub text: String,
    pub press: Press,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Press {
    /// Comes back to us as it is; at most 64 bytes. Of alerts: `a:ack:ID`, `a:mute:ID:1h`, `a:unmute:ID`; of
    /// runs `r:retry:RUN`, `r:log:RUN`; of tasks `r:run:TASK`, `p:1h:TASK` (pause); of tickets
    /// `t:option:MC-1:N` (the N-th answer, from 0), `t:snooze:MC-1:3h`, `t:todo:MC-1`, `t:close:MC-1`; of
    /// messages `m:retry:ID`, `m:comment:ID`, `m:drop:ID`; `s:status`.
    Data(String),
    Link(String),
}

impl Button {
    #[must_use]
    pub fn data(text: &str, data: String) -> Self {
        Self { text: text.to_owned(), press: Press::Data(data) }
    }

    /// None where the link leads nowhere on the web: a message with such a button is refused.
    #[must_use]
    pub fn link(text: &str, link: &str) -> Option<Self> {
        let is_web = link.starts_with("https://") || link.starts_with("http://");
        is_web.then(|| Self { text: text.to_owned(), press: Press::Link(link.to_owned()) })
    }
}

/// Which topic of a forum a notice belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    Alerts,
    Tickets,
    Briefs,
}

impl Topic {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Tickets => "tickets",
            Self::Briefs => "briefs",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Alerts, Self::Tickets, Self::Briefs].into_iter().find(|topic| topic.name() == name)
    }
}

/// What is done with a notice in quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quiet {
    /// Sent without a sound, unless it is critical.
    Hush,
    /// Kept until they are over.
    Wait,
}

/// When it is said again while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// When it happens again and the time is up.
    Happening,
    /// When the time is up: it lasts although nothing new happens.
    Lasting,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub kind: NoticeKind,
    /// `task:backup`, `ticket:MC-4`, `slot:main-1`, …
    pub subject: String,
    /// In which way, where one thing can go wrong in several: `exit 1`, `signal 9`.
    pub class: Option<String>,
    pub severity: Severity,
    /// The first line, enough on a locked screen; its mark is the renderer's.
    pub headline: Vec<Part>,
    pub body: Vec<Part>,
    /// What holds only while it goes on: what a person may do, what comes next. After the body.
    #[serde(default)]
    pub meanwhile: Vec<Part>,
    /// Those of the event; what goes with every alert comes from `alert`.
    pub buttons: Vec<Button>,
    pub topic: Topic,
    pub quiet: Quiet,
    /// From one message to the next while it goes on, milliseconds.
    pub repeat_ms: i64,
    pub again: Again,
    /// Over by itself when it has not happened again for so long, milliseconds: nothing will tell of its end.
    pub fades_ms: Option<i64>,
    /// What several that come at once may have in common.
    pub cause: Option<String>,
}

impl Notice {
    /// A notice with the usual habits: said once, again after six hours if it happens again.
    #[must_use]
    pub fn new(kind: NoticeKind, subject: String, severity: Severity) -> Self {
        const REPEAT_MS: i64 = 6 * 3_600_000;
        Self {
            kind,
            subject,
            class: None,
            severity,
            headline: Vec::new(),
            body: Vec::new(),
            meanwhile: Vec::new(),
            buttons: Vec::new(),
            topic: Topic::Alerts,
            quiet: Quiet::Hush,
            repeat_ms: REPEAT_MS,
            again: Again::Happening,
            fades_ms: None,
            cause: None,
        }
    }

    /// The same for everything of one kind about one subject, in whichever way: what a mute is said of.
    #[must_use]
    pub fn trouble(&self) -> String {
        format!("{}/{}", self.kind.name(), self.subject)
    }

    /// The same for everything that is the same trouble.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match &self.class {
            Some(class) => format!("{}/{class}", self.trouble()),
            None => self.trouble(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_a_notice_survives_its_json() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::parse(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let mut notice = Notice::new(NoticeKind::TaskFailed, "task:backup".to_owned(), Severity::Warning);
        notice.class = Some("exit 1".to_owned());
        notice.headline = vec![Part::Bold("<b>".to_owned()), Part::Time { ms: 5, shown: Shown::Day }];
        notice.body = vec![Part::Break, Part::Quote(vec!["\u{1b}[31m".to_owned()])];
        notice.meanwhile = vec![Part::Italic("Reply".to_owned())];
        notice.buttons = vec![Button::data("Ack", "a:ack:1".to_owned())];
        let text = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
        assert_eq!(notice.fingerprint(), "task_failed/task:backup/exit 1");
        assert_eq!(notice.trouble(), "task_failed/task:backup");
    }
}
