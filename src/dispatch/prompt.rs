//! What a worker is told, as one text for its standard input. Pure.
//!
//! Text of tickets and people is copied as it is: it never meets a shell or an argument list.

use std::fmt::Write as _;

/// Longest conversation that is told, in bytes; what is older is left out first.
const CONVERSATION_MAX_BYTES: usize = 256 * 1024;

/// Everything that a worker needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brief {
    pub ticket: String,
    pub title: String,
    pub body: String,
    pub priority: String,
    /// The work branch, checked out; none for a ticket without a pool.
    pub branch: Option<String>,
    /// What the branch starts from, a full id.
    pub base_commit: Option<String>,
    pub attempt: u32,
    pub max_attempts: u32,
    /// Oldest first.
    pub conversation: Vec<Said>,
    /// Files linked to the ticket.
    pub context: Vec<Linked>,
    /// How the attempt before this one ended.
    pub previous: Option<String>,
    /// The program to report with, an absolute path.
    pub lucid: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// RFC 3339.
    pub at: String,
    pub author: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    pub path: String,
    pub label: Option<String>,
}

/// The prompt.
#[must_use]
pub fn write(brief: &Brief) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, brief);
    let _ = conversation(&mut text, brief);
    let _ = how_to_report(&mut text, brief);
    text
}

fn head(text: &mut String, brief: &Brief) -> std::fmt::Result {
    writeln!(text, "You work on ticket {} ({} priority).\n", brief.ticket, brief.priority)?;
    writeln!(text, "# {}\n", brief.title)?;
    if !brief.body.is_empty() {
        writeln!(text, "{}\n", brief.body)?;
    }
    if !brief.context.is_empty() {
        writeln!(text, "## Files that belong to it\n")?;
        for linked in &brief.context {
            match &linked.label {
                Some(label) => writeln!(text, "- {} ({label})", linked.path)?,
                None => writeln!(text, "- {}", linked.path)?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn conversation(text: &mut String, brief: &Brief) -> std::fmt::Result {
    let mut room = CONVERSATION_MAX_BYTES;
    let told: Vec<&Said> = brief
        .conversation
        .iter()
        .rev()
        .take_while(|said| {
            let fits = said.text.len() <= room;
            room = room.saturating_sub(said.text.len());
            fits
        })
        .collect();
    if brief.conversation.is_empty() {
        return Ok(());
    }
    writeln!(text, "## The conversation so far\n")?;
    let left_out = brief.conversation.len() - told.len();
    if left_out > 0 {
        writeln!(
            text,
            "({left_out} older entries are left out; `lucid ticket show {}` has them.)\n",
            brief.ticket
        )?;
    }
    for said in told.into_iter().rev() {
        writeln!(text, "{}, {}:\n{}\n", said.at, said.author, said.text)?;
    }
    Ok(())
}

fn how_to_report(text: &mut String, brief: &Brief) -> std::fmt::Result {
    let (lucid, id) = (&brief.lucid, &brief.ticket);
    writeln!(text, "## How to work\n")?;
    writeln!(text, "- This is attempt {} of at most {}.", brief.attempt, brief.max_attempts)?;
    if let Some(previous) = &brief.previous {
        writeln!(text, "- The attempt before it ended: {previous}")?;
    }
    match &brief.branch {
        Some(branch) => {
            let base = brief.base_commit.as_deref().unwrap_or("the base branch");
            writeln!(text, "- You are in a worktree of your own, on branch {branch}, made from {base}.")?;
            writeln!(
                text,
                "- Commit your work on that branch. Do not merge it, and do not touch other worktrees."
            )?;
        }
        None => writeln!(text, "- There is no worktree for this ticket.")?,
    }
    writeln!(text, "- Credentials for the commands below are in your environment.\n")?;
    writeln!(text, "## How to report\n")?;
    writeln!(text, "When the work is done, from the worktree:\n")?;
    writeln!(
        text,
        "    {lucid} ticket report {id} --status done --summary 'ONE LINE' --commit \"$(git rev-parse HEAD)\" --evidence 'WHAT YOU MEASURED'\n"
    )?;
    writeln!(
        text,
        "When you cannot go on without a person, ask and then stop; you will be started again with the answer:\n"
    )?;
    writeln!(
        text,
        "    {lucid} ticket ask {id} --need 'WHAT' --why 'WHY' --how 'HOW IT CAN BE GIVEN' --option 'A' --option 'B'\n"
    )?;
    writeln!(text, "To tell people something while you work:\n")?;
    writeln!(text, "    {lucid} ticket comment {id} 'TEXT'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said { at: "2026-11-26T10:00:00Z".into(), author: "ana".into(), text: text.into() }
    }

    #[test]
    fn everything_is_told_and_hostile_text_stays_as_it_is() {
        let hostile = "`rm -rf $HOME` \"'; DROP TABLE t; --\u{0}\u{202e} $(id)\n---\n{{x}} %s ${x}";
        let brief = Brief {
            ticket: "MC-1".into(),
            title: hostile.into(),
            body: hostile.into(),
            priority: "high".into(),
            branch: Some("cr/MC-1-x-2".into()),
            base_commit: Some("abc".into()),
            attempt: 2,
            max_attempts: 5,
            conversation: vec![said(hostile), said("second")],
            context: vec![Linked { path: "docs/a b.md".into(), label: Some("plan".into()) }],
            previous: Some("crash".into()),
            lucid: "/usr/bin/lucid".into(),
        };
        let text = write(&brief);
        assert_eq!(text.matches(hostile).count(), 3);
        for part in
            ["MC-1", "cr/MC-1-x-2", "attempt 2 of at most 5", "docs/a b.md (plan)", "ended: crash", "second"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert!(text.find("second") > text.find(hostile), "oldest first");
    }

    #[test]
    fn a_long_conversation_loses_its_oldest_part() {
        let brief = Brief {
            conversation: vec![said(&"a".repeat(200_000)), said(&"b".repeat(200_000)), said("c")],
            ..Brief::default()
        };
        let text = write(&brief);
        assert!(text.len() < CONVERSATION_MAX_BYTES + 4096);
        assert!(!text.contains("aaa") && text.contains("bbb") && text.contains("1 older entries"));
    }
}
