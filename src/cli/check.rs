//! `lucid check [FILE…]`: every finding about task files, without a daemon.

use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::task::Rules;
use crate::task::check::{Report, check};
use crate::task::diagnose::{Color, Diagnostic, Severity};

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Human(Color),
    /// `file:line:col: severity[code]: message`
    Short,
    /// Annotations of a workflow.
    Github,
    Json,
}

/// From which weight on the command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    OnErrors,
    OnWarnings,
}

/// What to check, by which rules.
#[derive(Debug)]
pub struct Request {
    /// Files or folders; the tasks folder when empty.
    pub paths: Vec<PathBuf>,
    pub tasks_dir: PathBuf,
    pub rules: Rules,
    pub format: Format,
    pub fails: Fails,
    pub now: Timestamp,
}

/// Checks and prints; gives 0, or 1 when there is something to mend.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(request: &Request, out: &mut dyn Write) -> anyhow::Result<i32> {
    let report = check(&request.paths, &request.tasks_dir, &request.rules, request.now);
    out.write_all(render(&report, request.format).as_bytes())?;
    let fatal = match request.fails {
        Fails::OnErrors => report.count(Severity::Error),
        Fails::OnWarnings => report.count(Severity::Error) + report.count(Severity::Warning),
    };
    Ok(i32::from(fatal > 0))
}

fn render(report: &Report, format: Format) -> String {
    let lines = |line: fn(&Diagnostic) -> String| -> String {
        report.diagnostics.iter().map(|found| line(found) + "\n").collect()
    };
    match format {
        Format::Short => lines(Diagnostic::short),
        Format::Github => lines(Diagnostic::github),
        Format::Json => format!("{:#}\n", report.json()),
        Format::Human(color) => {
            let mut text: String =
                report.diagnostics.iter().map(|found| found.human(color) + "\n\n").collect();
            text.push_str(&summary(report));
            text
        }
    }
}

fn summary(report: &Report) -> String {
    let files = match report.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let (errors, warnings) = (report.files_with(Severity::Error), report.files_with(Severity::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => "no errors, no warnings".to_owned(),
        (0, warnings) => format!("{warnings} with warnings"),
        (errors, 0) => format!("{errors} with errors"),
        (errors, warnings) => format!("{errors} with errors, {warnings} with warnings"),
    };
    let hint = report
        .diagnostics
        .iter()
        .rev()
        .max_by_key(|found| found.severity)
        .map_or_else(String::new, |found| format!("Explain a code: lucid explain {}\n", found.code));
    format!("{files}: {verdict}.\n{hint}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::task::{Defaults, Known};

    fn checked(names: &[&str], format: Format, fails: Fails) -> (i32, String) {
        let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let request = Request {
            paths: names.iter().map(|name| corpus.join(name)).collect(),
            tasks_dir: corpus.clone(),
            rules: Rules {
                defaults: Defaults::default(),
                known: Known { profiles: BTreeSet::new(), ..Known::default() },
                now: None,
                here: None,
            },
            format,
            fails,
            now: "2026-11-26T11:30:00Z".parse().unwrap(),
        };
        let mut out = Vec::new();
        let exit = run(&request, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap().replace(&format!("{}/", corpus.display()), ""))
    }

    #[test]
    fn it_fails_on_errors_and_when_strict_on_warnings() {
        for (name, errors, warnings) in
            [("flag-typo.md", 1, 1), ("key-on.md", 0, 1), ("schedule-unquoted.md", 0, 0), ("empty.md", 0, 0)]
        {
            assert_eq!(checked(&[name], Format::Short, Fails::OnErrors).0, errors, "{name}");
            assert_eq!(checked(&[name], Format::Short, Fails::OnWarnings).0, warnings, "{name}");
        }
    }

    #[test]
    fn what_people_read() {
        let (_, text) = checked(
            &["key-on.md", "idle-timeout.md", "schedule-unquoted.md"],
            Format::Human(Color::Never),
            Fails::OnErrors,
        );
        insta::assert_snapshot!(text, @r"
        error[E310]: idle_timeout (10m) never acts: timeout (5m) comes first
         --> idle-timeout.md:4:15
          |
        3 | timeout: 5m
          |          -- ends the run
        4 | idle_timeout: 10m
          |               ^^^ make it shorter than timeout

        warning[W101]: unknown key `on`: it has no effect
         --> key-on.md:3:1
          |
        3 | on: push
          | ^^ remove it, or put it under `meta:` or behind `x-`

        note[I203]: this value is not quoted
         --> schedule-unquoted.md:3:11
          |
        3 | schedule: */5 * * * *
          |           ^^^^^^^^^^^ fine here; other YAML tools will refuse it

        3 files: 1 with errors, 1 with warnings.
        Explain a code: lucid explain E310
        ");
    }

    #[test]
    fn what_programs_read() {
        let names = ["duration-colon.md"];
        let (_, short) = checked(&names, Format::Short, Fails::OnErrors);
        assert_eq!(
            short,
            "duration-colon.md:3:10: error[E105]: `timeout`: `1:30` is a time of day, not a duration\n"
        );
        let (_, github) = checked(&names, Format::Github, Fails::OnErrors);
        assert!(github.contains("duration-colon.md,line=3,col=10,"), "{github}");
        let (_, json) = checked(&names, Format::Json, Fails::OnErrors);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json["files"].as_u64(), json["errors"].as_u64()), (Some(1), Some(1)));
    }
}
