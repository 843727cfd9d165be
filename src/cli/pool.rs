//! `lucid pool`: slots as their leases and git have them; `lucid pool heal`.

use std::fmt::Write as _;

use serde_json::json;

use super::context::{Context, Document, api, run_reference};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean, count, span};
use crate::api::wire;
use crate::model::slot::SlotState;
use crate::platform::client::Request;

/// Digits of a commit's id that people see.
const SHORT_ID: usize = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Bring slots that nobody has to the base; unsaved work goes into a rescue ref first
    Heal {
        /// Only this one
        #[arg(value_name = "SLOT")]
        slot: Option<String>,
    },
}

/// # Errors
/// As [`Context::fetch`] and [`Context::show`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let shown = context.fetch::<wire::PoolDocument>(&Request::get(api().segment("pool")))?;
    match &args.verb {
        None => context.show(&shown, |document, look| render(&document.pools, look)),
        Some(Verb::Heal { slot }) => heal(context, &shown.value.pools, slot.as_deref()),
    }
}

fn heal(context: &Context, pools: &[wire::Pool], slot: Option<&str>) -> Result<Exit, Failure> {
    let wanted = pools.iter().filter(|pool| slot.is_none_or(|id| pool.slots.iter().any(|s| s.id == id)));
    let mut names: Vec<&str> = wanted.map(|pool| pool.name.as_str()).collect();
    if names.is_empty() {
        // The daemon says what is wrong with a slot that is in no pool.
        names.extend(pools.first().map(|pool| pool.name.as_str()));
    }
    if names.is_empty() {
        context.print(&none())?;
        return Ok(Exit::Done);
    }
    let (mut all, mut failure) = (wire::HealDocument::default(), None);
    for name in names {
        let body = json!({"slot": slot}).as_object().filter(|_| slot.is_some()).cloned().unwrap_or_default();
        let path = api().segment("pool").segment(name).segment("heal");
        let request = Request::post(path).json(serde_json::Value::Object(body).to_string().into_bytes());
        match context.fetch::<wire::HealDocument>(&request) {
            Ok(healed) => all.healed.extend(healed.value.healed),
            Err(e) => {
                failure = Some(e);
                break;
            }
        }
    }
    // Where one pool cannot be healed, what was done in those before it is told all the same.
    if failure.is_none() || !all.healed.is_empty() {
        let raw = serde_json::to_vec(&all).map_err(|e| anyhow::anyhow!("cannot write the answer: {e}"))?;
        let all = Document { raw, value: all };
        context.show(&all, |document, look| render_healed(&document.healed, look))?;
    }
    failure.map_or(Ok(Exit::Done), Err)
}

fn none() -> String {
    "No pools; `pools:` in the configuration makes one.\n".to_owned()
}

fn render(pools: &[wire::Pool], look: &Look) -> String {
    if pools.is_empty() {
        return none();
    }
    let parts: Vec<String> = pools.iter().map(|pool| render_pool(pool, look)).collect();
    parts.join("\n")
}

fn render_pool(pool: &wire::Pool, look: &Look) -> String {
    let commit = pool.base_commit.as_deref().map_or("unknown", short);
    let fetched = pool.fetched.map_or_else(
        || "not fetched since the start".to_owned(),
        |at| format!("fetched {} ago", look.since(at)),
    );
    let mut out = format!(
        "pool {} · {} · base {} {commit} ({fetched}) · claim wait {}\n",
        look.paint(Tone::Strong, &clean(&pool.name)),
        count(pool.slots.len(), "slot"),
        clean(&pool.base),
        span(pool.claim_wait_ms),
    );
    if let Some(trouble) = &pool.trouble {
        let _ = writeln!(out, "{} {}", look.paint(Tone::Warn, "!"), clean(trouble));
    }
    out.push('\n');
    let mut grid = Grid::new(&["SLOT", "STATE", "GIT", "HOLDER", "AGE", "NOTE"], &[5, 2]);
    for slot in &pool.slots {
        let (tone, word) = state(slot);
        let holder = slot.ticket.clone().or_else(|| slot.run.map(run_reference));
        let note =
            if slot.drift.is_empty() { slot.note.clone().unwrap_or_default() } else { slot.drift.join(", ") };
        grid.row(vec![
            Cell::plain(&slot.id),
            Cell::new(tone, word),
            Cell::plain(&git(slot)),
            Cell::plain(holder.as_deref().unwrap_or("-")),
            Cell::plain(&look.since(slot.since)).right(),
            Cell::plain(&note),
        ]);
    }
    out.push_str(&grid.render(look));
    let drifting = pool.slots.iter().filter(|slot| !slot.drift.is_empty()).count();
    if drifting > 0 {
        let verb = if drifting == 1 { "disagrees" } else { "disagree" };
        let _ = writeln!(
            out,
            "\n{} {verb} with git. `lucid pool heal` saves what is unsaved to refs/lucid/rescue/ and brings \
             free ones to the base.",
            count(drifting, "slot")
        );
    }
    out
}

fn state(slot: &wire::Slot) -> (Tone, &'static str) {
    match slot.state {
        SlotState::Free if !slot.drift.is_empty() => (Tone::Warn, "FIX"),
        SlotState::Leased if !slot.drift.is_empty() => (Tone::Warn, "leased"),
        SlotState::Free => (Tone::Good, "free"),
        SlotState::Leased => (Tone::Live, "leased"),
        SlotState::Preparing | SlotState::Releasing | SlotState::Rebuilding => {
            (Tone::Live, slot.state.name())
        }
        SlotState::Quarantined => (Tone::Bad, "QUARANTINED"),
    }
}

