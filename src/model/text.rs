//! Text from anywhere, made fit for a terminal: what could move the cursor, colour, hide or reorder what
//! stands there is shown instead of obeyed. And bytes as text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes as lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The text on one line, with everything unsafe escaped.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A text for a message: short, on one line.
#[must_use]
pub fn shown(text: &str) -> String {
    const SHOWN_MAX_CHARS: usize = 60;
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = one_line.clone().take(SHOWN_MAX_CHARS).collect();
    if one_line.count() > SHOWN_MAX_CHARS {
        shown.push('…');
    }
    shown
}

/// Writes a character as people write it in a source: `\n`, `\x1b`, `\u{202e}`.
pub fn escape(c: char, out: &mut String) {
    // A String takes any text.
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        c if u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// Control characters, line separators, and the invisible ones that reorder or join text.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
