//! From a lease to a verified slot: two tries, then a new worktree, then quarantine.
//!
//! Each change of state is a transaction of its own; git runs between them, under the slot's desk.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use crate::model::event::{Event, EventKind};
use crate::model::slot::{Slot, SlotState, Step};
use crate::platform::git::Budget;

use super::base::{Ground, lock_reason};
use super::recipe::{HealError, Report, Site};
use super::{Desk, PoolError, Pools, told};

/// The longest that a slot is worked on for nobody.
pub(super) const UPKEEP_MAX: Duration = Duration::from_secs(300);

/// What came of bringing a slot to its base.
#[derive(Debug)]
pub(super) enum Settled {
    Clean {
        slot: Box<Slot>,
        report: Report,
    },
    /// Out of use until a later try.
    Quarantined {
        why: String,
    },
    /// The budget was spent; the slot is still at work, under its lease.
    TimedOut {
        why: String,
    },
    /// Somebody else has it now.
    Gone,
}

/// What a heal that was asked for has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healed {
    pub slot: String,
    /// Where the slot stands now.
    pub state: SlotState,
    /// What was wrong; empty when nothing was.
    pub found: Vec<String>,
    /// Refs that hold what was unsaved.
    pub rescued: Vec<String>,
    pub notes: Vec<String>,
}

impl Pools {
    /// Heals one slot of a pool, or all that nobody has. A clean slot is only looked at, a leased one not
    /// touched.
    ///
    /// # Errors
    /// [`PoolError::NoSuchSlot`]; [`PoolError::Busy`] for a slot named that somebody has; a base that cannot
    /// be found.
    pub async fn heal(&self, pool: &str, slot: Option<&str>) -> Result<Vec<Healed>, PoolError> {
        let (pools, pool, slot) = (self.clone(), pool.to_owned(), slot.map(str::to_owned));
        // To the end, whether or not its caller waits: git would go on without anybody at the desk.
        match tokio::spawn(async move { pools.heal_now(&pool, slot.as_deref()).await }).await {
            Ok(result) => result,
            Err(e) => Err(PoolError::Git(e.to_string())),
        }
    }

    async fn heal_now(&self, pool: &str, slot: Option<&str>) -> Result<Vec<Healed>, PoolError> {
        let found = self.pool(pool)?;
        let mut slots = self.slots(pool).await?;
        if let Some(id) = slot {
            slots.retain(|slot| slot.id == id);
            if slots.is_empty() {
                return Err(PoolError::NoSuchSlot(id.to_owned()));
            }
        }
        self.freshen_now(found).await;
        let budget = Budget::new(UPKEEP_MAX);
        let ground = self.ground(found, budget).await?;
        let mut healed = Vec::new();
        for row in slots {
            let mended = self.mend(&ground, &row, budget).await.inspect_err(|_| self.finish_later(&row.id));
            match mended? {
                Some(result) => healed.push(result),
                None if slot.is_some() => {
                    let state = row.state();
                    return Err(PoolError::Busy { slot: row.id, state });
                }
                None => {}
            }
        }
        Ok(healed)
    }

    /// Takes a slot that nobody has and brings it to the base; `None` where somebody has it.
    pub(super) async fn mend(
        &self,
        ground: &Ground,
        row: &Slot,
        budget: Budget,
    ) -> Result<Option<Healed>, PoolError> {
        let Some(desk) = self.try_desk(&row.id) else { return Ok(None) };
        let step = match row.state() {
            SlotState::Free => Step::Mend,
            SlotState::Quarantined => Step::Retry,
            // With nobody at the desk, whoever began this has died.
            SlotState::Preparing | SlotState::Releasing | SlotState::Rebuilding => Step::Recover,
            SlotState::Leased => return Ok(None),
        };
        let Some(slot) = self.step(row, step, orphan, Vec::new()).await? else { return Ok(None) };
        let id = slot.id.clone();
        let healed = match self.settle(ground, &desk, slot, Step::Cleaned, budget).await? {
            Settled::Clean { slot, report } => Healed {
                slot: id,
                state: slot.state(),
                found: report.dirt,
                rescued: report.rescued,
                notes: report.notes,
            },
            Settled::Quarantined { why } => Healed {
                slot: id,
                state: SlotState::Quarantined,
                found: vec![why],
                rescued: Vec::new(),
                notes: Vec::new(),
            },
            Settled::TimedOut { why } => Healed {
                slot: id,
                state: SlotState::Preparing,
                found: vec![why],
                rescued: Vec::new(),
                notes: vec!["it is tried again in the background".to_owned()],
            },
            Settled::Gone => return Ok(None),
        };
        Ok(Some(healed))
    }

    /// Brings `slot`, whose lease the caller has just taken, to the base and takes `step` with it.
    pub(super) async fn settle(
        &self,
        ground: &Ground,
        _desk: &Desk,
        slot: Slot,
        step: Step,
        budget: Budget,
    ) -> Result<Settled, PoolError> {
        let site = Arc::new(self.site(ground, &slot));
        let mut slot = slot;
        let mut report = Report::default();
        if slot.state() != SlotState::Rebuilding || site.path.symlink_metadata().is_ok() {
            let (tried, error) = work(&site, report, budget, Site::prepare).await;
            report = tried;
            let Some(error) = error else { return self.clean(slot, step, &site, report).await };
            if error.is_timeout() {
                return Ok(Settled::TimedOut { why: error.to_string() });
            }
            report.notes.push(error.to_string());
            if slot.state() != SlotState::Rebuilding {
                let next = self.step(&slot, Step::Rebuild, |_| {}, Vec::new()).await?;
                let Some(next) = next else { return Ok(Settled::Gone) };
                slot = next;
            }
            if error.is_full_disk() {
                return self.give_up(slot, report).await;
            }
        }
        let (mut report, error) = work(&site, report, budget, Site::rebuild).await;
        match error {
            None => {
                if report.dirt.is_empty() {
                    report.dirt.push("not there".to_owned());
                }
                self.clean(slot, step, &site, report).await
            }
            Some(error) if error.is_timeout() => Ok(Settled::TimedOut { why: error.to_string() }),
            Some(error) => {
                report.notes.push(error.to_string());
                self.give_up(slot, report).await
            }
        }
    }

