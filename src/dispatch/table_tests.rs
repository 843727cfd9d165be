//! Rows of workers and profiles on a real database.

use super::*;
use crate::model::ids::TaskId;
use crate::model::run::{Run, RunState, Step, Trigger};
use crate::run::table as runs;
use crate::store::{Store, StoreError, Tx};

struct World {
    store: Store,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Store::open(dir.path(), 0).unwrap().store, _dir: dir }
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write_blocking(work).unwrap()
    }

    /// A claimed run of a task.
    fn run(&self) -> Run {
        let mut run = Run::new(RunId(0), TaskId::parse("brief").unwrap(), Trigger::Manual, RunState::Claimed);
        run.definition_hash = "x".to_owned();
        self.write(move |tx| {
            run.fence = runs::next_fence(tx)?;
            let extras = runs::Extras {
                flight_key: "brief".to_owned(),
                argv: Vec::new(),
                locks: Vec::new(),
                counted: false,
                request_key: None,
            };
            run.id = runs::insert(tx, &run, &extras)?;
            Ok(run.clone())
        })
    }

    /// The row of `run` goes from where it is by `steps`; with a new fence where it is claimed again.
    fn step(&self, run: &Run, steps: &'static [Step]) -> Run {
        let mut run = run.clone();
        self.write(move |tx| {
            for step in steps {
                let from = run.state();
                run.step(*step).unwrap();
                assert!(runs::update(tx, &run, from)?);
                if *step == Step::ClaimAgain {
                    run.fence = runs::next_fence(tx)?;
                    runs::set_fence(tx, run.id, run.fence)?;
                }
            }
            Ok(run.clone())
        })
    }

    fn open(&self) -> Vec<Worker> {
        self.write(|tx| Ok(unfinished(tx)?))
    }
}

fn worker(run: &Run) -> Worker {
    Worker {
        run: run.id,
        fence: run.fence,
        task: run.task.to_string(),
        ticket: None,
        agent: "fake".to_owned(),
        dialect: Dialect::Plain,
        attempt: 1,
        place: None,
        read_bytes: 0,
        heard: Heard::default(),
        started_ms: 1,
    }
}

#[test]
fn a_run_whose_gate_never_opened_has_another_worker_and_the_end_of_the_first_is_not_its_end() {
    let world = World::new();
    let run = world.run();
    let first = worker(&run);
    let row = first.clone();
    world.write(move |tx| Ok(insert(tx, &row)?));
    let again = world.step(&run, &[Step::Start, Step::NeverStarted, Step::ClaimAgain]);
    let second = Worker { started_ms: 2, ..worker(&again) };
    let row = second.clone();
    world.write(move |tx| {
        make_way(tx, row.run)?;
        Ok(insert(tx, &row)?)
    });
    assert!(!world.write(move |tx| Ok(finish(tx, &first, &Verdict::Lost, None, 3)?)));
    assert_eq!(world.open(), std::slice::from_ref(&second));
    assert!(world.write(move |tx| Ok(finish(tx, &second, &Verdict::Ok, None, 4)?)));
    assert_eq!(world.open(), []);
}

#[test]
fn a_worker_whose_run_was_claimed_once_more_and_not_started_is_ended_by_whoever_attends_it() {
    let world = World::new();
    let run = world.run();
    let first = worker(&run);
    let row = first.clone();
    world.write(move |tx| Ok(insert(tx, &row)?));
    world.step(&run, &[Step::Start, Step::NeverStarted, Step::ClaimAgain]);
    assert!(world.write(move |tx| Ok(finish(tx, &first, &Verdict::Lost, None, 3)?)));
    assert_eq!(world.open(), []);
}

#[test]
fn a_worker_whose_end_is_written_makes_way_as_well_and_one_whose_run_has_begun_does_not() {
    let world = World::new();
    let run = world.run();
    let first = worker(&run);
    let row = first.clone();
    world.write(move |tx| {
        insert(tx, &row)?;
        Ok(finish(tx, &row, &Verdict::Lost, None, 3)?)
    });
    let again = world.step(&run, &[Step::NeverStarted, Step::ClaimAgain]);
    let second = worker(&again);
    let row = second.clone();
    world.write(move |tx| {
        make_way(tx, row.run)?;
        Ok(insert(tx, &row)?)
    });
    world.step(&again, &[Step::Start]);
    world.write(move |tx| Ok(make_way(tx, again.id)?));
    assert_eq!(world.open(), [second]);
}

#[test]
fn no_time_ends_what_a_person_is_to_end() {
    let world = World::new();
    let limit = Some(500);
    assert!(world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 1)?)));
    assert!(world.write(|tx| Ok(rest(tx, "fake", None, "auth", 2)?)), "a cool-down gives way");
    assert!(!world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 3)?)));
    assert_eq!(world.write(|tx| Ok(end_rests(tx, 1_000)?)), Vec::<String>::new());
    let resting = world.write(|tx| Ok(resting(tx, 1_000)?));
    assert_eq!(resting["fake"], Standing::Disabled { reason: "auth".to_owned() });
    assert!(world.write(|tx| Ok(wake(tx, "fake")?)));
    assert!(world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 4)?)));
}
