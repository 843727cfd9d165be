//! Where a run's output goes: to a pipe as it is, to a terminal so that it cannot take it over.
//!
//! On a terminal text, line ends, tabs and colours pass; titles, cursor moves, control characters, broken
//! UTF-8 and what reorders text are shown as escapes. A piece may end in the middle of any of these.

use std::io::{self, IsTerminal as _, Write};

use super::context::Context;
use super::look::Paint;
use crate::model::text::{escape, is_unsafe};

/// Longest colour sequence that is taken for one, in bytes.
const COLOUR_MAX_BYTES: usize = 64;
const ESC: u8 = 0x1b;
const COLOURS_OFF: &str = "\x1b[0m";

/// A writer for what a child has written.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    /// None where bytes go through untouched.
    filter: Option<Filter>,
}

/// Standard output, filtered where it is a terminal.
#[must_use]
pub fn standard(context: &Context) -> Screen<io::StdoutLock<'static>> {
    let filter = io::stdout().is_terminal().then(|| Filter::new(context.look().paint));
    Screen { out: io::stdout().lock(), filter }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.filter {
            Some(filter) => self.out.write_all(filter.take(bytes).as_bytes())?,
            None => self.out.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if let Some(filter) = &mut self.filter {
            // The terminal may have gone; then nobody misses the end.
            let _ = self.out.write_all(filter.end().as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

/// What has begun and is not complete yet, between two pieces.
#[derive(Debug)]
struct Filter {
    paint: Paint,
    rest: Vec<u8>,
    coloured: bool,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy)]
enum Lead {
    /// Passes as it is: so many bytes of UTF-8.
    Text(usize),
    Colour(usize),
    /// A carriage return that the next newline makes redundant.
    LineEnd,
    /// One character, to be shown.
    Unsafe(char),
    /// A byte that is no text.
    Broken(u8),
    /// More has to come before it can be told.
    Open,
}

impl Filter {
    fn new(paint: Paint) -> Self {
        Self { paint, rest: Vec::new(), coloured: false }
    }

    fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let mut out = String::with_capacity(all.len());
        let mut rest = all.as_slice();
        loop {
            let used = match lead(rest) {
                Lead::Open => break,
                lead => self.pass(lead, rest, &mut out),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        self.rest = rest.to_vec();
        out
    }

    /// What is left when nothing more comes, and the terminal's own colours.
    fn end(&mut self) -> String {
        let mut out = String::new();
        for byte in std::mem::take(&mut self.rest) {
            escape_byte(byte, &mut out);
        }
        if std::mem::take(&mut self.coloured) {
            out.push_str(COLOURS_OFF);
        }
        out
    }

    /// Writes one thing; gives its length.
    fn pass(&mut self, lead: Lead, bytes: &[u8], out: &mut String) -> usize {
        match lead {
            Lead::Text(len) | Lead::Colour(len) => {
                let is_colour = matches!(lead, Lead::Colour(_));
                if !is_colour || self.paint == Paint::Ansi {
                    out.push_str(&String::from_utf8_lossy(bytes.get(..len).unwrap_or_default()));
                    self.coloured |= is_colour;
                }
                len
            }
            Lead::LineEnd => 1,
            Lead::Unsafe(c) => {
                escape(c, out);
                c.len_utf8()
            }
            Lead::Broken(byte) => {
                escape_byte(byte, out);
                1
            }
            Lead::Open => 0,
        }
    }
}

fn lead(bytes: &[u8]) -> Lead {
    match bytes {
        [ESC, ..] => colour(bytes),
        [b'\r', b'\n', ..] => Lead::LineEnd,
        [b'\r'] => Lead::Open,
        _ => text(bytes),
    }
}

/// `ESC [ digits ; digits m`.
fn colour(bytes: &[u8]) -> Lead {
    let Some(&second) = bytes.get(1) else { return Lead::Open };
    let numbers = bytes.iter().skip(2).take_while(|b| b.is_ascii_digit() || matches!(b, b';' | b':')).count();
    match bytes.get(2 + numbers) {
        _ if second != b'[' || numbers > COLOUR_MAX_BYTES => Lead::Unsafe(char::from(ESC)),
        None => Lead::Open,
        Some(b'm') => Lead::Colour(numbers + 3),
        Some(_) => Lead::Unsafe(char::from(ESC)),
    }
}

/// The longest stretch of harmless text, or the one thing that is none.
fn text(bytes: &[u8]) -> Lead {
    let (good, broken) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let good = std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default());
            (good.unwrap_or_default(), Some(error))
        }
    };
    let passes = |c: char| matches!(c, '\n' | '\t') || !is_unsafe(c);
    let len = good.find(|c| !passes(c)).unwrap_or(good.len());
    match (len, good.chars().next(), broken) {
        (1.., _, _) => Lead::Text(len),
        (0, Some(c), _) => Lead::Unsafe(c),
        (0, None, Some(error)) if error.error_len().is_none() => Lead::Open,
        (0, None, _) => bytes.first().map_or(Lead::Open, |byte| Lead::Broken(*byte)),
    }
}

fn escape_byte(byte: u8, out: &mut String) {
    match byte {
        b' '..=b'~' => out.push(char::from(byte)),
        byte => escape(char::from(byte), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `pieces` look like, written one after the other.
    fn shown<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, paint: Paint) -> String {
        let mut out = Vec::new();
        let mut screen = Screen { out: &mut out, filter: Some(Filter::new(paint)) };
        for piece in pieces {
            screen.write_all(piece).unwrap();
        }
        drop(screen);
        String::from_utf8(out).unwrap()
    }

    const HOSTILE: &[u8] =
        b"a\x1b]0;title\x07b\x1b[2J\x1b[31mred\x1b[0m\x00\xff\x9b1m\r\n\tgr\xc3\xbc\xc3\x9fe \
        \xe6\x97\xa5\xe2\x80\xaegnp\x08\x1b[1;38:5:9mx";

    #[test]
    fn text_and_colours_pass_and_the_rest_is_shown() {
        let text = "a\\x1b]0;title\\x07b\\x1b[2J\x1b[31mred\x1b[0m\\x00\\xff\\x9b1m\n\tgrüße 日\\u{202e}gnp\\x08\x1b[1;38:5:9mx\x1b[0m";
        assert_eq!(shown([HOSTILE], Paint::Ansi), text);
        let plain = "a\\x1b]0;title\\x07b\\x1b[2Jred\\x00\\xff\\x9b1m\n\tgrüße 日\\u{202e}gnp\\x08x";
        assert_eq!(shown([HOSTILE], Paint::Plain), plain);
    }

    #[test]
    fn it_makes_no_difference_where_a_piece_ends() {
        for paint in [Paint::Ansi, Paint::Plain] {
            let whole = shown([HOSTILE], paint);
            for size in 1..7 {
                assert_eq!(shown(HOSTILE.chunks(size), paint), whole, "{size}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_shown_and_never_held_back_for_long() {
        assert_eq!(shown([&b"x\x1b[3"[..]], Paint::Ansi), "x\\x1b[3");
        assert_eq!(shown([&b"x\xe6\x97"[..], b"\r"], Paint::Ansi), "x\\xe6\\x97\\r");
        let mut filter = Filter::new(Paint::Ansi);
        let long = filter.take(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat());
        assert!(long.starts_with("\\x1b[111"), "{long}");
    }

    #[test]
    fn a_pipe_gets_the_bytes() {
        let mut out = Vec::new();
        Screen { out: &mut out, filter: None }.write_all(HOSTILE).unwrap();
        assert_eq!(out, HOSTILE);
    }
}
