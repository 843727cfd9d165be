//! Texts as commands. Pure: nothing here is done, and any text is read without harm.

use std::time::Duration;

use crate::alert::words::phrase;
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::schedule::parse_duration;

/// How long something is muted or paused when nothing is said of it.
const LENGTH_DEFAULT: Duration = Duration::from_secs(3_600);
/// Longest mute or pause from a phone; longer ones are for the task's file.
const LENGTH_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longest name of a command, in bytes, by the Bot API.
const NAME_MAX_BYTES: usize = 32;

/// Commands in the order of the menu, each with its arguments and what it does.
pub const MENU: [(&str, &str, &str); 15] = [
    ("status", "", "how it stands"),
    ("problems", "", "what is wrong, and what mends it"),
    ("tasks", "", "all tasks"),
    ("run", "ID", "run a task now"),
    ("logs", "RUN or ID", "the end of a run's output"),
    ("tickets", "", "open tickets"),
    ("t", "MC-12", "one ticket"),
    ("new", "TITLE", "a new ticket"),
    ("mute", "1h WHAT", "say nothing about it for a while"),
    ("pause", "ID 1h", "do not run a task for a while"),
    ("resume", "ID", "end a pause"),
    ("kill", "RUN", "end a run"),
    ("usage", "", "what agents used in the last day"),
    ("help", "", "this list"),
    ("start", "", "this list"),
];

/// Whose output is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Run(RunId),
    /// The newest run of it.
    Task(TaskId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Status,
    Problems,
    Tasks,
    Run(TaskId),
    Logs(Which),
    Tickets,
    Ticket(TicketId),
    New(String),
    Mute { length: Duration, what: Option<String> },
    Pause { task: TaskId, length: Duration },
    Resume(TaskId),
    Kill(RunId),
    Usage,
    Help,
}

impl Command {
    /// What was meant for then and not for now, when it comes late.
    #[must_use]
    pub fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Run(_) | Self::Mute { .. } | Self::Pause { .. } | Self::Resume(_) | Self::Kill(_) => true,
            Self::Status
            | Self::Problems
            | Self::Tasks
            | Self::Logs(_)
            | Self::Tickets
            | Self::Ticket(_)
            | Self::New(_)
            | Self::Usage
            | Self::Help => false,
        }
    }
}

/// What a text turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Command(Command),
    /// A command of ours that cannot be followed, and why.
    Wrong(String),
    /// Looks like a command and is none of ours; its name.
    Unknown(String),
    /// For another bot in the same group.
    ForAnother,
    Plain,
}

/// Reads a text that was written to the bot `own_name`, which may not be known yet.
#[must_use]
pub fn read(text: &str, own_name: Option<&str>) -> Read {
    let text = text.trim();
    let Some(rest) = text.strip_prefix('/') else { return Read::Plain };
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (name, bot) = word.split_once('@').map_or((word, None), |(name, bot)| (name, Some(bot)));
    let is_name = (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Read::Plain;
    }
    if let (Some(bot), Some(own)) = (bot, own_name)
        && !bot.eq_ignore_ascii_case(own)
    {
        return Read::ForAnother;
    }
    let name = name.to_ascii_lowercase();
    let Some((_, wanted, _)) = MENU.iter().find(|(known, _, _)| *known == name) else {
        return Read::Unknown(name);
    };
    match arguments(&name, rest.trim()) {
        Ok(Some(command)) => Read::Command(command),
        Ok(None) => Read::Wrong(format!("write it like this: /{name} {wanted}")),
        Err(why) => Read::Wrong(why),
    }
}

/// None where an argument is missing or one too many.
fn arguments(name: &str, rest: &str) -> Result<Option<Command>, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let told = |e: &dyn std::fmt::Display| phrase(&e.to_string());
    let task = |word: &str| TaskId::parse(word).map_err(|e| told(&e));
    let run = |word: &str| word.parse::<RunId>().map_err(|e| told(&e));
    let command = match (name, words.as_slice()) {
        ("status", []) => Command::Status,
        ("problems", []) => Command::Problems,
        ("tasks", []) => Command::Tasks,
        ("tickets", []) => Command::Tickets,
        ("usage", []) => Command::Usage,
        ("help" | "start", _) => Command::Help,
        ("run", [id]) => Command::Run(task(id)?),
        ("resume", [id]) => Command::Resume(task(id)?),
        ("kill", [id]) => Command::Kill(run(id)?),
        ("logs", [id]) => Command::Logs(match run(id) {
            Ok(run) => Which::Run(run),
            Err(_) => Which::Task(task(id)?),
        }),
        ("t", [id]) => Command::Ticket(id.parse::<TicketId>().map_err(|e| told(&e))?),
        ("new", [_, ..]) => Command::New(rest.to_owned()),
        ("pause", [id]) => Command::Pause { task: task(id)?, length: LENGTH_DEFAULT },
        ("pause", [one, other]) => {
            let (length, id) = length_and_what(one, other)?;
            Command::Pause { task: task(id)?, length }
        }
        ("mute", []) => Command::Mute { length: LENGTH_DEFAULT, what: None },
        ("mute", [span]) if is_length(span) => Command::Mute { length: length(span)?, what: None },
        ("mute", [what]) => Command::Mute { length: LENGTH_DEFAULT, what: Some((*what).to_owned()) },
        ("mute", [one, other]) => {
            let (length, what) = length_and_what(one, other)?;
            Command::Mute { length, what: Some(what.to_owned()) }
        }
        (_, _) => return Ok(None),
    };
    Ok(Some(command))
}

