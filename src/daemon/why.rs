//! "Why did it not run?" answered from the ledger, in one sentence.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::journal::Filter;
use crate::model::event::EventKind;
use crate::model::ids::TaskId;
use crate::model::run::{Run, RunState};
use crate::model::task::Task;
use crate::platform::process::{End, Exit};
use crate::run::history;
use crate::store::StoreError;
use crate::task::due::Instants;

use super::App;
use super::refused::Refused;

/// How close to an instant a question must come to be about it.
const NEAR: SignedDuration = SignedDuration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Why {
    pub task: TaskId,
    /// The instant that the answer is about.
    pub at: Timestamp,
    pub answer: String,
    pub row: Option<Run>,
}

impl App {
    /// Why `id` ran or did not run at `at`; without `at`, at its last due instant.
    ///
    /// # Errors
    /// [`Refused`] when there is no such task and never was.
    pub async fn why(&self, id: &TaskId, at: Option<Timestamp>) -> Result<Why, Refused> {
        let Some(view) = self.task(id).await? else { return self.why_gone(id, at).await };
        let now = self.clock.wall();
        let asked = at.unwrap_or(now);
        let mut first = None;
        let instant = match view.definition() {
            Some(task) => {
                let anchor = self.anchor_of(task).await?;
                let instants = Instants::new(task, anchor);
                first = instants.next(asked);
                // The last instant before the question; one just after it when that is nearer.
                let before = instants.latest(asked);
                let after =
                    instants.next(asked).filter(|after| at.is_some() && after.duration_since(asked) <= NEAR);
                match (before, after) {
                    (Some(b), Some(a)) if a.duration_since(asked) < asked.duration_since(b) => Some(a),
                    (Some(b), _) => Some(b),
                    (None, after) => after,
                }
            }
            None => None,
        };
        let mut about = instant.unwrap_or(asked);
        let (task, about_ms) = (id.clone(), about.as_millisecond());
        let row = self
            .store
            .read(move |conn| Ok::<_, StoreError>(history::table::covering(conn, &task, about_ms)?))
            .await?;
        let row = match (row, at) {
            // Nothing was due: the last thing that happened, if the question names no time.
            (None, None) => view.recent.first().cloned(),
            (row, _) => row,
        };
        let is_off = at.is_none() && !view.entry.enabled && view.definition().is_some();
        let row = if is_off { view.recent.first().cloned() } else { row };
        // Where nothing is due the answer is about when that last thing was.
        if (is_off || instant.is_none())
            && let (None, Some(run)) = (at, &row)
            && let Some(was) = run.scheduled_ms.or(run.started_ms).or(run.ended_ms)
        {
            about = Timestamp::from_millisecond(was).unwrap_or(about);
        }
        let mut answer = match (&row, self.was_kept(&view, instant).await?) {
            (Some(run), _) if is_off => {
                format!("{id} is disabled; before that, {}", self.told(run, view.definition()).await?)
            }
            (Some(run), _) => self.told(run, view.definition()).await?,
            (None, true) => self.no_row(&view, instant, first, about),
            (None, false) => format!(
                "no row is kept of {about}: rows of {id} from so long ago have been deleted (keep_runs, keep_for)"
            ),
        };
        let waiting = view.recent.iter().find_map(|run| Some((run.id, run.retry_ms?)));
        if let (None, Some((run, at_ms))) = (at, waiting)
            && let Ok(again) = Timestamp::from_second(at_ms.div_euclid(1000))
        {
            answer.push_str(&format!("; {run} is tried again at {again} (lucid kill {} drops that)", run.0));
        }
        Ok(Why { task: id.clone(), at: about, answer, row })
    }

    /// What a row says, with what else is known of it.
    async fn told(&self, run: &Run, task: Option<&Arc<Task>>) -> Result<String, StoreError> {
        let pool = task.and_then(|task| task.settings.pool.as_ref());
        let pool = pool.and_then(|name| self.config.pools.iter().find(|pool| pool.name == *name));
        if let (RunState::Skipped, Some("pool_full"), Some(pool)) = (run.state(), run.reason.as_deref(), pool)
        {
            let all =
                if pool.slots == 1 { "it has one".to_owned() } else { format!("it has {}", pool.slots) };
            return Ok(format!("skipped: no slot of the pool `{}` came free in time; {all}", pool.name));
        }
        let wanted =
            Filter { run: Some(run.id), kinds: Some(vec![EventKind::RetryDropped]), ..Filter::default() };
        let dropped = self.journal.before(i64::MAX, 1, wanted).await?.into_iter().next();
        let why = dropped.as_ref().and_then(|dropped| dropped.event.data["reason"].as_str());
        let said = seen(run, self.left_by(run).await.as_ref());
        Ok(match why.filter(|_| run.retry_ms.is_none()) {
            Some(why) => format!("{said}; it was to be tried again, and was not: {why}"),
            None => said,
        })
    }

