//! What a worker is told, as one text for its standard input. Pure.
//!
//! Text of tickets and people is copied as it is: it never meets a shell or an argument list.

use std::fmt::Write as _;

/// Longest conversation that is told, in bytes; what is older is left out first. What has to be told comes on top.
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
    /// Entries that came before `conversation`.
    pub older: usize,
    /// Files linked to the ticket.
    pub context: Vec<Linked>,
    /// How the attempt before this one ended.
    pub previous: Option<String>,
    /// Branches that earlier attempts worked on, the newest first.
    pub earlier: Vec<String>,
    /// The program to report with, an absolute path.
    pub lucid: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// RFC 3339.
    pub at: String,
    pub author: String,
    pub text: String,
    /// It counts as read once the worker has its prompt, however long the conversation is.
    pub must: bool,
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
    let told = told(&brief.conversation);
    if told.is_empty() {
        return Ok(());
    }
    let first = told.iter().position(|is_told| *is_told).unwrap_or(told.len());
    writeln!(text, "## The conversation so far\n")?;
    let left_out = brief.older + first;
    if left_out > 0 {
        writeln!(
            text,
            "({left_out} older entries are left out; `lucid ticket show {}` has them.)\n",
            brief.ticket
        )?;
    }
    for (said, is_told) in brief.conversation.iter().zip(told).skip(first) {
        let Said { at, author, text: words, .. } = said;
        if is_told {
            writeln!(text, "{at}, {author}:\n{words}\n")?;
        } else {
            let (length, id) = (words.len(), &brief.ticket);
            writeln!(
                text,
                "{at}, {author}:\n({length} bytes, left out; `lucid ticket show {id}` has them.)\n"
            )?;
        }
    }
    Ok(())
}

/// Which of `conversation` are told: from the newest on what there is room for, and what has to be.
fn told(conversation: &[Said]) -> Vec<bool> {
    let mut room = CONVERSATION_MAX_BYTES;
    let mut told: Vec<bool> = conversation
        .iter()
        .rev()
        .map(|said| {
            let fits = said.text.len() <= room;
            if fits && !said.must {
                room -= said.text.len();
            }
            fits || said.must
        })
        .collect();
    told.reverse();
    told
}

fn how_to_report(text: &mut String, brief: &Brief) -> std::fmt::Result {
    let (lucid, id) = (&brief.lucid, &brief.ticket);
    writeln!(text, "## How to work\n")?;
    writeln!(text, "- This is attempt {} of at most {}.", brief.attempt, brief.max_attempts)?;
    if let Some(previous) = &brief.previous {
        writeln!(text, "- The attempt before it ended: {previous}")?;
    }
    if !brief.earlier.is_empty() {
        writeln!(
            text,
            "- Earlier attempts worked on {}. What they committed is not in your worktree: merge or cherry-pick what \
             you go on from. A branch that is gone held nothing.",
            brief.earlier.join(", ")
        )?;
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
        Said { at: "2026-11-26T10:00:00Z".into(), author: "ana".into(), text: text.into(), must: false }
    }

    #[test]
    fn everything_is_told_and_hostile_text_stays_as_it_is() {
        let hostile = "`rm -rf $HOME` \"'; drop table t; --\u{0}\u{202e} $(id)\n---\n{{x}} %s ${x}";
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
            older: 0,
            context: vec![Linked { path: "docs/a b.md".into(), label: Some("plan".into()) }],
            previous: Some("crash".into()),
            earlier: vec!["cr/MC-7-fix-1".into()],
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

    fn told_of(conversation: Vec<Said>, older: usize) -> String {
        write(&Brief { ticket: "MC-1".into(), conversation, older, ..Brief::default() })
    }

    #[test]
    fn a_long_conversation_loses_its_oldest_part() {
        let text = told_of(vec![said(&"a".repeat(200_000)), said(&"b".repeat(200_000)), said("c")], 0);
        assert!(text.len() < CONVERSATION_MAX_BYTES + 4096);
        assert!(!text.contains("aaa") && text.contains("bbb") && text.contains("(1 older entries"));
        assert!(told_of(vec![said("c")], 7).contains("(7 older entries"));
        assert!(!told_of(Vec::new(), 0).contains("conversation"));
    }

    #[test]
    fn what_is_too_long_leaves_its_length_and_does_not_hide_what_is_older() {
        let long = said(&"b".repeat(200_000));
        let text =
            told_of(vec![said(&"a".repeat(300_000)), said("first"), long.clone(), long, said("last")], 0);
        assert!(
            text.contains("(1 older entries") && text.contains("(200000 bytes, left out"),
            "{}",
            &text[..900]
        );
        assert_eq!(text.matches(&"b".repeat(200_000)).count(), 1);
        let parts =
            ["first", "bytes, left out; `lucid ticket show MC-1`", "bbb", "last"].map(|part| text.find(part));
        assert!(parts.is_sorted() && parts.iter().all(Option::is_some), "{parts:?}");
    }

    #[test]
    fn a_message_that_counts_as_read_is_told_whatever_came_after_it() {
        let message = Said { must: true, ..said(&"m".repeat(60_000)) };
        let after = said(&"z".repeat(CONVERSATION_MAX_BYTES));
        let text = told_of(vec![said("before"), message, after], 3);
        assert!(text.contains(&"m".repeat(60_000)) && text.contains("zzz"));
        assert!(text.contains("(4 older entries"));
    }
}
