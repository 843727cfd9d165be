//! `lucid enable` and `lucid disable`: one line of the task's file, shown as it was and as it is.

use super::context::{Context, api, quoted};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::platform::client::{Method, Request};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: TaskId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Enabled,
    Disabled,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args, wanted: Wanted) -> Result<Exit, Failure> {
    let enabled = match wanted {
        Wanted::Enabled => true,
        Wanted::Disabled => false,
    };
    let body = serde_json::to_vec(&wire::TaskPatch { enabled })
        .map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?;
    let path = api().segment("tasks").segment(args.task.as_str());
    let edited = context.fetch::<wire::TaskEdited>(&Request::new(Method::Patch, path).json(body))?;
    context.confirm(&edited, render)
}

fn render(edited: &wire::TaskEdited, look: &Look) -> String {
    let task = &edited.task;
    let word = if task.enabled { "enabled" } else { "disabled" };
    let name = quoted(&task.id);
    let mut out = match &edited.edit {
        None => format!("{name} was {word} already\n"),
        Some(edit) => {
            let before =
                edit.before.as_ref().map(|line| look.paint(Tone::Bad, &format!("- {}", clean(line))) + "\n");
            format!(
                "{name} is {word}\n{}:{}\n{}{}\n",
                clean(&edit.file),
                edit.line,
                before.unwrap_or_default(),
                look.paint(Tone::Good, &format!("+ {}", clean(&edit.after))),
            )
        }
    };
    if let Some(at) = task.next_at {
        out.push_str(&format!("next {} ({})\n", look.instant(at), look.until(at)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::tasks::tests::task;
    use super::*;

    #[test]
    fn the_changed_line_is_shown() {
        let mut edited = wire::TaskEdited {
            schema_version: wire::SchemaVersion::default(),
            task: task("git-sync", wire::TaskState::Ok),
            edit: Some(wire::LineEdit {
                file: "tasks/git-sync.md".to_owned(),
                line: 4,
                before: Some(format!("enabled: false # {HOSTILE}")),
                after: format!("enabled: true # {HOSTILE}"),
            }),
        };
        let changed = render(&edited, &look(Paint::Plain));
        edited.edit = None;
        (edited.task.enabled, edited.task.next_at) = (false, None);
        insta::assert_snapshot!([changed, render(&edited, &look(Paint::Plain))].join("--\n"));
    }
}
