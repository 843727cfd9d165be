//! The box: its two clocks, its task files, the processes that keep runs, and what happens to all of them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use lucid::model::ids::{RunId, TaskId};
use lucid::model::run::Run;
use lucid::model::task::Task;
use lucid::task::Rules;

use crate::cast::{CAST, Part};
use crate::dice::Dice;

pub const MINUTE_MS: i64 = 60_000;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// What holds one run, and outlives the daemon.
pub struct Keeper {
    pub run: Run,
    pub task: Arc<Task>,
    pub gate: Gate,
    /// A daemon of this life watches it.
    pub watched: bool,
}

/// How far it has come; times are of the clock that never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Shut,
    Open {
        ends: i64,
        end: End,
    },
    /// Has left its exit.
    Over(End),
    /// Killed, with all below it.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Stopped,
}

/// Everything that is not the daemon.
pub struct Machine {
    pub dice: Dice,
    /// What the wall clock is ahead of the clock that never jumps.
    wall: i64,
    boot: i64,
    pub keepers: BTreeMap<RunId, Keeper>,
    /// Every command that was ever begun.
    begun: HashSet<RunId>,
    pub parts: Vec<&'static Part>,
    pub tasks_dir: PathBuf,
    pub rules: Rules,
    /// Tasks that are off or away, by the files.
    pub off: BTreeMap<&'static str, &'static str>,
    pub places: u32,
    /// The last things that happened, for whoever has to understand a failure.
    story: Vec<String>,
}

const STORY_MAX: usize = 60;

impl Machine {
    pub fn new(seed: u64, tasks_dir: PathBuf, rules: Rules) -> Self {
        let mut dice = Dice::new(seed);
        // Around the changes of the clock as well as far from them.
        let start = *dice.pick(&["2026-03-14T07:00:00Z", "2026-10-12T07:00:00Z", "2026-06-01T00:30:00Z"]);
        let start: jiff::Timestamp = start.parse().expect("a time");
        let mut parts: Vec<&'static Part> = CAST.iter().collect();
        while parts.len() > 4 {
            let one = dice.below(parts.len());
            parts.remove(one);
        }
        let places = u32::try_from(dice.between(1, 5)).expect("small");
        let machine = Self {
            dice,
            wall: start.as_millisecond(),
            boot: 0,
            keepers: BTreeMap::new(),
            begun: HashSet::new(),
            parts,
            tasks_dir,
            rules,
            off: BTreeMap::new(),
            places,
            story: Vec::new(),
        };
        for part in &machine.parts {
            machine.write(part.id, part.front);
        }
        machine
    }

    pub fn now(&self) -> i64 {
        self.wall + self.boot
    }

    pub fn boot(&self) -> i64 {
        self.boot
    }

    pub fn sleep_until(&mut self, boot: i64) {
        self.boot = self.boot.max(boot);
        for keeper in self.keepers.values_mut() {
            if let Gate::Open { ends, end } = keeper.gate
                && ends <= self.boot
            {
                keeper.gate = Gate::Over(end);
            }
        }
    }

    pub fn set_clock(&mut self, by: i64) {
        self.wall += by;
        self.tell(&format!("the clock is set by {} min", by / MINUTE_MS));
    }

    pub fn tell(&mut self, what: &str) {
        if self.story.len() == STORY_MAX {
            self.story.remove(0);
        }
        let at = jiff::Timestamp::from_millisecond(self.now()).expect("a time of this century");
        self.story.push(format!("{at} {what}"));
    }

    pub fn story(&self) -> String {
        self.story.join("\n")
    }

    pub fn write(&self, id: &str, front: &str) {
        let text = format!("---\n{front}\ncommand: 'true'\ntimeout: 12h\n---\n");
        fs::write(self.tasks_dir.join(format!("{id}.md")), text).expect("a task file");
    }

