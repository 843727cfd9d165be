//! The ticket's part of a prompt: what is to be done, what was said, which files belong to it. Pure text
//! from values; how a worker reports back is added by whoever starts it.

use std::fmt::Write as _;

use crate::model::ticket::Ticket;

use super::context::Link;
use super::conversation::{Comment, CommentKind};

/// Title, text, conversation and files, word for word as they were written.
#[must_use]
pub fn brief(ticket: &Ticket, comments: &[Comment], links: &[Link]) -> String {
    // A String takes any text: none of these writes can fail.
    let mut text = format!("# {}: {}\n", ticket.id, ticket.title);
    if !ticket.body.is_empty() {
        let _ = write!(text, "\n{}\n", ticket.body);
    }
    if !links.is_empty() {
        text.push_str("\n## Files\n");
    }
    for link in links {
        let _ = match &link.title {
            Some(title) => writeln!(text, "- {} ({title})", link.path),
            None => writeln!(text, "- {}", link.path),
        };
    }
    if !comments.is_empty() {
        text.push_str("\n## Conversation, oldest first\n");
    }
    for comment in comments {
        let what = match comment.kind {
            CommentKind::Comment | CommentKind::Notice => "wrote",
            CommentKind::Message => "wrote to you",
            CommentKind::Ask => "asked",
            CommentKind::Report => "reported",
        };
        let _ = write!(text, "\n### {} {what}\n{}\n", comment.author, comment.body);
    }
    text
}
