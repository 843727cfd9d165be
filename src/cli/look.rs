//! How things look on a terminal: colours, times, durations, and text that cannot move the cursor.
//!
//! Pure: what is now, the zone and the width come in as a [`Look`].

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::model::span::span;
pub use crate::model::text::clean;

/// Columns of a terminal that does not tell; what is no terminal takes lines of any length.
pub const WIDTH_DEFAULT: usize = 80;

const SECOND_MS: i64 = 1_000;
/// Nearer than this an instant is named by its weekday, in days.
const WEEKDAY_DAYS: i32 = 7;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Ansi,
    Plain,
}

/// What every renderer needs to know besides its document.
#[derive(Debug, Clone)]
pub struct Look {
    pub now: Timestamp,
    pub zone: TimeZone,
    pub paint: Paint,
    /// Columns.
    pub width: usize,
}

/// What a piece of text means; colour is never the only sign of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Live,
    Faint,
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Good => colour(AnsiColor::Green),
            Self::Warn => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red).bold(),
            Self::Live => colour(AnsiColor::Cyan),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

impl Look {
    /// `text` in the colour of `tone`; the text is taken as it is.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.paint == Paint::Plain || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{}{text}{}", style.render(), style.render_reset())
    }

    /// An instant, short: `11:30`, `Fri 07:00`, `12 Dec 07:00`, `2027-01-03 07:00`.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> String {
        let then = at.to_zoned(self.zone.clone());
        let today = self.now.to_zoned(self.zone.clone());
        let format = if then.date() == today.date() {
            "%H:%M"
        } else if days_apart(&then, &today) < WEEKDAY_DAYS {
            "%a %H:%M"
        } else if then.year() == today.year() {
            "%-d %b %H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        then.strftime(format).to_string()
    }

    /// An instant, in full: `Fri 27 Nov 2026 07:00:00 SAST`.
    #[must_use]
    pub fn full_instant(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %-d %b %Y %H:%M:%S %Z").to_string()
    }

    /// How long from `at` until now.
    #[must_use]
    pub fn since(&self, at: Timestamp) -> String {
        span(self.now.as_millisecond().saturating_sub(at.as_millisecond()).max(0))
    }

    /// How long from now until `at`: `in 1m48s`, or `now`.
    #[must_use]
    pub fn until(&self, at: Timestamp) -> String {
        if self.left_ms(at) < SECOND_MS { "now".to_owned() } else { format!("in {}", self.left(at)) }
    }

    /// How long from now until `at`, bare.
    #[must_use]
    pub fn left(&self, at: Timestamp) -> String {
        span(self.left_ms(at).max(0))
    }

    fn left_ms(&self, at: Timestamp) -> i64 {
        at.as_millisecond().saturating_sub(self.now.as_millisecond())
    }
}

fn days_apart(a: &jiff::Zoned, b: &jiff::Zoned) -> i32 {
    a.date().until(b.date()).map_or(i32::MAX, |span| span.get_days().abs())
}

/// `1 task`, `2 tasks`.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Columns that `text` takes, which holds no escape sequences.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` cut to `width` columns, its end marked where something is missing.
#[must_use]
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Thursday 26 November 2026, 11:30 UTC.
    pub fn look(paint: Paint) -> Look {
        Look {
            now: "2026-11-26T11:30:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
            paint,
            width: WIDTH_DEFAULT,
        }
    }

    /// A name that tries to clear the screen, fake a line, reorder text and widen its column.
    pub const HOSTILE: &str = "evil\u{1b}[2J\u{1b}]0;pwn\u{7}\r\nok 日本語\u{202e}gnp\u{9b}31m";

    /// Painted text with its escape sequences made readable, for snapshots.
    pub fn visible(text: &str) -> String {
        text.replace('\u{1b}', "^")
    }

    #[test]
    fn hostile_text_is_made_harmless() {
        assert_eq!(clean(HOSTILE), "evil\\x1b[2J\\x1b]0;pwn\\x07\\r\\nok 日本語\\u{202e}gnp\\x9b31m");
        assert!(matches!(clean("mc-db-backup ü 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn text_is_cut_by_columns_and_not_by_bytes() {
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit("abcdef", 3), "ab…");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let table =
            [(0, "0.0s"), (400, "0.4s"), (4_200, "4.2s"), (3_000, "3s"), (38_900, "38s"), (72_000, "1m12s")];
        let more = [
            (300_000, "5m"),
            (52_200_000, "14h30m"),
            (3_600_000, "1h"),
            (534_000_000, "6d4h"),
            (86_400_000, "1d"),
            (-5, "0.0s"),
        ];
        for (ms, text) in table.into_iter().chain(more) {
            assert_eq!(span(ms), text, "{ms}");
        }
    }

    #[test]
    fn instants_are_named_by_their_distance() {
        let look = look(Paint::Plain);
        let at = |text: &str| look.instant(text.parse().unwrap());
        assert_eq!(at("2026-11-26T02:00:00Z"), "02:00");
        assert_eq!(at("2026-11-29T02:00:00Z"), "Sun 02:00");
        assert_eq!(at("2026-12-26T02:00:00Z"), "26 Dec 02:00");
        assert_eq!(at("2027-01-03T02:00:00Z"), "2027-01-03 02:00");
        assert_eq!(look.until("2026-11-26T11:31:48Z".parse().unwrap()), "in 1m48s");
        assert_eq!(look.until("2026-11-26T11:29:00Z".parse().unwrap()), "now");
    }

    #[test]
    fn colour_is_written_only_where_it_is_wanted() {
        assert_eq!(look(Paint::Plain).paint(Tone::Bad, "x"), "x");
        let painted = look(Paint::Ansi).paint(Tone::Bad, "x");
        assert!(painted.starts_with('\u{1b}') && painted.contains('x') && painted.ends_with("\u{1b}[0m"));
    }
}
