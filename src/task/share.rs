//! What thousands of tasks have in common, kept once: schedules by their text, settings by their value.
//!
//! Only saves memory: a task means the same before and after.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::schedule::Schedule;
use crate::model::task::{Settings, Task};

/// Schedules that are shared; there are rarely more than the minutes of a day.
const SCHEDULES_MAX: usize = 4096;
/// Sets of settings that are shared; most files have the defaults.
const SETTINGS_MAX: usize = 64;

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Shared {
    /// One takes a kilobyte.
    schedules: HashMap<String, Schedule>,
    settings: Vec<Arc<Settings>>,
}

impl Shared {
    /// Replaces the parts of `task` by equal ones that are there already.
    pub fn take(&mut self, task: &mut Task) {
        task.schedule = self.schedule(&task.schedule);
        match self.settings.iter().find(|known| ***known == *task.settings) {
            Some(known) => task.settings = Arc::clone(known),
            None if self.settings.len() < SETTINGS_MAX => self.settings.push(Arc::clone(&task.settings)),
            None => {}
        }
    }

    fn schedule(&mut self, schedule: &Schedule) -> Schedule {
        let text = schedule.texts().collect::<Vec<_>>().join("\n");
        if self.schedules.len() >= SCHEDULES_MAX && !self.schedules.contains_key(&text) {
            self.schedules.clear();
        }
        self.schedules.entry(text).or_insert_with(|| schedule.clone()).clone()
    }
}
