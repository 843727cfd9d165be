//! What is wrong with the settings, in one shape for every command: where, in which line, what to do.

use super::context::Context;
use super::look::{Look, Tone, clean, columns};
use crate::config::{self, Config, ConfigErrors, Place, Problem};

/// Everything that is wrong, each with its own word in front.
#[must_use]
pub fn render(errors: &ConfigErrors, word: &str, look: &Look) -> String {
    match errors {
        ConfigErrors::NotFound { .. } => format!("{} {errors}\n", look.paint(Tone::Bad, word)),
        ConfigErrors::Refused { problems } => {
            problems.iter().map(|problem| one(problem, Tone::Bad, word, look)).collect()
        }
    }
}

/// Tells on standard error what the settings name and cannot be used as it is; gives how many there are.
pub fn warn(context: &Context, config: &Config) -> usize {
    let doubts = config::doubts(config);
    let look = context.error_look();
    for doubt in &doubts {
        context.note(one(&doubt.problem, Tone::Warn, "warning:", &look).trim_end());
    }
    doubts.len()
}

fn one(problem: &Problem, tone: Tone, word: &str, look: &Look) -> String {
    let place = problem.place.to_string();
    let mut out = format!("{} {}: {}\n", look.paint(tone, word), clean(&place), clean(&problem.message));
    if let (Some(source), Place::Line { line, column, .. }) = (&problem.line, &problem.place) {
        let number = line.to_string();
        let before: String =
            source.chars().take(usize::try_from(*column).unwrap_or(1).saturating_sub(1)).collect();
        let gap = " ".repeat(columns(&clean(&before)));
        let edge = look.paint(Tone::Faint, "|");
        let margin = " ".repeat(number.len());
        out.push_str(&format!("  {} {edge} {}\n", look.paint(Tone::Faint, &number), clean(source)));
        out.push_str(&format!("  {margin} {edge} {gap}{}\n", look.paint(tone, "^")));
    }
    if let Some(help) = &problem.help {
        out.push_str(&format!("{} {}\n", look.paint(Tone::Live, " help:"), clean(help)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    #[test]
    fn each_problem_has_its_word_its_line_and_its_help() {
        let problem = |place, message: &str, line: Option<&str>, help: Option<&str>| Problem {
            place,
            message: message.to_owned(),
            line: line.map(str::to_owned),
            help: help.map(str::to_owned),
        };
        let at = Place::Line { path: "config/lucid.yaml".into(), line: 12, column: 11 };
        let problems = vec![
            problem(
                at,
                "scheduler.tick: `soon` is no duration",
                Some("\u{1b}tick: é soon"),
                Some("write 5s"),
            ),
            problem(Place::Env("LUCID_X".to_owned()), HOSTILE, None, None),
        ];
        let text = render(&ConfigErrors::Refused { problems }, "error:", &look(Paint::Plain));
        insta::assert_snapshot!(text);
        assert!(!text.contains('\u{1b}'));
    }
}
