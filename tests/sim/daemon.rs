//! One life of the daemon: the program's own decisions and transactions, in an order that the dice choose.
//!
//! What the loop does in tasks of its own waits here in a list, and anything in it may be next; a crash forgets the
//! list. The database is the real one.

use std::sync::Arc;

use lucid::daemon::carry::Ledger;
use lucid::daemon::reload;
use lucid::journal::Journal;
use lucid::model::event::EventKind;
use lucid::model::ids::{RunId, TaskId};
use lucid::model::run::{Outcome, Run, RunState, Step, StopReason, Trigger};
use lucid::model::task::Task;
use lucid::run::finish::{self, Written};
use lucid::run::flight::{self, Claim, Gates, Request};
use lucid::run::{RunError, live, outcome, step, stop, table};
use lucid::store::{Store, Tx};
use lucid::task::agenda::{Again, Agenda, Due};
use lucid::task::due::Policy;
use lucid::task::{Registry, Snapshot, table as tasks};

use crate::history::History;
use crate::machine::{DAY_MS, End, Gate, Keeper, Machine};

const POLICY: Policy = Policy { misfire_after: std::time::Duration::from_secs(60), catch_up_max: 20 };
const SPACING_MS: i64 = 30_000;

pub type Done = Result<(), String>;

#[derive(Debug)]
enum Work {
    Carry(Due),
    Answer(TaskId, Option<i64>, Again),
    TakeUp,
    Launch(Box<Run>, Arc<Task>),
    Record(RunId),
    Open(RunId),
    Settle(RunId),
    Look,
}

pub struct Daemon {
    store: Store,
    journal: Journal,
    registry: Registry,
    snapshot: Arc<Snapshot>,
    agenda: Agenda,
    work: Vec<Work>,
}

impl Daemon {
    /// As at a start: files, runs of the last life, and only then anything new.
    pub fn boot(store: Store, machine: &mut Machine, history: &mut History) -> Result<Self, String> {
        let mut daemon = Self {
            journal: Journal::new(store.clone()),
            store,
            registry: Registry::new(machine.tasks_dir.clone(), machine.rules.clone()),
            snapshot: Arc::default(),
            agenda: Agenda::default(),
            work: Vec::new(),
        };
        machine.tell("the daemon starts");
        daemon.reload(machine, history)?;
        daemon.recover(machine)?;
        if let Some(at) = daemon.transact(|tx| Ok(table::next_retry_ms(tx)?))? {
            daemon.agenda.retry_at(at);
        }
        daemon.work.push(Work::Look);
        Ok(daemon)
    }