    /// Somebody edits a file.
    pub fn edit(&mut self) {
        let part = *self.dice.pick(&self.parts);
        let what = self.dice.below(6);
        self.tell(&format!("edit {what} of {}", part.id));
        self.off.remove(part.id);
        match what {
            0 => {
                self.off.insert(part.id, "off");
                self.write(part.id, &format!("{}\nenabled: false", part.front));
            }
            1 => {
                self.off.insert(part.id, "away");
                // It may be away already.
                let _ = fs::remove_file(self.tasks_dir.join(format!("{}.md", part.id)));
            }
            2 => self.write(part.id, part.other),
            3 => {
                let tag = self.dice.below(1000);
                self.write(part.id, &format!("{}\ntags: [t{tag}]", part.front));
            }
            _ => self.write(part.id, part.front),
        }
    }

    /// The gate of a keeper opens: the command begins. Says what promise that breaks.
    pub fn begin(&mut self, id: RunId) -> Result<(), String> {
        let (boot, begun) = (self.boot, self.begun.insert(id));
        let Some(keeper) = self.keepers.get(&id) else { return Ok(()) };
        if !begun {
            return Err(format!("run {} begins a second time", id.0));
        }
        let key = keeper.task.flight_key();
        let at_work = |other: &&Keeper| matches!(other.gate, Gate::Open { .. }) && other.run.id != id;
        let others: Vec<&Keeper> = self.keepers.values().filter(at_work).collect();
        if let Some(other) = others.iter().find(|other| other.task.flight_key() == key) {
            return Err(format!("run {} begins beside run {} of the same key {key}", id.0, other.run.id.0));
        }
        for name in &keeper.task.settings.locks {
            if let Some(other) = others.iter().find(|other| other.task.settings.locks.contains(name)) {
                return Err(format!("run {} has lock {name} beside run {}", id.0, other.run.id.0));
            }
        }
        if others.len() >= self.places as usize {
            return Err(format!("run {} is one more than {} places", id.0, self.places));
        }
        let part = CAST.iter().find(|part| part.id == keeper.task.id.as_str()).expect("one of the cast");
        let takes = self.dice.between(part.takes.0 * MINUTE_MS, part.takes.1 * MINUTE_MS);
        let code = i32::from(self.dice.chance(20));
        if let Some(keeper) = self.keepers.get_mut(&id) {
            keeper.gate = Gate::Open { ends: boot + takes, end: End::Code(code) };
        }
        self.tell(&format!("run {} of {} begins", id.0, part.id));
        Ok(())
    }

    /// A stop reaches a keeper: some take a while to go.
    pub fn stop(&mut self, id: RunId) {
        let ends = self.boot + self.dice.between(10, 30_000);
        if let Some(keeper) = self.keepers.get_mut(&id)
            && let Gate::Open { .. } = keeper.gate
        {
            keeper.gate = Gate::Open { ends, end: End::Stopped };
        }
    }

    /// SIGKILL for a keeper; all of them when the machine goes down.
    pub fn kill(&mut self, id: RunId) {
        if let Some(keeper) = self.keepers.get_mut(&id)
            && let Gate::Open { .. } = keeper.gate
        {
            keeper.gate = Gate::Gone;
            self.tell(&format!("the keeper of run {} is killed", id.0));
        }
    }

    /// Keepers behind a shut gate end when the daemon does.
    pub fn daemon_died(&mut self) {
        self.keepers.retain(|_, keeper| keeper.gate != Gate::Shut);
        for keeper in self.keepers.values_mut() {
            keeper.watched = false;
        }
    }

    pub fn has_begun(&self, id: RunId) -> bool {
        self.begun.contains(&id)
    }

    pub fn ids(&self) -> Vec<TaskId> {
        self.parts.iter().map(|part| TaskId::parse(part.id).expect("an id")).collect()
    }

    /// When the next command ends.
    pub fn next_end(&self) -> Option<i64> {
        let ends = |keeper: &Keeper| match keeper.gate {
            Gate::Open { ends, .. } => Some(ends),
            Gate::Shut | Gate::Over(_) | Gate::Gone => None,
        };
        self.keepers.values().filter_map(ends).min()
    }
}