fn is_length(word: &str) -> bool {
    parse_duration(word).is_ok()
}

/// Both in whichever order they were written.
fn length_and_what<'a>(one: &'a str, other: &'a str) -> Result<(Duration, &'a str), String> {
    let begins_as_one = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let (span, what) = match (is_length(one), is_length(other)) {
        (true, _) => (one, other),
        (false, true) => (other, one),
        // Neither is: what is wrong is said of the one that was meant to be.
        (false, false) if begins_as_one(one) => (one, other),
        (false, false) => (other, one),
    };
    Ok((length(span)?, what))
}

/// A length that a button or a person names.
///
/// # Errors
/// Says what is wrong with it.
pub fn length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text).map_err(|e| phrase(&e.to_string()))?;
    if length < Duration::from_secs(1) || length > LENGTH_MAX {
        return Err(format!("{}: from 1s to 30d", phrase(text)));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> String {
        match read(text, Some("box_bot")) {
            Read::Command(command) => format!("{command:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_command_with_and_without_what_it_wants() {
        let table = [
            ("/status", "Status"),
            ("  /Status@Box_Bot \n", "Status"),
            ("/status@other_bot", "ForAnother"),
            ("/status now", r#"Wrong("write it like this: /status ")"#),
            ("/run backup", r#"Run(TaskId("backup"))"#),
            ("/run", r#"Wrong("write it like this: /run ID")"#),
            ("/logs #12", "Logs(Run(RunId(12)))"),
            ("/logs 12", "Logs(Run(RunId(12)))"),
            ("/logs mc/backup", r#"Logs(Task(TaskId("mc/backup")))"#),
            ("/new  Mend the <b>roof</b>\nand the \u{1f600}", r#"New("Mend the <b>roof</b>\nand the 😀")"#),
            ("/new", r#"Wrong("write it like this: /new TITLE")"#),
            ("/mute", "Mute { length: 3600s, what: None }"),
            ("/mute 2h", "Mute { length: 7200s, what: None }"),
            ("/mute backup", r#"Mute { length: 3600s, what: Some("backup") }"#),
            ("/mute 30m MC-4", r#"Mute { length: 1800s, what: Some("MC-4") }"#),
            ("/mute MC-4 30m", r#"Mute { length: 1800s, what: Some("MC-4") }"#),
            ("/mute flap 1h", r#"Mute { length: 3600s, what: Some("flap") }"#),
            ("/mute 2fast", r#"Mute { length: 3600s, what: Some("2fast") }"#),
            ("/mute 1h flap now", r#"Wrong("write it like this: /mute 1h WHAT")"#),
            ("/pause 2h backup", r#"Pause { task: TaskId("backup"), length: 7200s }"#),
            ("/pause backup", r#"Pause { task: TaskId("backup"), length: 3600s }"#),
            ("/pause backup 90s", r#"Pause { task: TaskId("backup"), length: 90s }"#),
            ("/pause backup 999d", r#"Wrong("999d: from 1s to 30d")"#),
            ("/kill 7", "Kill(RunId(7))"),
            ("/help me please", "Help"),
            ("/start 482913", "Help"),
            ("/reboot", r#"Unknown("reboot")"#),
            ("/tmp/x is full", "Plain"),
            ("/", "Plain"),
            ("/ status", "Plain"),
            ("/stätus", "Plain"),
            ("status", "Plain"),
            ("", "Plain"),
        ];
        for (text, wanted) in table {
            assert_eq!(told(text), wanted, "{text}");
        }
        for wrong in ["/run ../etc/passwd", "/run $(reboot)", "/kill -1", "/t <script>", "/pause x 1:30"] {
            assert!(told(wrong).starts_with("Wrong"), "{wrong}: {}", told(wrong));
        }
        let long = format!("/run {}", "x".repeat(200_000));
        assert!(told(&long).len() < 1_000);
        assert_eq!(read("/status@whoever", None), Read::Command(Command::Status));
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(text in "/?\\PC{0,60}|/[a-z]{1,6} [\\x00-\\x7f]{0,30}") {
            let _ = read(&text, Some("box_bot"));
        }
    }
}