    /// What its keeper wrote down at the end, while that is kept.
    async fn left_by(&self, run: &Run) -> Option<Exit> {
        if run.state().is_live() || run.started_ms.is_none() {
            return None;
        }
        let dir = self.run_dir(run.id);
        tokio::task::spawn_blocking(move || Exit::read(&dir).ok().flatten()).await.ok().flatten()
    }

    /// Whether `instant` would have a row still, if it ever had one.
    async fn was_kept(
        &self,
        view: &super::view::TaskView,
        instant: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let (Some(task), Some(instant)) = (view.definition(), instant) else { return Ok(true) };
        // Before its schedule was first seen nothing was due.
        if instant < self.anchor_of(task).await? {
            return Ok(true);
        }
        let id = view.id.clone();
        let oldest = self
            .store
            .read(move |conn| Ok::<_, StoreError>(history::table::oldest_instant(conn, &id)?))
            .await?;
        Ok(oldest.is_none_or(|oldest| instant.as_millisecond() >= oldest))
    }

    /// The ledger outlives the file.
    async fn why_gone(&self, id: &TaskId, at: Option<Timestamp>) -> Result<Why, Refused> {
        let any = history::Query { task: Some(id.clone()), limit: 1, ..history::Query::default() };
        let latest = self.list_runs(any).await?.into_iter().next().ok_or_else(|| self.no_task(id))?;
        let row = match at.map(Timestamp::as_millisecond) {
            None => Some(latest),
            Some(at_ms) => {
                let task = id.clone();
                let covering =
                    move |conn: &_| Ok::<_, StoreError>(history::table::covering(conn, &task, at_ms)?);
                self.store.read(covering).await?
            }
        };
        let due_ms = row.as_ref().and_then(|run| run.scheduled_ms.or(run.started_ms));
        let due = due_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let about = at.or(due).unwrap_or_else(|| self.clock.wall());
        let answer = match &row {
            Some(run) => format!("{}; {id} has no file any more", sentence(run)),
            None => format!("{id} has no file any more, and no row covers {about}"),
        };
        Ok(Why { task: id.clone(), at: about, answer, row })
    }

    fn no_row(
        &self,
        view: &super::view::TaskView,
        instant: Option<Timestamp>,
        first: Option<Timestamp>,
        about: Timestamp,
    ) -> String {
        let id = &view.id;
        let Some(task) = view.definition() else {
            return format!("{id} has no due instants: its file has errors (lucid check)");
        };
        if !view.entry.enabled {
            return format!("{id} is disabled: it has no due instants (lucid enable {id})");
        }
        match instant {
            None => nothing_due(task, first, about),
            Some(at) if at > self.clock.wall() => format!("{at} has not come yet"),
            Some(at) => format!(
                "no row covers {at}: the task was new, disabled or had another schedule then, so nothing was due"
            ),
        }
    }
}

/// Why nothing was due up to `about`; `first` is the first instant after it.
fn nothing_due(task: &Task, first: Option<Timestamp>, about: Timestamp) -> String {
    let (id, starts) = (&task.id, task.schedule.has_startup());
    match first {
        Some(first) => {
            let also = if starts { "; it runs when the daemon starts, too" } else { "" };
            format!("nothing was due up to {about}: {id} is first due at {first}{also}")
        }
        None if starts => format!("{id} has no due instants: it runs when the daemon starts"),
        None => format!(
            "{id} has no schedule that names an instant up to {about}: it runs when asked (lucid run {id})"
        ),
    }
}

/// What a row says, with what its keeper saw and the row has no room for.
fn seen(run: &Run, exit: Option<&Exit>) -> String {
    let Some(exit) = exit else { return sentence(run) };
    let mut said = match &exit.end {
        End::Spawn { code, error } => format!("{} could not be started: {error} (exit {code})", run.id),
        End::Code(_) | End::Signal(_) | End::Preflight { .. } => sentence(run),
    };
    match exit.leftovers {
        0 => {}
        1 => said.push_str("; a process that it left running was ended (kill_grace)"),
        count => said.push_str(&format!("; {count} processes that it left running were ended (kill_grace)")),
    }
    said
}

