//! `lucid check [FILE…]`: every finding about task files, without a daemon.

use std::io::Write;
use std::path::PathBuf;

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
}

/// Checks and prints; gives 0, or 1 when there is something to mend.
///
/// # Errors
/// When a path cannot be looked at, or `out` cannot be written.
pub fn run(request: &Request, out: &mut dyn Write) -> anyhow::Result<i32> {
    let report = check(&request.paths, &request.tasks_dir, &request.rules)?;
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
        .max_by_key(|found| found.severity)
        .map_or_else(String::new, |found| format!("Explain a code: lucid explain {}\n", found.code));
    format!("{files}: {verdict}.\n{hint}")
}
