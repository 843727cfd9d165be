//! `lucid alerts`: what is or was wrong, and what was sent about it.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean, count};
use crate::api::wire;
use crate::model::alert::AlertState;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these states, separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=500))]
    n: u32,
    /// With the text of each message
    #[arg(long)]
    text: bool,
}

fn state(text: &str) -> Result<String, String> {
    let names: Vec<&str> = AlertState::ALL.into_iter().map(AlertState::name).collect();
    let known = AlertState::parse(text).map(|_| text.to_owned());
    known.ok_or_else(|| format!("there are: {}", names.join(", ")))
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut target = api().segment("alerts").query("limit", &args.n.to_string());
    if !args.state.is_empty() {
        target = target.query("state", &args.state.join(","));
    }
    let page = context.fetch::<wire::AlertPage>(&Request::get(target))?;
    let shown = if args.text { Shown::Texts } else { Shown::Table };
    context.show(&page, |page, look| render(page, shown, look))
}

#[derive(Debug, Clone, Copy)]
enum Shown {
    Table,
    Texts,
}

fn render(page: &wire::AlertPage, shown: Shown, look: &Look) -> String {
    let mut out = match (page.alerts.is_empty(), shown) {
        (true, _) => "No alerts.\n".to_owned(),
        (false, Shown::Table) => table(&page.alerts, look),
        (false, Shown::Texts) => page.alerts.iter().map(|alert| text(alert, look)).collect(),
    };
    for mute in &page.mutes {
        let until = look.instant(mute.until);
        out.push_str(&format!(
            "muted until {until} by {}: {}\n",
            clean(&mute.actor),
            clean(&mute.fingerprint)
        ));
    }
    if page.pending > 0 {
        let n = usize::try_from(page.pending).unwrap_or(usize::MAX);
        out.push_str(&format!("{} still to send\n", count(n, "message")));
    }
    out
}

fn table(alerts: &[wire::Alert], look: &Look) -> String {
    let mut grid = Grid::new(&["", "ID", "STATE", "SINCE", "TIMES", "SENT", "WHAT"], &[6]);
    for alert in alerts {
        let (tone, mark) = mark(alert);
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&alert.id.to_string()).right(),
            Cell::new(tone, alert.state.name()),
            Cell::plain(&look.since(alert.first_at)).right(),
            Cell::plain(&alert.count.to_string()).right(),
            Cell::plain(&sent(alert)),
            Cell::plain(alert.text.lines().next().unwrap_or_default()),
        ]);
    }
    grid.render(look)
}

fn text(alert: &wire::Alert, look: &Look) -> String {
    let mut out = format!(
        "{} {} · {} · {}\n",
        look.paint(Tone::Strong, &format!("{}", alert.id)),
        alert.state.name(),
        look.instant(alert.first_at),
        clean(&sent(alert)),
    );
    for line in alert.text.lines() {
        out.push_str(&format!("  {}\n", clean(line)));
    }
    out
}

fn mark(alert: &wire::Alert) -> (Tone, &'static str) {
    match (alert.state, alert.severity.as_str()) {
        (AlertState::Resolved, _) => (Tone::Good, "."),
        (AlertState::Acked | AlertState::Muted, _) => (Tone::Plain, "-"),
        (AlertState::Firing, "critical") => (Tone::Bad, "!"),
        (AlertState::Firing, "info") => (Tone::Plain, "i"),
        (AlertState::Firing, _) => (Tone::Warn, "x"),
    }
}

/// What became of the messages about it, in a word or two.
fn sent(alert: &wire::Alert) -> String {
    if alert.folded_into.is_some() {
        return "folded".to_owned();
    }
    let with = |state: &str| alert.deliveries.iter().filter(|delivery| delivery.state == state).count();
    match alert.deliveries.len() {
        0 => "nothing".to_owned(),
        // What died may have been told anew since.
        _ if is_lost(alert) => "not delivered".to_owned(),
        _ if with("pending") + with("sending") > 0 => "waits".to_owned(),
        _ if with("unsent") > 0 => "would have been".to_owned(),
        _ => match with("delivered") {
            0 => "nothing".to_owned(),
            1 => "yes".to_owned(),
            n => format!("{n} times"),
        },
    }
}

/// Whether the newest of its messages that came to an end is one that died.
fn is_lost(alert: &wire::Alert) -> bool {
    let ended = alert.deliveries.iter().rev().find(|one| matches!(one.state.as_str(), "dead" | "delivered"));
    ended.is_some_and(|one| one.state == "dead")
}

#[cfg(test)]
pub mod tests {
    use super::super::look::tests::{HOSTILE, look};
    use super::super::look::{Paint, columns};
    use super::*;

    pub fn alert(id: i64, state: AlertState) -> wire::Alert {
        let delivery = |state: &str| wire::Delivery {
            channel: "telegram".into(),
            purpose: "first".into(),
            state: state.into(),
            message_id: None,
            error: None,
            attempts: 1,
            created_at: "2026-11-26T11:00:00Z".parse().unwrap(),
            ended_at: None,
        };
        let states = ["delivered", "dead", "unsent", "pending"];
        let which = states[usize::try_from(id).unwrap() % states.len()];
        wire::Alert {
            id,
            fingerprint: "task_failed/task:backup/exit 1".into(),
            kind: "task_failed".into(),
            subject: "task:backup".into(),
            state,
            severity: if id == 1 { "critical" } else { "warning" }.into(),
            count: id * 3,
            first_at: "2026-11-26T11:00:00Z".parse().unwrap(),
            last_at: "2026-11-26T11:20:00Z".parse().unwrap(),
            resolved_at: None,
            muted_until: None,
            actor: None,
            folded_into: (id == 4).then_some(2),
            text: format!("🔴 backup failed · exit 1\n{}", HOSTILE.repeat(2)),
            deliveries: vec![delivery(which)],
        }
    }

    #[test]
    fn what_died_and_was_told_since_is_told() {
        let mut told = alert(1, AlertState::Firing);
        assert_eq!(sent(&told), "not delivered");
        let again = wire::Delivery { state: "delivered".into(), ..told.deliveries[0].clone() };
        told.deliveries.push(again);
        assert_eq!(sent(&told), "yes");
        told.deliveries.reverse();
        assert_eq!(sent(&told), "not delivered", "its newest word is lost");
    }

    #[test]
    fn every_state_has_its_row_on_one_line_of_80_columns() {
        let alerts: Vec<wire::Alert> =
            AlertState::ALL.into_iter().zip(1..).map(|(s, n)| alert(n, s)).collect();
        let page = wire::AlertPage {
            schema_version: wire::SchemaVersion::default(),
            alerts,
            next_cursor: None,
            mutes: vec![wire::Mute {
                fingerprint: HOSTILE.into(),
                until: "2026-11-26T12:30:00Z".parse().unwrap(),
                actor: "user:alice".into(),
            }],
            pending: 2,
        };
        let table = render(&page, Shown::Table, &look(Paint::Plain));
        assert!(table.lines().take(5).all(|line| columns(line) <= 80), "{table}");
        insta::assert_snapshot!(table);
        let texts = render(&page, Shown::Texts, &look(Paint::Plain));
        assert!(!texts.contains('\u{1b}') && texts.contains("  🔴 backup failed"), "{texts}");
        let none = wire::AlertPage { alerts: Vec::new(), mutes: Vec::new(), pending: 0, ..page };
        assert_eq!(render(&none, Shown::Table, &look(Paint::Plain)), "No alerts.\n");
    }
}
