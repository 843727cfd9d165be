//! What the run of an agent's task came to, by the agent's own words: a program that ends with 0 after its
//! provider has turned it away has not done its work, and one that hangs after its last word has.
//!
//! Everything is read anew from what was kept of the worker and from its output, so that it does not matter who
//! attends it, or whether anybody did.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tracing::warn;

use super::classify::{self, Heard};
use super::dialect;
use super::finish;
use super::table;
use super::tail;
use crate::model::run::{Outcome, Run, RunState};
use crate::model::worker::{Dialect, Verdict};
use crate::platform::clock::Clock;
use crate::platform::process::spec::name;
use crate::run::outcome::{Judge, Judged};
use crate::run::{RunError, run_dir};
use crate::store::{Store, StoreError};

/// Judges the runs whose folders lie in `runs`; clock times of providers that name no zone are read in `zone`.
#[must_use]
pub fn judge(store: Store, runs: PathBuf, zone: TimeZone, clock: Clock) -> Judge {
    std::sync::Arc::new(move |run, exit| {
        let (store, dir, zone) = (store.clone(), run_dir(&runs, run.id), zone.clone());
        Box::pin(async move { look(&store, dir, &zone, &run, &exit, clock.wall_ms()).await })
    })
}

async fn look(
    store: &Store,
    dir: PathBuf,
    zone: &TimeZone,
    run: &Run,
    exit: &Outcome,
    now_ms: i64,
) -> Result<Option<Judged>, RunError> {
    let id = run.id;
    let worker = store.read(move |conn| Ok::<_, RunError>(table::of_run(conn, id)?)).await?;
    // A plain program says nothing but its exit.
    let Some(worker) = worker.filter(|worker| worker.dialect != Dialect::Plain) else { return Ok(None) };
    let language = worker.dialect;
    let (heard, from) = (worker.heard, worker.read_bytes);
    let read = tokio::task::spawn_blocking(move || listen(&dir.join(name::EVENTS), language, heard, from));
    let heard = read.await.map_err(|_| StoreError::Panicked)?;
    let ended = finish::ended(exit, run.stop_reason);
    let verdict = classify::verdict(language, &heard, ended, zone, now_ms);
    Ok(judgement(&verdict, exit))
}

/// Takes in what stands behind `from`. Blocks.
fn listen(path: &Path, language: Dialect, mut heard: Heard, mut from: u64) -> Heard {
    loop {
        match tail::read_rest(path, from) {
            Ok(batch) if batch.lines.is_empty() => return heard,
            Ok(batch) => {
                for event in batch.lines.iter().flat_map(|line| dialect::read(language, line)) {
                    heard.take(&event);
                }
                from = batch.to_bytes;
            }
            Err(e) => {
                warn!(file = %path.display(), error = %e, "cannot read what a worker printed; its exit has to do");
                return heard;
            }
        }
    }
}

/// `None`: the exit says it all.
fn judgement(verdict: &Verdict, exit: &Outcome) -> Option<Judged> {
    let is_by_itself = match exit.state {
        RunState::Ok => true,
        RunState::Failed => !exit.reason.as_deref().is_some_and(|reason| reason.starts_with("spawn")),
        RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::Timeout
        | RunState::Killed
        | RunState::Lost
        | RunState::NotStarted
        | RunState::Blocked
        | RunState::Skipped
        | RunState::Missed
        | RunState::KillFailed => false,
    };
    if !is_by_itself {
        return None;
    }
    let mut not_before_ms = None;
    let (state, reason) = match verdict {
        Verdict::Ok if exit.state == RunState::Ok => return None,
        Verdict::Ok => (RunState::Ok, None),
        Verdict::Crash if exit.state == RunState::Failed => return None,
        Verdict::RateLimited { until_ms } => {
            not_before_ms = Some(*until_ms);
            (RunState::Failed, Some(verdict.name()))
        }
        Verdict::NeedsInput
        | Verdict::Overloaded
        | Verdict::Auth
        | Verdict::Billing
        | Verdict::BadRequest
        | Verdict::Crash => (RunState::Failed, Some(verdict.name())),
        Verdict::Timeout | Verdict::Stopped | Verdict::Lost | Verdict::Unstartable => return None,
    };
    let outcome = Outcome { state, reason: reason.map(str::to_owned), ..exit.clone() };
    Some(Judged { outcome, not_before_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::outcome::TURNED_AWAY;

    fn exit(state: RunState, reason: Option<&str>, code: i32) -> Outcome {
        Outcome { state, reason: reason.map(str::to_owned), exit_code: Some(code), signal: None }
    }

    fn judged(verdict: &Verdict, exit: &Outcome) -> String {
        judgement(verdict, exit).map_or("as it ended".to_owned(), |judged| {
            let Outcome { state, reason, .. } = judged.outcome;
            format!("{} {:?} {:?}", state.name(), reason.as_deref(), judged.not_before_ms)
        })
    }

    #[test]
    fn the_last_word_decides_where_nothing_else_ended_it() {
        let ok = exit(RunState::Ok, None, 0);
        let failed = exit(RunState::Failed, Some("exit"), 1);
        let limited = Verdict::RateLimited { until_ms: 5 };
        let table = [
            (&Verdict::Ok, &ok, "as it ended"),
            (&Verdict::Ok, &failed, "ok None None"),
            (&limited, &ok, "failed Some(\"rate_limited\") Some(5)"),
            (&limited, &failed, "failed Some(\"rate_limited\") Some(5)"),
            (&Verdict::Overloaded, &failed, "failed Some(\"overloaded\") None"),
            (&Verdict::BadRequest, &ok, "failed Some(\"bad_request\") None"),
            (&Verdict::Crash, &ok, "failed Some(\"crash\") None"),
            (&Verdict::Crash, &failed, "as it ended"),
        ];
        for (verdict, exit, want) in table {
            assert_eq!(judged(verdict, exit), want, "{verdict:?} {exit:?}");
        }
    }

    #[test]
    fn a_limit_a_stop_and_a_missing_program_stay_what_they_are() {
        for state in [RunState::Timeout, RunState::Killed, RunState::Lost, RunState::Blocked] {
            assert_eq!(judged(&Verdict::Ok, &exit(state, None, 0)), "as it ended", "{state:?}");
        }
        assert_eq!(judged(&Verdict::Crash, &exit(RunState::Failed, Some("spawn"), 127)), "as it ended");
    }

    #[test]
    fn retries_know_the_ends_by_the_same_names() {
        let names = [Verdict::RateLimited { until_ms: 0 }.name(), Verdict::Overloaded.name()];
        assert_eq!(names, TURNED_AWAY);
    }
}