fn git(slot: &wire::Slot) -> String {
    let Some(head) = slot.head.as_deref() else {
        return if slot.drift.is_empty() { "not made yet".to_owned() } else { "-".to_owned() };
    };
    let place = slot.branch.clone().unwrap_or_else(|| format!("detached {}", short(head)));
    match slot.dirty {
        Some(0) => format!("{place}, clean"),
        Some(files) => format!("{place}, {files} dirty"),
        None => place,
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn render_healed(healed: &[wire::HealedSlot], look: &Look) -> String {
    if healed.is_empty() {
        return "every slot is in use; nothing was touched\n".to_owned();
    }
    let mut out = String::new();
    for slot in healed {
        let (tone, word) = match slot.state {
            SlotState::Free if slot.found.is_empty() => (Tone::Good, "clean"),
            SlotState::Free => (Tone::Good, "healed"),
            SlotState::Quarantined => (Tone::Bad, "QUARANTINED"),
            SlotState::Preparing | SlotState::Leased | SlotState::Releasing | SlotState::Rebuilding => {
                (Tone::Warn, slot.state.name())
            }
        };
        let _ = write!(out, "{}  {}", clean(&slot.slot), look.paint(tone, word));
        if !slot.found.is_empty() {
            let _ = write!(out, "  {}", clean(&slot.found.join(", ")));
        }
        out.push('\n');
        for reference in &slot.rescued {
            let _ = writeln!(out, "  saved to {}", clean(reference));
        }
        for note in &slot.notes {
            let _ = writeln!(out, "  {}", clean(note));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    fn slot(number: u32, state: SlotState) -> wire::Slot {
        wire::Slot {
            id: format!("main-{number}"),
            path: format!("/srv/slots/main-{number}"),
            state,
            since: "2026-11-26T11:18:00Z".parse().unwrap(),
            ticket: None,
            run: None,
            lease: None,
            head: Some("9110068812345678911006881234567891100688".to_owned()),
            branch: None,
            dirty: Some(0),
            drift: Vec::new(),
            note: None,
        }
    }

    fn pool() -> wire::Pool {
        let mut busy = slot(1, SlotState::Leased);
        (busy.ticket, busy.lease) = (Some("MC-4901".to_owned()), Some(7));
        (busy.branch, busy.dirty) = (Some("cr/MC-4901-rotate-token-1".to_owned()), Some(5));
        let mut fix = slot(2, SlotState::Free);
        (fix.branch, fix.dirty) = (Some("slot2/MC-4635".to_owned()), Some(5));
        fix.drift = vec!["on branch slot2/MC-4635".to_owned(), "5 untracked".to_owned()];
        let mut broken = slot(3, SlotState::Quarantined);
        (broken.head, broken.dirty) = (None, None);
        broken.drift = vec![HOSTILE.to_owned()];
        let mut new = slot(4, SlotState::Free);
        (new.head, new.dirty) = (None, None);
        wire::Pool {
            name: "main".to_owned(),
            repo: "/srv/code".to_owned(),
            base: "origin/main".to_owned(),
            base_commit: slot(0, SlotState::Free).head,
            fetched: Some("2026-11-26T11:26:00Z".parse().unwrap()),
            claim_wait_ms: 30_000,
            trouble: Some("git fetch: no route to host".to_owned()),
            slots: vec![slot(0, SlotState::Free), busy, fix, broken, new],
        }
    }

    #[test]
    fn every_state_has_its_line_and_drift_its_way_out() {
        let text = render(&[pool()], &look(Paint::Plain));
        let lines: Vec<&str> = text.lines().collect();
        let head = "pool main · 5 slots · base origin/main 91100688 (fetched 4m ago) · claim wait 30s";
        assert_eq!(lines[0], head);
        let unfetched = render(&[wire::Pool { fetched: None, ..pool() }], &look(Paint::Plain));
        assert!(unfetched.contains("91100688 (not fetched since the start) ·"), "{unfetched}");
        assert_eq!(lines[1], "! git fetch: no route to host");
        assert!(lines[4].starts_with("main-0  free         detached 91100688"), "{text}");
        assert!(lines[5].contains("leased") && lines[5].contains("MC-4901"), "{text}");
        assert!(lines[6].contains("FIX") && lines[6].contains("on branch"), "{text}");
        assert!(lines[7].contains("QUARANTINED"), "{text}");
        assert!(lines[8].contains("not made yet"), "{text}");
        assert!(text.contains("2 slots disagree with git. `lucid pool heal`"), "{text}");
        assert!(!text.contains('\u{7}') && !text.contains('\u{1b}'));
        assert_eq!(render(&[], &look(Paint::Plain)), none());
    }

    #[test]
    fn a_heal_tells_what_was_found_and_where_it_is_saved() {
        let healed = |number: u32, state, found: &[&str], rescued: &[&str]| wire::HealedSlot {
            slot: format!("main-{number}"),
            state,
            found: found.iter().map(|text| (*text).to_owned()).collect(),
            rescued: rescued.iter().map(|text| (*text).to_owned()).collect(),
            notes: Vec::new(),
        };
        let text = render_healed(
            &[
                healed(0, SlotState::Free, &[], &[]),
                healed(
                    1,
                    SlotState::Free,
                    &["1 changed"],
                    &["refs/lucid/rescue/main-1/none/20261126T113000Z"],
                ),
                healed(2, SlotState::Quarantined, &["cannot be made"], &[]),
            ],
            &look(Paint::Plain),
        );
        let expected = "main-0  clean\nmain-1  healed  1 changed\n  saved to \
                        refs/lucid/rescue/main-1/none/20261126T113000Z\nmain-2  QUARANTINED  cannot be made\n";
        assert_eq!(text, expected);
        assert!(render_healed(&[], &look(Paint::Plain)).contains("in use"));
    }
}
