//! Whether a file that is no good says all the same that its task is switched off.
//!
//! A person who switches a task off must be obeyed even when something else in the file is wrong. So this reads
//! more leniently than [`mod@super::parse`], and it never switches anything on.

use std::borrow::Cow;

use super::fields::Flag;
use super::front::{self, Split};
use super::scalars::flag_word;
use super::yaml::{self, Content, Pair};

/// Looks for `enabled: false` in what is, was or was meant to be a front-matter.
#[must_use]
pub fn says_disabled(bytes: &[u8]) -> bool {
    let text = decoded(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
    said(text).unwrap_or_else(|| line_says(text))
}

/// A fence in two-byte characters, with a byte order mark or without.
pub fn is_utf16(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xFF\xFE").or(bytes.strip_prefix(b"\xFE\xFF")).unwrap_or(bytes);
    bytes.starts_with(b"-\0-\0-\0") || bytes.starts_with(b"\0-\0-\0-")
}

fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    if !is_utf16(bytes) {
        return String::from_utf8_lossy(bytes);
    }
    let is_big = bytes.starts_with(b"\xFE\xFF") || bytes.first() == Some(&0);
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair.first().copied().unwrap_or_default(), pair.last().copied().unwrap_or_default()];
        if is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    Cow::Owned(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// What the front-matter says; `None` where it is no YAML.
fn said(text: &str) -> Option<bool> {
    let Split::Task(front) = front::split(text) else { return None };
    let root = yaml::read(&front.yaml, &front.quoted).ok()?;
    let Some(Content::Map(pairs)) = root.map(|node| node.content) else { return Some(false) };
    Some(enabled_is(&pairs, Flag::Off))
}

/// Whether `enabled` is among `pairs`, with that value.
pub fn enabled_is(pairs: &[Pair], flag: Flag) -> bool {
    pairs.iter().any(|pair| {
        pair.key == "enabled"
            && matches!(&pair.value.content, Content::Text(word) if flag_word(word) == Some(flag))
    })
}

/// Looks at the lines one by one, past what is text or belongs to another key.
fn line_says(text: &str) -> bool {
    let lines: Vec<&str> = front::raw_lines(text)
        .map(|(_, line)| line.trim_end())
        .filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let is_flow = lines.first().is_some_and(|line| line.trim_start().starts_with('{'));
    let mut above: Vec<(usize, bool)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let depth = indent(line);
        while above.pop_if(|(other, _)| *other >= depth).is_some() {}
        let is_inside = above.iter().any(|(_, opens)| *opens);
        above.push((depth, opens(line)));
        let below = lines.get(index + 1).filter(|next| indent(next) > depth).copied().unwrap_or("");
        let mut parts = line.split(|c| is_flow && c == ',');
        if !is_inside && parts.any(|part| is_off(part, below)) {
            return true;
        }
    }
    false
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether what is further in than this line belongs to its value.
fn opens(line: &str) -> bool {
    let line = line.trim_start();
    // The brace around a whole front-matter.
    if line.trim_end() == "{" {
        return false;
    }
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    value.is_empty() || value.starts_with(['|', '>', '{', '[', '"', '\'', '&', '!', '#'])
}

/// Whether `line` is `enabled:` with a word for no, on it or `below` it; the key may be quoted.
fn is_off(line: &str, below: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '{']);
    let key = line.trim_start_matches(['"', '\'']);
    let Some(rest) = key.strip_prefix("enabled") else { return false };
    let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest).trim_start();
    let Some(value) = rest.strip_prefix(':') else { return false };
    let word = |text: &str| {
        let text = text.split(['#', ',', '}']).next().unwrap_or_default();
        text.trim().trim_matches(['"', '\'']).to_owned()
    };
    let here = word(value);
    flag_word(&if here.is_empty() { word(below) } else { here }) == Some(Flag::Off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_read_however_it_is_written() {
        for text in [
            "---\n\"enabled\": false\ntimeout: 1:30\n---\n",
            "---\n{ \"enabled\": false, \"timeout\": \"1:30\" }\n---\n",
            "---\nenabled:\n  false\ntimeout: 1:30\n---\n",
            "---\n\"enabled\": false\ncommand: [\n---\n",
            "---\n{ \"command\": [, \"enabled\": false }\n---\n",
            "---\n{\n  \"enabled\": false,\n  \"command\": [\n}\n---\n",
            "---\nenabled:\n  off # for now\ncommand: [\n---\n",
            "---\n  command: [\n  enabled: false\n---\n",
            "---\nname: x\n\tenabled: false\n---\n",
            "\n\n---\nenabled: false\n---\n",
            " ---\nenabled: false\n---\n",
            "---\rcommand: [\renabled: false\r---\r",
            "\u{feff}\u{feff}---\nenabled: false\n---\n",
        ] {
            assert!(says_disabled(text.as_bytes()), "{text:?}");
        }
        for text in [
            "---\ncommand: |\n  enabled: false\nname: [\n---\n",
            "---\ncommand: |\n  a: b\n    enabled: false\nname: [\n---\n",
            "---\nmeta:\n  enabled: false\nname: [\n---\n",
            "---\nmeta: {\n  enabled: false\n}\nname: [\n---\n",
            "---\nenabled: true\nmeta: {enabled: false}\ntimeout: 1:30\n---\n",
            "---\nenabled:\nname: false\ncommand: [\n---\n",
            "# A note\n\nenabled: false\n",
        ] {
            assert!(!says_disabled(text.as_bytes()), "{text:?}");
        }
        let text = "---\nenabled: false\n---\n";
        let wide = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        assert!(says_disabled(&wide(u16::to_le_bytes)) && says_disabled(&wide(u16::to_be_bytes)));
        let marked = [b"\xFF\xFE".to_vec(), wide(u16::to_le_bytes)].concat();
        assert!(says_disabled(&marked));
    }
}
