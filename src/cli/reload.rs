//! `lucid reload`: task files are read again; says what changed, what was not taken over, and which
//! settings wait for a restart.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean, count};
use crate::api::wire;
use crate::platform::client::Request;

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let reloaded = context.fetch::<wire::Reloaded>(&Request::post(api().segment("reload")))?;
    let is_clean = reloaded.value.rejected.iter().all(|d| d.severity != wire::Severity::Error);
    context.show(&reloaded, render)?;
    Ok(if is_clean { Exit::Done } else { Exit::No })
}

fn render(reloaded: &wire::Reloaded, look: &Look) -> String {
    let mut out = String::new();
    let groups = [("added", &reloaded.added), ("changed", &reloaded.changed), ("removed", &reloaded.removed)];
    for (word, ids) in groups {
        for id in ids {
            out.push_str(&format!("{word:<8} {}\n", clean(id)));
        }
    }
    if out.is_empty() {
        out.push_str("nothing changed\n");
    }
    for problem in &reloaded.rejected {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        out.push_str(&format!(
            "{} {}{line} {} {}\n",
            look.paint(Tone::Bad, "rejected"),
            clean(&problem.file),
            clean(&problem.code),
            clean(&problem.message)
        ));
    }
    if reloaded.rejected.iter().any(|problem| problem.code == wire::SETTINGS_CODE) {
        out.push_str("the settings in force go on; with these the next start would be refused\n");
    }
    for line in &reloaded.restart {
        out.push_str(&format!("{} {}\n", look.paint(Tone::Warn, "restart"), clean(line)));
    }
    if !reloaded.restart.is_empty() {
        out.push_str("settings take effect at the next start, which costs no run\n");
    }
    if !reloaded.rejected.is_empty() {
        out.push_str(&format!("{}: lucid check\n", count(reloaded.rejected.len(), "problem")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::tasks::tests::diagnostic;
    use super::*;

    #[test]
    fn what_changed_and_what_was_refused() {
        let reloaded = wire::Reloaded {
            added: vec!["new".to_owned()],
            changed: vec!["sub/name".to_owned(), HOSTILE.to_owned()],
            removed: vec!["old".to_owned()],
            rejected: vec![diagnostic("tasks/bad.md", &format!("unknown key \"{HOSTILE}\""))],
            ..wire::Reloaded::default()
        };
        insta::assert_snapshot!(render(&reloaded, &look(Paint::Plain)));
        assert_eq!(render(&wire::Reloaded::default(), &look(Paint::Plain)), "nothing changed\n");
    }
}
