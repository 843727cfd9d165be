//! `lucid problems`: only what is wrong, each with the command that mends it.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean};
use crate::api::wire;
use crate::platform::client::Request;

/// # Errors
/// As [`Context::fetch`] and [`Context::show`].
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let problems = context.fetch::<wire::Problems>(&Request::get(api().segment("problems")))?;
    context.show(&problems, render)
}

/// Letter and tone of a severity; one that is not known counts as a warning.
#[must_use]
pub fn mark(severity: &str) -> (Tone, &'static str) {
    match severity {
        "critical" => (Tone::Bad, "CRIT"),
        "info" => (Tone::Plain, "info"),
        _ => (Tone::Warn, "warn"),
    }
}

fn render(problems: &wire::Problems, look: &Look) -> String {
    if problems.problems.is_empty() {
        return format!("{}\n", look.paint(Tone::Good, "Nothing is wrong."));
    }
    let mut out = String::new();
    for problem in &problems.problems {
        let (tone, mark) = mark(&problem.severity);
        let since = problem.since.map(|at| format!(" (since {})", look.instant(at))).unwrap_or_default();
        out.push_str(&format!(
            "{:<4}  {}  {}{since}\n",
            look.paint(tone, &format!("{mark:<4}")),
            look.paint(Tone::Strong, &clean(&problem.subject)),
            clean(&problem.text),
        ));
        if let Some(fix) = &problem.fix {
            out.push_str(&format!("      {}\n", look.paint(Tone::Live, &clean(fix))));
        }
    }
    out
}

#[cfg(test)]
pub mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    pub fn finding(subject: &str, text: &str) -> wire::Finding {
        wire::Finding {
            id: format!("task-failing:{subject}"),
            severity: "warning".to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            since: Some("2026-11-20T18:15:00Z".parse().unwrap()),
            fix: Some(format!("lucid logs {subject}")),
        }
    }

    fn document(problems: Vec<wire::Finding>) -> wire::Problems {
        wire::Problems { schema_version: wire::SchemaVersion::default(), problems }
    }

    #[test]
    fn each_problem_brings_its_way_out() {
        let mut disk = finding("disk", "4% free on /");
        (disk.severity, disk.since, disk.fix) = ("critical".to_owned(), None, None);
        let problems = document(vec![disk, finding("git-sync", "14 runs failed"), finding(HOSTILE, HOSTILE)]);
        insta::assert_snapshot!(render(&problems, &look(Paint::Plain)));
        let painted = render(&problems, &look(Paint::Ansi));
        assert!(painted.contains("\u{1b}[1m\u{1b}[31mCRIT"), "{painted:?}");
        assert!(!painted.contains("\u{1b}[2J"), "{painted:?}");
    }

    #[test]
    fn nothing_wrong_is_said_in_one_line() {
        assert_eq!(render(&document(Vec::new()), &look(Paint::Plain)), "Nothing is wrong.\n");
    }
}