    fn transact<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> Result<T, RunError> + Send + 'static,
    ) -> Result<T, String> {
        self.store.write_blocking(work).map_err(|e| e.to_string())
    }

    fn ledger(&self, machine: &Machine) -> Ledger {
        let gates = Gates { max_parallel_runs: machine.places, draining: false };
        Ledger { journal: self.journal.clone(), gates, spacing_ms: SPACING_MS, now_ms: machine.now() }
    }

    /// Takes over what the files say.
    pub fn reload(&mut self, machine: &mut Machine, history: &mut History) -> Done {
        let now_ms = machine.now();
        self.registry.reload(now_ms);
        self.snapshot = self.registry.snapshot();
        let snapshot = Arc::clone(&self.snapshot);
        let (before, standings) = self.transact(move |tx| {
            let before = tasks::all(tx)?;
            reload::take_over(tx, &snapshot, &[], now_ms)?;
            let standings = reload::standings(tasks::all(tx)?, tasks::anchors(tx)?, &snapshot);
            Ok((before, standings))
        })?;
        for id in machine.ids() {
            let covered = before.iter().find(|row| row.id == id).map_or(now_ms, |row| row.covered_ms);
            let on = standings.iter().find(|s| s.task.id == id && s.enabled);
            history.note(&id, on.map(|s| (&s.task, s.anchor_ms)), covered, now_ms);
        }
        self.agenda.sync(standings);
        Ok(())
    }

    fn recover(&mut self, machine: &mut Machine) -> Done {
        for run in self.transact(|tx| Ok(live::table::live(tx)?))? {
            let id = run.id;
            match run.state() {
                RunState::Claimed if self.is_too_late(machine, &run) => {
                    let (journal, now_ms) = (self.journal.clone(), machine.now());
                    self.transact(move |tx| flight::give_up(tx, &journal, run.clone(), "too_late", now_ms))?;
                }
                RunState::Claimed if run.waiting.is_none() => self.never_started(machine, run)?,
                RunState::Claimed => {}
                _ => match machine.keepers.get_mut(&id).map(|keeper| {
                    keeper.watched = true;
                    keeper.gate
                }) {
                    Some(Gate::Open { .. }) if run.state() == RunState::Stopping => machine.stop(id),
                    Some(Gate::Open { .. }) => {}
                    Some(Gate::Over(_) | Gate::Gone) => self.settle(machine, id)?,
                    Some(Gate::Shut) | None => self.never_started(machine, run)?,
                },
            }
        }
        Ok(())
    }

    fn is_too_late(&self, machine: &Machine, run: &Run) -> bool {
        let window = self.snapshot.definition(&run.task).map(|task| task.settings.catch_up_window);
        let late = run.scheduled_ms.map(|at| u128::try_from(machine.now() - at).unwrap_or(0));
        window.zip(late).is_some_and(|(window, late)| late > window.as_millis())
    }

    /// The gate never opened: the row may start once more, unless it was asked to end meanwhile.
    fn never_started(&mut self, machine: &mut Machine, run: Run) -> Done {
        if machine.has_begun(run.id) {
            return Err(format!("run {} has begun and its keeper is not there", run.id.0));
        }
        let (journal, now_ms, id) = (self.journal.clone(), machine.now(), run.id);
        let step = (Step::NeverStarted, EventKind::RunNotStarted, None);
        if self.transact(move |tx| step::take(tx, &journal, id, step, now_ms))?.is_none() {
            let reason = Some(StopReason::Cancelled.name().to_owned());
            let killed = Outcome { state: RunState::Killed, reason, exit_code: None, signal: None };
            self.end(machine, run, None, killed)?;
        }
        self.work.push(Work::Look);
        Ok(())
    }

    /// What waits, for whoever has to understand why it does not end.
    pub fn waiting(&self) -> String {
        let name = |work: &Work| match work {
            Work::Carry(due) => format!("carry {} {:?}", due.task.id, due.plan),
            Work::Launch(run, _) => format!("launch {}", run.id.0),
            other => format!("{other:?}"),
        };
        self.work.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Whether there is anything to do before time goes on.
    pub fn is_busy(&self) -> bool {
        !self.work.is_empty()
    }

    pub fn next_ms(&self) -> Option<i64> {
        self.agenda.next_ms()
    }

    /// One look at the clock.
    pub fn tick(&mut self, machine: &Machine) {
        self.work.extend(self.agenda.due(machine.now(), POLICY).into_iter().map(Work::Carry));
        if self.agenda.take_retry(machine.now()) {
            self.work.push(Work::TakeUp);
        }
        for (id, keeper) in &machine.keepers {
            let over = matches!(keeper.gate, Gate::Over(_) | Gate::Gone);
            let known = |work: &Work| matches!(work, Work::Settle(other) if other == id);
            if over && keeper.watched && !self.work.iter().any(known) {
                self.work.push(Work::Settle(*id));
            }
        }
    }

    /// Does one thing of those that wait, whichever the dice say.
    pub fn step(&mut self, machine: &mut Machine) -> Done {
        if self.work.is_empty() {
            return Ok(());
        }
        let next = machine.dice.below(self.work.len());
        match self.work.swap_remove(next) {
            Work::Carry(due) => self.carry(machine, due),
            Work::Answer(task, covered_ms, again) => {
                self.agenda.covered(&task, covered_ms, again, machine.now());
                Ok(())
            }
            Work::TakeUp => self.take_up(machine),
            Work::Launch(run, task) => {
                // A keeper is forked and waits behind its gate.
                let id = run.id;
                machine.keepers.insert(id, Keeper { run: *run, task, gate: Gate::Shut, watched: true });
                self.work.push(Work::Record(id));
                Ok(())
            }
            Work::Record(id) => self.record(machine, id),
            Work::Open(id) => machine.begin(id),
            Work::Settle(id) => self.settle(machine, id),
            Work::Look => {
                let ledger = self.ledger(machine);
                let gone = self
                    .transact(move |tx| flight::promote(tx, &ledger.journal, ledger.gates, ledger.now_ms))?;
                self.start_promoted(machine, gone)
            }
        }
    }

    fn carry(&mut self, machine: &mut Machine, due: Due) -> Done {
        let ledger = self.ledger(machine);
        // The disk is full, now and then.
        if machine.dice.chance(2) {
            let again = Again::after_failure(ledger.now_ms);
            self.work.push(Work::Answer(due.task.id.clone(), None, again));
            return Ok(());
        }
        let carried = self.transact(move |tx| ledger.carry(tx, &due))?;
        let task = carried.task;
        self.work.push(Work::Answer(task.id.clone(), carried.covered_ms, carried.again));
        for claim in carried.claims {
            self.act(machine, &task, claim)?;
        }
        Ok(())
    }

    fn take_up(&mut self, machine: &mut Machine) -> Done {
        let (ledger, snapshot) = (self.ledger(machine), Arc::clone(&self.snapshot));
        let taken = self.transact(move |tx| ledger.take_up(tx, |id| snapshot.definition(id)))?;
        for (task, claim) in taken.claims {
            machine.tell(&format!("retry of {}", task.id));
            self.act(machine, &task, claim)?;
        }
        if let Some(at) = taken.next_ms {
            self.agenda.retry_at(at);
        }
        Ok(())
    }

    fn act(&mut self, machine: &mut Machine, task: &Arc<Task>, claim: Claim) -> Done {
        match claim {
            Claim::Go(run) => {
                if machine.off.contains_key(task.id.as_str()) && self.snapshot.definition(&task.id).is_none()
                {
                    return Err(format!("run {} is claimed though {} is off", run.id.0, task.id));
                }
                self.work.push(Work::Launch(Box::new(run), Arc::clone(task)));
            }
            Claim::Replaces { holder, .. } => {
                machine.stop(holder);
                self.work.push(Work::Look);
            }
            _ => {}
        }
        Ok(())
    }

    fn record(&mut self, machine: &mut Machine, id: RunId) -> Done {
        let Some(keeper) = machine.keepers.get(&id) else { return Ok(()) };
        let (journal, run, now_ms) = (self.journal.clone(), keeper.run.clone(), machine.now());
        match self.transact(move |tx| step::start(tx, &journal, run.clone(), b"", now_ms))? {
            Some(run) => {
                if let Some(keeper) = machine.keepers.get_mut(&id) {
                    keeper.run = run;
                }
                self.work.push(Work::Open(id));
            }
            // Cancelled meanwhile: the gate falls shut.
            None => drop(machine.keepers.remove(&id)),
        }
        Ok(())
    }

    fn settle(&mut self, machine: &mut Machine, id: RunId) -> Done {
        let Some(keeper) = machine.keepers.remove(&id) else { return Ok(()) };
        let outcome = match keeper.gate {
            Gate::Over(End::Code(0)) => ended(RunState::Ok, Some(0)),
            Gate::Over(End::Code(code)) => ended(RunState::Failed, Some(code)),
            Gate::Over(End::Stopped) => ended(RunState::Killed, None),
            Gate::Gone => outcome::lost("keeper_killed"),
            Gate::Shut | Gate::Open { .. } => return Err(format!("run {} is not over", id.0)),
        };
        self.end(machine, keeper.run, Some(&keeper.task), outcome)
    }

    fn end(&mut self, machine: &mut Machine, run: Run, task: Option<&Arc<Task>>, outcome: Outcome) -> Done {
        machine.tell(&format!("run {} ends {}", run.id.0, outcome.state.name()));
        let now_ms = machine.now();
        let end = finish::End::new(run, task, outcome, now_ms);
        let ledger = self.ledger(machine);
        let Written { run, promoted } =
            self.transact(move |tx| end.write(tx, &ledger.journal, ledger.gates, now_ms))?;
        if let Some(at) = run.and_then(|run| run.retry_ms) {
            self.agenda.retry_at(at);
        }
        self.start_promoted(machine, promoted)
    }

    fn start_promoted(&mut self, machine: &mut Machine, runs: Vec<Run>) -> Done {
        for run in runs {
            match self.snapshot.definition(&run.task) {
                Some(task) => self.work.push(Work::Launch(Box::new(run), task)),
                None => {
                    let reason = Some("its task file is gone or broken".to_owned());
                    let blocked = Outcome { state: RunState::Blocked, reason, exit_code: None, signal: None };
                    self.end(machine, run, None, blocked)?;
                }
            }
        }
        Ok(())
    }

    /// Somebody types `lucid run`, `kill`, `pause` or `resume`.
    pub fn command(&mut self, machine: &mut Machine) -> Done {
        let id = machine.dice.pick(&machine.ids()).clone();
        match machine.dice.below(4) {
            0 => self.run_by_hand(machine, &id),
            1 => self.kill_one(machine),
            2 => {
                let until_ms = machine.dice.chance(80).then(|| machine.now() + DAY_MS);
                let pause =
                    tasks::Pause { at_ms: machine.now(), until_ms, reason: None, actor: "sim".to_owned() };
                machine.tell(&format!("pause {id}"));
                self.transact(move |tx| {
                    tasks::pause(tx, &id, &pause)?;
                    Ok(())
                })
            }
            _ => {
                machine.tell(&format!("resume {id}"));
                self.transact(move |tx| {
                    tasks::resume(tx, &id)?;
                    Ok(())
                })
            }
        }
    }

    fn run_by_hand(&mut self, machine: &mut Machine, id: &TaskId) -> Done {
        let Some(task) = self.snapshot.definition(id) else { return Ok(()) };
        let request = Request {
            task: Arc::clone(&task),
            trigger: Trigger::Manual,
            scheduled_ms: None,
            attempt: 1,
            actor: "sim".to_owned(),
            extra_env: Vec::new(),
            forced: false,
            expired: false,
            request_key: None,
            now_ms: machine.now(),
        };
        let ledger = self.ledger(machine);
        let claim = self.transact(move |tx| flight::claim(tx, &ledger.journal, ledger.gates, &request))?;
        machine.tell(&format!("run {id} by hand"));
        self.act(machine, &task, claim)
    }

    fn kill_one(&mut self, machine: &mut Machine) -> Done {
        let live = self.transact(|tx| Ok(live::table::live(tx)?))?;
        if live.is_empty() {
            return Ok(());
        }
        let run = machine.dice.pick(&live).id;
        let (journal, now_ms) = (self.journal.clone(), machine.now());
        machine.tell(&format!("kill run {}", run.0));
        let stopped =
            self.transact(move |tx| stop::record(tx, &journal, run, StopReason::Cancelled, "sim", now_ms))?;
        match stopped {
            stop::Stopped::Stopping(run) => machine.stop(run.id),
            stop::Stopped::Over(_) => self.work.push(Work::Look),
            stop::Stopped::RetryDropped(_) | stop::Stopped::Already(_) | stop::Stopped::Unknown => {}
        }
        Ok(())
    }

    /// The wall clock was set back by hours.
    pub fn correct(&mut self, machine: &mut Machine, history: &mut History) -> Done {
        self.agenda.correct(machine.now());
        self.reload(machine, history)
    }
}

fn ended(state: RunState, exit_code: Option<i32>) -> Outcome {
    Outcome { state, reason: None, exit_code, signal: None }
}