/// What a row says, in words.
#[must_use]
pub fn sentence(run: &Run) -> String {
    let id = run.id;
    let reason = run.reason.as_deref().unwrap_or("");
    match run.state() {
        RunState::Claimed => match run.waiting {
            Some(crate::model::run::Waiting::Overlap) => format!("{id} waits for the run before it to end"),
            Some(crate::model::run::Waiting::Lock) => format!("{id} waits for a named lock"),
            Some(crate::model::run::Waiting::Parallel) => {
                format!("{id} waits for a place: scheduler.max_parallel_runs is reached")
            }
            None => format!("{id} is about to start"),
        },
        RunState::Running => format!("{id} is running"),
        RunState::Stopping => format!("{id} is being stopped"),
        RunState::Ok => format!("{id} ran and ended well{}", late(run)),
        RunState::Failed if reason == "spawn" => format!("{id} could not be started: {}", ending(run)),
        RunState::Failed => format!("{id} ran and failed: {}", ending(run)),
        RunState::Timeout => format!("{id} ran into its limit ({reason}) and was ended"),
        RunState::Killed => format!("{id} was ended: {reason}"),
        RunState::Lost => format!("{id} started, and its result is lost: {}", lost(reason)),
        RunState::NotStarted => format!("{id} was recorded and never started; it starts once more"),
        RunState::Blocked => match run.exit_code {
            Some(code) => format!("{id} could not be tried: {reason} (exit {code})"),
            None => format!("{id} could not be tried: {reason}"),
        },
        RunState::Skipped => format!("skipped: {}", skipped(reason)),
        RunState::Missed => {
            let (instants, them) = match run.missed_count.unwrap_or(1) {
                1 => ("1 instant".to_owned(), "it"),
                count => (format!("{count} instants"), "them"),
            };
            format!(
                "missed: nothing ran for {instants}: the daemon or the machine was down, or the task was not there or switched off, and catch_up did not take {them} up"
            )
        }
        RunState::KillFailed => format!("{id} outlives SIGKILL; its key stays held until it is gone"),
    }
}

fn lost(reason: &str) -> &str {
    match reason {
        "keeper_killed" => "its keeper was killed",
        "result_unreadable" => "what its keeper left of it (exit.json) cannot be read",
        "directory_gone" => "its directory in the state directory was removed while it ran",
        "reboot" => "the machine restarted",
        other => other,
    }
}

fn skipped(reason: &str) -> &str {
    match reason {
        "overlap" => "the run before it was still going (overlap)",
        "paused" => "the task was paused",
        "draining" => "the daemon was draining",
        "lock" => "its named lock stayed taken until the next instant was due",
        "invalid_file" => "its file had been broken for longer than the last good version may stand in",
        "disabled" => "it was disabled while it waited",
        "pool_full" => "no slot of its pool came free in time",
        "agent_busy" => "its agent had no place free in time",
        "agent_rests" => "its agent, and whoever takes over for it, rested for too long",
        "too_late" => "it had waited for longer than it is made up for (catch_up_window)",
        other => other,
    }
}

fn ending(run: &Run) -> String {
    // What an agent said of its own end says more than how its process went.
    let said = run.reason.as_deref().filter(|reason| !matches!(*reason, "exit" | "signal" | "spawn"));
    if let (Some(reason), Some(code)) = (said, run.exit_code) {
        return format!("{reason} (exit {code})");
    }
    match (run.exit_code, run.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => run.reason.clone().unwrap_or_default(),
    }
}

/// Only a lateness that a person would call late is worth a word.
fn late(run: &Run) -> String {
    match (run.scheduled_ms, run.started_ms) {
        (Some(due), Some(started)) if started - due >= 1_000 => {
            format!(", {} s late", (started - due) / 1000)
        }
        (_, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_due_yet_is_told_with_its_first_instant() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let said = |front: &str| {
            let task = crate::task::testing::named("fut", front);
            nothing_due(&task, Instants::new(&task, now).next(now), now)
        };
        for (schedule, first) in [
            ("at 2027-06-01T00:00Z", "first due at 2027-06-01T00:00:00Z"),
            ("every 1w", "first due at 2026-12-04T12:00:00Z"),
            ("'@startup'", "it runs when the daemon starts"),
            ("['@startup', in 2s]", "2026-11-27T12:00:02Z; it runs when the daemon starts, too"),
            ("manual", "it runs when asked"),
        ] {
            let text = said(&format!("schedule: {schedule}"));
            assert!(text.contains(first), "{schedule}: {text}");
        }
    }
}