    async fn clean(&self, slot: Slot, step: Step, site: &Site, report: Report) -> Result<Settled, PoolError> {
        let mut events = told(&report);
        let (base, path) = (site.base.clone(), site.path.clone());
        let kind = match (step == Step::Verified, slot.holder.is_some() || slot.former.is_some()) {
            (true, _) => Some(EventKind::SlotLeased),
            (false, true) => Some(EventKind::SlotReleased),
            // Upkeep of a slot that nobody had.
            (false, false) => None,
        };
        let data = json!({"lease": slot.lease.map(|lease| lease.0), "path": path, "base": base});
        events.extend(kind.map(|kind| Event::new(kind).data(data)));
        if !report.dirt.is_empty() {
            info!(slot = slot.id, found = ?report.dirt, rescued = ?report.rescued, "healed a slot");
        }
        let note = report.notes.last().filter(|_| !report.dirt.is_empty()).cloned();
        let done = move |slot: &mut Slot| {
            slot.base_commit = Some(base.clone());
            slot.note.clone_from(&note);
            if slot.state() == SlotState::Free {
                (slot.lease, slot.holder, slot.former, slot.branch) = (None, None, None, None);
            }
        };
        // The events belong to whoever had it, whom `done` takes out of the row.
        match self.step_as(&slot, step, done, events).await? {
            Some(slot) => {
                if slot.state() == SlotState::Free {
                    self.0.freed.notify_one();
                }
                Ok(Settled::Clean { slot: Box::new(slot), report })
            }
            None => Ok(Settled::Gone),
        }
    }

    async fn give_up(&self, slot: Slot, report: Report) -> Result<Settled, PoolError> {
        let why = report.notes.last().cloned().unwrap_or_default();
        warn!(slot = slot.id, why, "a slot can be neither cleaned nor made anew");
        let data = json!({"why": why, "notes": report.notes, "rescued": report.rescued});
        let mut events: Vec<Event> =
            told(&report).into_iter().filter(|event| event.kind == EventKind::SlotRescued).collect();
        // Tried again every few minutes: told once.
        if slot.note.as_ref() != Some(&why) {
            events.push(Event::new(EventKind::SlotQuarantined).data(data));
        }
        let note = why.clone();
        let done = move |slot: &mut Slot| {
            slot.note = Some(note.clone());
            (slot.lease, slot.holder) = (None, None);
        };
        Ok(match self.step_as(&slot, Step::GiveUp, done, events).await? {
            Some(_) => Settled::Quarantined { why },
            None => Settled::Gone,
        })
    }

    /// As [`Pools::step`], with events that name the holder of before.
    async fn step_as(
        &self,
        slot: &Slot,
        step: Step,
        with: impl Fn(&mut Slot) + Send + 'static,
        events: Vec<Event>,
    ) -> Result<Option<Slot>, PoolError> {
        let events = events
            .into_iter()
            .map(|event| match (&slot.holder, &slot.former) {
                (Some(holder), _) => match holder.run() {
                    Some(run) => event.run(run),
                    None => event.ticket(holder.ticket().unwrap_or_default()),
                },
                (None, Some(former)) => event.ticket(former),
                (None, None) => event,
            })
            .collect();
        self.step(slot, step, with, events).await
    }

    fn site(&self, ground: &Ground, slot: &Slot) -> Site {
        let stamp = self.0.clock.wall().strftime(super::aside::STAMP).to_string();
        // What lies in a slot that is handed over is not the work of whoever gets it.
        let owner = slot.former.as_deref().map_or_else(|| "none".to_owned(), in_a_ref);
        Site {
            repo: ground.repo.clone(),
            path: ground.dir.join(&slot.id),
            aside: ground.dir.join(super::aside::FOLDER).join(format!("{}-{stamp}", slot.id)),
            keep: ground.keep.clone(),
            base: ground.base.clone(),
            rescue: format!("refs/lucid/rescue/{}/{owner}/{stamp}", slot.id),
            message: format!("Rescued from slot {} ({owner})", slot.id),
            lock_reason: lock_reason(&slot.id),
        }
    }
}

/// Nobody is given the slot any more.
pub(super) fn orphan(slot: &mut Slot) {
    slot.holder = None;
}

/// A ticket's id as one part of a ref's name.
fn in_a_ref(ticket: &str) -> String {
    let part: String = ticket
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .collect();
    if part.is_empty() || part.starts_with('-') { format!("_{part}") } else { part }
}

type Work = fn(&Site, &mut Report, Budget) -> Result<crate::platform::git::Tree, HealError>;

/// Runs a part of the recipe where blocking hurts nobody; gives the report back whatever comes of it.
async fn work(site: &Arc<Site>, report: Report, budget: Budget, part: Work) -> (Report, Option<HealError>) {
    let (site, before) = (Arc::clone(site), report.clone());
    let done = tokio::task::spawn_blocking(move || {
        let mut report = report;
        let error = part(&site, &mut report, budget).err();
        (report, error)
    });
    match done.await {
        Ok(done) => done,
        Err(e) => (before, Some(HealError::Dirty(vec![e.to_string()]))),
    }
}
