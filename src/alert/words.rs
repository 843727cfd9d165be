//! Text from anywhere, made fit for a message: no escape sequences, nothing that hides or reorders, and no more
//! of it than there is room for.

use std::borrow::Cow;

use crate::model::text::is_unsafe;

/// Lines of output that a message shows.
pub const TAIL_LINES: usize = 5;
/// Characters of output that a message shows.
pub const TAIL_CHARS: usize = 600;
/// Characters of a foreign text within a line.
pub const PHRASE_CHARS: usize = 200;
/// Stands where something was cut off.
const CUT: char = '…';

/// The end of a run's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    /// At most [`TAIL_LINES`], together at most [`TAIL_CHARS`].
    pub lines: Vec<String>,
    /// Whether there was more before them.
    pub is_cut: bool,
}

/// The last lines of `bytes`, which are output or its end.
#[must_use]
pub fn tail(bytes: &[u8]) -> Tail {
    let text = String::from_utf8_lossy(bytes);
    let mut tail = Tail::default();
    let mut left = TAIL_CHARS;
    for line in text.lines().rev() {
        let line = phrase_of(line);
        if line.is_empty() {
            continue;
        }
        if tail.lines.len() == TAIL_LINES || left == 0 {
            tail.is_cut = true;
            break;
        }
        let line = clip(&line, left).into_owned();
        left -= line.chars().count().min(left);
        tail.lines.push(line);
    }
    tail.lines.reverse();
    tail
}

/// The text on one line, at most [`PHRASE_CHARS`] of it.
#[must_use]
pub fn phrase(text: &str) -> String {
    clip(&phrase_of(text), PHRASE_CHARS).into_owned()
}

/// The text with its lines, at most `chars` of it.
#[must_use]
pub fn passage(text: &str, chars: usize) -> String {
    let plain = without_sequences(text);
    let lines: Vec<String> = plain.lines().map(|line| safe(line.trim_end())).collect();
    clip(lines.join("\n").trim(), chars).into_owned()
}

/// At most `chars` characters; the last shows that something is missing.
#[must_use]
pub fn clip(text: &str, chars: usize) -> Cow<'_, str> {
    if text.chars().nth(chars).is_none() {
        return Cow::Borrowed(text);
    }
    let mut cut: String = text.chars().take(chars.saturating_sub(1)).collect();
    if chars > 0 {
        cut.push(CUT);
    }
    Cow::Owned(cut)
}

fn phrase_of(text: &str) -> String {
    // Beyond this nothing is shown anyway, and a line may have megabytes.
    const LOOKED_AT_BYTES: usize = 8 * 1024;
    let mut end = text.len().min(LOOKED_AT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain = without_sequences(&text[..end]);
    // A carriage return writes over what stands before it: a progress bar's last state counts.
    let shown = plain.trim_end().rsplit('\r').next().unwrap_or_default();
    safe(&shown.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn safe(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !is_unsafe(*c)).collect()
}

/// The text without what steers a terminal: `ESC [ … letter`, `ESC ] … BEL`, `ESC` and a letter.
fn without_sequences(text: &str) -> Cow<'_, str> {
    const ESCAPE: char = '\u{1b}';
    if !text.contains([ESCAPE, '\u{9b}']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let kind = match c {
            '\u{9b}' => Some('['),
            ESCAPE => chars.next(),
            other => {
                out.push(other);
                continue;
            }
        };
        match kind {
            Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']' | 'P' | '_' | '^' | 'X') => {
                while let Some(c) = chars.next() {
                    if c == '\u{7}' || c == '\u{9c}' {
                        break;
                    }
                    if c == ESCAPE {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                }
            }
            Some('(' | ')' | '#' | '%') => drop(chars.next()),
            Some(_) | None => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_of_output_without_what_steers_a_terminal() {
        let told = tail(
            b"first\nsecond\n\n\x1b[31mError:\x1b[0m disk <full> & \x1b]0;title\x07done\n10%\r50%\r100%\n\
              \xff\xfe bytes\n\ta\tb\nlast\n",
        );
        assert_eq!(
            told.lines,
            ["Error: disk <full> & done", "100%", "\u{fffd}\u{fffd} bytes", "a b", "last"]
        );
        assert!(told.is_cut);
        assert_eq!(tail(b""), Tail::default());
        let one = tail("\u{202e}evil\u{2066} \u{200b}x".as_bytes());
        assert_eq!((one.lines, one.is_cut), (vec!["evil x".to_owned()], false));
    }

    #[test]
    fn a_long_line_costs_no_more_than_its_share() {
        let long = "x".repeat(200_000);
        let told = tail(format!("{long}\nlast\n").as_bytes());
        let chars: usize = told.lines.iter().map(|line| line.chars().count()).sum();
        assert_eq!((told.lines.len(), chars), (2, TAIL_CHARS));
        assert!(told.lines[0].ends_with('…') && told.lines[1] == "last", "the end is what counts");
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
        assert_eq!(clip("a", 0), "");
        assert_eq!(passage(" a\x1b[1m b \r\n\n c\u{7} ", 99), "a b\n\n c");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[\\x00-\\x1f\\x1b\\[\\]a-z]*") {
            let told = phrase(&text);
            prop_assert!(!told.chars().any(is_unsafe));
            prop_assert!(told.chars().count() <= PHRASE_CHARS);
            let lines = tail(text.as_bytes()).lines;
            let is_tame = lines.iter().all(|line| !line.contains('\u{1b}'));
            prop_assert!(is_tame);
        }
    }
}
