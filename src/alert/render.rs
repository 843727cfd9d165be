//! Parts of a text as Telegram's HTML and as plain text. Pure. What is variable is cut before it is escaped, so
//! that no cut ever falls into markup.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words::clip;
use crate::model::notice::{Part, Shown};
use crate::model::text::is_unsafe;

/// Most of an alert that a person sees, in the units that Telegram counts: UTF-16.
pub const VISIBLE_MAX: usize = 1_500;
/// Most that Telegram takes, in the same units; for texts that are meant to be long.
pub const LONG_MAX: usize = 3_900;
/// Quotes longer than this are folded, in lines.
const FOLD_LINES: usize = 2;

/// A text in both forms; the plain one is for when the other is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub html: String,
    pub plain: String,
}

/// Writes `parts` in the zone of the people who read them, at most `max` visible units of it.
#[must_use]
pub fn render(parts: &[Part], zone: &TimeZone, max: usize) -> Rendered {
    let mut out = Writer { zone, left: max, html: String::new(), plain: String::new() };
    for part in parts {
        out.part(part);
        if out.left == 0 {
            break;
        }
    }
    Rendered { html: out.html.trim_end().to_owned(), plain: out.plain.trim_end().to_owned() }
}

struct Writer<'a> {
    zone: &'a TimeZone,
    /// Visible units that there is still room for.
    left: usize,
    html: String,
    plain: String,
}

impl Writer<'_> {
    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => self.within("", text, ""),
            Part::Bold(text) => self.within("<b>", text, "</b>"),
            Part::Italic(text) => self.within("<i>", text, "</i>"),
            Part::Code(text) => self.within("<code>", text, "</code>"),
            Part::Break => self.within("", "\n", ""),
            Part::Time { ms, shown } => self.time(*ms, *shown),
            Part::Quote(lines) => {
                let fold = if lines.len() > FOLD_LINES { " expandable" } else { "" };
                self.within(&format!("<blockquote{fold}>"), &lines.join("\n"), "</blockquote>");
            }
        }
    }

    fn within(&mut self, before: &str, text: &str, after: &str) {
        // Whoever made the part may have forgotten it: nothing that steers or reorders gets into a message.
        let tame: String = text.chars().filter(|c| *c == '\n' || !is_unsafe(*c)).collect();
        let text = fit(&tame, self.left);
        if text.is_empty() {
            return;
        }
        self.left = self.left.saturating_sub(units(&text));
        self.html.push_str(before);
        escape(&text, &mut self.html);
        self.html.push_str(after);
        self.plain.push_str(&text);
    }

    /// In the reader's own zone where the program knows how, else in the box's.
    fn time(&mut self, ms: i64, shown: Shown) {
        let (pattern, format) = match shown {
            Shown::Clock => ("%H:%M", "t"),
            Shown::Day => ("%a %H:%M", "wdt"),
            Shown::Date => ("%a %-d %b %Y %H:%M", "wDt"),
        };
        let Ok(at) = Timestamp::from_millisecond(ms) else { return };
        let text = at.to_zoned(self.zone.clone()).strftime(pattern).to_string();
        self.within(
            &format!("<tg-time unix=\"{}\" format=\"{format}\">", at.as_second()),
            &text,
            "</tg-time>",
        );
    }
}

/// Length as Telegram counts it.
#[must_use]
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn fit(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    // No character takes more than two units: as many as there are units fit in the end.
    let mut chars = max;
    loop {
        let cut = clip(text, chars);
        if units(&cut) <= max {
            return cut.into_owned();
        }
        chars = chars.saturating_sub((units(&cut) - max).div_ceil(2).max(1));
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts() -> Vec<Part> {
        vec![
            Part::Bold("a<b".into()),
            Part::Text(" & ".into()),
            Part::Time { ms: 1_795_219_200_000, shown: Shown::Day },
            Part::Break,
            Part::Code("</code>".into()),
            Part::Break,
            Part::Italic("\"x\"".into()),
            Part::Quote(vec!["one".into(), "two".into(), "<three>".into()]),
        ]
    }

    #[test]
    fn both_forms() {
        let zone = TimeZone::get("Africa/Johannesburg").unwrap();
        let text = render(&parts(), &zone, VISIBLE_MAX);
        insta::assert_snapshot!(text.html, @r#"
        <b>a&lt;b</b> &amp; <tg-time unix="1795219200" format="wdt">Sat 02:00</tg-time>
        <code>&lt;/code&gt;</code>
        <i>&quot;x&quot;</i><blockquote expandable>one
        two
        &lt;three&gt;</blockquote>
        "#);
        insta::assert_snapshot!(text.plain, @r#"
        a<b & Sat 02:00
        </code>
        "x"one
        two
        <three>
        "#);
    }

    /// Every tag that is opened is closed, in order, and nothing else looks like one.
    fn is_balanced(html: &str) -> bool {
        let (mut open, mut rest) = (Vec::new(), html);
        while let Some((_, from)) = rest.split_once('<') {
            let Some((tag, after)) = from.split_once('>') else { return false };
            match tag.strip_prefix('/') {
                Some(name) => {
                    if open.pop() != Some(name) {
                        return false;
                    }
                }
                None => open.push(tag.split(' ').next().unwrap_or_default()),
            }
            rest = after;
        }
        open.is_empty()
    }

    proptest! {
        #[test]
        fn whatever_is_cut_stays_whole_and_within_the_limit(
            texts in proptest::collection::vec("\\PC{0,40}|[<>&\"]{0,9}|[\u{1f600}-\u{1f640}]{0,30}", 1..6),
            max in 0_usize..120,
        ) {
            let parts: Vec<Part> = texts.iter().enumerate().map(|(n, text)| match n % 5 {
                0 => Part::Bold(text.clone()),
                1 => Part::Quote(vec![text.clone(), text.clone(), text.clone()]),
                2 => Part::Code(text.clone()),
                3 => Part::Time { ms: 1_795_219_200_000, shown: Shown::Clock },
                _ => Part::Text(text.clone()),
            }).collect();
            let text = render(&parts, &TimeZone::UTC, max);
            prop_assert!(units(&text.plain) <= max, "{}", text.plain);
            prop_assert!(is_balanced(&text.html), "{}", text.html);
        }
    }
}
