//! One seed: thirty days of disturbances, a quiet week, and the reckoning.

use std::path::Path;

use lucid::store::Store;
use rusqlite::{Connection, OpenFlags};

use crate::daemon::{Daemon, Done};
use crate::history::History;
use crate::machine::{DAY_MS, Gate, HOUR_MS, MINUTE_MS, Machine};
use crate::rules::rules;

const MONTH_MS: i64 = 30 * DAY_MS;
/// Long enough for every backlog, retry and queue to be done with.
const QUIET_MS: i64 = 7 * DAY_MS;
const PLACES_IN_PEACE: u32 = 8;
/// How late an instant may be decided in a quiet time.
const LAG_MS: i64 = 10 * MINUTE_MS;
/// More steps than any month needs: something asks for itself again and again.
const STEPS_MAX: u32 = 400_000;

struct Month {
    machine: Machine,
    store: Store,
    daemon: Option<Daemon>,
    /// When the daemon is started again.
    up_at: i64,
    history: History,
    steps: u32,
}

/// How many due instants were decided, or what went wrong and what led to it.
pub fn play(seed: u64) -> Result<usize, String> {
    // Nothing here is about disks, and a commit costs a hundredth in memory.
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let root = builder.prefix("lucid-sim-");
    let root = if memory.is_dir() { root.tempdir_in(memory) } else { root.tempdir() };
    let root = root.expect("a folder");
    let (state, tasks) = (root.path().join("state"), root.path().join("tasks"));
    for dir in [&state, &tasks] {
        std::fs::create_dir(dir).expect("a folder");
    }
    let machine = Machine::new(seed, tasks, rules(root.path()));
    let store = Store::open(&state, machine.now()).map_err(|e| e.to_string())?.store;
    let mut month = Month { machine, store, daemon: None, up_at: 0, history: History::default(), steps: 0 };
    let played = month.run();
    let decided = played.and_then(|()| month.reckon(&state.join("lucid.db")));
    month.store.close();
    decided.map_err(|why| format!("{why}\n{}", month.machine.story()))
}

impl Month {
    fn run(&mut self) -> Done {
        let mut trouble_at = self.machine.dice.between(MINUTE_MS, 12 * HOUR_MS);
        while trouble_at < MONTH_MS {
            self.go_on_until(trouble_at)?;
            self.trouble()?;
            trouble_at = self.machine.boot() + self.machine.dice.between(MINUTE_MS, 20 * HOUR_MS);
        }
        self.mend()?;
        self.go_on_until(self.machine.boot() + QUIET_MS)
    }

