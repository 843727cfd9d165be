//! What runs and their files lead to.

use super::{Facts, Missed, RunFacts, TaskFacts, Verdict, bold, code, number, ordinal, plain, text};
use crate::alert::dedupe::{Over, Tell};
use crate::alert::words::{Tail, clip, passage, phrase};
use crate::model::event::Event;
use crate::model::ids::TaskId;
use crate::model::notice::{Button, Notice, NoticeKind, Part, Shown};
use crate::model::run::{Run, RunState, Trigger};
use crate::model::span::span;
use crate::model::task::{AlertEvent, Deliver, Severity};
use crate::model::time::millis;

/// What a run says when it wants nothing delivered.
const SILENT: &str = "[SILENT]";
/// Characters of an answer that a message holds.
const ANSWER_CHARS: usize = 3_600;
/// Characters of a line of output that several failures are compared by.
const CAUSE_CHARS: usize = 80;
/// From here on a day of the week does not tell which day it was, milliseconds.
const FAR_MS: i64 = 6 * DAY_MS;
/// What is said in the place of what is not known.
const BARE: &str = "The database did not answer: what it said and how often it failed is not known.";
/// A task that is no more tells no end, milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

pub(super) fn finished(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Facts::Run(facts) = facts else { return Vec::new() };
    let run = &facts.run;
    let Some(state) = text(event, "state").and_then(RunState::parse) else { return Vec::new() };
    // It has an end, so nothing of it lives any more.
    let mut verdicts = vec![Verdict::Clear(Over {
        subject: format!("run:{}", run.id.0),
        kinds: vec![NoticeKind::KillFailed],
        ending: Vec::new(),
        tell: Tell::Reply,
    })];
    if facts.is_worker() {
        return verdicts;
    }
    match state {
        RunState::Ok => {
            verdicts.extend(recovered(facts));
            verdicts.extend(brief(facts));
        }
        RunState::Failed | RunState::Lost | RunState::Blocked => {
            verdicts.extend(failure(facts, AlertEvent::Failure));
        }
        RunState::Timeout => verdicts.extend(failure(facts, AlertEvent::Timeout)),
        RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::Killed
        | RunState::NotStarted
        | RunState::Skipped
        | RunState::Missed
        | RunState::KillFailed => {}
    }
    verdicts
}

fn recovered(facts: &RunFacts) -> Vec<Verdict> {
    let run = &facts.run;
    let wants_word =
        facts.task.as_ref().is_none_or(|task| task.alerts.events.contains(&AlertEvent::Recovery));
    let mut ending = vec![plain("Run "), code(run.id.to_string()), plain(" ok")];
    if let Some(ms) = run.duration_ms {
        ending.push(plain(format!(" in {}", span(ms))));
    }
    ending.push(plain("."));
    let over = |kinds: Vec<NoticeKind>, tell| Over {
        subject: format!("task:{}", run.task),
        kinds,
        ending: ending.clone(),
        tell,
    };
    let tell = if wants_word { Tell::Reply } else { Tell::Edit };
    vec![
        Verdict::Clear(over(vec![NoticeKind::TaskFailed, NoticeKind::TaskTimedOut], tell)),
        Verdict::Clear(over(vec![NoticeKind::TaskMissed], Tell::Edit)),
    ]
}

/// What a good run has to say, where its task wants that delivered.
fn brief(facts: &RunFacts) -> Option<Verdict> {
    let task = facts.task.as_ref()?;
    match task.deliver {
        Deliver::None => return None,
        Deliver::Telegram => {}
    }
    let answer = facts.answer.as_deref()?;
    let said = passage(answer, usize::MAX);
    if said.is_empty() || said == SILENT {
        return None;
    }
    let shown = clip(&said, ANSWER_CHARS).into_owned();
    let mut parts = vec![plain(shown.clone())];
    if shown != said {
        let all = said.chars().count();
        parts.extend([
            Part::Break,
            Part::Italic(format!(
                "({ANSWER_CHARS} of {all} characters; the rest: lucid logs {})",
                facts.run.id.0
            )),
        ]);
    }
    Some(Verdict::Brief { run: facts.run.id, text: parts })
}

