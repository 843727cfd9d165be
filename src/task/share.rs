//! What thousands of tasks have in common, kept once: schedules by their text, settings by their value.
//!
//! Only saves memory: a task means the same before and after.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::schedule::Schedule;
use crate::model::task::Task;

/// Schedules that are shared; there are rarely more than the minutes of a day.
const SCHEDULES_MAX: usize = 4096;
/// Values of one setting that are shared; most files have the default.
const VALUES_MAX: usize = 64;

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Shared {
    /// One takes a kilobyte.
    schedules: HashMap<String, Schedule>,
    retries: Values<crate::model::task::Retries>,
    alerts: Values<crate::model::task::Alerts>,
    worktrees: Values<crate::model::task::Worktree>,
    success_codes: Values<[i32]>,
}

impl Shared {
    /// Replaces the parts of `task` by equal ones that are there already.
    pub fn take(&mut self, task: &mut Task) {
        task.schedule = self.schedule(&task.schedule);
        self.retries.take(&mut task.retries);
        self.alerts.take(&mut task.alerts);
        self.worktrees.take(&mut task.worktree);
        self.success_codes.take(&mut task.success_codes);
    }

    fn schedule(&mut self, schedule: &Schedule) -> Schedule {
        let text = schedule.texts().collect::<Vec<_>>().join("\n");
        if self.schedules.len() >= SCHEDULES_MAX && !self.schedules.contains_key(&text) {
            self.schedules.clear();
        }
        self.schedules.entry(text).or_insert_with(|| schedule.clone()).clone()
    }
}

#[derive(Debug)]
struct Values<T: ?Sized>(Vec<Arc<T>>);

impl<T: ?Sized> Default for Values<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq + ?Sized> Values<T> {
    fn take(&mut self, value: &mut Arc<T>) {
        match self.0.iter().find(|known| **known == *value) {
            Some(known) => *value = Arc::clone(known),
            None if self.0.len() < VALUES_MAX => self.0.push(Arc::clone(value)),
            None => {}
        }
    }
}