    /// Lets time pass.
    fn go_on_until(&mut self, boot: i64) -> Done {
        while self.machine.boot() < boot {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                let waiting = self.daemon.as_ref().map(Daemon::waiting).unwrap_or_default();
                return Err(format!("no end of things to do: {waiting}"));
            }
            if self.daemon.is_none() && self.machine.boot() >= self.up_at {
                let store = self.store.clone();
                self.daemon = Some(Daemon::boot(store, &mut self.machine, &mut self.history)?);
            }
            let Some(daemon) = &mut self.daemon else {
                self.machine.sleep_until(self.up_at.min(boot));
                continue;
            };
            daemon.tick(&self.machine);
            let now = self.machine.boot();
            let late = self.machine.dice.between(1, 70);
            if !daemon.is_busy() {
                let wall_ahead = self.machine.now() - now;
                let next = [daemon.next_ms().map(|at| at - wall_ahead), self.machine.next_end(), Some(boot)];
                let next = next.into_iter().flatten().min().unwrap_or(boot);
                self.machine.sleep_until((next.max(now) + late).min(boot));
            } else if self.machine.dice.chance(10) {
                // What waits is mostly done before time goes on, and sometimes not.
                self.machine.sleep_until(now + late);
            } else {
                daemon.step(&mut self.machine)?;
            }
        }
        Ok(())
    }

    fn trouble(&mut self) -> Done {
        match self.machine.dice.below(12) {
            0..=2 => self.crash(),
            3..=5 => {
                self.machine.edit();
                if let Some(daemon) = &mut self.daemon {
                    daemon.reload(&mut self.machine, &mut self.history)?;
                }
            }
            6..=8 => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.command(&mut self.machine)?;
                }
            }
            9 => {
                let ids: Vec<_> = self.machine.keepers.keys().copied().collect();
                if !ids.is_empty() {
                    let id = *self.machine.dice.pick(&ids);
                    self.machine.kill(id);
                }
            }
            10 => {
                let asleep = self.machine.dice.between(MINUTE_MS, 2 * DAY_MS);
                self.machine.tell(&format!("asleep for {} min", asleep / MINUTE_MS));
                self.machine.sleep_until(self.machine.boot() + asleep);
            }
            _ => self.set_clock()?,
        }
        Ok(())
    }

    /// `kill -9`, or with it every process of the box.
    fn crash(&mut self) {
        let down = *self.machine.dice.pick(&[0, MINUTE_MS, HOUR_MS, 30 * HOUR_MS]);
        self.machine.tell(&format!("kill -9, and nothing for {} min", down / MINUTE_MS));
        self.daemon = None;
        self.machine.daemon_died();
        if self.machine.dice.chance(20) {
            for id in self.machine.keepers.keys().copied().collect::<Vec<_>>() {
                self.machine.kill(id);
            }
        }
        self.up_at = self.machine.boot() + down;
    }

    fn set_clock(&mut self) -> Done {
        let by = *self.machine.dice.pick(&[HOUR_MS, -HOUR_MS, -2 * HOUR_MS, 5 * HOUR_MS, -7 * HOUR_MS]);
        self.machine.set_clock(by);
        if by <= -lucid::task::due::CORRECTION_MS {
            self.history.corrected = true;
            if let Some(daemon) = &mut self.daemon {
                daemon.correct(&mut self.machine, &mut self.history)?;
            }
        }
        Ok(())
    }

    /// From here on nothing goes wrong, and everything is as its author wrote it.
    fn mend(&mut self) -> Done {
        self.machine.tell("a quiet week begins");
        // With fewer places than the tasks ask for, a backlog would only grow.
        self.machine.places = PLACES_IN_PEACE;
        for part in self.machine.parts.clone() {
            self.machine.off.remove(part.id);
            self.machine.write(part.id, part.front);
        }
        self.up_at = 0;
        if self.daemon.is_none() {
            let store = self.store.clone();
            self.daemon = Some(Daemon::boot(store, &mut self.machine, &mut self.history)?);
        }
        match &mut self.daemon {
            Some(daemon) => daemon.reload(&mut self.machine, &mut self.history),
            None => Ok(()),
        }
    }

    /// Compares the ledger with what ought to be in it, then switches everything off and looks for what is left.
    fn reckon(&mut self, db: &Path) -> Result<usize, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(db, flags).map_err(|e| e.to_string())?;
        let decided = self.history.check(&conn, self.machine.now() - LAG_MS)?;
        for part in self.machine.parts.clone() {
            self.machine.write(part.id, &format!("{}\nenabled: false", part.front));
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.reload(&mut self.machine, &mut self.history)?;
        }
        self.go_on_until(self.machine.boot() + 2 * DAY_MS)?;
        let none = [
            (
                "live runs",
                "SELECT count(*) FROM runs WHERE state IN ('claimed','running','stopping','kill_failed','not_started')",
            ),
            ("runs that wait", "SELECT count(*) FROM runs WHERE waiting IS NOT NULL"),
            ("locks that are held", "SELECT count(*) FROM locks"),
            ("retries that are planned", "SELECT count(*) FROM runs WHERE retry_ms IS NOT NULL"),
            ("fences given twice", "SELECT count(*) - count(DISTINCT fence) FROM runs WHERE fence <> 0"),
            (
                "runs that end twice",
                "SELECT count(*) FROM (SELECT run FROM events WHERE kind = 'run_finished' GROUP BY run HAVING count(*) > 1)",
            ),
            (
                "ends without an event",
                "SELECT count(*) FROM runs WHERE state IN ('ok','failed','killed','lost','blocked') AND id NOT IN (SELECT run FROM events WHERE kind = 'run_finished')",
            ),
            (
                "attempts given twice",
                "SELECT count(*) FROM (SELECT 1 FROM runs WHERE scheduled_ms IS NOT NULL AND missed_to_ms IS NULL GROUP BY task, scheduled_ms, attempt HAVING count(*) > 1)",
            ),
        ];
        for (what, sql) in none {
            let count: i64 = conn.query_row(sql, [], |row| row.get(0)).map_err(|e| e.to_string())?;
            if count != 0 {
                return Err(format!("{count} {what} at the end"));
            }
        }
        let open = self.machine.keepers.values().filter(|keeper| keeper.gate != Gate::Shut).count();
        if open != 0 {
            return Err(format!("{open} processes without a row that lives"));
        }
        Ok(decided)
    }
}