fn failure(facts: &RunFacts, which: AlertEvent) -> Option<Verdict> {
    let task = facts.task.as_ref()?;
    let settings = &task.alerts;
    let is_muted = settings
        .mute_until
        .is_some_and(|until| facts.run.ended_ms.is_some_and(|ended| ended < until.as_millisecond()));
    // How often it has failed is not known of a bare one: once too often said is better than not at all.
    let is_early = !facts.is_bare && facts.failures < settings.after;
    if !settings.events.contains(&which) || is_muted || is_early {
        return None;
    }
    let run = &facts.run;
    let (kind, class, headline) = match which {
        AlertEvent::Timeout => {
            let limit = match run.reason.as_deref() {
                Some("idle") => "no output for too long".to_owned(),
                Some(_) | None => format!("limit {}", span(task.timeout_ms)),
            };
            let head = vec![bold(format!("{} timed out", run.task)), plain(format!(" · {limit}"))];
            (NoticeKind::TaskTimedOut, None, head)
        }
        AlertEvent::Failure | AlertEvent::Missed | AlertEvent::Recovery => {
            let how = how(run);
            let verb = if run.state() == RunState::Blocked { "is blocked" } else { "failed" };
            let mut head = vec![bold(format!("{} {verb}", run.task)), plain(format!(" · {how}"))];
            if let Some(ms) = run.duration_ms {
                head.push(plain(format!(" · {}", span(ms))));
            }
            (NoticeKind::TaskFailed, Some(clip(&how, CAUSE_CHARS).into_owned()), head)
        }
    };
    let mut notice = Notice::new(kind, format!("task:{}", run.task), settings.severity);
    notice.cause = cause(&facts.tail).or_else(|| class.clone());
    notice.class = class;
    notice.headline = headline;
    notice.body = body(facts, task, which);
    notice.repeat_ms = millis(settings.repeat);
    notice.buttons = buttons(run, which);
    Some(Verdict::raise(notice))
}

/// In which way it went wrong: `exit 1`, `signal 9`, `could not start`, `lost`.
fn how(run: &Run) -> String {
    let reason = run.reason.as_deref().unwrap_or_default();
    match run.state() {
        RunState::Lost => format!("lost ({})", phrase(reason)),
        RunState::Blocked => match run.exit_code {
            Some(code) => format!("{} exit {code}", phrase(reason)),
            None => phrase(reason),
        },
        _ if reason.starts_with("spawn") => match run.exit_code {
            Some(127) => "program not found".to_owned(),
            // The folder, the input, the program: the output says which.
            Some(_) | None => "could not be started".to_owned(),
        },
        _ => match (run.exit_code, run.signal) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => phrase(reason),
        },
    }
}

fn body(facts: &RunFacts, task: &TaskFacts, which: AlertEvent) -> Vec<Part> {
    let run = &facts.run;
    let mut parts = vec![plain("Run "), code(run.id.to_string())];
    if facts.is_bare {
        parts.extend([plain("."), Part::Break, plain(BARE)]);
        return parts;
    }
    match (run.trigger, run.scheduled_ms) {
        (Trigger::Manual, _) => parts.push(plain(format!(", asked for by {}", phrase(&run.actor)))),
        (_, Some(ms)) => {
            parts.extend([plain(", due "), Part::Time { ms, shown: Shown::Day }]);
        }
        (_, None) => {}
    }
    if let Some(ms) = run.started_ms {
        parts.extend([plain(", started "), Part::Time { ms, shown: Shown::Day }]);
    }
    parts.push(plain("."));
    if let (AlertEvent::Timeout, Some(end)) = (which, &facts.end) {
        let limit = span(task.timeout_ms.min(end.lasted_ms));
        let how = if end.is_escalated {
            format!(" SIGTERM at {limit}, SIGKILL at {}", span(end.lasted_ms))
        } else {
            format!(" SIGTERM at {limit}")
        };
        parts.push(plain(match end.killed {
            0 => format!("{how}."),
            1 => format!("{how}, 1 process ended."),
            n => format!("{how}, {n} processes ended."),
        }));
    }
    parts.push(Part::Break);
    let noun = if which == AlertEvent::Timeout { "timeout or failure" } else { "failure" };
    parts.push(plain(match (facts.failures, facts.oks) {
        (0 | 1, 0) => "1st failure.".to_owned(),
        (0 | 1, oks) => format!("1st {noun} ({oks} ok before)."),
        (n, _) => format!("{} {noun} in a row.", ordinal(n)),
    }));
    parts.extend(next(run, task));
    parts.extend(output(&facts.tail));
    parts
}

/// What happens next without anybody.
fn next(run: &Run, task: &TaskFacts) -> Vec<Part> {
    if let Some(ms) = run.retry_ms {
        return vec![
            plain(format!(" Retry {} of {} at ", run.attempt, task.retries_max.max(run.attempt))),
            Part::Time { ms, shown: Shown::Clock },
            plain("."),
        ];
    }
    match task.next_ms {
        Some(ms) => vec![plain(" Next run "), Part::Time { ms, shown: Shown::Day }, plain(".")],
        None => vec![plain(" It does not run again by itself.")],
    }
}

fn output(tail: &Tail) -> Vec<Part> {
    if tail.lines.is_empty() {
        return vec![plain(" No output.")];
    }
    let mut lines = tail.lines.clone();
    if tail.is_cut {
        let count = tail.lines.len();
        lines.push(if count == 1 { "(last line)".to_owned() } else { format!("(last {count} lines)") });
    }
    vec![Part::Break, Part::Quote(lines)]
}

fn cause(tail: &Tail) -> Option<String> {
    tail.lines.last().map(|line| clip(line, CAUSE_CHARS).into_owned())
}

fn buttons(run: &Run, which: AlertEvent) -> Vec<Button> {
    let id = run.id.0;
    let log = Button::data("Log", format!("r:log:{id}"));
    let retry = Button::data("Retry", format!("r:retry:{id}"));
    match which {
        AlertEvent::Timeout => {
            vec![log, retry, Button::data("Pause 1h", format!("p:1h:{}", run.task))]
        }
        AlertEvent::Failure | AlertEvent::Missed | AlertEvent::Recovery => vec![retry, log],
    }
}

pub(super) fn missed(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Facts::Run(facts) = facts else { return Vec::new() };
    let Some(task) = &facts.task else { return Vec::new() };
    if !task.alerts.events.contains(&AlertEvent::Missed) {
        return Vec::new();
    }
    let (run, count) = (&facts.run, number(event, "count").unwrap_or(1).max(1));
    let mut notice = Notice::new(
        NoticeKind::TaskMissed,
        format!("task:{}", run.task),
        task.alerts.severity.min(Severity::Warning),
    );
    let runs = if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    notice.headline = vec![bold(format!("{} missed {runs}", run.task))];
    notice.body = vec![plain("Due ")];
    let now_ms = run.ended_ms.unwrap_or(run.claimed_ms);
    let time = |ms: i64| Part::Time {
        ms,
        shown: if now_ms.saturating_sub(ms) < FAR_MS { Shown::Day } else { Shown::Date },
    };
    notice.body.extend(run.scheduled_ms.map(time));
    if let Some(ms) = number(event, "to_ms").filter(|_| count > 1) {
        notice.body.extend([plain(" to "), time(ms)]);
    }
    let why = match facts.missed {
        Missed::Down => "the daemon or the machine was not up",
        Missed::Passed => "the machine slept, its clock was set or the task was off",
        Missed::Unseen => "lucid read the task's file only after that",
    };
    if facts.is_bare {
        notice.body = vec![plain("The database did not answer: when it was due and why is not known.")];
    } else {
        notice.body.push(plain(format!("; {why}, and it is not made up for.")));
        notice.body.extend(next(run, task));
        notice.cause = Some(why.to_owned());
    }
    notice.buttons = vec![Button::data("Run now", format!("r:run:{}", run.task))];
    notice.fades_ms = Some(DAY_MS);
    vec![Verdict::raise(notice)]
}

pub(super) fn kill_failed(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(id) = event.run else { return Vec::new() };
    let task = event.task.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut notice = Notice::new(NoticeKind::KillFailed, format!("run:{}", id.0), Severity::Critical);
    notice.headline =
        vec![bold(format!("{task}: something of run {id} outlives SIGKILL")), plain(" · key held")];
    notice.body = vec![plain("It hangs in the kernel, most often in a disk or network file system.")];
    notice.meanwhile = vec![plain("Its task does not run again until it is gone.")];
    if let Facts::Run(facts) = facts
        && !facts.is_bare
    {
        notice.body.extend(output(&facts.tail));
    }
    notice.buttons = vec![Button::data("Log", format!("r:log:{}", id.0))];
    vec![Verdict::raise(notice)]
}

pub(super) fn file_broken(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(task) = &event.task else {
        // So many at once that they were recorded as one.
        let count = number(event, "count").unwrap_or(0);
        let mut notice = Notice::new(NoticeKind::FileBroken, "files:many".to_owned(), Severity::Warning);
        notice.headline = vec![bold(format!("{count} task files are broken"))];
        notice.meanwhile = vec![plain("See what is wrong: "), code("lucid check")];
        notice.fades_ms = Some(DAY_MS);
        return vec![Verdict::raise(notice)];
    };
    let mut notice = Notice::new(NoticeKind::FileBroken, format!("file:{task}"), Severity::Warning);
    notice.headline = vec![bold(format!("{task}: its file is broken"))];
    if let Facts::File(file) = facts {
        if let Some(wrong) = &file.wrong {
            notice.body.push(code(phrase(wrong)));
            notice.cause = Some(clip(&phrase(wrong), CAUSE_CHARS).into_owned());
        }
        notice.meanwhile.push(plain(if file.is_stale {
            "It goes on as it last was, for a while. "
        } else {
            "It does not run. "
        }));
    }
    notice.meanwhile.extend([plain("See: "), code(format!("lucid check tasks/{task}.md"))]);
    vec![Verdict::raise(notice)]
}

pub(super) fn file_mended(event: &Event) -> Vec<Verdict> {
    let is_removed = event.kind == crate::model::event::EventKind::TaskRemoved;
    let over = |subject, kinds, tell| {
        let ending = if is_removed { vec![plain("The file was removed.")] } else { Vec::new() };
        Verdict::Clear(Over { subject, kinds, ending, tell })
    };
    // So many at once that they were recorded together.
    let many = event.data.get("tasks").and_then(serde_json::Value::as_array).into_iter().flatten();
    let tasks = event.task.iter().map(TaskId::as_str).chain(many.filter_map(|task| task.as_str()));
    let mut verdicts = Vec::new();
    for task in tasks {
        verdicts.push(over(format!("file:{task}"), Vec::new(), Tell::Reply));
        if is_removed {
            // Nothing would ever end them.
            verdicts.push(over(format!("task:{task}"), Vec::new(), Tell::Edit));
        }
    }
    verdicts
}
